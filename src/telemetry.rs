//! What operators see of the calls: metrics, the last minutes' percentiles, who is served now, what failed lately.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::record::{Ender, Hedged, Record, Trace, TryOver};
use crate::usage::Usage;
use crate::verdict::Verdict;

use self::columns::Gauges;
use self::desk::Desk;
use self::errors::{Failures, cut};
use self::history::History;
use self::live::Live;
use self::meters::Meters;
use self::shard::Sharded;
use self::traces::Traces;
use self::wall::Wall;
use self::windows::{Ring, SLICE};

pub use self::columns::Points;
pub use self::errors::{ErrorSeries, Failure};
pub use self::filter::{Filter, statuses};
pub use self::history::{Memory, Series, Span};
pub use self::request::{Recent, Request};
pub use self::summary::{AttemptCount, Counts, ModelSummary};
pub use self::waste::Waste;
pub use self::windows::{Performance, Quantiles};

mod shard;
mod live;
mod windows;
mod columns;
mod history;
mod errors;
mod wall;
mod shelf;
mod filter;
mod request;
pub mod traces;
mod tally;
mod meters;
mod waste;
mod desk;
mod summary;
pub mod log;
pub mod process;
pub mod profile;
#[cfg(test)]
mod tests;

/// Made once, shared by all. On a call's path it takes locks that no other thread wants, and nothing else.
#[derive(Debug)]
pub struct Telemetry {
    started: Instant,
    started_at: Timestamp,
    wall: Wall,
    meters: Meters,
    live: Live,
    desks: Sharded<Desk>,
    ring: Ring,
    failures: Failures,
    history: History,
    traces: Option<Traces>,
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
    /// When it was over.
    pub now: Instant,
}

impl Telemetry {
    /// Begins to count at `now`, and sends no traces.
    pub fn new(now: Instant) -> Arc<Self> {
        Self::tracing(now, None)
    }

    /// Begins to count at `now`.
    pub fn tracing(now: Instant, traces: Option<Traces>) -> Arc<Self> {
        let meters = Meters::new();
        let started_at = clock();
        Arc::new(Self {
            started: now,
            started_at,
            wall: Wall::new(now, started_at),
            live: Live::new(),
            desks: Sharded::new(|| Desk::new(&meters)),
            meters,
            ring: Ring::default(),
            failures: Failures::default(),
            history: History::default(),
            traces,
        })
    }

    /// The trace of a call whose request has these headers; `None`: it is not traced.
    pub fn trace(&self, headers: &HeaderMap) -> Option<Trace> {
        self.traces.as_ref()?.begin(headers)
    }

    /// A call begins: from here to [`Telemetry::finish`] it is listed among the live ones.
    pub fn open(&self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        self.live.enter(&record);
        record
    }

    /// A call is over: counts it, keeps it among the recent ones and logs its line. A second time does nothing.
    pub fn finish(&self, record: &Arc<Record>, now: Instant) {
        let Some(closed) = record.close(now) else { return };
        self.live.leave(record);
        let slice = self.slice(now);
        let mut desk = self.desks.mine().1;
        if desk.slice.0 != slice {
            self.seal(&mut desk, slice);
        }
        desk.finish(record, closed, now, &self.meters);
        let room = self.desks.len();
        let gone = desk.shelf.push(record, closed.bytes, room);
        drop(desk);
        // The oldest is let go when nobody is kept waiting.
        drop(gone);
        log::call(record, closed.outcome, now);
        if let (Some(traces), Some(trace)) = (&self.traces, record.trace()) {
            traces.finish(record, trace, closed.outcome, now);
        }
    }

