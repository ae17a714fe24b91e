//! One call while it runs: what is known of it from its arrival to its last byte.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::Instant;

use crate::endpoint::{Action, Endpoint, Surface};
use crate::usage::Usage;

pub use self::hedged::Hedged;
pub use self::outcome::Outcome;
pub use self::remembered::Remembered;
pub use self::trace::{Ended, Parent, TRACEPARENT, TRACESTATE, Trace, Traced};

mod hedged;
mod outcome;
mod remembered;
mod trace;

/// One call, written by the layers it passes and read by whoever watches. Every setter may be called from any thread.
#[derive(Debug)]
pub struct Record {
    id: HeaderValue,
    method: Method,
    opened: Instant,
    asked: OnceLock<(Surface, Action)>,
    model: OnceLock<Box<str>>,
    client: OnceLock<Arc<str>>,
    rare: Mutex<Rare>,
    attempts: AtomicU32,
    status: AtomicU16,
    streaming: AtomicBool,
    closed: AtomicBool,
    /// Whether [`Rare::fallback`] is there, so that nobody takes the lock for nothing.
    fell_back: AtomicBool,
    /// Microseconds after `opened`; 0 is none yet.
    first_byte: AtomicU64,
    /// Microseconds after `opened`; 0 is none yet.
    last_chunk: AtomicU64,
    upstream: AtomicU64,
    waited: AtomicU64,
    bytes: AtomicU64,
    chunks: AtomicU64,
    seat: OnceLock<(usize, usize)>,
    remembered: OnceLock<Remembered>,
    /// Of a call that is traced.
    trace: Option<Box<Trace>>,
}

/// What is written a few times a call and is no number.
#[derive(Debug, Default)]
struct Rare {
    key: Option<Arc<str>>,
    fallback: Option<Arc<str>>,
    usage: Usage,
    outcome: Option<Outcome>,
}

impl Record {
    /// A call that arrived at `now`. `id` is what `x-request-id` says.
    pub fn new(id: HeaderValue, method: Method, now: Instant) -> Self {
        Self {
            id,
            method,
            opened: now,
            asked: OnceLock::new(),
            model: OnceLock::new(),
            client: OnceLock::new(),
            rare: Mutex::default(),
            attempts: AtomicU32::new(0),
            status: AtomicU16::new(0),
            streaming: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            fell_back: AtomicBool::new(false),
            first_byte: AtomicU64::new(0),
            last_chunk: AtomicU64::new(0),
            upstream: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            seat: OnceLock::new(),
            remembered: OnceLock::new(),
            trace: None,
        }
    }

