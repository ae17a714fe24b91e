//! What charts are drawn of is what was counted: nothing is lost at a restart, and nothing made up.

use std::time::Duration;

use jiff::Timestamp;

use crate::telemetry::columns::{Gauges, Points};
use crate::telemetry::history::{History, Memory, Series, Span};
use crate::telemetry::windows::{Lap, Ring, Window};
use crate::usage::Usage;

fn noon() -> Timestamp {
    "2026-11-26T12:00:03Z".parse().unwrap()
}

fn at(slice: u64) -> Timestamp {
    noon() + Duration::from_secs(10 * slice)
}

/// One call of this time, served.
fn call(ms: u64) -> Window {
    let total = Duration::from_millis(ms);
    let tokens = Usage { prompt_tokens: 10, answer_tokens: 2, ..Usage::default() };
    let mut window = Window::new();
    let lap = Lap { total, first_byte: Some(total), overhead: None, success: Some(true), refused: false, tokens };
    window.record(lap);
    window.attempted(true);
    window.attempted(false);
    window
}

fn run(history: &History, slices: std::ops::Range<u64>, window: &Window) {
    let ring = Ring::default();
    for slice in slices {
        ring.add(slice, window);
        history.see(Gauges { in_flight: 3, streams: 1 });
        history.take(&ring, slice + 1, at);
    }
}

fn last<T: Copy>(column: &[Option<T>]) -> Option<T> {
    column.last().copied().flatten()
}

fn counted(series: &Series) -> usize {
    series.points.requests.iter().flatten().count()
}

#[test]
fn an_hour_is_even_steps_of_which_those_that_were_counted_are_there() {
    let history = History::default();
    run(&history, 0..3, &call(80));
    let series = history.series(Span::Hour, at(3));
    assert_eq!((series.points.at.len(), series.step_seconds, counted(&series)), (360, 10, 3));
    assert!(series.points.at.windows(2).all(|pair| pair[1] - pair[0] == 10));
    assert_eq!(series.from.as_second(), series.points.at[0]);
    let points = &series.points;
    assert_eq!((last(&points.requests), last(&points.ok), last(&points.attempts)), (Some(1), Some(1), Some(2)));
    assert_eq!((last(&points.wasted), last(&points.failed), last(&points.prompt_tokens)), (Some(1), Some(0), Some(10)));
    assert_eq!((last(&points.in_flight), last(&points.streams)), (Some(3), Some(1)));
    assert!((last(&points.p95_ms).unwrap() - 80.0).abs() < 1.0);
    assert_eq!(points.requests[356], None, "before the start");
}

#[test]
fn a_quiet_step_is_zero_and_has_no_percentiles() {
    let history = History::default();
    run(&history, 0..1, &Window::new());
    let points = history.series(Span::Hour, at(1)).points;
    assert_eq!((last(&points.requests), last(&points.p50_ms)), (Some(0), None));
}

#[test]
fn steps_of_the_day_have_the_percentiles_of_all_their_calls() {
    let history = History::default();
    // From 12:00:03 the 30 slices until 12:05 make the first step.
    run(&history, 0..29, &call(100));
    run(&history, 29..31, &call(900));
    let series = history.series(Span::Day, at(31));
    assert_eq!((series.points.at.len(), series.step_seconds, counted(&series)), (288, 300, 1));
    assert_eq!((last(&series.points.requests), last(&series.points.answer_tokens)), (Some(30), Some(60)));
    assert!((last(&series.points.p50_ms).unwrap() - 100.0).abs() < 2.0);
    assert!((last(&series.points.p99_ms).unwrap() - 900.0).abs() < 10.0);
}

#[test]
fn what_nobody_counted_is_not_made_up() {
    let history = History::default();
    run(&history, 0..2, &call(80));
    // The process was stopped for half an hour; one call ended in the slice in which it was stopped.
    let ring = Ring::default();
    ring.add(2, &call(80));
    history.take(&ring, 182, at);
    run(&history, 182..184, &call(80));
    let series = history.series(Span::Hour, at(184));
    assert_eq!(counted(&series), 5);
    let gap = &series.points.requests[360 - 181..360 - 2];
    assert!(gap.iter().all(Option::is_none));
}

