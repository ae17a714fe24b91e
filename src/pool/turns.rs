//! Turns: the order in which those who wait for a key of one lane may look for it.
//!
//! The clients go round, one request each; the requests of one client go in order of their arrival. However many one
//! client has in line, another's first is at most one request of each other client away from its turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Those who wait. While there are any, exactly one of them has the turn, and keeps it until it leaves.
#[derive(Debug, Default)]
pub struct Turns {
    order: Mutex<Order>,
    /// Mirrors [`Order::len`], so that whoever comes sees without a lock that nobody waits.
    len: AtomicUsize,
}

/// One of those who wait. Dropped, it leaves the line, and hands the turn on if it had it.
#[derive(Debug)]
pub struct Waiting<'t> {
    turns: &'t Turns,
    client: Arc<str>,
    told: Arc<Notify>,
}

impl Turns {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many clients have somebody who waits.
    pub fn clients(&self) -> usize {
        self.lock().ring.len()
    }

    /// How many would have their turn before a request of `client` that arrived then and came into the line now.
    pub fn before(&self, client: &str, arrived: Instant) -> usize {
        let order = self.lock();
        let at = order.place(client).unwrap_or(order.ring.len());
        order.before(at, order.rank(at, arrived))
    }

    /// How many bytes the prompts of those who wait have each; 0 where nobody waits.
    pub fn bytes_each(&self) -> u64 {
        let order = self.lock();
        order.bytes / (order.len as u64).max(1)
    }

    /// Joins the line with a prompt of so many bytes. At most `most` may wait in it. Where it is full the client with the
    /// most in it gives up its newest one, if it has at least two more than the newcomer's; else there is no place: `None`.
    pub fn enter(&self, client: &Arc<str>, arrived: Instant, bytes: u64, most: usize) -> Option<Waiting<'_>> {
        let told = Arc::new(Notify::new());
        let entered = self.change(|order| {
            let free = order.len < most || order.shorten_longest(client);
            if free {
                order.insert(client, Waiter { arrived, bytes, told: Arc::clone(&told) });
            }
            free
        });
        entered.then(|| Waiting { turns: self, client: Arc::clone(client), told })
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Order) -> T) -> T {
        let mut order = self.lock();
        let changed = change(&mut order);
        self.len.store(order.len, Relaxed);
        changed
    }
}

impl Waiting<'_> {
    /// How many have their turn before it: none while it has the turn. `None`: it had to give up its place to a client
    /// with fewer.
    pub fn before(&self) -> Option<usize> {
        let order = self.turns.lock();
        let at = order.place(&self.client)?;
        Some(order.before(at, order.find(at, &self.told)?))
    }

    /// Told when it gets the turn or loses its place. What is told while nobody listens is kept.
    pub fn told(&self) -> &Notify {
        &self.told
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.change(|order| order.remove(&self.client, &self.told));
    }
}

#[derive(Debug, Default)]
struct Order {
    /// The clients in the order of their turns, each with somebody who waits. The first one's first has the turn.
    ring: VecDeque<Queue>,
    /// How many wait in all.
    len: usize,
    /// And the bytes of all their prompts.
    bytes: u64,
}

#[derive(Debug)]
struct Queue {
    client: Arc<str>,
    /// By arrival; but whoever has the turn is first.
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    arrived: Instant,
    /// Of its prompt.
    bytes: u64,
    told: Arc<Notify>,
}

impl Order {
    fn place(&self, client: &str) -> Option<usize> {
        self.ring.iter().position(|queue| *queue.client == *client)
    }

    fn find(&self, at: usize, told: &Arc<Notify>) -> Option<usize> {
        self.ring[at].waiters.iter().position(|waiter| Arc::ptr_eq(&waiter.told, told))
    }

    /// Where among its client's, who are at `at` of the ring, one belongs that arrived then: nobody goes before the turn.
    fn rank(&self, at: usize, arrived: Instant) -> usize {
        let Some(queue) = self.ring.get(at) else { return 0 };
        let earlier = queue.waiters.iter().rposition(|waiter| waiter.arrived <= arrived);
        earlier.map_or(0, |last| last + 1).max(usize::from(at == 0))
    }

    /// How many go before the one of this rank among the client's at `at`. It goes in the round of its rank; whoever is
    /// before its client in the ring has had that round by then.
    fn before(&self, at: usize, rank: usize) -> usize {
        let rounds = |n: usize| rank + usize::from(n < at);
        self.ring.iter().enumerate().map(|(n, queue)| queue.waiters.len().min(rounds(n))).sum()
    }

    fn insert(&mut self, client: &Arc<str>, waiter: Waiter) {
        (self.len, self.bytes) = (self.len + 1, self.bytes + waiter.bytes);
        match self.place(client) {
            Some(at) => {
                let rank = self.rank(at, waiter.arrived);
                self.ring[at].waiters.insert(rank, waiter);
            }
            None => self.ring.push_back(Queue { client: Arc::clone(client), waiters: [waiter].into() }),
        }
    }

    /// The newest one of the client with the most is sent away, unless the newcomer's has nearly as many.
    fn shorten_longest(&mut self, newcomer: &str) -> bool {
        let own = self.place(newcomer).map_or(0, |at| self.ring[at].waiters.len());
        let Some(longest) = self.ring.iter_mut().max_by_key(|queue| queue.waiters.len()) else { return false };
        if longest.waiters.len() < own + 2 {
            return false;
        }
        // Not the one that has the turn: that is the first of at least two.
        if let Some(newest) = longest.waiters.pop_back() {
            (self.len, self.bytes) = (self.len - 1, self.bytes - newest.bytes);
            newest.told.notify_one();
        }
        true
    }

    fn remove(&mut self, client: &str, told: &Arc<Notify>) {
        let Some(at) = self.place(client) else { return };
        let Some(rank) = self.find(at, told) else { return };
        let Some(left) = self.ring[at].waiters.remove(rank) else { return };
        (self.len, self.bytes) = (self.len - 1, self.bytes - left.bytes);
        let had_turn = (at, rank) == (0, 0);
        let Some(queue) = (if had_turn || self.ring[at].waiters.is_empty() { self.ring.remove(at) } else { None })
        else {
            return;
        };
        if !queue.waiters.is_empty() {
            self.ring.push_back(queue);
        }
        if had_turn && let Some(next) = self.ring.front().and_then(|queue| queue.waiters.front()) {
            next.told.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
