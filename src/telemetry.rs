//! What operators see of the calls: metrics, the last minutes' percentiles, who is served now, what failed lately.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::record::{Outcome, Record};
use crate::verdict::Verdict;

use self::desk::Desk;
use self::errors::{Failures, cut};
use self::live::Live;
use self::meters::Meters;
use self::shard::Sharded;
use self::windows::{Ring, SLICE};

pub use self::errors::Failure;
pub use self::summary::{AttemptCount, Counts, ModelSummary};
pub use self::windows::{Performance, Quantiles};

mod shard;
mod live;
mod windows;
mod errors;
mod meters;
mod desk;
mod summary;
pub mod log;
pub mod process;

/// Made once, shared by all. On a call's path it takes locks that no other thread wants, and nothing else.
#[derive(Debug)]
pub struct Telemetry {
    started: Instant,
    started_at: Timestamp,
    meters: Meters,
    live: Live,
    desks: Sharded<Desk>,
    ring: Ring,
    failures: Failures,
    connections: AtomicI64,
}

/// An attempt at the upstream that is over.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSeen<'a> {
    /// The call it was made for.
    pub record: &'a Record,
    /// The id of the key it was made with.
    pub key: &'a Arc<str>,
    /// What it came to; a failure belongs among the errors.
    pub verdict: Verdict,
    /// The upstream's status, when it answered.
    pub status: Option<u16>,
    /// The upstream's words about a failure, already scrubbed.
    pub message: &'a str,
}

/// An open connection of a client's; it counts until it is dropped.
#[derive(Debug)]
pub struct Connection(Arc<Telemetry>);

impl Telemetry {
    /// Begins to count at `now`.
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            started: now,
            started_at: Timestamp::now(),
            meters: Meters::new(),
            live: Live::new(),
            desks: Sharded::new(Desk::new),
            ring: Ring::default(),
            failures: Failures::default(),
            connections: AtomicI64::new(0),
        })
    }

    /// A call begins: from here to [`Telemetry::finish`] it is listed among the live ones.
    pub fn open(&self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        self.live.enter(&record);
        record
    }

    /// A call is over: counts it and logs its line. A second time does nothing.
    pub fn finish(&self, record: &Record, now: Instant) {
        if !record.close() {
            return;
        }
        self.live.leave(record);
        let outcome = record.ended().unwrap_or(Outcome::ClientGone);
        let slice = self.slice(now);
        let mut desk = self.desks.mine().1;
        if desk.slice.0 != slice {
            self.seal(&mut desk, slice);
        }
        desk.finish(record, outcome, now, &self.meters);
        drop(desk);
        log::call(record, outcome, now);
    }

    /// An attempt is over: counts it, and keeps it among the last errors when it failed.
    pub fn attempt(&self, seen: AttemptSeen<'_>) {
        let model = seen.record.model_asked();
        self.desks.mine().1.attempt(seen.key, model, seen.verdict, &self.meters);
        if seen.verdict.is_failure() {
            self.failures.push(Failure {
                at: Timestamp::now(),
                request_id: seen.record.id_text().into(),
                key: Arc::clone(seen.key),
                model: cut(model.unwrap_or("")),
                class: seen.verdict.name(),
                status: seen.status,
                message: cut(seen.message),
            });
        }
    }

    /// A client's connection is open until the guard is dropped.
    pub fn connection(self: &Arc<Self>) -> Connection {
        self.connections.fetch_add(1, Relaxed);
        Connection(Arc::clone(self))
    }

    /// To be called every five seconds or so: without it the histograms grow without end.
    pub fn upkeep(&self) {
        self.meters.upkeep();
    }

    /// The metrics of calls in Prometheus' text form.
    pub fn render(&self) -> String {
        self.meters.render()
    }

    /// How the calls did that ended within the last `span`, at most five minutes, in steps of ten seconds.
    pub fn performance(&self, span: Duration, now: Instant) -> Performance {
        let slice = self.slice(now);
        for mut desk in self.desks.all() {
            self.seal(&mut desk, slice);
        }
        let up = now.saturating_duration_since(self.started);
        let slices = (span.as_secs() / SLICE.as_secs()).max(1);
        let from = (slice + 1).saturating_sub(slices);
        let covered = up.saturating_sub(SLICE * u32::try_from(from).unwrap_or(u32::MAX));
        Performance::of(&self.ring.sum(from, slice), covered)
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        Counts::of(self.desks.all())
    }

    /// Up to `limit` of the last failed attempts, the newest first.
    pub fn failures(&self, limit: usize) -> Vec<Failure> {
        self.failures.last(limit)
    }

    /// The streams that are open now, the oldest first.
    pub fn streams(&self) -> Vec<Arc<Record>> {
        let mut streams = self.live.list(Record::streaming);
        streams.sort_by_key(|record| record.opened());
        streams
    }

    /// How many streams are open now.
    pub fn streams_open(&self) -> u64 {
        self.live.count(Record::streaming)
    }

    /// How many calls are in flight now.
    pub fn in_flight(&self) -> u64 {
        self.live.in_flight()
    }

    /// How many connections of clients are open now.
    pub fn connections_open(&self) -> u64 {
        u64::try_from(self.connections.load(Relaxed)).unwrap_or(0)
    }

    /// When counting began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// How long ago counting began.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// The number of the slice of time that runs at `now`.
    fn slice(&self, now: Instant) -> u64 {
        self.uptime(now).as_secs() / SLICE.as_secs()
    }

    /// Moves what a desk counted in its slice to the ring, and lets it count in slice number `next`.
    fn seal(&self, desk: &mut Desk, next: u64) {
        let (slice, window) = &mut desk.slice;
        if !window.is_empty() {
            self.ring.add(*slice, window);
            window.clear();
        }
        *slice = next;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
