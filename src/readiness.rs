//! Readiness: whether geminate takes traffic, and the connections it has open.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What `/readyz` and the monitor ask of the listeners.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: AtomicBool,
    draining: AtomicBool,
    accepted: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
}

impl Readiness {
    /// Whether new requests are welcome: both listeners stand, and the drain has not begun.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.draining()
    }

    /// Whether geminate is coming to its end.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Client connections open on the data listener.
    pub fn open(&self) -> u64 {
        // Read in this order, a connection that ends in between cannot make it negative.
        let closed = self.closed.load(Ordering::Acquire);
        self.accepted().saturating_sub(closed)
    }

    /// Client connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// Times the kernel could not give a connection, such as when no file was left.
    pub fn accept_failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The listeners stand.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The drain begins.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A connection came.
    pub fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection ended.
    pub fn count_closed(&self) {
        self.closed.fetch_add(1, Ordering::AcqRel);
    }

    /// The kernel gave none.
    pub fn count_accept_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_house_takes_no_traffic() {
        let readiness = Readiness::default();
        assert!(!readiness.ready());
        readiness.set_ready();
        assert!(readiness.ready());
        readiness.set_draining();
        assert!(!readiness.ready());
    }

    #[test]
    fn open_connections_are_those_that_did_not_end() {
        let readiness = Readiness::default();
        (0..3).for_each(|_| readiness.count_accepted());
        readiness.count_closed();
        assert_eq!((readiness.open(), readiness.accepted()), (2, 3));
    }
}