    /// The same, traced.
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Self { trace: trace.map(Box::new), ..self }
    }

    /// What the call asks for. The first parse stands.
    pub fn endpoint(&self, endpoint: &Endpoint) {
        let _first_stands = self.asked.set((endpoint.surface, endpoint.action));
        if let Some(model) = &endpoint.model {
            self.model(model);
        }
    }

    /// The model, where the body names it and not the path. The first one stands.
    pub fn model(&self, name: &str) {
        if self.model.get().is_none() {
            let _first_stands = self.model.set(name.into());
        }
    }

    /// Another model is asked in the place of the one asked for; `None`: that one again. The last word stands.
    pub fn fall_back(&self, model: Option<&Arc<str>>) {
        self.rare().fallback = model.cloned();
        self.fell_back.store(model.is_some(), Relaxed);
    }

    /// Who calls.
    pub fn client(&self, id: &Arc<str>) {
        let _first_stands = self.client.set(Arc::clone(id));
    }

    /// Another attempt begins, on the key with this id.
    pub fn attempt(&self, key: &Arc<str>) {
        self.attempts.fetch_add(1, Relaxed);
        self.rare().key = Some(Arc::clone(key));
        if let Some(trace) = &self.trace {
            trace.began(key, self.fallback(), Instant::now());
        }
    }

    /// Of several attempts under way, that on the key with this id served.
    pub fn served_by(&self, key: &Arc<str>) {
        self.rare().key = Some(Arc::clone(key));
        if let Some(trace) = &self.trace {
            trace.served(key, Instant::now());
        }
    }

    /// Time spent waiting for the upstream until an attempt's first byte, or until the attempt failed.
    pub fn add_upstream(&self, spent: Duration) {
        self.upstream.fetch_add(micros(spent), Relaxed);
    }

    /// Time spent waiting that is not geminate's own work: for a place, for a key, for the client's body, between attempts.
    pub fn add_wait(&self, spent: Duration) {
        self.waited.fetch_add(micros(spent), Relaxed);
    }

    /// The status that goes to the client, and whether its body arrives piece by piece.
    pub fn head(&self, status: u16, streaming: bool) {
        self.status.store(status, Relaxed);
        self.streaming.store(streaming, Relaxed);
    }

    /// The first byte of the answer is there. The first call stands.
    pub fn first_byte(&self, now: Instant) {
        let _first_stands = self.first_byte.compare_exchange(0, self.since(now), Relaxed, Relaxed);
    }

    /// `len` bytes of the answer's body go to the client.
    pub fn chunk(&self, len: usize, now: Instant) {
        let at = self.since(now);
        if self.first_byte.load(Relaxed) == 0 {
            self.first_byte.store(at, Relaxed);
        }
        self.bytes.fetch_add(len as u64, Relaxed);
        self.chunks.fetch_add(1, Relaxed);
        self.last_chunk.store(at, Relaxed);
    }

    /// What the answer has cost so far. Google's counts are cumulative: the last one stands, until the record is closed.
    pub fn usage(&self, usage: Usage) {
        let mut rare = self.rare();
        // Under the lock that closes it: what stands after the close is what was counted.
        if !self.closed.load(Relaxed) {
            rare.usage = usage;
        }
    }

    /// Where the answer comes from, of a call that may be answered from memory. The first word stands.
    pub fn remembered(&self, remembered: Remembered) {
        let _first_stands = self.remembered.set(remembered);
    }

    /// How the call ended. The last word stands, until the record is closed.
    pub fn outcome(&self, outcome: Outcome) {
        if !self.closed.load(Relaxed) {
            self.rare().outcome = Some(outcome);
        }
    }

    /// As [`Record::outcome`], unless something was said before.
    pub fn outcome_unless_known(&self, outcome: Outcome) {
        self.rare().outcome.get_or_insert(outcome);
    }

    /// Ends the record and says whether this call was the one that did. Afterwards its outcome is known.
    pub fn close(&self) -> bool {
        let mut rare = self.rare();
        rare.outcome.get_or_insert(Outcome::of_status(self.status()));
        !self.closed.swap(true, Relaxed)
    }

    /// Where its trace is written, of a call that is traced.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// The call's id, as the client sees it.
    pub fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// [`Record::id`] as text: it is visible ASCII.
    pub fn id_text(&self) -> &str {
        self.id.to_str().unwrap_or("")
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// When the request's head was read.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Surface and operation; Gemini's "other" for a target that did not parse.
    pub fn asked(&self) -> (Surface, Action) {
        self.asked.get().copied().unwrap_or((Surface::Gemini, Action::Other))
    }

    /// The model asked for, as the client wrote it.
    pub fn model_asked(&self) -> Option<&str> {
        self.model.get().map(AsRef::as_ref)
    }

    /// The model that is asked in the place of the one asked for, if one is.
    pub fn fallback(&self) -> Option<Arc<str>> {
        if self.fell_back.load(Relaxed) { self.rare().fallback.clone() } else { None }
    }

    /// The client's id, once it is authenticated.
    pub fn client_id(&self) -> Option<&Arc<str>> {
        self.client.get()
    }

    /// The id of the key of the last attempt, or of the one that served.
    pub fn key(&self) -> Option<Arc<str>> {
        self.rare().key.clone()
    }

    /// Attempts begun.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Relaxed)
    }

    /// The status that went to the client; 0 before the head.
    pub fn status(&self) -> u16 {
        self.status.load(Relaxed)
    }

    /// Whether the answer arrives piece by piece.
    pub fn streaming(&self) -> bool {
        self.streaming.load(Relaxed)
    }

    /// Bytes of the answer's body so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Pieces of the answer's body so far.
    pub fn chunks(&self) -> u64 {
        self.chunks.load(Relaxed)
    }

    /// Tokens reported so far.
    pub fn used(&self) -> Usage {
        self.rare().usage
    }

    /// How the call ended, when that is known.
    pub fn ended(&self) -> Option<Outcome> {
        self.rare().outcome
    }

    /// Time from arrival to the answer's first byte.
    pub fn time_to_first_byte(&self) -> Option<Duration> {
        match self.first_byte.load(Relaxed) {
            0 => None,
            at => Some(Duration::from_micros(at)),
        }
    }

    /// Time since the last piece of the answer, or since arrival when there was none.
    pub fn idle(&self, now: Instant) -> Duration {
        Duration::from_micros(self.since(now).saturating_sub(self.last_chunk.load(Relaxed)))
    }

    /// Geminate's own share of the time to the first byte: without the upstream's and without waits. `None` before it.
    pub fn overhead(&self) -> Option<Duration> {
        let others = Duration::from_micros(self.upstream.load(Relaxed) + self.waited.load(Relaxed));
        self.time_to_first_byte().map(|total| total.saturating_sub(others))
    }

    /// Time spent waiting that was not geminate's own work.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Relaxed))
    }

    /// Where the answer comes from; `None` of a call that nobody looked up.
    pub fn source(&self) -> Option<Remembered> {
        self.remembered.get().copied()
    }

    /// Where the list of live calls keeps this one: shard and place. `None` when it does not.
    pub fn seat(&self) -> Option<(usize, usize)> {
        self.seat.get().copied()
    }

    /// Notes where the list of live calls keeps this one. The first place stands.
    pub fn sit(&self, shard: usize, place: usize) {
        let _first_stands = self.seat.set((shard, place));
    }

    /// Microseconds since arrival, never 0.
    fn since(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.opened)).max(1)
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        // Nothing in there can be half written.
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(spent: Duration) -> u64 {
    u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(now: Instant) -> Record {
        Record::new(HeaderValue::from_static("r1"), Method::POST, now)
    }

    #[test]
    fn overhead_is_the_time_that_nobody_else_took() {
        let start = Instant::now();
        let record = record(start);
        assert_eq!(record.overhead(), None);
        record.add_wait(Duration::from_millis(30));
        record.add_upstream(Duration::from_millis(60));
        record.chunk(10, start + Duration::from_millis(91));
        record.chunk(10, start + Duration::from_millis(500));
        assert_eq!(record.overhead(), Some(Duration::from_millis(1)));
        assert_eq!(record.time_to_first_byte(), Some(Duration::from_millis(91)));
        assert_eq!(record.idle(start + Duration::from_millis(700)), Duration::from_millis(200));
        assert_eq!((record.bytes(), record.chunks()), (20, 2));
    }

    #[test]
    fn a_closed_record_keeps_its_outcome() {
        let record = record(Instant::now());
        record.head(200, true);
        record.outcome(Outcome::StreamBroken);
        record.outcome_unless_known(Outcome::ClientGone);
        assert!(record.close());
        record.outcome(Outcome::Ok);
        assert!(!record.close());
        assert_eq!(record.ended(), Some(Outcome::StreamBroken));
    }

    #[test]
    fn what_is_told_after_the_close_is_not_counted() {
        let record = record(Instant::now());
        record.usage(Usage { prompt_tokens: 7, ..Usage::default() });
        assert!(record.close());
        record.usage(Usage { prompt_tokens: 9, ..Usage::default() });
        assert_eq!(record.used().prompt_tokens, 7);
    }

    #[test]
    fn an_outcome_nobody_named_follows_the_status() {
        for (status, outcome) in [(200, Outcome::Ok), (404, Outcome::CallerError), (502, Outcome::UpstreamError)] {
            let record = record(Instant::now());
            record.head(status, false);
            record.close();
            assert_eq!(record.ended(), Some(outcome));
        }
    }
}
