//! Limits of one project for one model: the operator's own ceilings, which hold, and what refusals taught of Google's.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::health::LEVELS;
use crate::pool::key::Ceilings;
use crate::quota::{Lesson, Unit, Window};

const MINUTE: Duration = Duration::from_mins(1);

/// What was used of the current minute and day.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    ceilings: Ceilings,
    learnt: Ceilings,
    minute: Instant,
    requests: u64,
    tokens: u64,
    /// When Google's day ends; counts of the day are void then.
    day_end: Instant,
    day_requests: u64,
}

/// Requests and input tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Use {
    /// Requests.
    pub requests: u64,
    /// Input tokens.
    pub tokens: u64,
}

/// What a project has left for one model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// What was used in the last minute.
    pub minute: Use,
    /// What a minute may take, as far as that is known.
    pub minute_max: (Option<u64>, Option<u64>),
    /// Requests of Google's day.
    pub day: u64,
    /// How many a day may take, as far as that is known.
    pub day_max: Option<u64>,
}

impl Windows {
    /// Nothing used yet, in a day that ends at `day_end`.
    pub fn new(ceilings: Ceilings, now: Instant, day_end: Instant) -> Self {
        Self { ceilings, learnt: Ceilings::default(), minute: now, requests: 0, tokens: 0, day_end, day_requests: 0 }
    }

    /// Takes one request out of the budget, or says when there is room again.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.turn(now);
        let spent = |used: u64, ceiling: Option<u64>| ceiling.is_some_and(|ceiling| used >= ceiling);
        if spent(self.day_requests, self.ceilings.rpd) {
            return Err(self.day_end);
        }
        if spent(self.requests, self.ceilings.rpm) || spent(self.tokens, self.ceilings.tpm) {
            return Err(self.minute + MINUTE);
        }
        self.requests += 1;
        self.day_requests += 1;
        Ok(())
    }

    /// What is left.
    pub fn room(&mut self, now: Instant) -> Room {
        self.turn(now);
        let Ceilings { rpm, tpm, rpd } = self.ceilings.lower(self.learnt);
        let minute = Use { requests: self.requests, tokens: self.tokens };
        Room { minute, minute_max: (rpm, tpm), day: self.day_requests, day_max: rpd }
    }

    /// When a request of so many tokens fits; `None`: now.
    pub fn wait(&self, _tokens: u64, now: Instant) -> Option<Instant> {
        self.clone().take(now).err()
    }

    /// Google's limits as far as refusals told them.
    pub fn learnt(&self) -> Ceilings {
        self.learnt
    }

    /// Takes up a limit of Google's that an earlier run or a refusal told; `spent`: the refusal was for this one.
    pub fn learn(&mut self, lesson: Lesson, spent: bool, now: Instant) {
        self.turn(now);
        let Lesson { window, unit, limit } = lesson;
        match (window, unit) {
            (Window::Minute, Unit::Requests) => self.learnt.rpm = Some(limit),
            (Window::Minute, Unit::InputTokens) => self.learnt.tpm = Some(limit),
            (Window::Day, Unit::Requests) => {
                self.learnt.rpd = Some(limit);
                self.day_requests = if spent { self.day_requests.max(limit) } else { self.day_requests };
            }
            // No limit of a day's tokens is kept: none has a place in `[[keys]]`.
            (Window::Day, Unit::InputTokens) => {}
        }
    }

    /// Whether less than a tenth of the day's requests is known to be left.
    pub fn day_is_short(&mut self, now: Instant) -> bool {
        self.turn(now);
        let rpd = self.ceilings.lower(self.learnt).rpd;
        rpd.is_some_and(|rpd| rpd.saturating_sub(self.day_requests) * 10 < rpd)
    }

    /// Counts the input tokens of an answer.
    pub fn settle(&mut self, tokens: u64, now: Instant) {
        self.turn(now);
        self.tokens += tokens;
    }

    /// What is left of the scarcest budget, in tenths, at least one.
    pub fn level(&mut self, now: Instant) -> u32 {
        self.turn(now);
        let tenths = |used: u64, ceiling: Option<u64>| {
            let left = ceiling.map(|ceiling| ceiling.saturating_sub(used) * u64::from(LEVELS) / ceiling.max(1));
            u32::try_from(left.unwrap_or(10)).unwrap_or(LEVELS)
        };
        let Ceilings { rpm, tpm, rpd } = self.ceilings;
        let scarcest = tenths(self.requests, rpm).min(tenths(self.tokens, tpm)).min(tenths(self.day_requests, rpd));
        scarcest.clamp(1, LEVELS)
    }

    fn turn(&mut self, now: Instant) {
        if now >= self.minute + MINUTE {
            (self.minute, self.requests, self.tokens) = (now, 0, 0);
        }
        if now >= self.day_end {
            // The next midnight is a day on; the hour of daylight saving is set right when the pool is told the time.
            (self.day_end, self.day_requests) = (self.day_end + Duration::from_hours(24), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_holds_until_its_window_ends() {
        let now = Instant::now();
        let ceilings = Ceilings { rpm: Some(2), tpm: Some(100), rpd: Some(4) };
        let day_end = now + Duration::from_hours(3);
        let mut windows = Windows::new(ceilings, now, day_end);
        assert!(windows.take(now).is_ok() && windows.take(now).is_ok());
        assert_eq!(windows.take(now), Err(now + MINUTE));
        windows.settle(500, now + MINUTE);
        assert_eq!(windows.take(now + MINUTE), Err(now + MINUTE * 2), "tokens of the minute are spent");
        assert!(windows.take(now + MINUTE * 2).is_ok() && windows.take(now + MINUTE * 2).is_ok());
        assert_eq!(windows.take(now + MINUTE * 3), Err(day_end));
        assert!(windows.take(day_end).is_ok());
    }

    #[test]
    fn a_learnt_day_is_known_to_be_short_and_is_whole_again_after_it() {
        let now = Instant::now();
        let mut windows = Windows::new(Ceilings::default(), now, now + MINUTE * 60);
        assert!(!windows.day_is_short(now));
        windows.learn(Lesson { window: Window::Day, unit: Unit::Requests, limit: 250 }, true, now);
        assert!(windows.day_is_short(now) && windows.take(now).is_ok(), "what Google says is no ceiling of ours");
        assert!(!windows.day_is_short(now + MINUTE * 60));
        assert_eq!(windows.learnt().rpd, Some(250));
    }

    #[test]
    fn the_weight_falls_with_the_scarcest_budget() {
        let now = Instant::now();
        let mut windows = Windows::new(Ceilings { rpm: Some(10), ..Ceilings::default() }, now, now + MINUTE * 60);
        assert_eq!(windows.level(now), LEVELS);
        for _ in 0..5 {
            windows.take(now).unwrap();
        }
        assert_eq!(windows.level(now), 5);
        assert_eq!(windows.level(now + MINUTE), LEVELS);
    }
}
