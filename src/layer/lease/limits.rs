//! The bounds of one attempt.

use std::time::Duration;

use tokio::time::Instant;

use crate::call::{Call, Failure};
use crate::error::Error;
use crate::layer::lease::refused;
use crate::settings;
use crate::verdict::Verdict;

/// How long an error may take to come whole, where the first byte of an answer has as much time or more.
const ERROR_TIME: Duration = Duration::from_secs(10);

/// An attempt ends so long before its call does, so that it ends with a verdict and is not merely given up.
const VERDICT_TIME: Duration = Duration::from_millis(2);

/// How long an attempt may take, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(super) max_wait: Duration,
    pub(super) queue_max: usize,
    pub(super) first_byte: Option<Duration>,
    pub(super) hold_empty: bool,
    /// What a call has where its client asks for nothing else.
    pub(super) request: Duration,
}

/// By when something must have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// At this time ...
    pub(super) at: Instant,
    /// ... or, while a body streams up, so long after the last byte of it.
    pub(super) patience: Duration,
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
            request: Duration::from_millis(settings.deadline.request_timeout_ms),
        }
    }

    /// How long an error of the call may take to come whole.
    pub(super) fn error(&self, call: &Call) -> Duration {
        let limit = self.first_byte.map_or(ERROR_TIME, |limit| limit.min(ERROR_TIME));
        limit.min(attempt_due(call).saturating_duration_since(Instant::now()))
    }

    /// By when an attempt that was begun `then` must have come to something, if it may take no longer than `limit`.
    pub(super) fn due(call: &Call, then: Instant, limit: Option<Duration>) -> Due {
        let (at, patience) = (attempt_due(call), call.time.saturating_sub(VERDICT_TIME));
        match limit {
            Some(limit) => Due { at: at.min(then + limit), patience: patience.min(limit) },
            None => Due { at, patience },
        }
    }

    /// The failure of an attempt that was sent at `sent` and stayed silent for as long as it may.
    ///
    /// It is held against the key only where the key had time enough: all that an attempt may take, or half of what a
    /// call has. What is left after other attempts, after a wait in line, or in one project's part of a list, says
    /// nothing of a key; nor does silence while a client still sends.
    pub(super) fn silent(&self, call: &Call, sent: Instant) -> Box<Failure> {
        let had = sent.elapsed();
        match self.first_byte {
            Some(limit) if had >= limit => refused::failure(Verdict::Interrupted, Error::DeadlineExceeded(limit)),
            _ => {
                let enough = call.payload.is_kept() && (had + VERDICT_TIME) * 2 >= self.request.min(call.time);
                let verdict = if enough { Verdict::Interrupted } else { Verdict::Deadline };
                refused::failure(verdict, Error::DeadlineExceeded(call.time))
            }
        }
    }
}

/// By when an attempt at the call must have come to something.
pub(crate) fn attempt_due(call: &Call) -> Instant {
    let flows = call.payload.flow().map(|flow| flow.last() + call.time);
    flows.map_or(call.deadline, |later| later.max(call.deadline)) - VERDICT_TIME
}
