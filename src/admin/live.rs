//! Live events: one ticker for all who listen, and none while nobody does.

use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Listeners at once.
pub(crate) const LISTENERS_MAX: usize = 32;
/// Ticks that a listener may be behind; beyond them it gets everything anew.
const TICKS_BEHIND_MAX: usize = 4;

/// Where ticks are sent and heard.
#[derive(Debug)]
pub(crate) struct Live {
    ticks: Sender<Bytes>,
    /// Whether a ticker runs. Held while somebody begins or stops to listen, so that no listener is left without one.
    ticking: Mutex<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

/// What a new listener gets.
pub(crate) struct Listener {
    /// What is sent from now on.
    pub(crate) ticks: Receiver<Bytes>,
    /// Whether it has to start the ticker.
    pub(crate) first: bool,
}

impl Live {
    /// Nobody listens yet.
    pub(crate) fn new() -> Self {
        Self { ticks: Sender::new(TICKS_BEHIND_MAX), ticking: Mutex::new(false) }
    }

    /// Begins to listen; `None` when too many do already.
    pub(crate) fn listen(&self) -> Option<Listener> {
        let mut ticking = self.ticking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ticks.receiver_count() >= LISTENERS_MAX {
            return None;
        }
        let first = !std::mem::replace(&mut *ticking, true);
        Some(Listener { ticks: self.ticks.subscribe(), first })
    }

    /// To be asked by the ticker before each tick: whether it has come to its end, because nobody listens.
    pub(crate) fn is_over(&self) -> bool {
        let mut ticking = self.ticking.lock().unwrap_or_else(PoisonError::into_inner);
        *ticking = self.ticks.receiver_count() > 0;
        !*ticking
    }

    /// The ticker could not be started, or is told to end: the next listener starts another.
    pub(crate) fn stopped(&self) {
        *self.ticking.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Sends a tick to whoever listens.
    pub(crate) fn tick(&self, events: Bytes) {
        // Nobody is left to hear it: the ticker is told so when it asks.
        let _ = self.ticks.send(events);
    }
}

/// An event as an event stream writes it; `data` is one line.
pub(crate) fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// The next tick; `None` for a listener that fell too far behind.
pub(crate) async fn next(ticks: &mut Receiver<Bytes>) -> Result<Option<Bytes>, broadcast::error::RecvError> {
    match ticks.recv().await {
        Ok(tick) => Ok(Some(tick)),
        Err(broadcast::error::RecvError::Lagged(_)) => Ok(None),
        Err(closed) => Err(closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ticker_runs_while_somebody_listens() {
        let live = Live::new();
        let one = live.listen().unwrap();
        let two = live.listen().unwrap();
        assert_eq!((one.first, two.first), (true, false));
        drop(one);
        assert!(!live.is_over());
        drop(two);
        assert!(live.is_over());
        assert!(live.listen().unwrap().first, "the next listener starts it anew");
    }

    #[tokio::test]
    async fn listeners_are_bounded_and_a_slow_one_is_told() {
        let live = Live::new();
        let mut all: Vec<_> = (0..LISTENERS_MAX).filter_map(|_| live.listen()).collect();
        assert!(live.listen().is_none());
        for n in 0..10 {
            live.tick(Bytes::from(event("overview", &n.to_string())));
        }
        let slow = &mut all[0].ticks;
        assert_eq!(next(slow).await, Ok(None));
        assert_eq!(next(slow).await.unwrap().unwrap(), "event: overview\ndata: 6\n\n");
    }
}
