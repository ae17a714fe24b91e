//! The calls that run just now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::record::{Ender, Record};
use crate::telemetry::shard::Sharded;

/// Calls listed at once; one beyond is served and counted, but not listed, and nobody's word ends it.
pub(crate) const LISTED_MAX: usize = 65_536;

/// Who is being served.
#[derive(Debug)]
pub(crate) struct Live {
    seats: Sharded<Seats>,
    /// Set once every call is to end.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Option<Arc<Record>>>,
    free: Vec<usize>,
    open: i64,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { seats: Sharded::new(Seats::default), closed: AtomicBool::new(false) }
    }

    /// Lists a call.
    pub(crate) fn enter(&self, record: &Arc<Record>) {
        self.seat(record);
        // Only now: a call that was not found there by whoever closed the list sees that it is closed.
        if self.closed.load(Relaxed) {
            record.cancel(Ender::Drain);
        }
    }

    fn seat(&self, record: &Arc<Record>) {
        let room = LISTED_MAX / self.seats.len();
        let (shard, mut seats) = self.seats.mine();
        seats.open += 1;
        let seat = match seats.free.pop() {
            Some(seat) => seat,
            None if seats.taken.len() < room => {
                seats.taken.push(None);
                seats.taken.len() - 1
            }
            None => return,
        };
        seats.taken[seat] = Some(Arc::clone(record));
        record.sit(shard, seat);
    }

    /// Strikes a call off, from whichever thread it ends on.
    pub(crate) fn leave(&self, record: &Record) {
        let Some((shard, seat)) = record.seat() else {
            self.seats.mine().1.open -= 1;
            return;
        };
        let Some(mut seats) = self.seats.at(shard) else { return };
        seats.open -= 1;
        let listed = seats.taken.get_mut(seat).and_then(Option::take);
        if listed.is_some() {
            seats.free.push(seat);
        }
        drop(seats);
    }

    /// Ends every listed call that `wanted` wants; how many there are.
    pub(crate) fn end(&self, ender: Ender, wanted: impl Fn(&Record) -> bool) -> usize {
        let found = self.list(wanted);
        found.iter().for_each(|record| record.cancel(ender));
        found.len()
    }

    /// Ends every listed call, and each that comes later, in the drain's name; how many were there.
    pub(crate) fn close(&self) -> usize {
        self.closed.store(true, Relaxed);
        self.end(Ender::Drain, |_| true)
    }

    /// Calls in flight, the unlisted ones too.
    pub(crate) fn in_flight(&self) -> u64 {
        u64::try_from(self.seats.all().map(|seats| seats.open).sum::<i64>()).unwrap_or(0)
    }

    /// Every listed call that `wanted` wants.
    pub(crate) fn list(&self, wanted: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let mut found = Vec::new();
        for seats in self.seats.all() {
            found.extend(seats.taken.iter().flatten().filter(|record| wanted(record)).cloned());
        }
        found
    }

    /// How many listed calls `wanted` wants.
    pub(crate) fn count(&self, wanted: impl Fn(&Record) -> bool) -> u64 {
        self.seats.all().map(|seats| seats.taken.iter().flatten().filter(|record| wanted(record)).count() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};
    use tokio::time::Instant;

    use super::*;

    fn opened(live: &Live) -> Arc<Record> {
        let record = Arc::new(Record::new(HeaderValue::from_static("r"), Method::GET, Instant::now()));
        live.enter(&record);
        record
    }

    #[test]
    fn a_closed_list_ends_who_is_on_it_and_who_comes() {
        let live = Live::new();
        let open = || opened(&live);
        let (cancelled, running) = (open(), open());
        cancelled.cancel(Ender::Operator);
        assert_eq!((running.cancelled(), live.close(), live.close()), (None, 2, 2));
        let ended = [cancelled, running, open()].map(|record| record.cancelled().unwrap());
        assert_eq!(ended, [Ender::Operator, Ender::Drain, Ender::Drain]);
    }

    #[test]
    fn a_seat_is_used_again_and_the_list_is_bounded() {
        let live = Live::new();
        let open = || opened(&live);
        let calls: Vec<_> = (0..LISTED_MAX).map(|_| open()).collect();
        assert_eq!(live.in_flight(), LISTED_MAX as u64);
        // All came from one thread, so they had one shard's share of the seats.
        let listed = live.list(|_| true).len();
        assert!((LISTED_MAX / 32..LISTED_MAX).contains(&listed));
        for record in &calls {
            live.leave(record);
        }
        assert_eq!((live.in_flight(), live.list(|_| true).len()), (0, 0));
        let again = open();
        assert_eq!(live.count(|_| true), 1);
        assert!(again.seat().is_some());
        std::thread::scope(|scope| scope.spawn(|| live.leave(&again)).join()).unwrap();
        assert_eq!((live.in_flight(), live.count(|_| true)), (0, 0));
    }
}
