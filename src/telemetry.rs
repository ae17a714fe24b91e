//! What operators see of the calls: metrics, the last minutes' percentiles, who is served now, what failed lately.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::record::{Ended, Hedged, Outcome, Record, Trace};
use crate::verdict::Verdict;

use self::desk::Desk;
use self::errors::{Failures, cut};
use self::live::Live;
use self::meters::Meters;
use self::shard::Sharded;
use self::traces::Traces;
use self::windows::{Ring, SLICE};

pub use self::errors::Failure;
pub use self::summary::{AttemptCount, Counts, ModelSummary};
pub use self::windows::{Performance, Quantiles};

mod shard;
mod live;
mod windows;
mod errors;
pub mod traces;
mod tally;
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
}

impl Telemetry {
    /// Begins to count at `now`, and sends no traces.
    pub fn new(now: Instant) -> Arc<Self> {
        Self::tracing(now, None)
    }

    /// Begins to count at `now`.
    pub fn tracing(now: Instant, traces: Option<Traces>) -> Arc<Self> {
        let meters = Meters::new();
        Arc::new(Self {
            started: now,
            started_at: clock(),
            live: Live::new(),
            desks: Sharded::new(|| Desk::new(&meters)),
            meters,
            ring: Ring::default(),
            failures: Failures::default(),
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
        if let (Some(traces), Some(trace)) = (&self.traces, record.trace()) {
            traces.finish(record, trace, outcome, now);
        }
    }

    /// An attempt is over: counts it, and keeps it among the last errors when it failed.
    pub fn attempt(&self, seen: AttemptSeen<'_>) {
        let fallback = seen.record.fallback();
        let model = fallback.as_deref().or(seen.record.model_asked());
        if let Some(trace) = seen.record.trace() {
            trace.ended(seen.key, Ended { at: Instant::now(), verdict: seen.verdict, status: seen.status });
        }
        self.desks.mine().1.attempt(seen.key, model, seen.verdict, &self.meters);
        if seen.verdict.is_failure() {
            self.failures.push(Failure {
                at: clock(),
                request_id: seen.record.id_text().into(),
                key: Arc::clone(seen.key),
                model: cut(model.unwrap_or("")),
                class: seen.verdict.name(),
                status: seen.status,
                message: cut(seen.message),
            });
        }
    }

    /// A second attempt beside a slow one is over.
    pub fn hedged(&self, outcome: Hedged) {
        self.desks.mine().1.hedges[outcome.index()].count += 1;
    }

    /// To be called every five seconds or so: without it the histograms grow without end.
    pub fn upkeep(&self) {
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

/// The time of day in whole milliseconds, as reports show it.
pub fn clock() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};

    use super::*;

    fn call(telemetry: &Telemetry, now: Instant) -> Arc<Record> {
        let record = telemetry.open(Record::new(HeaderValue::from_static("r1"), Method::POST, now));
        record.model("gemini-x");
        record.attempt(&"1".into());
        record.head(200, false);
        record
    }

    #[test]
    fn performance_forgets_what_is_older_than_its_span() {
        let start = Instant::now();
        let telemetry = Telemetry::new(start);
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            telemetry.finish(&call(&telemetry, now), now + Duration::from_millis(100));
        }
        let now = start + Duration::from_mins(2);
        let minute = telemetry.performance(Duration::from_mins(1), now);
        // Five whole slices and the one that has just begun.
        assert_eq!((minute.requests, minute.success_ratio), (50, Some(1.0)));
        assert!((minute.requests_per_second - 1.0).abs() < 0.03, "{}", minute.requests_per_second);
        assert_eq!(telemetry.performance(Duration::from_mins(5), now).requests, 120);
        assert_eq!(telemetry.performance(Duration::from_mins(5), now + Duration::from_mins(10)).requests, 0);
    }

    #[test]
    fn threads_count_into_one_sum() {
        let telemetry = Telemetry::new(Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let record = call(&telemetry, Instant::now());
                        telemetry.finish(&record, Instant::now());
                        telemetry.finish(&record, Instant::now());
                    }
                });
            }
        });
        let counts = telemetry.counts();
        assert_eq!((counts.requests, counts.outcomes["ok"], telemetry.in_flight()), (4000, 4000, 0));
        assert_eq!(counts.models["gemini-x"].ok, 4000);
        assert!(telemetry.render().contains("} 4000"));
    }

    #[test]
    fn only_failed_attempts_are_among_the_errors() {
        let telemetry = Telemetry::new(Instant::now());
        let (record, key) = (call(&telemetry, Instant::now()), Arc::from("1"));
        for (verdict, status, message) in
            [(Verdict::Success, 200, ""), (Verdict::Overloaded, 503, "busy"), (Verdict::Caller, 400, "bad")]
        {
            let status = Some(status);
            telemetry.attempt(AttemptSeen { record: &record, key: &key, verdict, status, message });
        }
        let errors = telemetry.failures(10);
        assert_eq!((errors.len(), errors[0].class, &*errors[0].message), (1, "overloaded", "busy"));
        assert_eq!(telemetry.counts().failed_by(|attempt| &attempt.key), [("1", 1)].into());
    }
}
