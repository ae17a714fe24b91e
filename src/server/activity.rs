//! What happens on one connection, and when it has been too quiet.
//!
//! hyper's own header timeout does not run while the first bytes tell HTTP/1 from HTTP/2, and takes a kept connection
//! without a request for a slow one. So the bytes and the requests are watched from outside.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::server::refused::Between;

/// How long a connection may be quiet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a request's head, and for the first one.
    pub(super) head: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// Without a byte taken of what is ready to be written.
    pub(super) write: Duration,
}

/// Why a connection is closed from our side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quiet {
    /// A head did not arrive in time, or an answer is not taken.
    Stuck,
    /// No request for a while.
    Idle,
}

/// The activity of one connection. Times are in ms since it came, plus one; 0 is never.
#[derive(Debug)]
pub(super) struct Activity {
    came: Instant,
    requests: AtomicU32,
    /// What comes and goes beside requests is none of HTTP/1: it is HTTP/2, or what an upgrade led to.
    beyond_http1: AtomicBool,
    /// No request of HTTP/1 is under way, and all of the answers before is written.
    between: AtomicBool,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    stalled_since: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            came: Instant::now(),
            requests: AtomicU32::new(0),
            beyond_http1: AtomicBool::new(false),
            between: AtomicBool::new(true),
            idle_since: AtomicU64::new(0),
            // The first head is awaited from the beginning.
            head_since: AtomicU64::new(1),
            stalled_since: AtomicU64::new(0),
        })
    }

    /// A request's head has arrived; it is under way until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: http::Version) -> UnderWay {
        self.requests.fetch_add(1, Relaxed);
        self.head_since.store(0, Relaxed);
        self.between.store(false, Relaxed);
        if version == http::Version::HTTP_2 {
            self.leaves_http1();
        }
        UnderWay(Arc::clone(self))
    }

    /// From here on what is written beside requests is none of HTTP/1.
    pub(super) fn leaves_http1(&self) {
        self.beyond_http1.store(true, Relaxed);
        self.between.store(false, Relaxed);
    }

    fn is_between(&self) -> bool {
        self.between.load(Relaxed)
    }

    /// All that was to be written is. Whether a request has been served by it, and none is under way now. An answer's end
    /// is to be written before its request is no longer under way.
    fn flushed(&self) -> bool {
        let served = !self.is_between() && self.requests.load(Relaxed) == 0 && !self.beyond_http1.load(Relaxed);
        if served {
            self.between.store(true, Relaxed);
        }
        served
    }

    /// Until when the connection may stay as it is, and why it goes then; `None` while requests are under way.
    pub(super) fn until(&self, patience: &Patience) -> Option<(Instant, Quiet)> {
        let at = |since: u64, wait: Duration| self.came + Duration::from_millis(since.saturating_sub(1)) + wait;
        let stalled = self.stalled_since.load(Relaxed);
        if stalled > 0 {
            return Some((at(stalled, patience.write), Quiet::Stuck));
        }
        if self.requests.load(Relaxed) > 0 {
            return None;
        }
        match self.head_since.load(Relaxed) {
            0 => Some((at(self.idle_since.load(Relaxed), patience.idle), Quiet::Idle)),
            head => Some((at(head, patience.head), Quiet::Stuck)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.came.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn bytes_came(&self) {
        // On HTTP/2 bytes without a request are pings and settings.
        let awaited = self.requests.load(Relaxed) == 0 && !self.beyond_http1.load(Relaxed);
        if awaited && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    fn wrote<T>(&self, progress: Poll<T>) -> Poll<T> {
        let stalled = self.stalled_since.load(Relaxed) > 0;
        if progress.is_pending() != stalled {
            self.stalled_since.store(if stalled { 0 } else { self.now() }, Relaxed);
        }
        progress
    }
}

/// A request under way, from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Relaxed);
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

/// A stream whose bytes count as activity.
pub(super) struct Watched<I> {
    pub(super) io: I,
    pub(super) activity: Arc<Activity>,
    pub(super) between: Between,
}

impl<I: AsyncWrite + Unpin> Watched<I> {
    /// Writes ours in the place of what `pieces` are, where that is a refusal of hyper's own.
    fn poll_instead(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Option<Poll<io::Result<usize>>> {
        // It is written in one piece.
        let [told] = pieces else { return None };
        self.between.poll_write(&mut self.io, cx, told)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.bytes_came();
            if self.activity.is_between() && self.between.came(&buf.filled()[before..]) {
                self.activity.leaves_http1();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let instead = if self.activity.is_between() { self.poll_instead(cx, &[io::IoSlice::new(bytes)]) } else { None };
        let progress = instead.unwrap_or_else(|| Pin::new(&mut self.io).poll_write(cx, bytes));
        self.activity.wrote(progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for it when it has nothing left to write.
        if self.activity.flushed() {
            self.between.served();
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        this.between.poll_linger(&mut this.io, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let instead = if self.activity.is_between() { self.poll_instead(cx, pieces) } else { None };
        let progress = instead.unwrap_or_else(|| Pin::new(&mut self.io).poll_write_vectored(cx, pieces));
        self.activity.wrote(progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(30), idle: Duration::from_secs(90), write: Duration::from_mins(2) };

    fn left(activity: &Activity) -> Option<(u64, Quiet)> {
        activity.until(&PATIENCE).map(|(at, quiet)| ((at - activity.came).as_secs(), quiet))
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_quiet_has_its_own_patience() {
        let activity = Activity::new();
        assert_eq!(left(&activity), Some((30, Quiet::Stuck)), "the first head");
        let request = activity.begin(http::Version::HTTP_11);
        assert_eq!(left(&activity), None, "a request may take its time");
        advance(Duration::from_secs(100)).await;
        drop(request);
        assert_eq!(left(&activity), Some((190, Quiet::Idle)), "a kept connection");
        advance(Duration::from_secs(10)).await;
        activity.bytes_came();
        assert_eq!(left(&activity), Some((140, Quiet::Stuck)), "the next head has begun");
        assert!(activity.wrote(Poll::<()>::Pending).is_pending());
        assert_eq!(left(&activity), Some((230, Quiet::Stuck)), "an answer that is not taken");
        assert!(activity.wrote(Poll::Ready(())).is_ready());
        assert_eq!(left(&activity), Some((140, Quiet::Stuck)));
    }

    #[test]
    fn a_connection_is_between_requests_once_all_of_the_answer_is_written() {
        let activity = Activity::new();
        assert!(activity.is_between() && !activity.flushed(), "nothing was served yet");
        let request = activity.begin(http::Version::HTTP_11);
        assert!(!activity.flushed() && !activity.is_between(), "an answer may be flushed in part");
        drop(request);
        assert!(!activity.is_between(), "its end may be still to be written");
        assert!(activity.flushed() && activity.is_between() && !activity.flushed());
        drop(activity.begin(http::Version::HTTP_11));
        activity.leaves_http1();
        assert!(!activity.flushed() && !activity.is_between(), "what an upgrade led to is nobody's refusal");
    }

    #[tokio::test(start_paused = true)]
    async fn pings_of_http2_are_no_head() {
        let activity = Activity::new();
        drop(activity.begin(http::Version::HTTP_2));
        activity.bytes_came();
        assert_eq!(left(&activity), Some((90, Quiet::Idle)));
    }
}
