//! Storms: bare refusals of several projects at once, which are the address's or the model's fault and no key's; and the
//! lull after one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// This many different projects ...
const PROJECTS: usize = 3;
/// ... within this time make a storm.
const SPAN: Duration = Duration::from_secs(10);
/// More refusals than this are not needed to see one.
const KEPT_MAX: usize = 32;
/// A lull lets twice as many through after this time ...
const DOUBLING: Duration = Duration::from_secs(30);
/// ... and ends when it lets so many, and at least as many as waited before it: after five minutes at most.
const NO_LULL: u32 = 1024;

/// The latest bare refusals.
#[derive(Debug, Default)]
pub struct Storms {
    seen: VecDeque<(Instant, u32)>,
}

impl Storms {
    /// Notes a bare refusal of `project`; whether it makes a storm.
    pub fn bare(&mut self, project: u32, now: Instant) -> bool {
        self.seen.retain(|(at, other)| now.saturating_duration_since(*at) <= SPAN && *other != project);
        self.seen.truncate(KEPT_MAX - 1);
        self.seen.push_back((now, project));
        self.seen.len() >= PROJECTS
    }
}

/// How many requests may wait for their first byte at once after a storm. Every success lets one more through, and time
/// alone twice as many again and again, so that none needs a success to end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lull(Option<Slowed>);

#[derive(Clone, Copy, Debug)]
struct Slowed {
    most: u32,
    /// With so many it ends.
    enough: u32,
    since: Instant,
}

impl Lull {
    /// A storm, while so many wait: half as many may from now on.
    pub fn begin(&mut self, waiting: u32, now: Instant) {
        self.0 = Some(Slowed { most: (waiting / 2).max(1), enough: waiting.max(NO_LULL), since: now });
    }

    /// Whether an attempt that began then was under way when the storm was seen: its refusal is of that one.
    pub fn covers(&self, began: Instant) -> bool {
        self.0.is_some_and(|slowed| began <= slowed.since)
    }

    /// A request was served.
    pub const fn served(&mut self) {
        if let Some(slowed) = &mut self.0 {
            slowed.most = slowed.most.saturating_add(1);
        }
    }

    /// Forgotten when it is over.
    pub fn pass(&mut self, now: Instant) {
        if self.most(now).is_none() {
            self.0 = None;
        }
    }

    /// Whether there is one, as far as anybody looked.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How many may wait at once; `None`: as many as come.
    pub fn most(&self, now: Instant) -> Option<u32> {
        let Slowed { most, enough, since } = self.0?;
        let doublings = now.saturating_duration_since(since).as_secs() / DOUBLING.as_secs();
        let most = u64::from(most) << doublings.min(u64::from(NO_LULL.ilog2()));
        u32::try_from(most).ok().filter(|most| *most < enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lull_ends_by_successes_or_by_time() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut lull = Lull::default();
        lull.begin(1, now);
        let mut quick = lull;
        assert_eq!([0, 29, 30, 61, 299].map(|s| lull.most(at(s))), [Some(1), Some(1), Some(2), Some(4), Some(512)]);
        lull.pass(at(299));
        assert!(lull.is_on());
        lull.pass(at(300));
        assert!(!lull.is_on());
        (0..NO_LULL).for_each(|_| quick.served());
        assert_eq!(quick.most(now), None);
        lull.begin(100_000, now);
        assert_eq!([0, 29, 30].map(|s| lull.most(at(s))), [Some(50_000), Some(50_000), None], "of many, too");
    }

    #[test]
    fn three_projects_within_ten_seconds_make_a_storm() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut storms = Storms::default();
        assert!(!storms.bare(1, at(0)) && !storms.bare(1, at(1)) && !storms.bare(2, at(2)));
        assert!(storms.bare(3, at(3)));
        assert!(!Storms::default().bare(1, at(30)));
        assert!(!storms.bare(4, at(30)), "the others are long past");
    }
}
