//! What hyper refuses by itself: a head that it cannot read. It answers by a bare status, in whose place ours is written.
//!
//! hyper has no hook for it. Yet its refusal is known with certainty: on HTTP/1, from when all of the answers before is
//! flushed until the next request has begun, it writes nothing else. So no byte of any answer is ever looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::server::porter::Porter;

/// By what a connection becomes one of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So much of the beginning of a request is remembered: its method, and the path as far as it tells the surface.
const BEGINNING_BYTES: usize = 64;
/// How long a refused client may go on sending: cut at once, it might not read why ...
const LINGER: Duration = Duration::from_secs(1);
/// ... and how much.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// A connection of HTTP/1 between two requests.
pub(super) struct Between {
    porter: Arc<Porter>,
    beginning: [u8; BEGINNING_BYTES],
    len: usize,
    /// Whether the beginning is that of a request that has been served: of the next one nothing came, or it came with that.
    stale: bool,
    /// What is still to be written in the place of a refusal of hyper's.
    instead: Option<Bytes>,
    linger: Option<Pin<Box<Sleep>>>,
    lingered: usize,
}

impl Between {
    /// Before the first request.
    pub(super) fn new(porter: Arc<Porter>) -> Self {
        let beginning = [0; BEGINNING_BYTES];
        Self { porter, beginning, len: 0, stale: false, instead: None, linger: None, lingered: 0 }
    }

    /// A request was served: what comes is another one.
    pub(super) fn served(&mut self) {
        self.stale = true;
    }

    /// Bytes came; whether the connection turns out to be one of HTTP/2.
    pub(super) fn came(&mut self, bytes: &[u8]) -> bool {
        self.len = if self.stale { 0 } else { self.len };
        self.stale = false;
        let more = bytes.len().min(BEGINNING_BYTES - self.len);
        self.beginning[self.len..self.len + more].copy_from_slice(&bytes[..more]);
        self.len += more;
        self.beginning[..self.len].starts_with(PREFACE)
    }

    /// hyper writes `told`, and no request is under way. Writes ours in its place, if it is a refusal; `None`: it is none.
    pub(super) fn poll_write<I: AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
        told: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            self.instead = self.porter.instead(told, &self.beginning[..self.len]);
        }
        let instead = self.instead.as_mut()?;
        while !instead.is_empty() {
            match Pin::new(&mut *io).poll_write(cx, instead) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => instead.advance(written),
                other => return Some(other),
            }
        }
        Some(Poll::Ready(Ok(told.len())))
    }

    /// Our side is closed: after a refusal, waits a moment for the client to close its own.
    pub(super) fn poll_linger<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.instead.is_some() && self.lingered < LINGER_BYTES_MAX {
            let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
            let mut scratch = [0; 4_096];
            let mut rest = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *io).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => self.lingered += rest.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    return linger.as_mut().poll(cx).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