    /// An attempt is over: counts it, and keeps it among the last errors when it failed.
    pub fn attempt(&self, seen: AttemptSeen<'_>) {
        let AttemptSeen { record, key, verdict, status, message, now } = seen;
        let fallback = record.fallback();
        let model = fallback.as_deref().or(record.model_asked());
        self.desks.mine().1.attempt(key, model, verdict, &self.meters);
        let message: Option<Arc<str>> = verdict.is_failure().then(|| cut(message).into());
        let fate = record.attempt_over(&TryOver { key, verdict, status, message: message.as_ref() }, now);
        if let (Some(message), Some(fate)) = (message, fate) {
            let failure = Failure {
                at: clock(),
                request_id: record.id_text().into(),
                key: Arc::clone(key),
                model: cut(model.unwrap_or("")).into(),
                class: verdict.name(),
                status,
                message,
                did: None,
            };
            self.failures.push(failure, verdict, fate);
        }
    }

    /// A second attempt beside a slow one is over.
    pub fn hedged(&self, outcome: Hedged) {
        self.desks.mine().1.hedges[outcome.index()].count += 1;
    }

    /// To be called every five seconds or so: without it the histograms grow without end.
    pub fn upkeep(&self) {
        let (now, wall) = (Instant::now(), clock());
        self.wall.look(now, wall);
        self.history.see(Gauges { in_flight: self.in_flight(), streams: self.streams_open() });
        self.note_history(self.seal_all(now));
        self.failures.refused(&self.refusals(), wall);
        self.flush();
        self.meters.upkeep();
    }

    /// The metrics of calls in Prometheus' text form.
    pub fn render(&self) -> String {
        self.flush();
        self.meters.render()
    }

    /// How the calls did that ended within the last `span`, at most five minutes, in steps of ten seconds.
    pub fn performance(&self, span: Duration, now: Instant) -> Performance {
        let slice = self.seal_all(now);
        let up = now.saturating_duration_since(self.started);
        let slices = (span.as_secs() / SLICE.as_secs()).max(1);
        let from = (slice + 1).saturating_sub(slices);
        let covered = up.saturating_sub(SLICE * u32::try_from(from).unwrap_or(u32::MAX));
        Performance::of(&self.ring.sum(from, slice), covered)
    }

    /// What was counted in each step of the last hour or day, as far as the steps are over.
    pub fn series(&self, span: Span, now: Instant) -> Series {
        self.note_history(self.seal_all(now));
        self.history.series(span, self.wall.at(now))
    }

    /// What the next run should know of the last day; where this one is at its `end`, with the slice that runs.
    pub fn history_memory(&self, end: Option<Instant>) -> Memory {
        end.into_iter().for_each(|now| self.note_history(self.seal_all(now) + 1));
        self.history.memory()
    }

    /// Goes on from what an earlier run left.
    pub fn recall_history(&self, memory: &Memory) {
        self.history.recall(memory, clock());
    }

    /// Failed attempts and refusals by minute of the last hour.
    pub fn error_series(&self) -> ErrorSeries {
        let wall = clock();
        self.failures.refused(&self.refusals(), wall);
        self.failures.series(wall)
    }

    /// What came to nothing since the start. Looks at no key and no model.
    pub fn waste(&self) -> Waste {
        Waste::sum(self.desks.all().map(|desk| desk.waste))
    }

    /// Tokens of all models since the start. Looks at no key.
    pub fn tokens(&self) -> Usage {
        let mut sum = Usage::default();
        for desk in self.desks.all() {
            desk.models.iter().for_each(|model| sum += model.usage());
        }
        sum
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        Counts::of(self.desks.all())
    }

    /// Up to `limit` of the last failed attempts, the newest first.
    pub fn failures(&self, limit: usize) -> Vec<Failure> {
        self.failures.last(limit)
    }

    /// The calls that run now, the oldest first.
    pub fn calls(&self) -> Vec<Arc<Record>> {
        let mut calls = self.live.list(|_| true);
        calls.sort_by_key(|record| record.opened());
        calls
    }

