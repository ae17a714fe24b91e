//! A record keeps what was said of its call, and no more once it is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::Instant;

use crate::record::{Did, Ender, Outcome, Record, TryOver};
use crate::usage::Usage;
use crate::verdict::Verdict;

fn record(now: Instant) -> Record {
    Record::new(HeaderValue::from_static("r1"), Method::POST, now)
}

#[test]
fn overhead_is_the_time_that_nobody_else_took() {
    let start = Instant::now();
    let record = record(start);
    assert_eq!(record.overhead(), None);
    record.add_wait(Duration::from_millis(30));
    record.add_upstream(Duration::from_millis(60));
    record.chunk(10, start + Duration::from_millis(91));
    record.chunk(10, start + Duration::from_millis(500));
    assert_eq!(record.overhead(), Some(Duration::from_millis(1)));
    assert_eq!(record.time_to_first_byte(), Some(Duration::from_millis(91)));
    assert_eq!(record.idle(start + Duration::from_millis(700)), Duration::from_millis(200));
    assert_eq!((record.bytes(), record.chunks()), (20, 2));
}

#[test]
fn a_closed_record_keeps_its_outcome() {
    let record = record(Instant::now());
    record.head(200, true);
    record.outcome(Outcome::StreamBroken);
    record.outcome_unless_known(Outcome::ClientGone);
    assert!(record.close(Instant::now()).is_some());
    record.outcome(Outcome::Ok);
    assert!(record.close(Instant::now()).is_none());
    assert_eq!(record.ended(), Some(Outcome::StreamBroken));
}

#[test]
fn what_is_told_after_the_close_is_not_counted() {
    let record = record(Instant::now());
    record.usage(Usage { prompt_tokens: 7, ..Usage::default() });
    assert!(record.close(Instant::now()).is_some());
    record.usage(Usage { prompt_tokens: 9, ..Usage::default() });
    assert_eq!(record.used().prompt_tokens, 7);
}

#[test]
fn an_outcome_nobody_named_follows_the_status() {
    for (status, outcome) in [(200, Outcome::Ok), (404, Outcome::CallerError), (502, Outcome::UpstreamError)] {
        let record = record(Instant::now());
        record.head(status, false);
        record.close(Instant::now());
        assert_eq!(record.ended(), Some(outcome));
    }
}

/// A task that counts how often it was woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_closed_record_holds_no_task_and_says_what_it_takes() {
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    let record = record(Instant::now());
    assert_eq!(record.poll_cancelled(&Context::from_waker(&waker)), None);
    drop(waker);
    assert_eq!(Arc::strong_count(&task), 2);
    let closed = record.close(Instant::now()).unwrap();
    assert_eq!(Arc::strong_count(&task), 1);
    assert!(closed.bytes >= size_of::<Record>() + 2);
}

#[test]
fn the_word_to_end_wakes_whoever_waits_and_is_there_for_who_comes_later() {
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    let cx = Context::from_waker(&waker);
    let record = record(Instant::now());
    assert_eq!((record.poll_cancelled(&cx), record.cancelled()), (None, None));
    record.cancel(Ender::Operator);
    record.cancel(Ender::Drain);
    assert_eq!(task.0.load(Relaxed), 1);
    let first = Some(Ender::Operator);
    assert_eq!((record.poll_cancelled(&cx), record.cancelled()), (first, first));
}

#[test]
fn another_model_asked_is_what_was_done_about_a_failure() {
    let start = Instant::now();
    let record = record(start);
    record.attempt(&"1".into(), start);
    let (key, busy) = ("1".into(), "busy".into());
    let over = TryOver { key: &key, verdict: Verdict::Overloaded, status: Some(503), message: Some(&busy) };
    let fate = record.attempt_over(&over, start).unwrap();
    record.fall_back(Some(&"other".into()));
    record.attempt(&"2".into(), start);
    assert_eq!(fate.did(), Some(Did::FellBack));
    assert!(record.asked_key("1") && record.asked_key("2") && !record.asked_key("3"));
}
