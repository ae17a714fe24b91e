//! The scene: what the leases of a pool share, and the moment at which one of them ends.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::pool::roster::SharedRoster;
use crate::pool::storm::Storms;
use crate::pool::twins::Twins;

/// How long waking keys are spread, so that they do not return in a herd.
const JITTER: Duration = Duration::from_secs(2);

/// A moment as failures need it: both clocks and a throw of dice.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The clock that never jumps.
    pub now: Instant,
    /// The clock that Google's day follows.
    pub wall: Timestamp,
    /// Between 0 and 1.
    pub dice: f64,
}

impl Moment {
    /// By how much a waking key is late.
    pub fn jitter(&self) -> Duration {
        JITTER.mul_f64(self.dice.clamp(0.0, 1.0))
    }

    /// The rest of this minute, for refusals that do not say when.
    pub fn rest_of_minute(&self) -> Duration {
        let second = self.wall.as_second().rem_euclid(60).unsigned_abs();
        Duration::from_secs(60 - second)
    }
}

/// What the leases of a pool share.
#[derive(Debug)]
pub struct Scene {
    /// The states above the models.
    pub roster: Arc<SharedRoster>,
    /// Bare refusals that may be a storm.
    pub storms: Mutex<Storms>,
    /// Projects that may be one.
    pub twins: Mutex<Twins>,
    /// Whether any project was told that its grounded requests are spent.
    pub grounding: AtomicBool,
}
