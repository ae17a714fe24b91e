//! The operator's word that a call is to end.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Costs a call that nobody cancels a look at a flag, and a note of its task where it has to wait.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    asked: AtomicBool,
    waiting: AtomicWaker,
}

impl Cancel {
    /// Asks for the end, and wakes whoever waits.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Relaxed);
        self.waiting.wake();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// Whether it is asked for; if not yet, the task is woken when it is. Of several tasks the last one is.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> bool {
        if self.is_asked() {
            return true;
        }
        self.waiting.register(cx.waker());
        // It may have been asked for meanwhile, before there was anybody to wake.
        self.is_asked()
    }

    /// Lets go of the task, which would else live as long as this.
    pub(crate) fn forget(&self) {
        drop(self.waiting.take());
    }
}
