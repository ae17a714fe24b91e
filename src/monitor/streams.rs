//! The streams that are open now.

use std::sync::Arc;

use serde::Serialize;
use tokio::time::Instant;

use crate::record::Record;
use crate::telemetry::Telemetry;

/// The open streams, the oldest first, and how many there are beyond those listed.
#[derive(Debug, Serialize)]
pub(crate) struct Streams {
    in_flight: u64,
    open: usize,
    listed: usize,
    #[serde(rename = "streams")]
    list: Vec<Stream>,
}

#[derive(Debug, Serialize)]
struct Stream {
    id: String,
    client: Option<Arc<str>>,
    surface: &'static str,
    route: &'static str,
    model: Option<String>,
    /// The model that serves in its place.
    fallback: Option<Arc<str>>,
    key: Option<Arc<str>>,
    attempts: u32,
    age_ms: u64,
    first_byte_ms: Option<u64>,
    idle_ms: u64,
    bytes: u64,
    chunks: u64,
}

impl Streams {
    /// Up to `limit` of them.
    pub(crate) fn now(telemetry: &Telemetry, limit: usize, now: Instant) -> Self {
        let open = telemetry.streams();
        let list: Vec<_> = open.iter().take(limit).map(|record| Stream::of(record, now)).collect();
        Self { in_flight: telemetry.in_flight(), open: open.len(), listed: list.len(), list }
    }
}

impl Stream {
    fn of(record: &Record, now: Instant) -> Self {
        let (surface, action) = record.asked();
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: record.id_text().to_owned(),
            client: record.client_id().cloned(),
            surface: surface.name(),
            route: action.name(),
            model: record.model_asked().map(str::to_owned),
            fallback: record.fallback(),
            key: record.key(),
            attempts: record.attempts(),
            age_ms: millis(now.saturating_duration_since(record.opened())),
            first_byte_ms: record.time_to_first_byte().map(millis),
            idle_ms: millis(record.idle(now)),
            bytes: record.bytes(),
            chunks: record.chunks(),
        }
    }
}
