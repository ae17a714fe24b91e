//! Homes: which of the configured projects turned out to be one and the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use arc_swap::ArcSwap;

/// For each project as configured, the one under which it is known by now: itself, until Google says otherwise.
#[derive(Debug, Default)]
pub struct Homes {
    all: boxcar::Vec<AtomicU32>,
    /// Those known under each home that others moved to, itself among them.
    members: ArcSwap<HashMap<u32, Arc<[u32]>>>,
    moved: AtomicBool,
}

impl Homes {
    /// So many projects, each a home of its own.
    pub fn new(projects: u32) -> Self {
        let homes = Self::default();
        (0..projects).for_each(|_| {
            homes.add();
        });
        homes
    }

    /// A project more, which is a home of its own.
    pub fn add(&self) -> u32 {
        let at = self.all.push_with(|at| AtomicU32::new(u32::try_from(at).unwrap_or(u32::MAX)));
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// How many projects there are, homes or not.
    pub fn len(&self) -> u32 {
        u32::try_from(self.all.count()).unwrap_or(u32::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The home of a project.
    pub fn of(&self, project: u32) -> u32 {
        self.all.get(project as usize).map_or(project, |home| home.load(Relaxed))
    }

    /// All projects that are known under `home`.
    pub fn members(&self, home: u32) -> impl Iterator<Item = u32> {
        let met = self.moved.load(Relaxed).then(|| self.members.load().get(&home).map(Arc::clone)).flatten();
        let alone = met.is_none() && home < self.len() && self.of(home) == home;
        let met = met.into_iter().flat_map(|met| (0..met.len()).map(move |place| met[place]));
        alone.then_some(home).into_iter().chain(met)
    }

    /// How many different ones there are.
    pub fn count(&self) -> usize {
        self.all.iter().filter(|(project, home)| home.load(Relaxed) as usize == *project).count()
    }

    /// Those that moved, and where to.
    pub fn moved(&self) -> impl Iterator<Item = (u32, u32)> {
        let any = self.moved.load(Relaxed);
        let all = (0..self.len()).take_while(move |_| any).map(|project| (project, self.of(project)));
        all.filter(|(project, home)| project != home)
    }

    /// All that is known under `from` is known under `into` from now on. By one caller at a time.
    pub fn merge(&self, from: u32, into: u32) {
        if from == into {
            return;
        }
        let mut both: Vec<u32> = self.members(into).chain(self.members(from)).collect();
        both.sort_unstable();
        for home in both.iter().filter_map(|project| self.all.get(*project as usize)) {
            home.store(into, Relaxed);
        }
        let mut members = HashMap::clone(&self.members.load());
        members.remove(&from);
        members.insert(into, both.into());
        self.members.store(Arc::new(members));
        self.moved.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_projects_have_one_home_however_they_met() {
        let homes = Homes::new(4);
        assert_eq!((homes.of(3), homes.count(), homes.members(3).collect::<Vec<_>>()), (3, 4, vec![3]));
        homes.merge(3, 1);
        homes.merge(1, 0);
        assert_eq!((homes.of(3), homes.of(1), homes.of(2), homes.count()), (0, 0, 2, 2));
        let members = |home| homes.members(home).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3, 4].map(members), [vec![0, 1, 3], vec![], vec![2], vec![], vec![]]);
        homes.merge(0, 0);
        assert_eq!(homes.moved().collect::<Vec<_>>(), [(1, 0), (3, 0)]);
    }
}
