//! The sequel of a connection: what it goes on with once HTTP is over, as a WebSocket does.
//!
//! It runs where its connection ran, so that it is counted, drained and cut as a connection is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::phase::Phase;

/// Where a request that upgrades its connection leaves what comes next. Clones are the same place.
#[derive(Clone)]
pub struct Sequel {
    next: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    phase: watch::Receiver<Phase>,
}

impl Sequel {
    /// An empty place, on a connection that follows `phase`.
    pub fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { next: Arc::default(), phase }
    }

    /// Leaves what the connection does next, if its answer switches protocols. It is dropped with the connection.
    pub fn leave(&self, next: BoxFuture<'static, ()>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    /// What was left.
    pub fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How far the house has come, to be followed.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }
}

impl fmt::Debug for Sequel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequel").finish_non_exhaustive()
    }
}
