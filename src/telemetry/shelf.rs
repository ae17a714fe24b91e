//! The calls that ended lately, as one thread keeps them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::record::Record;

/// Kept on all shelves together.
pub(crate) const KEPT_MAX: usize = 4096;
/// What they may take of memory together.
pub(crate) const BYTES_MAX: usize = 8 << 20;

/// The newest last. A record is kept as it is: to copy it would cost more than to let it live on.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    kept: VecDeque<(Arc<Record>, usize)>,
    bytes: usize,
}

impl Shelf {
    /// Keeps one that takes so many bytes on one of `shelves`. Gives back the one that had to go for it.
    pub(crate) fn push(&mut self, record: &Arc<Record>, bytes: usize, shelves: usize) -> Option<Arc<Record>> {
        let (most, bytes_most) = (KEPT_MAX / shelves, BYTES_MAX / shelves);
        self.kept.push_back((Arc::clone(record), bytes));
        self.bytes += bytes;
        let mut gone = None;
        while self.kept.len() > most || self.bytes > bytes_most {
            let Some((oldest, bytes)) = self.kept.pop_front() else { break };
            self.bytes -= bytes;
            gone = Some(oldest);
        }
        gone
    }

    /// The oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Record>> {
        self.kept.iter().map(|(record, _)| record)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};
    use tokio::time::Instant;

    use super::*;

    fn record() -> Arc<Record> {
        Arc::new(Record::new(HeaderValue::from_static("r"), Method::GET, Instant::now()))
    }

    #[test]
    fn the_newest_stay_within_their_number_and_their_bytes() {
        let mut shelf = Shelf::default();
        let first = record();
        shelf.push(&first, 500, 4);
        for n in 1..3000 {
            let gone = shelf.push(&record(), 500, 4);
            assert_eq!(gone.is_some_and(|gone| Arc::ptr_eq(&gone, &first)), n == 1024);
        }
        assert_eq!((shelf.iter().count(), shelf.bytes), (1024, 512_000));
        for _ in 0..100 {
            shelf.push(&record(), 100_000, 4);
        }
        assert!(shelf.bytes <= BYTES_MAX / 4 && shelf.iter().count() == 20);
        shelf.push(&record(), BYTES_MAX, 4);
        assert_eq!((shelf.iter().count(), shelf.bytes), (0, 0), "one that is larger than all may be is not kept");
    }
}