    /// The calls that ended lately and that `filter` lets through, the newest first.
    pub fn recent(&self, filter: &Filter, now: Instant) -> Recent {
        let mut found = Vec::new();
        for desk in self.desks.all() {
            found.extend(desk.shelf.iter().filter(|record| filter.takes(record)).cloned());
        }
        let total = found.len();
        if let Some(before) = filter.before.as_deref() {
            match (self.record(before), before.parse::<Timestamp>()) {
                (Some(mark), _) => found.retain(|record| age(record) < age(&mark)),
                (None, Ok(time)) => found.retain(|record| self.arrived_at(record) < time),
                (None, Err(_)) => found.clear(),
            }
        }
        found.sort_unstable_by(|one, other| age(other).cmp(&age(one)));
        let shown = found.iter().take(filter.limit).map(|record| self.shown(record, now));
        Recent { total, requests: shown.collect() }
    }

    /// The call with this id: one that runs, or the last that ended lately.
    pub fn find(&self, id: &str, now: Instant) -> Option<Request> {
        self.record(id).map(|record| self.shown(&record, now))
    }

    /// Ends the calls under way that have this id; whether there are any. One that a client gives up or that is answered
    /// in the same moment may end in that way.
    pub fn cancel(&self, id: &str) -> bool {
        self.live.end(Ender::Operator, |record| record.id_text() == id) > 0
    }

    /// The drain's time is over: ends the calls under way, and whichever still come; how many were under way.
    pub fn drain(&self) -> usize {
        self.live.close()
    }

    /// The label of a model: once it answered, or at once where something else than a client's word says that it `exists`.
    pub fn model_label(&self, name: &str, exists: bool) -> Option<Arc<str>> {
        if exists { self.meters.admit_model(name) } else { self.meters.model(name) }
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

    /// When counting began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// How long ago counting began.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn record(&self, id: &str) -> Option<Arc<Record>> {
        let newest = |found: Vec<Arc<Record>>| found.into_iter().max_by_key(|record| record.opened());
        newest(self.live.list(|record| record.id_text() == id)).or_else(|| {
            let kept = |desk: MutexGuard<'_, Desk>| desk.shelf.iter().rfind(|record| record.id_text() == id).cloned();
            newest(self.desks.all().filter_map(kept).collect())
        })
    }

    fn shown(&self, record: &Record, now: Instant) -> Request {
        Request::of(record, self.arrived_at(record), now)
    }

    /// The time of day at which a call arrived.
    fn arrived_at(&self, record: &Record) -> Timestamp {
        self.wall.at(record.opened())
    }

    /// Tells the metrics what the desks have counted.
    fn flush(&self) {
        self.desks.all().for_each(|mut desk| desk.flush());
        if let Some(traces) = &self.traces {
            self.meters.spans(traces.spans());
        }
    }

    /// The number of the slice of time that runs at `now`.
    fn slice(&self, now: Instant) -> u64 {
        self.uptime(now).as_secs() / SLICE.as_secs()
    }

    /// Refusals by reason since the start.
    fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut sum = BTreeMap::new();
        for desk in self.desks.all() {
            desk.refusals.iter().for_each(|tally| *sum.entry(tally.name).or_default() += tally.count);
        }
        sum
    }

    /// Takes the slices before `current` into the history.
    fn note_history(&self, current: u64) {
        let began = |slice: u64| {
            let since = SLICE.saturating_mul(u32::try_from(slice).unwrap_or(u32::MAX));
            self.wall.at(self.started + since)
        };
        self.history.take(&self.ring, current, began);
    }

    /// Moves what all desks counted to the ring; the number of the slice that runs.
    fn seal_all(&self, now: Instant) -> u64 {
        let slice = self.slice(now);
        for mut desk in self.desks.all() {
            self.seal(&mut desk, slice);
        }
        slice
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

/// By which calls are put in order: the later it arrived, the larger.
fn age(record: &Record) -> (Instant, &str) {
    (record.opened(), record.id_text())
}

/// The time of day in whole milliseconds, as reports show it.
pub fn clock() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
