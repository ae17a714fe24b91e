//! Lingering: what is left of a request's body when its answer is ready is read and forgotten, within bounds.
//!
//! A connection that closes over bytes which nobody read is reset, and with it what its client has not read of the answer
//! yet: one that sends all before it reads would never hear why it was refused.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http::header::EXPECT;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::tasks::Tasks;

/// The longest that a rest is read.
const LINGER_TIME: Duration = Duration::from_secs(10);
/// The longest that its next bytes are waited for.
const SILENCE_TIME: Duration = Duration::from_secs(2);
/// The most that is read of a rest.
const LINGER_BYTES_MAX: u64 = 64 << 20;

/// Where rests are read. One for each worker, so that no two threads count its users.
#[derive(Clone, Debug)]
pub struct Linger(Arc<Tasks>);

impl Linger {
    /// Rests are read by tasks of their own.
    pub fn new(tasks: Tasks) -> Self {
        Self(Arc::new(tasks))
    }

    /// The body of a request with this head. Over HTTP/2 a stream ends alone, and nothing is lost with it.
    pub fn over<B: Rest>(&self, body: B, version: Version, headers: &HeaderMap) -> Lingering<B> {
        let lingers = version < Version::HTTP_2 && !body.is_end_stream();
        let linger = lingers.then(|| self.clone());
        Lingering { body: Some(body), linger, waits: headers.contains_key(EXPECT) }
    }
}

/// A body of which the rest can be read elsewhere.
pub trait Rest: Body<Data: Send, Error: Send> + Send + Unpin + 'static {}

impl<B: Body<Data: Send, Error: Send> + Send + Unpin + 'static> Rest for B {}

/// A request's body. Dropped before its end, its rest is read, unless its client waits to be told to send it.
#[derive(Debug)]
pub struct Lingering<B: Rest> {
    /// There until the drop.
    body: Option<B>,
    /// `None` once it is over.
    linger: Option<Linger>,
    /// Whether its client sends nothing before it is asked to, and was not yet.
    waits: bool,
}

impl<B: Rest> Body for Lingering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        this.waits = false;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.linger = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Rest> Drop for Lingering<B> {
    fn drop(&mut self) {
        let (Some(body), Some(Linger(tasks))) = (self.body.take(), self.linger.take()) else { return };
        // While a runtime goes, nothing new begins on it.
        if !self.waits && !body.is_end_stream() && Handle::try_current().is_ok() {
            // Without a place the connection closes as it is.
            let _ = tasks.spawn(read(body));
        }
    }
}

/// Reads what comes and keeps none of it.
async fn read<B: Rest>(body: B) {
    let (mut body, due, mut bytes) = (pin!(body), Instant::now() + LINGER_TIME, 0);
    while bytes < LINGER_BYTES_MAX
        && let Ok(Ok(Some(Ok(frame)))) = timeout_at(due, timeout(SILENCE_TIME, body.frame())).await
    {
        bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use tokio::time::sleep;

    use super::*;

    const PIECE: u64 = 1 << 20;

    /// A body of a MiB after each `pause`, without an end; and how much of it was read.
    fn endless(pause: Duration) -> (impl Rest, Arc<AtomicU64>) {
        let read = Arc::new(AtomicU64::new(0));
        let of_body = Arc::clone(&read);
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = stream::unfold(of_body, move |read| {
            let piece = piece.clone();
            async move {
                sleep(pause).await;
                read.fetch_add(piece.len() as u64, Relaxed);
                Some((Ok::<_, Infallible>(Frame::data(piece)), read))
            }
        });
        (StreamBody::new(Box::pin(pieces)), read)
    }

    /// How much is read of such a body, and for how many seconds, once it is dropped.
    async fn rest(pause: Duration, version: Version, headers: &HeaderMap, begun: bool) -> (u64, u64) {
        let tasks = Tasks::new();
        let (body, read) = endless(pause);
        let mut body = Linger::new(tasks.clone()).over(body, version, headers);
        if begun {
            assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        }
        let (before, from) = (read.load(Relaxed), Instant::now());
        drop(body);
        tasks.finished().await;
        (read.load(Relaxed) - before, from.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_read_for_so_long_and_no_more_than_so_much() {
        let none = HeaderMap::new();
        let of = async |pause_ms, begun| rest(Duration::from_millis(pause_ms), Version::HTTP_11, &none, begun).await;
        for begun in [false, true] {
            assert_eq!(of(1, begun).await.0, LINGER_BYTES_MAX);
            assert_eq!(of(999, begun).await, (10 * PIECE, 10));
            assert_eq!(of(3_000, begun).await, (0, 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_for_a_rest_and_a_stream_ends_alone() {
        let (none, asks) = (HeaderMap::new(), HeaderMap::from_iter([(EXPECT, "100-continue".parse().unwrap())]));
        let at_once = Duration::from_millis(1);
        assert_eq!(rest(at_once, Version::HTTP_2, &none, false).await, (0, 0));
        assert_eq!(rest(at_once, Version::HTTP_11, &asks, false).await, (0, 0));
        assert_eq!(rest(at_once, Version::HTTP_11, &asks, true).await.0, LINGER_BYTES_MAX);
    }
}
