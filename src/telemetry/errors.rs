//! The last failed attempts, for whoever asks what went wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::record::{Did, Fate};

/// How many are kept.
pub(crate) const KEPT_MAX: usize = 100;
/// The longest text kept of one.
const TEXT_BYTES_MAX: usize = 512;

/// A failed attempt.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
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
    pub message: Arc<str>,
    /// What geminate did then, by a fixed code; `None` as long as the call has not gone on.
    pub did: Option<&'static str>,
}

/// The last [`KEPT_MAX`] failures.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<VecDeque<(Failure, Arc<Fate>)>>);

impl Failures {
    /// Keeps one, and drops the oldest beyond the limit.
    pub(crate) fn push(&self, failure: Failure, fate: Arc<Fate>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((failure, fate));
    }

    /// Up to `limit` of them, the newest first.
    pub(crate) fn last(&self, limit: usize) -> Vec<Failure> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told =
            |(failure, fate): &(Failure, Arc<Fate>)| Failure { did: fate.did().map(Did::name), ..failure.clone() };
        kept.iter().rev().take(limit).map(told).collect()
    }
}

/// `text`, cut at the end of a character.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_hundred_stay_and_texts_are_cut() {
        let failures = Failures::default();
        for n in 0..250_u16 {
            let failure = Failure {
                at: Timestamp::UNIX_EPOCH,
                request_id: "r".into(),
                key: "1".into(),
                model: "m".into(),
                class: "overloaded",
                status: Some(n),
                message: cut(&"ä".repeat(1000)).into(),
                did: None,
            };
            failures.push(failure, Arc::default());
        }
        let last = failures.last(1000);
        assert_eq!((last.len(), last[0].status, last[99].status), (100, Some(249), Some(150)));
        assert_eq!(last[0].message.len(), 512);
        assert_eq!(failures.last(3).len(), 3);
    }
}
