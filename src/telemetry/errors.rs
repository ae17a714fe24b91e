//! The last failed attempts, for whoever asks what went wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// How many are kept.
pub(crate) const KEPT_MAX: usize = 100;
/// The longest text kept of one.
const TEXT_BYTES_MAX: usize = 512;

/// A failed attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// When it failed.
    pub at: Timestamp,
    /// The request it was made for.
    pub request_id: Box<str>,
    /// The id of the key it was made with.
    pub key: Arc<str>,
    /// The model asked for.
    pub model: Box<str>,
    /// What the verdict was.
    pub class: &'static str,
    /// The upstream's status, when it answered.
    pub status: Option<u16>,
    /// The upstream's words, scrubbed and cut short.
    pub message: Box<str>,
}

/// The last [`KEPT_MAX`] failures.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<VecDeque<Failure>>);

impl Failures {
    /// Keeps one, and drops the oldest beyond the limit.
    pub(crate) fn push(&self, failure: Failure) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(failure);
    }

    /// Up to `limit` of them, the newest first.
    pub(crate) fn last(&self, limit: usize) -> Vec<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().take(limit).cloned().collect()
    }
}

/// `text`, cut at the end of a character.
pub(crate) fn cut(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_hundred_stay_and_texts_are_cut() {
        let failures = Failures::default();
        for n in 0..250_u16 {
            failures.push(Failure {
                at: Timestamp::UNIX_EPOCH,
                request_id: "r".into(),
                key: "1".into(),
                model: "m".into(),
                class: "overloaded",
                status: Some(n),
                message: cut(&"ä".repeat(1000)),
            });
        }
        let last = failures.last(1000);
        assert_eq!((last.len(), last[0].status, last[99].status), (100, Some(249), Some(150)));
        assert_eq!(last[0].message.len(), 512);
        assert_eq!(failures.last(3).len(), 3);
    }
}
