//! Health: how much of its weight a key is trusted with for one model, and its ladder of rests.

use std::time::Duration;

use tokio::time::Instant;

/// Health comes back in full after this long without a failure.
const RECOVERY: Duration = Duration::from_mins(1);
/// No key falls below this: a trickle finds out when it serves again.
const FLOOR: f32 = 0.1;
/// Effective weight is counted in tenths, so that keys of equal weight and health share a class.
pub const LEVELS: u32 = 10;
/// The rests after refusals without a reason, in seconds; the last one stays.
const LADDER: [u64; 6] = [5, 10, 30, 60, 120, 300];

/// A share of the weight between a tenth and 1 that failures cut and time restores.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    value: f32,
    at: Instant,
}

impl Health {
    /// Full health.
    pub fn new(now: Instant) -> Self {
        Self { value: 1.0, at: now }
    }

    /// The share now.
    pub fn value(&self, now: Instant) -> f32 {
        let back = now.saturating_duration_since(self.at).as_secs_f32() / RECOVERY.as_secs_f32();
        (self.value + (1.0 - self.value) * back).min(1.0)
    }

    /// The share in tenths, 1 to [`LEVELS`].
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10")]
    pub fn level(&self, now: Instant) -> u32 {
        ((self.value(now) * 10.0 - 0.001).ceil() as u32).clamp(1, LEVELS)
    }

    /// Cuts the share to `factor` of what it is.
    pub fn cut(&mut self, factor: f32, now: Instant) {
        *self = Self { value: (self.value(now) * factor).max(FLOOR), at: now };
    }

    /// Whether nothing is left to recover.
    pub fn is_full(&self, now: Instant) -> bool {
        self.level(now) == LEVELS
    }

    /// How long until the next tenth may be back.
    pub const fn step() -> Duration {
        Duration::from_secs(RECOVERY.as_secs() / LEVELS as u64)
    }
}

/// Failures of one cause that follow each other. A burst of simultaneous ones is one strike: it takes an attempt that
/// began after the last strike to make another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strikes {
    count: u8,
    mark: Option<Instant>,
}

impl Strikes {
    /// Counts a failure of an attempt that began at `began`; the number of strikes when it is a new one.
    pub fn strike(&mut self, began: Instant, now: Instant) -> Option<u8> {
        if self.mark.is_some_and(|mark| began <= mark) {
            return None;
        }
        self.mark = Some(now);
        self.count = self.count.saturating_add(1);
        Some(self.count)
    }

    /// How many so far.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// A success, or a verdict that the strikes were another's fault.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The rest after the `strikes`-th refusal without a reason.
pub fn ladder(strikes: u8) -> Duration {
    Duration::from_secs(LADDER[usize::from(strikes.max(1) - 1).min(LADDER.len() - 1)])
}

/// `base`, doubled for each strike after the first, at most `max`.
pub fn doubling(base: Duration, strikes: u8, max: Duration) -> Duration {
    base.saturating_mul(1_u32.checked_shl(u32::from(strikes.max(1) - 1)).unwrap_or(u32::MAX)).min(max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_is_restored_within_a_minute() {
        let now = Instant::now();
        let mut health = Health::new(now);
        health.cut(0.2, now);
        assert_eq!(health.level(now), 2);
        assert_eq!(health.level(now + RECOVERY / 2), 6);
        assert!(health.is_full(now + RECOVERY));
    }

    #[test]
    fn simultaneous_failures_are_one_strike() {
        let now = Instant::now();
        let later = |s| now + Duration::from_secs(s);
        let mut strikes = Strikes::default();
        assert_eq!(strikes.strike(now, later(1)), Some(1));
        for _ in 0..20 {
            assert_eq!(strikes.strike(now, later(2)), None);
        }
        assert_eq!(strikes.strike(later(2), later(3)), Some(2));
        strikes.clear();
        assert_eq!(strikes.strike(later(4), later(5)), Some(1));
    }

    #[test]
    fn ladders_end() {
        assert_eq!([1, 2, 6, 200].map(|n| ladder(n).as_secs()), [5, 10, 300, 300]);
        let hour = Duration::from_hours(1);
        assert_eq!(
            [1, 2, 4, 255].map(|n| doubling(Duration::from_mins(10), n, hour).as_secs()),
            [600, 1200, 3600, 3600]
        );
    }

    proptest! {
        #[test]
        fn health_stays_within_its_bounds(cuts in prop::collection::vec((0.0_f32..=1.0, 0_u64..120), 0..50)) {
            let mut now = Instant::now();
            let mut health = Health::new(now);
            for (factor, wait) in cuts {
                now += Duration::from_secs(wait);
                let before = health.value(now);
                health.cut(factor, now);
                prop_assert!(health.value(now) <= before && health.value(now) >= FLOOR);
                prop_assert!((1..=LEVELS).contains(&health.level(now)));
            }
        }
    }
}
