//! What waits to be sent and what became of the rest: the batch processor itself does not tell.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::telemetry::traces::fate::Spans;

/// Shared by those who put spans into the queue and the one who takes them out.
#[derive(Debug)]
pub(super) struct Counts {
    queue_max: usize,
    waiting: AtomicUsize,
    exported: AtomicU64,
    queue_full: AtomicU64,
    not_delivered: AtomicU64,
}

impl Counts {
    pub(super) fn new(queue_max: usize) -> Self {
        let zero = AtomicU64::default;
        let waiting = AtomicUsize::default();
        Self { queue_max, waiting, exported: zero(), queue_full: zero(), not_delivered: zero() }
    }

    /// Takes a place in the queue for a span; where there is none, it is dropped.
    pub(super) fn enter(&self) -> bool {
        let taken = |waiting| (waiting < self.queue_max).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Relaxed, Relaxed, taken).is_ok();
        if !entered {
            self.queue_full.fetch_add(1, Relaxed);
        }
        entered
    }

    /// Whether there is no place, before anything is made; then so many spans are dropped.
    pub(super) fn full(&self, spans: usize) -> bool {
        let full = self.waiting() >= self.queue_max;
        if full {
            self.queue_full.fetch_add(spans as u64, Relaxed);
        }
        full
    }

    /// So many spans are out of the queue.
    pub(super) fn leave(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Relaxed);
    }

    /// What became of spans that were sent.
    pub(super) fn sent(&self, spans: usize, delivered: bool) {
        let count = if delivered { &self.exported } else { &self.not_delivered };
        count.fetch_add(spans as u64, Relaxed);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(super) fn spans(&self) -> Spans {
        let read = |count: &AtomicU64| count.load(Relaxed);
        Spans {
            exported: read(&self.exported),
            queue_full: read(&self.queue_full),
            not_delivered: read(&self.not_delivered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let counts = Counts::new(2);
        assert_eq!([counts.enter(), counts.enter(), counts.enter()], [true, true, false]);
        assert!(counts.full(3));
        counts.leave(2);
        assert!(!counts.full(3));
        counts.sent(1, true);
        counts.sent(1, false);
        assert!(counts.enter());
        assert_eq!(counts.spans(), Spans { exported: 1, queue_full: 4, not_delivered: 1 });
    }
}
