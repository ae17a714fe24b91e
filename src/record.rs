//! One call while it runs: what is known of it from its arrival to its last byte.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::Instant;

use crate::endpoint::{Action, Endpoint, Surface};
use crate::usage::Usage;

use self::cancel::Cancel;
use self::progress::Progress;
use self::rare::Rare;
use self::times::{Times, micros};

pub use self::cancel::Ender;
pub use self::closed::Closed;
pub use self::did::{Did, Fate};
pub use self::hedged::Hedged;
pub use self::outcome::Outcome;
pub use self::remembered::Remembered;
pub use self::trace::{Ended, Parent, TRACEPARENT, TRACESTATE, Trace, Traced};
pub use self::tries::{Try, TryOver};

mod hedged;
mod outcome;
mod remembered;
mod closed;
mod did;
mod tries;
mod cancel;
mod trace;
mod times;
mod progress;
mod cost;
mod rare;
#[cfg(test)]
mod tests;

/// One call, written by the layers it passes and read by whoever watches. Every setter may be called from any thread.
#[derive(Debug)]
pub struct Record {
    id: HeaderValue,
    method: Method,
    times: Times,
    asked: OnceLock<(Surface, Action)>,
    model: OnceLock<Box<str>>,
    client: OnceLock<Arc<str>>,
    rare: Mutex<Rare>,
    progress: Progress,
    seat: OnceLock<(usize, usize)>,
    remembered: OnceLock<Remembered>,
    cancel: Cancel,
    /// Of a call that is traced.
    trace: Option<Box<Trace>>,
}

impl Record {
    /// A call that arrived at `now`. `id` is what `x-request-id` says.
    pub fn new(id: HeaderValue, method: Method, now: Instant) -> Self {
        Self {
            id,
            method,
            times: Times::new(now),
            asked: OnceLock::new(),
            model: OnceLock::new(),
            client: OnceLock::new(),
            rare: Mutex::default(),
            progress: Progress::default(),
            seat: OnceLock::new(),
            remembered: OnceLock::new(),
            cancel: Cancel::default(),
            trace: None,
        }
    }

