//! Homes: which of the configured projects turned out to be one and the same.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// For each project as configured, the one under which it is known by now: itself, until Google says otherwise.
#[derive(Debug, Default)]
pub struct Homes {
    homes: boxcar::Vec<AtomicU32>,
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
        let at = self.homes.push_with(|at| AtomicU32::new(u32::try_from(at).unwrap_or(u32::MAX)));
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// How many projects there are, homes or not.
    pub fn len(&self) -> u32 {
        u32::try_from(self.homes.count()).unwrap_or(u32::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The home of a project.
    pub fn of(&self, project: u32) -> u32 {
        self.homes.get(project as usize).map_or(project, |home| home.load(Relaxed))
    }

    /// All projects that are known under `home`.
    pub fn members(&self, home: u32) -> impl Iterator<Item = u32> {
        let all = self.len();
        let range = if self.moved.load(Relaxed) { 0..all } else { home..home.saturating_add(1).min(all) };
        range.filter(move |project| self.of(*project) == home)
    }

    /// How many different ones there are.
    pub fn count(&self) -> usize {
        self.homes.iter().filter(|(project, home)| home.load(Relaxed) as usize == *project).count()
    }

    /// Those that moved, and where to.
    pub fn moved(&self) -> impl Iterator<Item = (u32, u32)> {
        let any = self.moved.load(Relaxed);
        let all = (0..self.len()).take_while(move |_| any).map(|project| (project, self.of(project)));
        all.filter(|(project, home)| project != home)
    }

    /// All that is known under `from` is known under `into` from now on.
    pub fn merge(&self, from: u32, into: u32) {
        for (_, home) in self.homes.iter().filter(|(_, home)| home.load(Relaxed) == from) {
            home.store(into, Relaxed);
        }
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
        assert_eq!(homes.members(0).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(homes.moved().collect::<Vec<_>>(), [(1, 0), (3, 0)]);
    }
}
