//! An answer's body that is counted on its way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::layer::record::open::{Open, set_polling};
use crate::record::Outcome;

pin_project! {
    /// An answer's body; the record is closed with its last byte, its failure or its drop.
    pub struct RecordedBody<B: Body> {
        // Before `open`, so that it is dropped first and may still write into the record.
        #[pin]
        inner: B,
        open: Option<Open>,
        left: Option<u64>,
        ahead: Option<Option<Result<Frame<B::Data>, B::Error>>>,
    }
}

impl<B: Body> RecordedBody<B> {
    /// Around a body of which `left` bytes are promised.
    pub(crate) fn new(inner: B, mut open: Option<Open>, left: Option<u64>) -> Self {
        if let Some(open) = open.as_mut().filter(|_| left == Some(0) || inner.is_end_stream()) {
            // The server will drop it without asking for anything.
            open.record.first_byte(Instant::now());
            open.whole = true;
        }
        Self { inner, open, left, ahead: None }
    }

    fn poll_inner(inner: Pin<&mut B>, open: &mut Option<Open>, cx: &mut Context<'_>) -> PollFrame<B> {
        set_polling(open, true);
        let frame = inner.poll_frame(cx);
        set_polling(open, false);
        frame
    }
}

/// No body, and nothing that is counted: of an answer to what is no call.
impl<B: Body + Default> Default for RecordedBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), open: None, left: None, ahead: None }
    }
}

type PollFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

impl<B: Body> Body for RecordedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B> {
        let mut this = self.project();
        let frame = match this.ahead.take() {
            Some(frame) => frame,
            None => ready!(Self::poll_inner(this.inner.as_mut(), this.open, cx)),
        };
        let mut over = !matches!(frame, Some(Ok(_)));
        if over {
            *this.ahead = Some(None);
        }
        let Some(open) = this.open else { return Poll::Ready(frame) };
        let now = Instant::now();
        match &frame {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Buf::remaining);
                if frame.is_data() {
                    open.record.chunk(len, now);
                }
                *this.left = this.left.map(|left| left.saturating_sub(len as u64));
                over = this.inner.is_end_stream();
                if *this.left == Some(0) && !over {
                    // All that the head promised: the server will not ask again, and the body should know its end.
                    open.whole = true;
                    if let Poll::Ready(next) = Self::poll_inner(this.inner.as_mut(), this.open, cx) {
                        over = next.is_none();
                        *this.ahead = Some(next);
                    }
                }
            }
            Some(Err(_)) => open.record.outcome_unless_known(Outcome::StreamBroken),
            None => {}
        }
        if over && let Some(open) = this.open.take() {
            open.end(now);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(next) => next.is_none(),
            None => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.ahead {
            Some(None) => SizeHint::with_exact(0),
            Some(Some(_)) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}
