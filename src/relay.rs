//! The relay: an answer's body on its way from the upstream to the client, byte for byte.
//!
//! It reads along without touching what it reads, keeps the time between chunks, holds what the call holds to the last
//! byte, and gives the verdict of its attempt back when it ends or is dropped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::Error;
use crate::record::Ender;
use crate::upstream::{CUT_SHORT, causes, cut_short};

mod line;
mod watch;

pub use line::Line;
pub use watch::{Ending, Eyes, Watch};

/// An answer's body. Dropped before its end, it aborts the upstream at once. In a box, so that the layers move a pointer.
#[derive(Debug, Default)]
pub struct Relay(Box<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// Passed once already and put back: it goes out first, unseen by the watch.
    passed: VecDeque<Bytes>,
    /// Read already: the beginning of a stream, or the whole of an answer in memory.
    held: VecDeque<Bytes>,
    upstream: Option<reqwest::Body>,
    watch: Option<Box<Watch>>,
    /// Whether it goes to the client of its call, so that the word to end the call ends it.
    goes_down: bool,
    pace: Option<Pace>,
    place: Option<OwnedSemaphorePermit>,
}

/// The time between chunks.
#[derive(Debug)]
struct Pace {
    idle: Duration,
    heartbeat: Option<Duration>,
    last_chunk: Instant,
    last_sent: Instant,
    /// Made at the first wait: most answers never wait.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    /// A stream of which `held` was read ahead; `watch` sees every byte once.
    pub fn stream(held: VecDeque<Bytes>, upstream: reqwest::Body, watch: Box<Watch>) -> Self {
        let mut parts = Parts { held, upstream: Some(upstream), watch: Some(watch), ..Parts::default() };
        if parts.is_spent() {
            // Nobody asks an answer without a body for its end, as to a HEAD: nothing is withheld, so nothing is lost.
            let _ = parts.end(&Ending::Whole);
        }
        Self(Box::new(parts))
    }

    /// Fails with [`Error::StreamBroken`] after `idle` without a byte. With `heartbeat`, an empty event is sent after
    /// that long a silence, between frames only. What is in memory as a whole is never waited for.
    pub fn keep_pace(&mut self, idle: Duration, heartbeat: Option<Duration>) {
        if self.0.upstream.is_some() {
            let now = Instant::now();
            self.0.pace = Some(Pace { idle, heartbeat, last_chunk: now, last_sent: now, alarm: None });
        }
    }

    /// Holds a place until the last byte.
    pub fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.0.place = Some(place);
    }

    /// It goes to the client of its call now: the operator or the drain may end it from here on. An answer that is read on
    /// the way may be for others too.
    pub fn goes_down(&mut self) {
        self.0.goes_down = true;
    }

    /// Puts chunks back that were taken before the end: they go out again, before the rest.
    pub fn put_back(&mut self, chunks: VecDeque<Bytes>) {
        self.0.passed = chunks;
    }
}

