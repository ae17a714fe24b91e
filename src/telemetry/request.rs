//! One call as reports show it, its attempts as a timeline.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::record::{Record, Remembered, Try};
use crate::telemetry::errors::cut;
use crate::usage::Usage;

/// Calls that ended lately.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Recent {
    /// How many are kept that fit, those left out by `before` and `limit` among them.
    pub total: usize,
    /// The newest first.
    pub requests: Vec<Request>,
}

/// A call that is over, or that runs.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Request {
    /// What `x-request-id` says.
    pub id: Box<str>,
    /// When it arrived.
    pub at: Timestamp,
    /// Its method.
    pub method: Box<str>,
    /// Who called; `None` where nobody was let in.
    pub client: Option<Arc<str>>,
    /// The surface that was called.
    pub surface: &'static str,
    /// The operation.
    pub route: &'static str,
    /// The model asked for, as the client wrote it, cut short.
    pub model: Option<Box<str>>,
    /// The model that was asked in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Arc<str>>,
    /// The id of the key of the last attempt, or of the one that served.
    pub key: Option<Arc<str>>,
    /// The status that went to the client; `None` before the head, 499 where it did not wait for one.
    pub status: Option<u16>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<&'static str>,
    /// Why geminate refused it, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Whether the answer came piece by piece.
    pub streaming: bool,
    /// How many attempts were made.
    pub attempts_made: u32,
    /// The attempts; of very many the first ones and the last one.
    pub attempts: Vec<Try>,
    /// From arrival to the answer's first byte.
    pub first_byte_ms: Option<f64>,
    /// From arrival to the answer's last byte; while it runs, until now.
    pub total_ms: f64,
    /// Of that, spent waiting: for a place, a key, the client's body, and between attempts.
    pub waited_ms: f64,
    /// Spent waiting for the upstream until an attempt's first byte, or until the attempt failed.
    pub upstream_ms: f64,
    /// Of the time to the first byte, what geminate itself took.
    pub overhead_ms: Option<f64>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Pieces that it came in.
    pub chunks: u64,
    /// What it cost.
    pub tokens: Usage,
    /// Where the answer came from, of a call that may be answered from memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'static str>,
}

impl Request {
    /// What `record` says of a call that arrived at `at`.
    pub(crate) fn of(record: &Record, at: Timestamp, now: Instant) -> Self {
        let (surface, action) = record.asked();
        let outcome = record.total().and_then(|_| record.ended());
        let total = record.total().unwrap_or_else(|| now.saturating_duration_since(record.opened()));
        Self {
            id: record.id_text().into(),
            at,
            method: record.method().as_str().into(),
            client: record.client_id().cloned(),
            surface: surface.name(),
            route: action.name(),
            model: record.model_asked().map(|model| cut(model).into()),
            fallback: record.fallback(),
            key: record.key(),
            status: Some(record.status()).filter(|status| *status != 0),
            outcome: outcome.map(crate::record::Outcome::name),
            reason: outcome.and_then(crate::record::Outcome::reason),
            streaming: record.streaming(),
            attempts_made: record.attempts(),
            attempts: record.tries(),
            first_byte_ms: record.time_to_first_byte().map(millis),
            total_ms: millis(total),
            waited_ms: millis(record.waited()),
            upstream_ms: millis(record.upstream()),
            overhead_ms: record.overhead().map(micros_shown),
            bytes: record.bytes(),
            chunks: record.chunks(),
            tokens: record.used(),
            cache: record.source().map(Remembered::name),
        }
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// To the microsecond: most of these are a fraction of a millisecond.
fn micros_shown(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
