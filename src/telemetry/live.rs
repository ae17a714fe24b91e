//! The calls that run just now.

use std::sync::Arc;

use crate::record::Record;
use crate::telemetry::shard::Sharded;

/// Calls listed at once; one beyond is served and counted, but not listed.
pub(crate) const LISTED_MAX: usize = 65_536;

/// Who is being served.
#[derive(Debug)]
pub(crate) struct Live(Sharded<Seats>);

#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Option<Arc<Record>>>,
    free: Vec<usize>,
    open: i64,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self(Sharded::new(Seats::default))
    }

    /// Lists a call.
    pub(crate) fn enter(&self, record: &Arc<Record>) {
        let room = LISTED_MAX / self.0.len();
        let (shard, mut seats) = self.0.mine();
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
            self.0.mine().1.open -= 1;
            return;
        };
        let Some(mut seats) = self.0.at(shard) else { return };
        seats.open -= 1;
        let listed = seats.taken.get_mut(seat).and_then(Option::take);
        if listed.is_some() {
            seats.free.push(seat);
        }
        drop(seats);
    }

    /// Calls in flight, the unlisted ones too.
    pub(crate) fn in_flight(&self) -> u64 {
        u64::try_from(self.0.all().map(|seats| seats.open).sum::<i64>()).unwrap_or(0)
    }

    /// Every listed call that `wanted` wants.
    pub(crate) fn list(&self, wanted: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let mut found = Vec::new();
        for seats in self.0.all() {
            found.extend(seats.taken.iter().flatten().filter(|record| wanted(record)).cloned());
        }
        found
    }

    /// How many listed calls `wanted` wants.
    pub(crate) fn count(&self, wanted: impl Fn(&Record) -> bool) -> u64 {
        self.0.all().map(|seats| seats.taken.iter().flatten().filter(|record| wanted(record)).count() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_seat_is_used_again_and_the_list_is_bounded() {
        let live = Live::new();
        let open = || {
            let record = Arc::new(Record::new(HeaderValue::from_static("r"), Method::GET, Instant::now()));
            live.enter(&record);
            record
        };
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
