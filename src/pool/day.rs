//! Day: what was used of Google's day, and how much it is believed to have.

use tokio::time::Instant;

use crate::pool::memory::Clocks;
use crate::quota::until_midnight;

/// Requests of one project for one model.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    /// When it ends: counts are void then.
    end: Instant,
    used: u64,
    /// Google's word, or what was found to be let pass.
    told: Option<u64>,
    /// So many more are believed to be let pass, since one that was too many was.
    beyond: u64,
}

impl Day {
    /// Nothing used yet of the day in which `now` is.
    pub fn new(clocks: Clocks, now: Instant) -> Self {
        Self { end: end_of(clocks, now), used: 0, told: None, beyond: 0 }
    }

    /// Another day may have begun.
    pub fn turn(&mut self, clocks: Clocks, now: Instant) {
        if now >= self.end {
            (self.end, self.used) = (end_of(clocks, now), 0);
        }
    }

    /// The clock on the wall goes otherwise than `before`: it may have ended, and the one that is now ends by that clock.
    pub fn moves(&mut self, before: Clocks, clocks: Clocks) {
        if clocks.moved(before, self.end) <= clocks.now {
            self.used = 0;
        }
        self.end = end_of(clocks, clocks.now);
    }

    /// When it ends.
    pub const fn end(&self) -> Instant {
        self.end
    }

    /// What will have been used of the day in which `at` is, if nothing more is.
    pub fn used(&self, at: Instant) -> u64 {
        if at < self.end { self.used } else { 0 }
    }

    /// Google's limit as far as it is known.
    pub const fn told(&self) -> Option<u64> {
        self.told
    }

    /// What it is believed to have.
    pub fn allowed(&self) -> Option<u64> {
        self.told.map(|told| told.saturating_add(self.beyond))
    }

    /// Takes up what is known from elsewhere, where nothing is known here.
    pub fn know(&mut self, limit: u64) {
        self.told = self.told.or(Some(limit));
    }

    /// So much more was used.
    pub const fn add(&mut self, requests: u64) {
        self.used = self.used.saturating_add(requests);
    }

    /// One request was not counted by Google.
    pub const fn give_back(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// A refusal told that the day is over, and how much it has.
    pub fn refuse(&mut self, limit: u64) {
        (self.told, self.beyond, self.used) = (Some(limit), 0, self.used.max(limit));
    }

    /// Whether it is over by our own count, so that the next request alone finds out: Google may have counted otherwise.
    pub fn is_over(&self) -> bool {
        self.allowed().is_some_and(|allowed| self.used > allowed)
    }

    /// One request that was too many was let pass: the day has at least as many as were used, and more are tried, twice as
    /// many each time.
    pub fn goes_on(&mut self) {
        (self.told, self.beyond) = (self.told.map(|told| told.max(self.used)), self.beyond.saturating_mul(2).max(1));
    }
}

fn end_of(clocks: Clocks, now: Instant) -> Instant {
    now + until_midnight(clocks.wall_at(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_day_that_goes_on_beyond_its_limit_is_found_to_in_a_few_steps() {
        let now = Instant::now();
        let mut day = Day::new(Clocks { now, wall: jiff::Timestamp::UNIX_EPOCH }, now);
        day.know(3);
        let mut trials = 0;
        for _ in 0..1_000 {
            day.add(1);
            if day.is_over() {
                trials += 1;
                day.goes_on();
            }
        }
        assert!(trials <= 10, "{trials}");
        assert!(day.told().unwrap() >= 500);
        day.refuse(20);
        assert_eq!((day.allowed(), day.used(now)), (Some(20), 1_000));
        day.turn(Clocks { now, wall: jiff::Timestamp::UNIX_EPOCH }, now + Duration::from_hours(9));
        assert!(!day.is_over());
    }
}
