//! Wakes: when to look at which key again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use tokio::time::Instant;

/// Times and keys, the next one first.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    /// The next one of each key, so that looking at one often does not fill the heap.
    next: HashMap<u32, Instant>,
}

impl Wakes {
    /// Whether any key's time has come.
    pub fn are_due(&self, now: Instant) -> bool {
        self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now)
    }

    /// A key whose time has come. It is told once.
    pub fn due(&mut self, now: Instant) -> Option<u32> {
        let Reverse((_, key)) = if self.are_due(now) { self.heap.pop()? } else { return None };
        self.next.remove(&key);
        Some(key)
    }

    /// The key is to be looked at then, if not sooner.
    pub fn note(&mut self, key: u32, at: Instant) {
        if self.next.get(&key).is_none_or(|next| at < *next) {
            self.next.insert(key, at);
            self.heap.push(Reverse((at, key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_are_due_in_order_and_a_later_time_changes_nothing() {
        let (mut wakes, now) = (Wakes::default(), Instant::now());
        let at = |second| now + Duration::from_secs(second);
        [(1, 20), (2, 10), (2, 30), (3, 40)].into_iter().for_each(|(key, second)| wakes.note(key, at(second)));
        assert!(!wakes.are_due(at(9)) && wakes.due(at(9)).is_none());
        assert_eq!([wakes.due(at(30)), wakes.due(at(30)), wakes.due(at(30))], [Some(2), Some(1), None]);
        assert!(wakes.are_due(at(40)));
    }
}
