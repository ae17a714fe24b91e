//! An outage: no key can serve a model now; which reasons, and when the first key returns.

use tokio::time::Instant;

use crate::pool::reason::{ALL, Reason};

/// Why no key could be chosen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outage {
    /// When the request could be served: when the first key is due back, or later where others wait before it; `None`
    /// when only a person can mend it.
    pub soonest: Option<Instant>,
    counts: [u32; ALL.len()],
}

impl Outage {
    /// Counts one key that rests for `reason`.
    pub fn add(&mut self, reason: Reason, until: Option<Instant>) {
        self.counts[reason as usize] += 1;
        self.soonest = match (self.soonest, until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// How many keys are out.
    pub fn len(&self) -> usize {
        self.counts.iter().sum::<u32>() as usize
    }

    /// Whether no key is out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys rest for each reason.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u32)> {
        ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Whether every key is out for a fault that waiting does not mend.
    pub fn is_fault(&self) -> bool {
        self.reasons().all(|(reason, _)| reason.is_fault())
    }

    /// Whether every key that is not at fault is out for `reason`, and one is.
    pub fn only(&self, reason: Reason) -> bool {
        self.counts[reason as usize] > 0 && self.reasons().all(|(other, _)| other == reason || other.is_fault())
    }
}

impl std::fmt::Display for Outage {
    /// `2 quota_day, 1 invalid`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (reason, count)) in self.reasons().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {}", reason.name())?;
        }
        Ok(())
    }
}
