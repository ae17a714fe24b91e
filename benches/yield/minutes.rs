//! Counts by the minute of the run.

use std::time::Duration;

/// How many of something there were in each minute.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Minutes(Vec<u64>);

impl Minutes {
    /// Counts `amount`, so long after the beginning.
    pub(crate) fn add(&mut self, amount: u64, since: Duration) {
        let minute = usize::try_from(since.as_secs() / 60).unwrap_or(usize::MAX);
        self.0.resize(self.0.len().max(minute + 1), 0);
        self.0[minute] += amount;
    }

    /// In all.
    pub(crate) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// After so many minutes.
    pub(crate) fn after(&self, minutes: usize) -> u64 {
        self.0.iter().skip(minutes).sum()
    }
}
