//! The trace that a call stands in: where it comes from, and the attempts that were made of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use tokio::time::Instant;

use crate::verdict::Verdict;

pub use self::parent::{Parent, TRACEPARENT, TRACESTATE};

mod parent;

/// Attempts of one call that are kept; those beyond are made, and not traced.
const ATTEMPTS_MAX: usize = 64;
/// What a traceparent says where the trace is kept.
const SAMPLED: u8 = 1;

/// A call that is traced. Of one that is not there is none.
#[derive(Debug)]
pub struct Trace {
    id: u128,
    span: u64,
    parent: Option<Parent>,
    attempts: Mutex<Vec<Traced>>,
}

/// An attempt of a traced call.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The id of its span.
    pub span: u64,
    /// The id of the key it was made with.
    pub key: Arc<str>,
    /// The model it asked in the place of the one asked for.
    pub fallback: Option<Arc<str>>,
    /// When it began.
    pub began: Instant,
    /// How it ended; `None` of one that was given up, or goes on.
    pub ended: Option<Ended>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When it did.
    pub at: Instant,
    /// What it came to.
    pub verdict: Verdict,
    /// The upstream's status, when it answered with another than 200.
    pub status: Option<u16>,
}

impl Trace {
    /// A call whose span is `span`, in its parent's trace, or in the new one `id`. No id is 0.
    pub fn new(id: u128, span: u64, parent: Option<Parent>) -> Self {
        let id = parent.as_ref().map_or(id, |parent| parent.trace);
        Self { id, span, parent, attempts: Mutex::default() }
    }

    /// The trace's id.
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// The id of the call's span.
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// What the client's request says of the trace.
    pub const fn parent(&self) -> Option<&Parent> {
        self.parent.as_ref()
    }

    /// An attempt begins, on the key with this id.
    pub fn began(&self, key: &Arc<str>, fallback: Option<Arc<str>>, now: Instant) {
        let mut attempts = self.attempts();
        if attempts.len() < ATTEMPTS_MAX {
            let span = child(self.span, attempts.len() as u64);
            attempts.push(Traced { span, key: Arc::clone(key), fallback, began: now, ended: None });
        }
    }

    /// The last attempt on the key with this id is over. No two attempts under way are on one key.
    pub fn ended(&self, key: &str, ended: Ended) {
        if let Some(attempt) = open(&mut self.attempts(), key) {
            attempt.ended = Some(ended);
        }
    }

    /// Of several attempts under way, that on the key with this id served: the others are given up.
    pub fn served(&self, key: &str, now: Instant) {
        let given_up = Ended { at: now, verdict: Verdict::Abandoned, status: None };
        for attempt in self.attempts().iter_mut().filter(|attempt| *attempt.key != *key) {
            attempt.ended.get_or_insert(given_up);
        }
    }

    /// The `traceparent` of the attempt under way on the key with this id; the call's own, where it is not kept.
    pub fn traceparent(&self, key: &str) -> HeaderValue {
        let span = open(&mut self.attempts(), key).map_or(self.span, |attempt| attempt.span);
        let text = format!("00-{:032x}-{span:016x}-{SAMPLED:02x}", self.id);
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// What it takes of memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.attempts().capacity() * size_of::<Traced>()
    }

    /// The attempts, in the order in which they began.
    pub fn attempts(&self) -> MutexGuard<'_, Vec<Traced>> {
        // Nothing in there can be half written.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last attempt on `key`, when it is under way.
fn open<'a>(attempts: &'a mut [Traced], key: &str) -> Option<&'a mut Traced> {
    attempts.iter_mut().rev().find(|attempt| &*attempt.key == key).filter(|attempt| attempt.ended.is_none())
}

/// The id of the `n`th child of a span: as good as chance, and never 0.
fn child(span: u64, n: u64) -> u64 {
    // SplitMix64's steps.
    let mut bits = span.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    fn end(at: Instant) -> Ended {
        Ended { at, verdict: Verdict::Overloaded, status: Some(503) }
    }

    #[test]
    fn an_attempt_goes_up_under_its_own_id_and_ends_by_its_key() {
        let (trace, now) = (Trace::new(7, 9, None), Instant::now());
        let (one, two) = ("1".into(), "2".into());
        trace.began(&one, None, now);
        trace.began(&two, None, now);
        let (first, second) = (trace.traceparent("1"), trace.traceparent("2"));
        assert_ne!(first, second);
        trace.ended("1", end(now + Duration::from_secs(1)));
        let attempts = trace.attempts().clone();
        assert_eq!(second.to_str().unwrap(), format!("00-{:032x}-{:016x}-01", 7, attempts[1].span));
        assert_eq!(attempts.iter().map(|attempt| attempt.ended.is_some()).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_key_that_is_tried_again_is_another_attempt() {
        let (trace, now) = (Trace::new(7, 9, None), Instant::now());
        for n in 0..3 {
            trace.began(&"1".into(), None, now + Duration::from_secs(n));
            trace.ended("1", end(now + Duration::from_secs(n)));
        }
        trace.ended("1", end(now + Duration::from_hours(1)));
        let ends: Vec<_> = trace.attempts().iter().map(|attempt| attempt.ended.unwrap().at - now).collect();
        assert_eq!(ends, [0, 1, 2].map(Duration::from_secs));
        assert!(trace.traceparent("1").to_str().unwrap().ends_with("-0000000000000009-01"));
    }

    #[test]
    fn what_is_not_needed_ends_when_another_served() {
        let (trace, now) = (Trace::new(7, 9, None), Instant::now());
        trace.began(&"1".into(), None, now);
        trace.began(&"2".into(), None, now);
        trace.served("2", now + Duration::from_secs(1));
        let ends: Vec<_> = trace.attempts().iter().map(|attempt| attempt.ended.map(|ended| ended.at - now)).collect();
        assert_eq!(ends, [Some(Duration::from_secs(1)), None]);
    }

    #[test]
    fn attempts_are_bounded_and_no_two_share_an_id() {
        let trace = Trace::new(7, 9, None);
        (0..1000).for_each(|_| trace.began(&"1".into(), None, Instant::now()));
        let ids: HashSet<u64> = trace.attempts().iter().map(|attempt| attempt.span).collect();
        assert_eq!((ids.len(), ids.contains(&0)), (ATTEMPTS_MAX, false));
    }
}