impl Parts {
    fn next_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        if let Some(chunk) = self.held.pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
        loop {
            match ready!(Pin::new(&mut *upstream).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    // Trailers: Google sends none that a client reads.
                    Err(_) => {}
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(causes(&error)))),
                None if cut_short(upstream) => return Poll::Ready(Some(Err(CUT_SHORT.to_owned()))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Who ends it now; what was read already goes out before.
    fn cancelled(&self, cx: Option<&Context<'_>>) -> Option<Ender> {
        let watch = self.watch.as_ref().filter(|_| self.goes_down && self.held.is_empty())?;
        match cx {
            Some(cx) => watch.record.poll_cancelled(cx),
            None => watch.record.cancelled(),
        }
    }

    /// Whether the upstream has given all its head promised: nobody may ask for more, so the end is now.
    fn is_spent(&self) -> bool {
        self.held.is_empty() && self.upstream.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The end in order, with the last bytes.
    fn end_with(&mut self, last: Bytes) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.end(&Ending::Whole) {
            Poll::Ready(None) if last.is_empty() => Poll::Ready(None),
            Poll::Ready(None) => Poll::Ready(Some(Ok(Frame::data(last)))),
            Poll::Ready(Some(Ok(rest))) if !last.is_empty() => {
                let rest = rest.into_data().unwrap_or_default();
                Poll::Ready(Some(Ok(Frame::data(Bytes::from([last, rest].concat())))))
            }
            rest => rest,
        }
    }

    /// The end: what was withheld goes out, a broken stream gets its last frame, everything held is let go.
    fn end(&mut self, ending: &Ending) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.upstream = None;
        self.pace = None;
        self.place = None;
        let Some(mut watch) = self.watch.take() else { return Poll::Ready(None) };
        match watch.end(ending) {
            Ok(rest) if rest.is_empty() => Poll::Ready(None),
            Ok(rest) => Poll::Ready(Some(Ok(Frame::data(rest)))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self.get_mut().0;
        if let Some(chunk) = this.passed.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(ender) = this.cancelled(None) {
            return this.end(&Ending::Cancelled(ender));
        }
        loop {
            let Poll::Ready(next) = this.next_chunk(cx) else {
                if let Some(ender) = this.cancelled(Some(cx)) {
                    return this.end(&Ending::Cancelled(ender));
                }
                let waited = this.pace.as_mut().map_or(Poll::Pending, |pace| pace.poll_wait(cx));
                match ready!(waited) {
                    Wait::Idle => return this.end(&Ending::Idle),
                    Wait::Heartbeat => match this.watch.as_ref().and_then(|watch| watch.heartbeat()) {
                        Some(event) => return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(event.as_bytes()))))),
                        None => continue,
                    },
                }
            };
            match next {
                Some(Ok(chunk)) => {
                    let passed = match &mut this.watch {
                        Some(watch) => watch.pass(chunk),
                        None => chunk,
                    };
                    if this.is_spent() {
                        return this.end_with(passed);
                    }
                    if let Some(pace) = &mut this.pace {
                        pace.last_chunk = Instant::now();
                        pace.last_sent = pace.last_chunk;
                    }
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(passed))));
                    }
                }
                Some(Err(why)) => return this.end(&Ending::Broken(why)),
                None => return this.end(&Ending::Whole),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Parts { passed, held, upstream, watch, .. } = &*self.0;
        passed.is_empty() && held.is_empty() && upstream.is_none() && watch.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let Parts { passed, held, upstream, .. } = &*self.0;
        let held: u64 = passed.iter().chain(held).map(|chunk| chunk.len() as u64).sum();
        match upstream {
            None => SizeHint::with_exact(held),
            Some(_) => SizeHint::new(),
        }
    }
}

impl From<Bytes> for Relay {
    fn from(bytes: Bytes) -> Self {
        let held = if bytes.is_empty() { VecDeque::new() } else { [bytes].into() };
        Self(Box::new(Parts { held, ..Parts::default() }))
    }
}

enum Wait {
    Idle,
    Heartbeat,
}

impl Pace {
    /// What the silence has come to; [`Poll::Pending`] while it is short.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        loop {
            let idle_at = self.last_chunk + self.idle;
            let beat_at = self.heartbeat.map(|every| self.last_sent + every);
            let due = beat_at.map_or(idle_at, |at| at.min(idle_at));
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // Chunks only note the time; the alarm is moved when it rings early, not with every chunk.
            ready!(alarm.as_mut().poll(cx));
            let now = Instant::now();
            if now >= idle_at {
                return Poll::Ready(Wait::Idle);
            }
            if beat_at.is_some_and(|at| now >= at) {
                self.last_sent = now;
                alarm.as_mut().reset(now + self.heartbeat.unwrap_or(self.idle));
                return Poll::Ready(Wait::Heartbeat);
            }
            alarm.as_mut().reset(due);
        }
    }
}
