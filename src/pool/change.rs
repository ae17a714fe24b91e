//! How a pool gets its keys: those it begins with, and others while it runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::header::InvalidHeaderValue;
use tokio::time::Instant;

use crate::pool::key::{Ceilings, Key, KeySpec};
use crate::pool::keypool::KeyPool;
use crate::pool::memory::Clocks;
use crate::pool::roster::{Roster, SharedRoster};
use crate::pool::scene::Scene;
use crate::secret::Digest;

/// A key of the new list: the one that is there, or a new one.
enum Entry {
    Stays(u32),
    New(Box<Key>),
}

/// A key of the new list, the place where it was until now, and what is said of it.
type Listed<'s> = (Entry, Option<u32>, &'s KeySpec);

impl KeyPool {
    /// A pool in which all enabled keys are alive. Fails on a key that cannot stand in a header.
    pub fn new(specs: &[KeySpec], clocks: Clocks) -> Result<Self, InvalidHeaderValue> {
        let roster = Arc::new(SharedRoster::new(Roster::new()));
        let scene =
            Arc::new(Scene { roster, storms: Mutex::default(), twins: Mutex::default(), grounding: false.into() });
        let pool = Self {
            keys: Arc::default(),
            scene,
            lanes: ArcSwap::default(),
            register: Mutex::default(),
            clocks: Mutex::new(clocks),
        };
        pool.take_up(specs, clocks.now)?;
        Ok(pool)
    }

    /// Takes up a list of keys in the place of the one that was. A key that stays keeps its place, its state and all
    /// that was learnt; so does one that gets another id, but for its counts. What is known of a project goes with its keys
    /// if they all go to the same one; where they part, nobody knows whose it was. One that is gone finishes what it carries
    /// and is chosen no more. Whoever waits looks again. Fails, and changes nothing, on a key that cannot stand in a
    /// header.
    pub fn take_up(&self, specs: &[KeySpec], now: Instant) -> Result<(), InvalidHeaderValue> {
        let mut register = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        let present: HashSet<u32> = self.keys.iter().map(|key| key.index).collect();
        let entries = self.entries(specs, &present)?;
        // From one place to another, and which key from which project.
        let (mut moved, mut left) = (Vec::<(u32, u32)>::new(), Vec::<(u32, u32)>::new());
        let mut went: HashMap<u32, HashSet<u32>> = HashMap::new();
        let mut ceilings: HashMap<u32, Ceilings> = HashMap::new();
        let carried = self.scene.roster.change(|roster| {
            let mut order = Vec::with_capacity(entries.len());
            for (entry, former, spec) in entries {
                let project = register.project(spec, roster, &self.keys);
                let home = self.keys.homes.of(project);
                if let Some(former) = former {
                    went.entry(self.keys[former].project()).or_default().insert(home);
                }
                let index = match entry {
                    Entry::Stays(index) => {
                        left.push((index, self.keys[index].project()));
                        self.keys[index].change(spec, project);
                        index
                    }
                    Entry::New(key) => {
                        roster.enter();
                        self.keys.add(|index| key.placed(index, project))
                    }
                };
                if let Some(former) = former.filter(|former| *former != index && !present.contains(&index)) {
                    roster.inherit(index, former);
                    self.keys[index].inherit(&self.keys[former]);
                    moved.push((former, index));
                }
                roster.enable(index, spec.enabled);
                roster.lead_out(index, spec.egress);
                order.push(index);
                if spec.ceilings != Ceilings::default() {
                    let known = ceilings.entry(home).or_default();
                    *known = known.lower(spec.ceilings);
                }
            }
            let present: HashSet<u32> = order.iter().copied().collect();
            for index in self.keys.places().filter(|index| !present.contains(index)) {
                roster.enable(index, false);
            }
            self.keys.show(order);
            let carried = whole(&went);
            roster.carry(&carried);
            carried
        });
        register.ceilings = Arc::new(ceilings);
        left.retain(|(index, project)| self.keys[*index].project() != *project);
        for lane in self.lanes() {
            lane.change(|lane| {
                moved.iter().for_each(|(from, to)| lane.hand_over(*from, *to));
                lane.carry(&carried, now);
                left.iter().for_each(|(index, project)| lane.leaves(*index, *project, now));
                lane.budgets_mut().bound(Arc::clone(&register.ceilings), now);
                lane.refresh(now);
            });
        }
        Ok(())
    }

    /// What each key of a new list is, and the place where it was before. Whatever is wrong with one is known here, before
    /// anything changes.
    fn entries<'s>(&self, specs: &'s [KeySpec], present: &HashSet<u32>) -> Result<Vec<Listed<'s>>, InvalidHeaderValue> {
        let mut known: HashMap<Digest, Vec<u32>> = HashMap::new();
        for index in self.keys.places() {
            known.entry(self.keys[index].digest).or_default().push(index);
        }
        let mut entries = Vec::with_capacity(specs.len());
        for spec in specs {
            let places = known.get(&spec.secret.digest()).map(Vec::as_slice).unwrap_or_default();
            let same = places.iter().find(|index| self.keys[**index].id == spec.id);
            let entry = match same {
                Some(index) => Entry::Stays(*index),
                None => Entry::New(Box::new(Key::new(spec, 0, 0, &self.keys.homes)?)),
            };
            let serving = places.iter().find(|index| present.contains(index));
            entries.push((entry, serving.or(places.last()).copied(), spec));
        }
        Ok(entries)
    }
}

/// The projects whose keys all went to one other, and that one.
fn whole(went: &HashMap<u32, HashSet<u32>>) -> Vec<(u32, u32)> {
    let alone = |into: &HashSet<u32>| into.iter().next().copied().filter(|_| into.len() == 1);
    let moved = went.iter().filter_map(|(from, into)| Some((*from, alone(into)?)));
    moved.filter(|(from, into)| from != into).collect()
}
