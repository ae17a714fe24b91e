//! Strain: a model that was overloaded time after time is passed over for a while, as each try would cost of its quota.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Overloads in a row after which a model is passed over.
const OVERLOADS_MAX: u32 = 3;
/// For how long: it doubles with each that follows, and ends there.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_mins(1);

/// One model's. Shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Strain {
    /// Whether anything is held against it, so that nobody takes the lock in good times.
    strained: AtomicBool,
    overloads: Mutex<Overloads>,
}

#[derive(Debug, Default)]
struct Overloads {
    in_a_row: u32,
    /// The last one that counted.
    at: Option<Instant>,
    until: Option<Instant>,
}

impl Strain {
    /// Whether the model may be asked at `now`. Of all who come after a rest one may: the rest goes on for the others
    /// until it is known how that ended.
    pub(super) fn bears(&self, now: Instant) -> bool {
        if !self.strained.load(Relaxed) {
            return true;
        }
        let mut overloads = self.lock();
        match overloads.until {
            Some(until) if now < until => false,
            Some(_) => {
                overloads.until = Some(now + rest(overloads.in_a_row));
                true
            }
            None => true,
        }
    }

    /// A call that was made at `began` met an overload. Those that were under way together count as one.
    pub(super) fn overloaded(&self, began: Instant, now: Instant) {
        let mut overloads = self.lock();
        if overloads.at.is_some_and(|at| began < at) {
            return;
        }
        overloads.in_a_row = overloads.in_a_row.saturating_add(1);
        overloads.at = Some(now);
        overloads.until = (overloads.in_a_row >= OVERLOADS_MAX).then(|| now + rest(overloads.in_a_row));
        self.strained.store(true, Relaxed);
    }

    /// It answered: all is forgotten.
    pub(super) fn answered(&self) {
        if self.strained.load(Relaxed) {
            *self.lock() = Overloads::default();
            self.strained.store(false, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Overloads> {
        self.overloads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rest(in_a_row: u32) -> Duration {
    let doubled = 1_u32.checked_shl(in_a_row.saturating_sub(OVERLOADS_MAX)).unwrap_or(u32::MAX);
    REST.saturating_mul(doubled).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Overloads in a row, a second apart, the last one at the time given back.
    fn overloaded(strain: &Strain, times: u32, mut now: Instant) -> Instant {
        for _ in 0..times {
            now += SECOND;
            strain.overloaded(now, now);
        }
        now
    }

    #[test]
    fn three_overloads_in_a_row_are_enough_and_a_burst_is_one() {
        let (strain, start) = (Strain::default(), Instant::now());
        (0..20).for_each(|_| strain.overloaded(start, start + SECOND));
        assert!(strain.bears(start + SECOND));
        let now = overloaded(&strain, 2, start + SECOND);
        assert!(!strain.bears(now) && !strain.bears(now + REST - SECOND));
    }

    #[test]
    fn after_a_rest_one_tries_and_the_others_go_on_passing() {
        let strain = Strain::default();
        let now = overloaded(&strain, OVERLOADS_MAX, Instant::now()) + REST;
        assert!(strain.bears(now) && !strain.bears(now));
        strain.answered();
        assert!(strain.bears(now) && strain.bears(now));
        strain.overloaded(now, now);
        assert!(strain.bears(now), "one alone is nothing");
    }

    #[test]
    fn whoever_tries_and_is_never_heard_of_again_bars_nobody_for_long() {
        let strain = Strain::default();
        let now = overloaded(&strain, OVERLOADS_MAX, Instant::now()) + REST;
        assert!(strain.bears(now) && !strain.bears(now) && strain.bears(now + REST));
    }

    #[test]
    fn rests_grow_to_a_minute() {
        let strain = Strain::default();
        let now = overloaded(&strain, 40, Instant::now());
        assert!(!strain.bears(now + REST_MAX - SECOND) && strain.bears(now + REST_MAX));
    }
}