#[test]
fn a_clock_that_is_set_back_is_followed() {
    let history = History::default();
    run(&history, 0..6, &call(80));
    let ring = Ring::default();
    ring.add(6, &call(80));
    history.take(&ring, 7, |slice| at(slice - 4));
    let points = history.series(Span::Hour, at(3)).points;
    assert_eq!((points.requests.iter().flatten().count(), last(&points.requests)), (3, Some(1)));
}

#[test]
fn a_day_takes_no_more_than_its_steps() {
    let history = History::default();
    run(&history, 0..10_000, &Window::new());
    let memory = history.memory();
    assert_eq!((memory.hour.at.len(), memory.day.at.len()), (360, 289));
    assert!(serde_json::to_vec(&memory).unwrap().len() < 100_000);
}

#[test]
fn a_restart_goes_on_with_the_steps_and_leaves_the_gap() {
    let (before, after) = (History::default(), History::default());
    run(&before, 0..12, &call(80));
    let text = serde_json::to_string(&before.memory()).unwrap();
    after.recall(&serde_json::from_str(&text).unwrap(), at(15));
    // Another run counts its slices from 0.
    let ring = Ring::default();
    for slice in 0..20 {
        ring.add(slice, &call(200));
        after.take(&ring, slice + 1, |slice| at(slice + 15));
    }
    let hour = after.series(Span::Hour, at(35));
    assert_eq!(counted(&hour), 32);
    assert_eq!(hour.points.requests[360 - 23..360 - 20], [None; 3], "nobody counted while none ran");
    let day = after.series(Span::Day, at(35));
    assert_eq!((counted(&day), last(&day.points.requests)), (1, Some(27)), "both runs counted in that step");
    assert_eq!(last(&day.points.wasted), Some(27));
}

#[test]
fn a_restart_within_one_step_leaves_what_both_runs_counted_in_it() {
    let (before, after) = (History::default(), History::default());
    run(&before, 0..3, &call(80));
    let runs = at(2) + Duration::from_secs(4);
    after.recall(&before.memory(), runs);
    let ring = Ring::default();
    for slice in 0..2 {
        ring.add(slice, &call(80));
        after.take(&ring, slice + 1, |slice| runs + Duration::from_secs(10 * slice));
    }
    let points = after.series(Span::Hour, at(4)).points;
    assert_eq!(points.requests[356..], [Some(1), Some(1), Some(2), Some(1)]);
}

#[test]
fn steps_that_were_kept_before_a_column_was_are_recalled_without_it() {
    let (before, after) = (History::default(), History::default());
    run(&before, 0..3, &call(80));
    let mut text = serde_json::to_value(before.memory()).unwrap();
    text["hour"].as_object_mut().unwrap().remove("unserved").unwrap();
    after.recall(&serde_json::from_value(text).unwrap(), at(3));
    let points = after.series(Span::Hour, at(3)).points;
    assert_eq!((last(&points.requests), last(&points.unserved)), (Some(1), None));
}

#[test]
fn what_is_old_or_cut_short_or_of_the_future_is_not_recalled() {
    let before = History::default();
    run(&before, 0..12, &call(80));
    let memory = before.memory();
    let later = History::default();
    later.recall(&memory, at(0) + Duration::from_hours(30));
    let seen =
        |history: &History, now| (counted(&history.series(Span::Hour, now)), counted(&history.series(Span::Day, now)));
    assert_eq!(seen(&later, at(0) + Duration::from_hours(30)), (0, 0));
    let earlier = History::default();
    earlier.recall(&memory, at(0) - Duration::from_hours(1));
    assert_eq!(seen(&earlier, at(0) - Duration::from_hours(1)), (0, 0));
    let cut: Memory = serde_json::from_str(r#"{"hour": {"at": [1, 2, 3], "requests": [1]}, "more": 1}"#).unwrap();
    let none = History::default();
    none.recall(&cut, at(0));
    assert_eq!((seen(&none, at(0)), Points::default().rows().count()), ((0, 0), 0));
}
