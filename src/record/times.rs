//! The times of one call, as microseconds after its arrival.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Written and read from any thread. 0 is what has not come yet.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) opened: Instant,
    first_byte: AtomicU64,
    last_chunk: AtomicU64,
    closed: AtomicU64,
    /// Attempts under way, and since when there have been any.
    asking: AtomicU32,
    asking_since: AtomicU64,
    upstream: AtomicU64,
    waited: AtomicU64,
}

impl Times {
    pub(crate) fn new(opened: Instant) -> Self {
        let none = || AtomicU64::new(0);
        Self {
            opened,
            first_byte: none(),
            last_chunk: none(),
            closed: none(),
            asking: AtomicU32::new(0),
            asking_since: none(),
            upstream: none(),
            waited: none(),
        }
    }

    /// Microseconds since arrival, never 0.
    pub(crate) fn since(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.opened)).max(1)
    }

    /// An attempt begins: its time is the upstream's, and that of two at once is counted once.
    pub(crate) fn ask(&self, now: Instant) {
        if self.asking.fetch_add(1, Relaxed) == 0 {
            self.asking_since.store(self.since(now), Relaxed);
        }
    }

    /// It has its first byte, or will have none.
    pub(crate) fn answered(&self, now: Instant) {
        if self.asking.fetch_sub(1, Relaxed) == 1 {
            self.upstream.fetch_add(self.since(now).saturating_sub(self.asking_since.load(Relaxed)), Relaxed);
        }
    }

    pub(crate) fn add_upstream(&self, spent: Duration) {
        self.upstream.fetch_add(micros(spent), Relaxed);
    }

    pub(crate) fn add_wait(&self, spent: Duration) {
        self.waited.fetch_add(micros(spent), Relaxed);
    }

    /// The first call stands.
    pub(crate) fn first_byte(&self, now: Instant) {
        let _first_stands = self.first_byte.compare_exchange(0, self.since(now), Relaxed, Relaxed);
    }

    pub(crate) fn chunk(&self, now: Instant) {
        let at = self.since(now);
        if self.first_byte.load(Relaxed) == 0 {
            self.first_byte.store(at, Relaxed);
        }
        self.last_chunk.store(at, Relaxed);
    }

    /// When it is over, unless it was before.
    pub(crate) fn close(&self, now: Instant) -> Option<u64> {
        let at = self.since(now);
        self.closed.compare_exchange(0, at, Relaxed, Relaxed).ok().map(|_| at)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed) != 0
    }

    pub(crate) fn to_first_byte(&self) -> Option<Duration> {
        come(&self.first_byte)
    }

    pub(crate) fn to_end(&self) -> Option<Duration> {
        come(&self.closed)
    }

    pub(crate) fn upstream(&self) -> Duration {
        Duration::from_micros(self.upstream.load(Relaxed))
    }

    pub(crate) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Relaxed))
    }

    /// Since the last chunk, or since arrival.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        Duration::from_micros(self.since(now).saturating_sub(self.last_chunk.load(Relaxed)))
    }
}

/// The time at which it came, if it did.
fn come(time: &AtomicU64) -> Option<Duration> {
    Some(time.load(Relaxed)).filter(|at| *at != 0).map(Duration::from_micros)
}

pub(crate) fn micros(spent: Duration) -> u64 {
    u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)
}
