//! What is counted and kept of calls, told without a listener.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::Instant;

use crate::record::{Ender, Outcome, Record};
use crate::telemetry::{AttemptSeen, Filter, Span, Telemetry};
use crate::usage::Usage;
use crate::verdict::Verdict;

fn call(telemetry: &Telemetry, now: Instant) -> Arc<Record> {
    let record = telemetry.open(Record::new(HeaderValue::from_static("r1"), Method::POST, now));
    record.model("gemini-x");
    record.attempt(&"1".into(), now);
    record.head(200, false);
    record
}

#[test]
fn performance_forgets_what_is_older_than_its_span() {
    let start = Instant::now();
    let telemetry = Telemetry::new(start);
    for second in 0..120 {
        let now = start + Duration::from_secs(second);
        telemetry.finish(&call(&telemetry, now), now + Duration::from_millis(100));
    }
    let now = start + Duration::from_mins(2);
    let minute = telemetry.performance(Duration::from_mins(1), now);
    // Five whole slices and the one that has just begun.
    assert_eq!((minute.requests, minute.success_ratio), (50, Some(1.0)));
    assert!((minute.requests_per_second - 1.0).abs() < 0.03, "{}", minute.requests_per_second);
    assert_eq!(telemetry.performance(Duration::from_mins(5), now).requests, 120);
    assert_eq!(telemetry.performance(Duration::from_mins(5), now + Duration::from_mins(10)).requests, 0);
}

#[test]
fn threads_count_into_one_sum() {
    let telemetry = Telemetry::new(Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let record = call(&telemetry, Instant::now());
                    telemetry.finish(&record, Instant::now());
                    telemetry.finish(&record, Instant::now());
                }
            });
        }
    });
    let counts = telemetry.counts();
    assert_eq!((counts.requests, counts.outcomes["ok"], telemetry.in_flight()), (4000, 4000, 0));
    assert_eq!(counts.models["gemini-x"].ok, 4000);
    assert!(telemetry.render().contains("} 4000"));
}

#[test]
fn only_failed_attempts_are_among_the_errors() {
    let telemetry = Telemetry::new(Instant::now());
    let (record, key) = (call(&telemetry, Instant::now()), Arc::from("1"));
    for (verdict, status, message) in
        [(Verdict::Success, 200, ""), (Verdict::Overloaded, 503, "busy"), (Verdict::Caller, 400, "bad")]
    {
        let status = Some(status);
        telemetry.attempt(AttemptSeen { record: &record, key: &key, verdict, status, message, now: Instant::now() });
    }
    let errors = telemetry.failures(10);
    assert_eq!((errors.len(), errors[0].class, &*errors[0].message), (1, "overloaded", "busy"));
    assert_eq!(telemetry.counts().failed_by(|attempt| &attempt.key), [("1", 1)].into());
}

#[test]
fn what_threads_counted_is_in_the_steps_of_the_hour() {
    let start = Instant::now();
    let telemetry = Telemetry::new(start);
    for second in 0..40 {
        let now = start + Duration::from_secs(second);
        let (record, key) = (call(&telemetry, now), Arc::from("1"));
        let verdict = if second < 10 { Verdict::Overloaded } else { Verdict::Success };
        telemetry.attempt(AttemptSeen { record: &record, key: &key, verdict, status: None, message: "", now });
        telemetry.finish(&record, now + Duration::from_millis(100));
    }
    let points = telemetry.series(Span::Hour, start + Duration::from_secs(40)).points;
    let sum = |column: &[Option<u32>]| column.iter().flatten().sum::<u32>();
    assert_eq!((sum(&points.requests), sum(&points.ok), sum(&points.attempts), sum(&points.wasted)), (40, 40, 40, 10));
    assert_eq!(points.requests.iter().flatten().count(), 4);
    let waste = telemetry.waste();
    assert_eq!((waste.attempts, waste.wasted_attempts, waste.wasted_share), (40, 10, Some(0.25)));
}

#[test]
fn who_had_no_right_to_be_served_was_refused_and_nobody_failed_to_serve_them() {
    let start = Instant::now();
    let telemetry = Telemetry::new(start);
    for (outcome, status) in [
        (Outcome::Ok, 200),
        (Outcome::Refused("unauthenticated"), 401),
        (Outcome::Refused("rate_limited"), 429),
        (Outcome::Refused("exhausted"), 429),
        (Outcome::UpstreamError, 504),
    ] {
        let record = call(&telemetry, start);
        record.head(status, false);
        record.outcome(outcome);
        telemetry.finish(&record, start);
    }
    let points = telemetry.series(Span::Hour, start + Duration::from_secs(10)).points;
    let last = |column: &[Option<u32>]| column.last().copied().flatten();
    assert_eq!((last(&points.refused), last(&points.failed), last(&points.unserved)), (Some(3), Some(1), Some(2)));
    assert_eq!((telemetry.counts().outcomes["refused"], telemetry.counts().unserved), (3, 2));
}

#[test]
fn what_came_in_the_last_seconds_is_known_to_the_next_run() {
    let start = Instant::now();
    let telemetry = Telemetry::new(start);
    telemetry.finish(&call(&telemetry, start), start + Duration::from_millis(100));
    let counted = |end| serde_json::to_value(telemetry.history_memory(end)).unwrap();
    assert_eq!(counted(None)["hour"]["requests"], serde_json::json!([]), "the slice runs still");
    let memory = counted(Some(start + Duration::from_secs(4)));
    assert_eq!((&memory["hour"]["requests"][0], &memory["day"]["requests"][0]), (&1.into(), &1.into()));
}

#[test]
fn tokens_of_streams_that_broke_are_waste() {
    let telemetry = Telemetry::new(Instant::now());
    for outcome in [Outcome::Ok, Outcome::StreamBroken, Outcome::StreamUnfinished, Outcome::ClientGone] {
        let record = call(&telemetry, Instant::now());
        record.usage(Usage { prompt_tokens: 10, cached_tokens: 5, answer_tokens: 2, ..Usage::default() });
        record.outcome(outcome);
        telemetry.finish(&record, Instant::now());
    }
    assert_eq!(telemetry.waste().tokens_of_failed_streams, 24);
    assert_eq!(telemetry.tokens().prompt_tokens, 40);
}

#[test]
fn a_call_is_found_by_its_id_the_newest_first() {
    let start = Instant::now();
    let telemetry = Telemetry::new(start);
    for second in 0..3 {
        let now = start + Duration::from_secs(second);
        telemetry.finish(&call(&telemetry, now), now + Duration::from_millis(100 * (second + 1)));
    }
    let now = start + Duration::from_secs(9);
    let found = telemetry.find("r1", now).unwrap();
    assert_eq!((found.total_ms.round(), found.outcome), (300.0, Some("ok")));
    let running = call(&telemetry, start + Duration::from_secs(5));
    let found = telemetry.find("r1", now).unwrap();
    assert_eq!((found.total_ms.round(), found.outcome), (4000.0, None));
    assert!(telemetry.cancel("r1") && running.cancelled() == Some(Ender::Operator));
    let recent = telemetry.recent(&Filter { limit: 2, ..Filter::default() }, now);
    assert_eq!((recent.total, recent.requests.len()), (3, 2));
    assert!(recent.requests[0].at > recent.requests[1].at);
}
