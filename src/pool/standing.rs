//! A standing: what is held against a key, or a project, for one model.

use tokio::time::Instant;

use crate::pool::health::{Health, Strikes};
use crate::pool::roster::Rest;

/// Absent means that nothing is held against it.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its rest.
    pub rest: Option<Rest>,
    /// Half-open: one request at a time until a success.
    pub trial: Trial,
    /// The share of its weight it is trusted with.
    pub health: Health,
    /// Refusals without a reason, in a row.
    pub bare: Strikes,
    /// 403s without a known reason, in a row.
    pub forbidden: Strikes,
    /// Internal errors in a row.
    pub failing: Strikes,
}

/// The state of half-open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trial {
    /// No trial: fully open, or resting.
    None,
    /// One request may try.
    Open,
    /// One is trying, with the key of this index, since then.
    Taken(u32, Instant),
}

impl Standing {
    /// Nothing held against it.
    pub fn new(now: Instant) -> Self {
        Self {
            rest: None,
            trial: Trial::None,
            health: Health::new(now),
            bare: Strikes::default(),
            forbidden: Strikes::default(),
            failing: Strikes::default(),
        }
    }

    /// Rests at least until `rest` ends.
    pub fn rest_until(&mut self, rest: Rest) {
        self.rest = Some(Rest::longer(self.rest, rest));
    }

    /// An ended rest becomes a trial, unless its cause is known to be over.
    pub fn wake(&mut self, now: Instant) {
        if let Some(rest) = self.rest.filter(|rest| rest.until <= now) {
            self.rest = None;
            self.trial = if rest.reason.ends_surely() { Trial::None } else { Trial::Open };
        }
    }

    /// Whether it can be forgotten.
    pub fn is_clear(&self, now: Instant) -> bool {
        self.rest.is_none()
            && self.trial == Trial::None
            && self.health.is_full(now)
            && [self.bare, self.forbidden, self.failing].iter().all(|strikes| strikes.count() == 0)
    }
}
