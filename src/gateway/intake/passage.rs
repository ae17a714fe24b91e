//! The passage of a body that is not kept: each piece goes on as it comes, within the bounds of size and time.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::Error;
use crate::flow::Flow;

/// A client's body on its way up. Its length is told on where the client told it.
pub(super) struct Passage {
    /// Read already.
    ahead: Bytes,
    /// The memory for that, until it goes on.
    held: Option<OwnedSemaphorePermit>,
    body: Body,
    /// Bytes that may still come.
    left: u64,
    limits: Limits,
    /// Since when nothing has come although more was wanted.
    quiet: Option<Instant>,
    /// Made at the first wait.
    alarm: Option<Pin<Box<Sleep>>>,
    flow: Flow,
}

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes.
    pub(super) max: u64,
    /// Between two pieces.
    pub(super) patience: Duration,
}

impl Passage {
    /// Of `body`, of which `ahead` was read and holds memory.
    pub(super) fn new(
        (ahead, held): (Bytes, Option<OwnedSemaphorePermit>),
        body: Body,
        limits: Limits,
        flow: Flow,
    ) -> Self {
        Self { ahead, held, body, left: limits.max, limits, quiet: None, alarm: None, flow }
    }

    fn give(&mut self, data: Bytes) -> Result<Frame<Bytes>, Error> {
        self.flow.passed(Instant::now());
        let left = self.left.checked_sub(data.len() as u64);
        self.left = left.ok_or(Error::BodyTooLarge { max: self.limits.max })?;
        Ok(Frame::data(data))
    }

    /// Ready when nothing came for too long. Pieces that come only forget the wait; the alarm is moved when it rings.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.quiet.get_or_insert_with(Instant::now) + self.limits.patience;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}

/// Whether a body that has ended came whole: over HTTP/2 a client may let go of its stream without calling it a fault.
pub(super) fn whole(body: &Body) -> Result<(), Error> {
    if body.size_hint().lower() > 0 { Err(Error::ClientGone) } else { Ok(()) }
}

/// What it means that a body fails: its client is gone, be it with its connection or with its HTTP/2 stream, unless it wrote
/// what is no body.
pub(super) fn fault(error: &axum::Error) -> Error {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)) {
            return Error::BodyBroken;
        }
        cause = inner.source();
    }
    Error::ClientGone
}

impl HttpBody for Passage {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let ahead = std::mem::take(&mut this.ahead);
            this.held = None;
            return Poll::Ready(Some(this.give(ahead)));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                this.flow.lacks();
                ready!(this.poll_quiet(cx));
                return Poll::Ready(Some(Err(Error::BodyTimeout(this.limits.patience))));
            };
            this.quiet = None;
            match frame {
                // Trailers: Google reads none.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(this.give(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(fault(&error)))),
                None => {
                    this.flow.passed(Instant::now());
                    return Poll::Ready(whole(&this.body).err().map(Err));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, ahead) = (self.body.size_hint(), self.ahead.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;
    use tokio::time::sleep;

    use super::*;

    fn passage(pieces: Vec<(u64, &'static str)>) -> Passage {
        let pieces = stream::iter(pieces).then(|(after_s, text)| async move {
            sleep(Duration::from_secs(after_s)).await;
            Ok::<_, io::Error>(Bytes::from(text))
        });
        let limits = Limits { max: 10, patience: Duration::from_mins(1) };
        let ahead = (Bytes::from_static(b"ab"), None);
        Passage::new(ahead, Body::from_stream(pieces), limits, Flow::new(Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_passes_however_long_it_takes_but_not_with_too_long_a_silence() {
        let whole = passage(vec![(59, "cd"), (59, "ef"), (0, "gh"), (59, "ij")]).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "abcdefghij");
        let silent = passage(vec![(0, "cd"), (61, "ef")]).collect().await;
        assert_eq!(silent.unwrap_err(), Error::BodyTimeout(Duration::from_mins(1)));
        let large = passage(vec![(0, "cdefghijk")]).collect().await;
        assert_eq!(large.unwrap_err(), Error::BodyTooLarge { max: 10 });
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_asked_is_not_late() {
        let mut body = passage(vec![(1, "cd"), (1, "ef")]);
        for expected in ["ab", "cd", "ef"] {
            // The upstream takes its time, the client has sent already.
            sleep(Duration::from_mins(5)).await;
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
        }
    }

    #[test]
    fn a_length_that_was_told_is_told_on() {
        let told = Passage::new(
            (Bytes::from_static(b"ab"), None),
            Body::from("cdef"),
            Limits { max: 10, patience: Duration::ZERO },
            Flow::new(Instant::now()),
        );
        assert_eq!(told.size_hint().exact(), Some(6));
    }
}
