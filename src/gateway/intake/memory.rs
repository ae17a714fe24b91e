//! The memory for bodies that may be sent again: taken as their bytes come, and never by the large from the small.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in pieces of this size.
const PIECE: u64 = 1024;
/// A body of at most this is small.
const SMALL_BYTES_MAX: u64 = 256 << 10;
/// This part of the memory is for small bodies alone: at worst, of the 512 MiB of the default, 256 at once that are as large
/// as a small one may be, and 16,384 of 4 KiB. Beyond them they take of the rest, as large ones do.
const SMALL_SHARE: u64 = 8;

/// What all bodies that are kept may take together.
#[derive(Debug)]
pub(super) struct Memory {
    small: Arc<Semaphore>,
    rest: Arc<Semaphore>,
}

impl Memory {
    /// Of so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let pieces = |bytes: u64| usize::try_from(bytes / PIECE).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let small = bytes / SMALL_SHARE;
        Self { small: Arc::new(Semaphore::new(pieces(small))), rest: Arc::new(Semaphore::new(pieces(bytes - small))) }
    }

    /// Whether a body of which so many bytes were announced might find room now. Nothing is taken for it: who only
    /// announces takes nothing from the others.
    pub(super) fn may_hold(&self, bytes: u64) -> bool {
        bytes <= SMALL_BYTES_MAX || bytes.div_ceil(PIECE) <= self.rest.available_permits() as u64
    }

    /// Takes what is missing in `held` for a body that has grown to `bytes`; `false` when there is too little left.
    pub(super) fn grow(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: u64) -> bool {
        let Ok(pieces) = u32::try_from(bytes.div_ceil(PIECE)) else { return false };
        let take = |memory: &Arc<Semaphore>, pieces: u32| Arc::clone(memory).try_acquire_many_owned(pieces).ok();
        if let Some(held) = held {
            let missing = u64::from(pieces).saturating_sub(held.num_permits() as u64);
            let in_place = bytes <= SMALL_BYTES_MAX || Arc::ptr_eq(held.semaphore(), &self.rest);
            let more = || take(held.semaphore(), u32::try_from(missing).unwrap_or(u32::MAX));
            if missing == 0 {
                return true;
            }
            if let Some(more) = in_place.then(more).flatten() {
                held.merge(more);
                return true;
            }
        }
        let small = (bytes <= SMALL_BYTES_MAX).then(|| take(&self.small, pieces)).flatten();
        let Some(all) = small.or_else(|| take(&self.rest, pieces)) else { return false };
        *held = Some(all);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    fn held(memory: &Memory, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let mut held = None;
        memory.grow(&mut held, bytes).then_some(held).flatten()
    }

    #[test]
    fn large_bodies_leave_room_for_the_small_and_these_may_take_of_the_rest() {
        let memory = Memory::new(8 * MIB);
        let large: Vec<_> = (0..7).map(|_| held(&memory, MIB).unwrap()).collect();
        assert!(held(&memory, MIB).is_none() && !memory.may_hold(MIB));
        let small: Vec<_> = (0..4).map(|_| held(&memory, 256 * KIB).unwrap()).collect();
        assert!(held(&memory, KIB).is_none(), "all is taken");
        drop(large);
        assert!(memory.may_hold(MIB) && held(&memory, KIB).is_some());
        drop(small);
        assert_eq!((memory.small.available_permits(), memory.rest.available_permits()), (1024, 7 * 1024));
    }

    #[test]
    fn a_body_takes_what_it_has_grown_to_and_leaves_the_small_ones_when_it_is_large() {
        let memory = Memory::new(8 * MIB);
        let (mut held, free) = (None, || (memory.small.available_permits(), memory.rest.available_permits()));
        for (bytes, small, rest) in
            [(1, 1, 0), (KIB, 1, 0), (KIB + 1, 2, 0), (256 * KIB, 256, 0), (256 * KIB + 1, 0, 257), (MIB, 0, 1024)]
        {
            assert!(memory.grow(&mut held, bytes));
            assert_eq!(free(), (1024 - small, 7 * 1024 - rest), "{bytes}");
        }
        assert!(!memory.grow(&mut held, 8 * MIB));
        assert_eq!(free(), (1024, 6 * 1024), "what it has it keeps");
        drop(held);
        assert_eq!(free(), (1024, 7 * 1024));
    }
}
