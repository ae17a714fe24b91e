//! The streams of an HTTP/2 connection, and whether its client takes what it is given of each.
//!
//! A client that opens no window leaves hyper with a piece in hand, or h2 with all the rest of an answer, and nothing
//! there is told of it while the connection itself is lively. So each piece knows its stream until its last byte is on
//! the way, and the connection's own task looks at its streams from time to time.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Version;
use tokio::time::Instant;

use crate::server::activity::UnderWay;

/// So many streams that have ended are remembered before they are looked for, beside as many as are there.
const ENDED_MAX: usize = 64;

/// What keeps a request under way.
#[derive(Debug)]
pub(super) enum Hold {
    /// Its answer's body, on HTTP/1: what is left of it then is for the socket, which is watched.
    Body { _under_way: UnderWay },
    /// Its answer's body, and each piece of it that is not sent yet.
    Stream(Arc<Stream>),
}

/// One stream, there for as long as its answer or a piece of it is.
#[derive(Debug)]
pub(super) struct Stream {
    _under_way: UnderWay,
    /// Its answer has given all of its pieces.
    given: AtomicBool,
    /// Bytes were taken since it was looked at.
    taken: AtomicBool,
}

/// Bytes of an answer on their way to the client.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    stream: Option<Arc<Stream>>,
}

/// How many streams of a connection are given bytes that their client does not take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Untaken {
    /// None.
    None,
    /// Some, while others go on or wait for their answers.
    Some,
    /// Every one there is.
    All,
}

/// The streams of one connection. It is locked by the connection's own task alone.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    streams: Vec<Seen>,
    /// With so many, those that have ended are forgotten.
    sweep_at: usize,
}

#[derive(Debug)]
struct Seen {
    stream: Weak<Stream>,
    /// When it was first seen with the bytes that wait now.
    waits_since: Option<Instant>,
}

impl Streams {
    /// What keeps a request under way that came by this version of HTTP.
    pub(super) fn hold(&self, under_way: UnderWay, version: Version) -> Hold {
        if version != Version::HTTP_2 {
            return Hold::Body { _under_way: under_way };
        }
        let stream = Arc::new(Stream { _under_way: under_way, given: false.into(), taken: false.into() });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.streams.len() >= known.sweep_at {
            known.streams.retain(|seen| seen.stream.strong_count() > 0);
            known.sweep_at = 2 * known.streams.len() + ENDED_MAX;
        }
        known.streams.push(Seen { stream: Arc::downgrade(&stream), waits_since: None });
        Hold::Stream(stream)
    }

    /// Looks at all streams at `now`: of which no byte was taken for `patience`, though there are some to take. It may
    /// find so later, by the time between two looks.
    pub(super) fn look(&self, now: Instant, patience: Duration) -> Untaken {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut there, mut untaken) = (0, 0);
        known.streams.retain_mut(|seen| {
            let Some(stream) = seen.stream.upgrade() else { return false };
            there += 1;
            let taken = stream.taken.swap(false, Relaxed);
            seen.waits_since = match seen.waits_since {
                _ if !stream.waits() => None,
                Some(since) if !taken => Some(since),
                _ => Some(now),
            };
            untaken += usize::from(seen.waits_since.is_some_and(|since| now - since >= patience));
            true
        });
        match untaken {
            0 => Untaken::None,
            all if all == there => Untaken::All,
            _ => Untaken::Some,
        }
    }
}

impl Stream {
    /// Whether a piece of it is not sent yet. Asked by one who holds it.
    fn waits(self: &Arc<Self>) -> bool {
        let others = 1 + usize::from(!self.given.load(Relaxed));
        Arc::strong_count(self) > others
    }
}

impl Hold {
    /// A piece of the answer. It costs HTTP/1 nothing.
    pub(super) fn piece(&self, bytes: Bytes) -> Piece {
        let stream = match self {
            Self::Body { .. } => None,
            Self::Stream(stream) => Some(Arc::clone(stream)),
        };
        Piece { bytes, stream }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Self::Stream(stream) = self {
            stream.given.store(true, Relaxed);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(stream) = &self.stream {
            stream.taken.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::activity::Activity;

    const PATIENCE: Duration = Duration::from_mins(2);

    struct Stage {
        streams: Streams,
        activity: Arc<Activity>,
        began: Instant,
    }

    impl Stage {
        fn new() -> Self {
            Self { streams: Streams::default(), activity: Activity::new(), began: Instant::now() }
        }

        fn hold(&self) -> Hold {
            self.streams.hold(self.activity.begin(Version::HTTP_2), Version::HTTP_2)
        }

        fn at(&self, seconds: u64) -> Untaken {
            self.streams.look(self.began + Duration::from_secs(seconds), PATIENCE)
        }
    }

    #[test]
    fn only_a_piece_that_nobody_takes_makes_a_stream_stuck() {
        let stage = Stage::new();
        let stream = stage.hold();
        assert_eq!([0, 500, 1_000].map(|at| stage.at(at)), [Untaken::None; 3], "it waits for its answer");
        let mut piece = stream.piece(Bytes::from_static(b"hello"));
        assert_eq!([1_001, 1_100].map(|at| stage.at(at)), [Untaken::None; 2], "it may take its time");
        piece.advance(1);
        assert_eq!([1_120, 1_239].map(|at| stage.at(at)), [Untaken::None; 2], "a byte was taken");
        assert_eq!(stage.at(1_240), Untaken::All);
        drop(piece);
        assert_eq!([1_241, 2_000].map(|at| stage.at(at)), [Untaken::None; 2], "nothing is left to take");
    }

    #[test]
    fn what_is_left_of_a_whole_answer_keeps_its_request_under_way_and_counts() {
        let stage = Stage::new();
        let stream = stage.hold();
        let (first, last) = (stream.piece(Bytes::from_static(b"hel")), stream.piece(Bytes::from_static(b"lo")));
        drop((stream, first));
        assert_eq!([0, 119, 120].map(|at| stage.at(at)), [Untaken::None, Untaken::None, Untaken::All]);
        let other = stage.hold();
        assert_eq!(stage.at(121), Untaken::Some, "another one waits for its answer");
        drop((last, other));
        assert_eq!(stage.at(122), Untaken::None);
    }

    #[test]
    fn streams_that_ended_are_forgotten() {
        let stage = Stage::new();
        let kept: Vec<Hold> = (0..10).map(|_| stage.hold()).collect();
        (0..1_000).for_each(|_| drop(stage.hold()));
        let known = |stage: &Stage| stage.streams.0.lock().unwrap().streams.len();
        assert!(known(&stage) <= 2 * kept.len() + ENDED_MAX);
        stage.at(0);
        assert_eq!(known(&stage), kept.len());
    }
}
