//! The word that a call is to end, and whose word it is.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::Context;

use futures_util::task::AtomicWaker;

use crate::error::Error;

/// Who ends a call that would go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Ender {
    /// The operator, this one call.
    Operator = 1,
    /// The drain whose time is over, whatever still runs.
    Drain = 2,
}

impl Ender {
    /// What the client is told.
    pub const fn error(self) -> Error {
        match self {
            Self::Operator => Error::Cancelled,
            Self::Drain => Error::Draining,
        }
    }
}

/// Costs a call that nobody ends a look at a flag, and a note of its task where it has to wait.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    /// The [`Ender`] as a number; 0: nobody asked.
    asked: AtomicU8,
    waiting: AtomicWaker,
}

impl Cancel {
    /// Asks for the end, and wakes whoever waits. The first word stands.
    pub(crate) fn ask(&self, ender: Ender) {
        let _first_stands = self.asked.compare_exchange(0, ender as u8, Relaxed, Relaxed);
        self.waiting.wake();
    }

    /// Who asked.
    pub(crate) fn asked(&self) -> Option<Ender> {
        match self.asked.load(Relaxed) {
            0 => None,
            1 => Some(Ender::Operator),
            _ => Some(Ender::Drain),
        }
    }

    /// The same; if nobody has yet, the task is woken when somebody does. Of several tasks the last one is.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Option<Ender> {
        self.asked().or_else(|| {
            self.waiting.register(cx.waker());
            // It may have been asked for meanwhile, before there was anybody to wake.
            self.asked()
        })
    }

    /// Lets go of the task, which would else live as long as this.
    pub(crate) fn forget(&self) {
        drop(self.waiting.take());
    }
}
