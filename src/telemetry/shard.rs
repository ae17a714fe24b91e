//! State that each thread keeps in a place of its own, so that its lock is always free.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// One `T` for each of the machine's cores or so; a thread always meets the same one.
#[derive(Debug)]
pub(crate) struct Sharded<T>(Box<[Padded<T>]>);

/// Two shards never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(Mutex<T>);

/// Beyond this many threads two share a shard, which is correct and a little slower.
const SHARDS_MAX: usize = 32;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl<T> Sharded<T> {
    /// As many shards as threads run at once, and one for whoever reads.
    pub(crate) fn new(mut make: impl FnMut() -> T) -> Self {
        let count = thread::available_parallelism().map_or(4, |cores| cores.get() + 1).clamp(2, SHARDS_MAX);
        Self((0..count).map(|_| Padded(Mutex::new(make()))).collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// This thread's shard and its number.
    pub(crate) fn mine(&self) -> (usize, MutexGuard<'_, T>) {
        let thread = MINE.get();
        let thread = if thread == usize::MAX { NEXT.fetch_add(1, Relaxed) } else { thread };
        MINE.set(thread);
        let n = thread % self.0.len();
        (n, lock(&self.0[n].0))
    }

    /// Shard `n`.
    pub(crate) fn at(&self, n: usize) -> Option<MutexGuard<'_, T>> {
        self.0.get(n).map(|shard| lock(&shard.0))
    }

    /// All shards, each locked only while it is looked at.
    pub(crate) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0.iter().map(|shard| lock(&shard.0))
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts and handles: a panic between two of them leaves nothing that misleads.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
