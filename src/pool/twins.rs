//! Twins: projects that are refused together although each was far below its limit, and so are probably one.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Refusals within this time are together.
const TOGETHER: Duration = Duration::from_secs(20);
/// So often, ..
const TIMES: u32 = 3;
/// .. and in this part of all such refusals of the one that had fewer, in hundredths, makes it probable.
const SHARE: u32 = 80;
/// Pairs that are counted: what two projects of three hundred could be suspected of at most is not.
const PAIRS_MAX: usize = 4_096;
/// Refusals that are looked back at.
const RECENT_MAX: usize = 64;

/// What refusals far below the limit have in common.
#[derive(Debug, Default)]
pub struct Twins {
    recent: Vec<(Instant, u32)>,
    alone: HashMap<u32, u32>,
    together: HashMap<(u32, u32), u32>,
}

impl Twins {
    /// A project was refused although it had used far less than its limit, so that somebody else uses it.
    pub fn surprised(&mut self, project: u32, now: Instant) {
        self.recent.retain(|(at, other)| now.saturating_duration_since(*at) <= TOGETHER && *other != project);
        *self.alone.entry(project).or_default() += 1;
        for (_, other) in &self.recent {
            let pair = (project.min(*other), project.max(*other));
            if self.together.len() < PAIRS_MAX || self.together.contains_key(&pair) {
                *self.together.entry(pair).or_default() += 1;
            }
        }
        if self.recent.len() < RECENT_MAX {
            self.recent.push((now, project));
        }
    }

    /// Whether the two are probably one project.
    pub fn probably(&self, one: u32, other: u32) -> bool {
        let together = self.together.get(&(one.min(other), one.max(other))).copied().unwrap_or(0);
        let fewer = [one, other].iter().map(|project| self.alone.get(project).copied().unwrap_or(0)).min();
        one != other && together >= TIMES && together * 100 >= fewer.unwrap_or(0) * SHARE
    }

    /// All others that are probably the same project.
    pub fn of(&self, project: u32) -> impl Iterator<Item = u32> {
        let others = self.together.keys().filter_map(move |(one, other)| match project {
            _ if project == *one => Some(*other),
            _ if project == *other => Some(*one),
            _ => None,
        });
        others.filter(move |other| self.probably(project, *other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_are_always_refused_together_are_probably_one() {
        let now = Instant::now();
        let mut twins = Twins::default();
        for round in 0..3 {
            assert!(!twins.probably(4, 7));
            let at = now + Duration::from_mins(round);
            twins.surprised(4, at);
            twins.surprised(7, at + Duration::from_secs(3));
        }
        assert!(twins.probably(7, 4));
        assert_eq!(twins.of(4).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn one_whose_refusals_mostly_stand_alone_is_nobodys_twin() {
        let now = Instant::now();
        let mut twins = Twins::default();
        for round in 0..10 {
            let at = now + Duration::from_mins(round * 2);
            twins.surprised(1, at);
            twins.surprised(2, at + Duration::from_secs(if round < 3 { 1 } else { 60 }));
        }
        assert!(!twins.probably(1, 2));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut twins = Twins::default();
        let now = Instant::now();
        (0..1_000).for_each(|project| twins.surprised(project, now));
        assert!(twins.together.len() <= PAIRS_MAX && twins.recent.len() <= RECENT_MAX);
    }
}
