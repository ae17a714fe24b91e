//! The time of day of what was timed by a clock that only runs on.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use jiff::Timestamp;
use tokio::time::Instant;

/// The time of day may run apart by this before what was timed moves with it: a second's part is slewed away.
const APART_MAX_MICROS: i64 = 1_000_000;

/// Two clocks, compared now and then: the machine may have slept, or its time of day may have been set.
#[derive(Debug)]
pub(crate) struct Wall {
    started: Instant,
    /// The time of day at the start, as the clocks now say, in microseconds.
    origin: AtomicI64,
}

impl Wall {
    /// The clocks at the same moment.
    pub(crate) fn new(now: Instant, wall: Timestamp) -> Self {
        Self { started: now, origin: AtomicI64::new(wall.as_microsecond()) }
    }

    /// The same, later.
    pub(crate) fn look(&self, now: Instant, wall: Timestamp) {
        let origin = wall.as_microsecond() - self.micros(now);
        if (origin - self.origin.load(Relaxed)).abs() > APART_MAX_MICROS {
            self.origin.store(origin, Relaxed);
        }
    }

    /// The time of day at `time`.
    pub(crate) fn at(&self, time: Instant) -> Timestamp {
        let micros = self.origin.load(Relaxed).saturating_add(self.micros(time));
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn micros(&self, time: Instant) -> i64 {
        let of = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        // What arrived as the house was built may be older than it.
        of(time.saturating_duration_since(self.started)) - of(self.started.saturating_duration_since(time))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_timed_moves_with_a_clock_that_was_set_and_not_with_one_that_is_slewed() {
        let (start, wall) = (Instant::now(), "2026-11-26T12:00:00Z".parse::<Timestamp>().unwrap());
        let clocks = Wall::new(start, wall);
        let later = start + Duration::from_mins(1);
        assert_eq!(clocks.at(later).to_string(), "2026-11-26T12:01:00Z");
        clocks.look(later, wall + Duration::from_millis(60_400));
        assert_eq!(clocks.at(later).to_string(), "2026-11-26T12:01:00Z");
        clocks.look(later, wall + Duration::from_hours(8));
        assert_eq!(clocks.at(later).to_string(), "2026-11-26T20:00:00Z");
        assert!(clocks.at(start - Duration::from_secs(1)) < clocks.at(start));
    }
}
