//! The bounds of one attempt.

use std::time::Duration;

use crate::settings;

/// How long an error may take to come whole, where the first byte of an answer has as much time or more.
const ERROR_TIME: Duration = Duration::from_secs(10);

/// How long an attempt may take, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(super) max_wait: Duration,
    pub(super) queue_max: usize,
    pub(super) first_byte: Option<Duration>,
    pub(super) hold_empty: bool,
}

impl Limits {
    /// As configured.
    pub fn new(settings: &settings::Settings) -> Self {
        let first_byte = settings.upstream.first_byte_timeout_ms;
        Self {
            max_wait: Duration::from_millis(settings.pool.max_wait_ms),
            queue_max: settings.pool.queue_max as usize,
            first_byte: Some(first_byte).filter(|ms| *ms > 0).map(Duration::from_millis),
            hold_empty: settings.retry.empty_retries > 0,
        }
    }

    /// How long an error may take to come whole.
    pub(super) fn error(&self) -> Duration {
        self.first_byte.map_or(ERROR_TIME, |limit| limit.min(ERROR_TIME))
    }
}
