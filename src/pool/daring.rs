//! Daring: how many calls of one model may be sent where it is not known that Google lets them pass.
//!
//! Each project alone steps above its limit once in some minutes, to see whether it still is the limit. A thousand
//! projects together would have many calls refused that way, all to be told the same.

use tokio::time::Instant;

/// Of all calls one in so many may be tried in vain, ..
const CALLS: f64 = 100.0;
/// .. and one in so many seconds, however few there are.
const SECONDS: f64 = 6.0;
/// What was not tried is not made up for: two at once would take more from those who wait than they were told.
const LEFT_MAX: f64 = 1.0;
/// So many projects in a row that were told one limit speak for those that were told none.
const WITNESSES: u32 = 20;

/// What may still be tried, and what most projects were told. Of one model.
#[derive(Clone, Copy, Debug)]
pub struct Daring {
    left: f64,
    at: Instant,
    /// The limit of a minute's requests that was told last, and by how many projects in a row.
    word: Option<(u64, u32)>,
    /// Limits of requests and of tokens that Google raised for some project: from what to what.
    raised: [Option<(u64, u64)>; 2],
}

impl Daring {
    /// Whole.
    pub const fn new(now: Instant) -> Self {
        Self { left: LEFT_MAX, at: now, word: None, raised: [None; 2] }
    }

    /// A call was let pass: a part of one more may be tried.
    pub const fn called(&mut self) {
        self.earn(1.0 / CALLS);
    }

    /// Whether one may be tried now; it is then taken.
    pub fn dare(&mut self, now: Instant) -> bool {
        self.earn(now.saturating_duration_since(self.at).as_secs_f64() / SECONDS);
        self.at = self.at.max(now);
        let may = self.left >= 1.0;
        self.left -= f64::from(u8::from(may));
        may
    }

    /// One that was tried was let pass after all, and cost nothing.
    pub const fn passed(&mut self) {
        self.earn(1.0);
    }

    const fn earn(&mut self, more: f64) {
        self.left = (self.left + more).min(LEFT_MAX);
    }

    /// A project was told its limit for the first time.
    pub fn told(&mut self, limit: u64) {
        let witnesses = self.word.filter(|(told, _)| *told == limit).map_or(0, |(_, witnesses)| witnesses);
        self.word = Some((limit, witnesses.saturating_add(1)));
    }

    /// Google told a project `to` that was told `from` before: it may have raised all that were told that.
    pub fn raise(&mut self, from: u64, to: u64) {
        if !self.raised.contains(&Some((from, to))) {
            self.raised = [Some((from, to)), self.raised[0]];
        }
    }

    /// What one was told that had been told `from`.
    pub fn raised(&self, from: u64) -> Option<u64> {
        self.raised.iter().flatten().find(|(former, _)| *former == from).map(|(_, to)| *to)
    }

    /// One that was told `from` tried as much as another has, and was told the same again: they are not all raised.
    pub fn forget(&mut self, from: u64) {
        self.raised.iter_mut().for_each(|raised| *raised = raised.filter(|(former, _)| *former != from));
    }

    /// The limit that a project presumably has of which nothing is known.
    pub fn presumed(&self) -> Option<u64> {
        self.word.filter(|(_, witnesses)| *witnesses >= WITNESSES).map(|(limit, _)| limit)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_in_a_hundred_calls_may_be_in_vain_and_a_few_a_minute() {
        let now = Instant::now();
        let mut daring = Daring::new(now);
        let dared = |daring: &mut Daring, at| (0..1_000).filter(|_| daring.dare(at)).count();
        assert_eq!(dared(&mut daring, now), 1);
        (0..90).for_each(|_| daring.called());
        assert_eq!(dared(&mut daring, now), 0);
        (0..20).for_each(|_| daring.called());
        assert_eq!(dared(&mut daring, now), 1);
        assert_eq!(dared(&mut daring, now + Duration::from_secs(7)), 1);
        daring.passed();
        assert_eq!(dared(&mut daring, now + Duration::from_secs(7)), 1, "what was let pass cost nothing");
        assert_eq!(dared(&mut daring, now + Duration::from_hours(1)), 1, "what was not tried is not made up for");
    }

    #[test]
    fn what_was_raised_for_one_is_known_until_another_finds_that_it_is_not() {
        let mut daring = Daring::new(Instant::now());
        daring.raise(10, 20);
        daring.raise(1_000, 4_000);
        daring.raise(10, 20);
        assert_eq!([10, 1_000, 20].map(|from| daring.raised(from)), [Some(20), Some(4_000), None]);
        daring.forget(10);
        assert_eq!([10, 1_000].map(|from| daring.raised(from)), [None, Some(4_000)]);
        daring.raise(5, 6);
        daring.raise(6, 7);
        assert_eq!(daring.raised(1_000), None, "the last two");
    }

    #[test]
    fn many_who_were_told_the_same_speak_for_the_others() {
        let mut daring = Daring::new(Instant::now());
        (0..19).for_each(|_| daring.told(10));
        assert_eq!(daring.presumed(), None);
        daring.told(10);
        assert_eq!(daring.presumed(), Some(10));
        daring.told(15);
        assert_eq!(daring.presumed(), None, "they are not all alike");
    }
}
