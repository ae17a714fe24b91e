//! Probing: when dead keys are asked whether they live.

use std::time::Duration;

use crate::pool::health::doubling;

/// When a dead key is asked whether it lives.
#[derive(Clone, Copy, Debug)]
pub struct Probing {
    /// After its death.
    pub first: Duration,
    /// Doubled by every failure up to this.
    pub most: Duration,
}

impl Default for Probing {
    fn default() -> Self {
        Self { first: Duration::from_mins(10), most: Duration::from_hours(6) }
    }
}

impl Probing {
    /// How long after so many deaths in a row.
    pub fn pause(self, deaths: u8) -> Duration {
        doubling(self.first, deaths, self.most)
    }
}
