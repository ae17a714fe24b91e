//! `geminate status --json`.

use jiff::Timestamp;
use serde::Serialize;

use crate::command::pages::{Errors, Full, Key, Performance, Tokens, Waste};
use crate::command::status::verdict::Verdict;

/// What the screen shows, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Page<'f> {
    at: Timestamp,
    version: &'f str,
    uptime_seconds: u64,
    verdict: &'f Verdict,
    keys: Keys<'f>,
    now: Now,
    last_minute: Performance,
    last_five_minutes: Performance,
    /// Since the start, as all that follows.
    requests: u64,
    tokens: Tokens,
    waste: Waste,
    errors: &'f Errors,
}

#[derive(Debug, Serialize)]
struct Keys<'f> {
    total: u64,
    usable: u64,
    soonest_return: Option<Timestamp>,
    /// Those that serve no model, though they should.
    out: Vec<&'f Key>,
}

#[derive(Debug, Serialize)]
struct Now {
    in_flight: u64,
    streams: u64,
    waiting_for_key: u64,
    connections: u64,
}

impl<'f> Page<'f> {
    /// The page of one look.
    pub(super) fn new(full: &'f Full, verdict: &'f Verdict) -> Self {
        let Full { health, metrics, performance, errors, keys, .. } = full;
        Self {
            at: health.at,
            version: &health.version,
            uptime_seconds: health.uptime_seconds,
            verdict,
            keys: Keys {
                total: keys.total,
                usable: keys.usable,
                soonest_return: keys.soonest_return,
                out: keys.keys.iter().filter(|key| key.is_out()).collect(),
            },
            now: Now {
                in_flight: metrics.in_flight,
                streams: metrics.streams_open,
                waiting_for_key: metrics.pool_waiting,
                connections: metrics.connections_open,
            },
            last_minute: performance.last_minute,
            last_five_minutes: performance.last_five_minutes,
            requests: metrics.requests,
            tokens: metrics.tokens,
            waste: full.waste(),
            errors,
        }
    }
}