    /// The same, traced.
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Self { trace: trace.map(Box::new), ..self }
    }

    /// Which operation of which surface the call asks for. The first word stands.
    pub fn asks(&self, surface: Surface, action: Action) {
        self.asked.get_or_init(|| (surface, action));
    }

    /// What the call asks for. The first parse stands.
    pub fn endpoint(&self, endpoint: &Endpoint) {
        self.asks(endpoint.surface, endpoint.action);
        endpoint.model.iter().for_each(|model| self.model(model));
    }

    /// The model, where the body names it and not the path. The first one stands.
    pub fn model(&self, name: &str) {
        self.model.get_or_init(|| name.into());
    }

    /// Another model is asked in the place of the one asked for; `None`: that one again. The last word stands.
    pub fn fall_back(&self, model: Option<&Arc<str>>) {
        let mut rare = self.rare();
        if rare.fallback.as_ref() != model {
            rare.tries.fell_back();
            rare.fallback = model.cloned();
        }
        self.progress.fell_back.store(model.is_some(), Relaxed);
    }

    /// Who calls.
    pub fn client(&self, id: &Arc<str>) {
        let _first_stands = self.client.set(Arc::clone(id));
    }

    /// Another attempt begins, on the key with this id: the time is the upstream's until [`Record::answered`].
    pub fn attempt(&self, key: &Arc<str>, now: Instant) {
        self.progress.attempts.fetch_add(1, Relaxed);
        self.times.ask(now);
        let mut rare = self.rare();
        // What is made for others when this call is over is none of its story.
        if !self.times.is_closed() {
            rare.tries.begin(key, self.times.since(now));
        }
        drop(rare);
        self.trace.iter().for_each(|trace| trace.began(key, self.fallback(), now));
    }

    /// An attempt has its first byte, or will have none.
    pub fn answered(&self, now: Instant) {
        self.times.answered(now);
    }

    /// An attempt is over. Where what was done about it will be found, if it failed.
    pub fn attempt_over(&self, over: &TryOver<'_>, now: Instant) -> Option<Arc<Fate>> {
        if let Some(trace) = &self.trace {
            trace.ended(over.key, Ended { at: now, verdict: over.verdict, status: over.status });
        }
        self.rare().tries.end(over, self.times.since(now))
    }

    /// Of several attempts under way, that on the key with this id served; the others are given up.
    pub fn served_by(&self, key: &Arc<str>, now: Instant) {
        self.rare().tries.served(key, self.times.since(now));
        self.trace.iter().for_each(|trace| trace.served(key, now));
    }

    /// A pause is made before the next attempt.
    pub fn add_pause(&self, pause: Duration) {
        self.add_wait(pause);
        self.rare().tries.paused(micros(pause));
    }

    /// Time spent waiting in line for a key, for the next attempt.
    pub fn add_wait_for_key(&self, spent: Duration) {
        self.add_wait(spent);
        self.rare().tries.waited(micros(spent));
    }

    /// Time spent waiting for the upstream beyond an attempt's first byte, before anything goes on.
    pub fn add_upstream(&self, spent: Duration) {
        self.times.add_upstream(spent);
    }

    /// Time spent waiting for a place or the client's body. Waits for a key and pauses have words of their own.
    pub fn add_wait(&self, spent: Duration) {
        self.times.add_wait(spent);
    }

    /// The status that goes to the client, and whether its body arrives piece by piece.
    pub fn head(&self, status: u16, streaming: bool) {
        self.progress.status.store(status, Relaxed);
        self.progress.streaming.store(streaming, Relaxed);
    }

    /// The first byte of the answer is there. The first call stands.
    pub fn first_byte(&self, now: Instant) {
        self.times.first_byte(now);
    }

    /// `len` bytes of the answer's body go to the client.
    pub fn chunk(&self, len: usize, now: Instant) {
        self.times.chunk(now);
        self.progress.bytes.fetch_add(len as u64, Relaxed);
        self.progress.chunks.fetch_add(1, Relaxed);
    }

    /// What the answer has cost so far. Google's counts are cumulative: the last one stands.
    pub fn usage(&self, usage: Usage) {
        self.rare().cost.answer(usage);
    }

    /// What an answer has cost that was put aside for another attempt's.
    pub fn usage_aside(&self, usage: Usage) {
        self.rare().cost.aside(usage);
    }

    /// Where the answer comes from, of a call that may be answered from memory. The first word stands.
    pub fn remembered(&self, remembered: Remembered) {
        let _first_stands = self.remembered.set(remembered);
    }

    /// How the call ended. The last word stands, until the record is closed.
    pub fn outcome(&self, outcome: Outcome) {
        if !self.times.is_closed() {
            self.rare().outcome = Some(outcome);
        }
    }

    /// As [`Record::outcome`], unless something was said before.
    pub fn outcome_unless_known(&self, outcome: Outcome) {
        self.rare().outcome.get_or_insert(outcome);
    }

    /// Ends the record; `None` if it was closed before.
    pub fn close(&self, now: Instant) -> Option<Closed> {
        let mut rare = self.rare();
        let at = self.times.close(now)?;
        let outcome = *rare.outcome.get_or_insert(Outcome::of_status(self.status()));
        self.progress.status.store(outcome.status(self.status()), Relaxed);
        rare.tries.close(outcome, at);
        let (usage, of_tries) = (rare.cost.close(), rare.tries.bytes());
        drop(rare);
        self.cancel.forget();
        let texts = self.id.len() + self.model_asked().map_or(0, str::len);
        let of_tries = of_tries + self.trace.as_ref().map_or(0, |trace| trace.bytes());
        Some(Closed { outcome, usage, bytes: size_of::<Self>() + texts + of_tries })
    }

    /// The call is to end: whoever serves it is told. The first word stands.
    pub fn cancel(&self, ender: Ender) {
        self.cancel.ask(ender);
    }

    /// Who wants the call to end, if anybody does.
    pub fn cancelled(&self) -> Option<Ender> {
        self.cancel.asked()
    }

    /// The same; if nobody does yet, the task is woken when somebody will. Of several tasks the last one is.
    pub fn poll_cancelled(&self, cx: &Context<'_>) -> Option<Ender> {
        self.cancel.poll(cx)
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
        self.times.opened
    }

    /// Surface and operation; Gemini's "other" until they are known.
    pub fn asked(&self) -> (Surface, Action) {
        self.asked.get().copied().unwrap_or((Surface::Gemini, Action::Other))
    }

    /// The model asked for, as the client wrote it.
    pub fn model_asked(&self) -> Option<&str> {
        self.model.get().map(AsRef::as_ref)
    }

    /// The model that is asked in the place of the one asked for, if one is.
    pub fn fallback(&self) -> Option<Arc<str>> {
        if self.progress.fell_back.load(Relaxed) { self.rare().fallback.clone() } else { None }
    }

    /// The client's id, once it is authenticated.
    pub fn client_id(&self) -> Option<&Arc<str>> {
        self.client.get()
    }

    /// The id of the key of the last attempt, or of the one that served.
    pub fn key(&self) -> Option<Arc<str>> {
        self.rare().tries.key().cloned()
    }

    /// Whether an attempt was made with the key with this id.
    pub fn asked_key(&self, id: &str) -> bool {
        self.rare().tries.any_with(id)
    }

    /// The attempts, in order; of very many the first ones and the last one.
    pub fn tries(&self) -> Vec<Try> {
        self.rare().tries.shown()
    }

    /// Attempts begun.
    pub fn attempts(&self) -> u32 {
        self.progress.attempts.load(Relaxed)
    }

    /// The status that went to the client; 0 before the head, and 499 where it did not wait for one.
    pub fn status(&self) -> u16 {
        self.progress.status.load(Relaxed)
    }

    /// Whether the answer arrives piece by piece.
    pub fn streaming(&self) -> bool {
        self.progress.streaming.load(Relaxed)
    }

    /// Bytes of the answer's body so far.
    pub fn bytes(&self) -> u64 {
        self.progress.bytes.load(Relaxed)
    }

    /// Pieces of the answer's body so far.
    pub fn chunks(&self) -> u64 {
        self.progress.chunks.load(Relaxed)
    }

    /// Tokens reported so far, until the record was closed.
    pub fn used(&self) -> Usage {
        self.rare().cost.counted()
    }

    /// Tokens reported after that.
    pub fn used_later(&self) -> Usage {
        self.rare().cost.uncounted()
    }

    /// How the call ended, when that is known.
    pub fn ended(&self) -> Option<Outcome> {
        self.rare().outcome
    }

    /// Time from arrival to the answer's first byte.
    pub fn time_to_first_byte(&self) -> Option<Duration> {
        self.times.to_first_byte()
    }

    /// Time from arrival to the end, once it is over.
    pub fn total(&self) -> Option<Duration> {
        self.times.to_end()
    }

    /// Time spent waiting for the upstream until an attempt's first byte, or until the attempt failed or was given up.
    pub fn upstream(&self) -> Duration {
        self.times.upstream()
    }

    /// Time spent waiting that is not geminate's own work: for a place, a key, the client's body, and between attempts.
    pub fn waited(&self) -> Duration {
        self.times.waited()
    }

    /// Time since the last piece of the answer, or since arrival when there was none.
    pub fn idle(&self, now: Instant) -> Duration {
        self.times.idle(now)
    }

    /// Geminate's own share of the time to the first byte: without the upstream's and without waits. `None` before it.
    pub fn overhead(&self) -> Option<Duration> {
        let others = self.upstream() + self.waited();
        self.time_to_first_byte().map(|total| total.saturating_sub(others))
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

    fn rare(&self) -> MutexGuard<'_, Rare> {
        // Nothing in there can be half written.
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
