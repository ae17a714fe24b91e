//! A seeded generator of its own (splitmix64), so that a run is the same on every machine.

use std::f64::consts::TAU;
use std::time::Duration;

/// Throws that follow from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of `what` in the run of `seed`.
    pub(crate) fn new(seed: u64, what: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// Between 0 and 1, neither.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((bits ^ (bits >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Evenly between two times.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.throw())
    }

    /// The time until the next of events that come `rate` a second, each for itself.
    pub(crate) fn pause(&mut self, rate: f64) -> Duration {
        Duration::from_secs_f64(-self.throw().ln() / rate)
    }

    /// A factor around 1: half of all lie below, few far above (log-normal).
    pub(crate) fn factor(&mut self, sigma: f64) -> f64 {
        let normal = (-2.0 * self.throw().ln()).sqrt() * (TAU * self.throw()).cos();
        (normal * sigma).exp()
    }
}
