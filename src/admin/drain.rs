//! The drain: an operator's word that geminate should come to its end.

use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::oneshot;

/// Says so once: a second word would cut what the first one lets finish.
#[derive(Debug)]
pub struct Drain(Mutex<Option<oneshot::Sender<()>>>);

impl Drain {
    /// The word, and where it is heard.
    pub fn new() -> (Self, impl Stream<Item = ()> + Send + Unpin) {
        let (word, heard) = oneshot::channel();
        (Self(Mutex::new(Some(word))), Box::pin(stream::once(heard).filter_map(|heard| async { heard.ok() })))
    }

    /// Begins it. A second time does nothing.
    pub(crate) fn begin(&self) {
        if let Some(word) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever listened is gone: then geminate is ending already.
            let _ = word.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_word_is_said_once() {
        let (drain, heard) = Drain::new();
        drain.begin();
        drain.begin();
        assert_eq!(heard.count().await, 1);
        let (drain, heard) = Drain::new();
        drop(drain);
        assert_eq!(heard.count().await, 0);
    }
}
