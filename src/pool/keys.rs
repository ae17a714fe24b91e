//! The keys of the pool: a list that only grows, and which of it takes part.

use std::collections::HashMap;
use std::ops::Index;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::pool::homes::Homes;
use crate::pool::key::Key;

/// Every key there ever was keeps its place, so that a lease, an owner of a file and whatever else knows a key by its
/// index still finds it when the list has changed.
#[derive(Debug)]
pub struct Keys {
    all: boxcar::Vec<Arc<Key>>,
    present: ArcSwap<Present>,
    /// Which of their projects are one.
    pub homes: Arc<Homes>,
}

/// The keys that take part.
#[derive(Debug, Default)]
struct Present {
    /// In order of configuration.
    order: Vec<u32>,
    /// By project as configured.
    by_project: HashMap<u32, Vec<u32>>,
}

impl Keys {
    /// No keys yet.
    pub fn new() -> Self {
        Self { all: boxcar::Vec::new(), present: ArcSwap::default(), homes: Arc::default() }
    }

    /// The key at a place, whether it still takes part or not.
    pub fn get(&self, index: u32) -> Option<&Arc<Key>> {
        self.all.get(index as usize)
    }

    /// Those that take part, in order of configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> + use<'_> {
        let present = self.present.load_full();
        (0..present.order.len()).map(move |at| &self.all[present.order[at] as usize])
    }

    /// Where the key of a place takes part now, if it does elsewhere.
    pub fn successor(&self, index: u32) -> u32 {
        let same = |key: &&Arc<Key>| self.get(index).is_some_and(|former| former.digest == key.digest);
        self.iter().find(same).map_or(index, |key| key.index)
    }

    /// Every place there is.
    pub fn places(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.all.count()).unwrap_or(u32::MAX)
    }

    /// How many take part.
    pub fn len(&self) -> usize {
        self.present.load().order.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of a project that take part.
    pub fn of_project(&self, project: u32) -> impl Iterator<Item = u32> + use<> {
        let present = self.present.load_full();
        let of = |member: u32| present.by_project.get(&member).into_iter().flatten().copied();
        self.homes.members(project).flat_map(of).collect::<Vec<u32>>().into_iter()
    }

    /// A key more; `make` gets its place. It takes part from the next [`Keys::show`] on.
    pub fn add(&self, make: impl FnOnce(u32) -> Key) -> u32 {
        let small = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        small(self.all.push_with(|place| Arc::new(make(small(place)))))
    }

    /// These take part from now on, in this order.
    pub fn show(&self, order: Vec<u32>) {
        let mut by_project: HashMap<u32, Vec<u32>> = HashMap::new();
        for index in &order {
            by_project.entry(self[*index].configured_project()).or_default().push(*index);
        }
        self.present.store(Arc::new(Present { order, by_project }));
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Index<u32> for Keys {
    type Output = Arc<Key>;

    fn index(&self, index: u32) -> &Arc<Key> {
        &self.all[index as usize]
    }
}
