//! A stretch of time in figures: summed up from steps, or taken from what is counted since the start.

use jiff::Timestamp;
use serde::Serialize;

use crate::command::figures;
use crate::command::pages::{Full, Performance, Tokens};
use crate::command::report::sources::{Points, Series, Span};

/// Where the figures come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// The steps that the gateway keeps.
    Series,
    /// All since the start, which lies within the span.
    SinceStart,
    /// The last five minutes: all that is known of a time that ends now.
    FiveMinutes,
}

/// The stretch that is told of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Stretch {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) seconds: u64,
    pub(super) source: Source,
    pub(super) totals: Totals,
    pub(super) times: Vec<Time>,
}

/// Sums; `None`: not known of this stretch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) ok: Option<u64>,
    pub(super) failed: Option<u64>,
    pub(super) refused: Option<u64>,
    pub(super) success_ratio: Option<f64>,
    pub(super) requests_per_second: f64,
    pub(super) busiest: Option<Busiest>,
    pub(super) in_flight_max: Option<u64>,
    pub(super) streams_max: Option<u64>,
    pub(super) attempts: Option<u64>,
    pub(super) wasted_attempts: Option<u64>,
    pub(super) wasted_share: Option<f64>,
    pub(super) tokens: Option<Tokens>,
}

/// The step with the most requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Busiest {
    pub(super) at: Timestamp,
    pub(super) requests_per_second: f64,
}

/// One percentile over the stretch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Time {
    pub(super) name: &'static str,
    /// Of the steps' values the middle one, each counted by its requests; without steps, that of the last five minutes.
    pub(super) typical_ms: f64,
    /// `None` without steps.
    pub(super) worst_ms: Option<f64>,
    pub(super) worst_at: Option<Timestamp>,
}

impl Stretch {
    /// The best that is known of the span that ends now.
    pub(super) fn of(full: &Full, series: Option<&Series>, span: Span) -> Self {
        let (to, uptime) = (full.health.at, full.health.uptime_seconds);
        let covered = |seconds: u64, source, totals, times| {
            let back = i64::try_from(seconds).unwrap_or(i64::MAX);
            let from = to.checked_sub(jiff::SignedDuration::from_secs(back)).unwrap_or(to);
            Self { from, to, seconds, source, totals, times }
        };
        let recent = full.performance.last_five_minutes;
        let series = series.filter(|series| series.step_seconds > 0 && !series.points.at.is_empty());
        // What an earlier run counted; an idle time may have no steps.
        let known = series.map_or(0, |series| age(series, to));
        let earlier = series.is_some_and(|series| known > uptime + series.step_seconds);
        match series {
            Some(series) if earlier || uptime > span.seconds() => {
                let seconds = span.seconds().min(uptime.max(known));
                covered(seconds, Source::Series, summed(series, seconds), times(series))
            }
            // The counts are exact where the steps would lag behind.
            _ if uptime <= span.seconds() => {
                let times = series.map(times).filter(|times| !times.is_empty());
                covered(
                    uptime,
                    Source::SinceStart,
                    since_start(full, series),
                    times.unwrap_or_else(|| measured(&recent)),
                )
            }
            _ => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "five minutes")]
                let seconds = recent.span_seconds.round() as u64;
                covered(seconds, Source::FiveMinutes, lately(&recent), measured(&recent))
            }
        }
    }
}

/// How many seconds ago the first step that was counted in began.
fn age(series: &Series, now: Timestamp) -> u64 {
    let first = series.points.requests.iter().zip(&series.points.at).find(|(requests, _)| requests.is_some());
    first.map_or(0, |(_, at)| u64::try_from(now.as_second() - at).unwrap_or(0))
}

fn summed(series: &Series, seconds: u64) -> Totals {
    let points = &series.points;
    let (requests, ok, failed) = (sum(&points.requests), sum(&points.ok), sum(&points.failed));
    let (refused, attempts, wasted) = (sum(&points.refused), sum(&points.attempts), sum(&points.wasted));
    // Steps that an older instance left tell of no more than those that failed.
    let unserved = sum(&points.unserved).max(failed);
    Totals {
        requests,
        ok: Some(ok),
        failed: Some(failed),
        refused: Some(refused),
        success_ratio: figures::ratio(ok, ok + unserved),
        requests_per_second: per_second(requests, seconds),
        busiest: busiest(series),
        in_flight_max: most(&points.in_flight),
        streams_max: most(&points.streams),
        attempts: Some(attempts),
        wasted_attempts: Some(wasted),
        wasted_share: figures::ratio(wasted, attempts),
        tokens: Some(Tokens {
            prompt_tokens: sum(&points.prompt_tokens),
            cached_tokens: sum(&points.cached_tokens),
            answer_tokens: sum(&points.answer_tokens),
            thought_tokens: sum(&points.thought_tokens),
            tool_tokens: 0,
        }),
    }
}

fn since_start(full: &Full, series: Option<&Series>) -> Totals {
    let (metrics, waste) = (&full.metrics, full.waste());
    let of = |names: &[&str]| names.iter().filter_map(|name| metrics.outcomes.get(*name)).sum::<u64>();
    let (ok, refused) = (of(&["ok"]), of(&["refused"]));
    let failed = of(&["upstream_error", "stream_broken", "stream_unfinished", "panicked"]);
    let average = per_second(metrics.requests, full.health.uptime_seconds);
    Totals {
        requests: metrics.requests,
        ok: Some(ok),
        failed: Some(failed),
        refused: Some(refused),
        success_ratio: figures::ratio(ok, ok + metrics.unserved.unwrap_or(failed + refused)),
        requests_per_second: average,
        attempts: Some(waste.attempts),
        wasted_attempts: Some(waste.wasted_attempts),
        wasted_share: waste.wasted_share,
        // The step that runs is not among them: of a gateway that just began none may be as busy as the whole.
        busiest: series.and_then(busiest).filter(|step| step.requests_per_second >= average),
        in_flight_max: series.and_then(|series| most(&series.points.in_flight)),
        streams_max: series.and_then(|series| most(&series.points.streams)),
        tokens: Some(metrics.tokens),
    }
}

fn lately(recent: &Performance) -> Totals {
    Totals {
        requests: recent.requests,
        success_ratio: recent.success_ratio,
        requests_per_second: recent.requests_per_second,
        ..Totals::default()
    }
}

/// What was measured as one.
fn measured(recent: &Performance) -> Vec<Time> {
    let time = |name, ms| Time { name, typical_ms: ms, worst_ms: None, worst_at: None };
    let (total, first) = (&recent.total, &recent.first_byte);
    let whole = [("p50_ms", total.p50_ms), ("p95_ms", total.p95_ms), ("p99_ms", total.p99_ms)];
    let whole = whole.into_iter().filter(|_| total.count > 0);
    whole.chain((first.count > 0).then_some(("first_byte_p95_ms", first.p95_ms))).map(|(n, ms)| time(n, ms)).collect()
}

fn times(series: &Series) -> Vec<Time> {
    let points = &series.points;
    let columns = [
        ("p50_ms", &points.p50_ms),
        ("p95_ms", &points.p95_ms),
        ("p99_ms", &points.p99_ms),
        ("first_byte_p95_ms", &points.first_byte_p95_ms),
    ];
    columns.into_iter().filter_map(|(name, column)| time(name, column, points)).collect()
}

fn time(name: &'static str, column: &[Option<f64>], points: &Points) -> Option<Time> {
    let weighed = column.iter().zip(&points.requests).zip(&points.at);
    let mut steps: Vec<(f64, f64, i64)> =
        weighed.filter_map(|((ms, requests), at)| Some(((*ms)?, requests.filter(|n| *n > 0.0)?, *at))).collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = steps.iter().map(|(_, requests, _)| requests).sum::<f64>() / 2.0;
    let mut seen = 0.0;
    let middle = steps.iter().find(|(_, requests, _)| {
        seen += requests;
        seen >= half
    })?;
    let worst = steps.last()?;
    let worst_at = Timestamp::from_second(worst.2).ok();
    Some(Time { name, typical_ms: middle.0, worst_ms: Some(worst.0), worst_at })
}

#[expect(clippy::cast_precision_loss, reason = "steps are minutes at most")]
fn busiest(series: &Series) -> Option<Busiest> {
    let steps = series.points.requests.iter().zip(&series.points.at).filter_map(|(n, at)| Some(((*n)?, *at)));
    let (requests, at) = steps.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(requests, _)| *requests > 0.0)?;
    let at = Timestamp::from_second(at).ok()?;
    Some(Busiest { at, requests_per_second: requests / series.step_seconds as f64 })
}

fn sum(column: &[Option<f64>]) -> u64 {
    whole(column.iter().flatten().sum())
}

fn most(column: &[Option<f64>]) -> Option<u64> {
    column.iter().flatten().copied().max_by(f64::total_cmp).map(whole)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive and below 2^52")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "a rate to be looked at")]
fn per_second(requests: u64, seconds: u64) -> f64 {
    (requests as f64 / seconds.max(1) as f64 * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::looks;

    /// A gateway of that age.
    fn full(uptime: u64) -> Full {
        let outcomes = json!({"ok": 171, "upstream_error": 10, "refused": 14, "caller_error": 5});
        let more = json!({
            "health": {"uptime_seconds": uptime},
            "metrics": {"requests": 200, "outcomes": outcomes, "unserved": 19},
            "performance": {"last_five_minutes": {"span_seconds": 300.0, "requests": 30, "requests_per_second": 0.1}},
        });
        looks::full(&looks::keys(&["usable"]), &more)
    }

    fn series() -> Series {
        serde_json::from_value(json!({
            "span": "hour", "step_seconds": 10, "from": 1_795_615_150,
            "points": {
                "at": [1_795_615_150, 1_795_615_160, 1_795_615_170, 1_795_615_180, 1_795_615_190],
                "requests": [null, 10, 80, 10, 0], "ok": [null, 9, 70, 10, 0], "failed": [null, 1, 5, 0, 0],
                "refused": [null, 0, 5, 0, 0], "unserved": [null, 1, 9, 0, 0],
                "attempts": [null, 12, 90, 10, 0], "wasted": [null, 2, 10, 0, 0],
                "p50_ms": [null, 100.0, 200.0, 900.0, null], "p95_ms": [null, 1.0, 2.0, 3.0, 0.0],
                "answer_tokens": [null, 5, 5, null, 0], "in_flight": [null, 1, 7, 2, 0],
            }
        }))
        .unwrap()
    }

    #[test]
    fn what_was_refused_for_the_callers_own_doing_is_no_failure_to_serve() {
        let started = Stretch::of(&full(45), None, Span::Hour).totals;
        assert_eq!((started.refused, started.success_ratio), (Some(14), Some(0.9)));
        let mut steps = series();
        steps.points.refused[2] = Some(50.0);
        let summed = Stretch::of(&full(20), Some(&steps), Span::Hour).totals;
        assert_eq!((summed.refused, summed.success_ratio), (Some(50), figures::ratio(89, 99)));
        steps.points.unserved.clear();
        let older = Stretch::of(&full(20), Some(&steps), Span::Hour).totals;
        assert_eq!(older.success_ratio, figures::ratio(89, 95), "an older instance tells of those that failed");
    }

    #[test]
    fn steps_are_summed_and_each_counts_by_its_requests() {
        let stretch = Stretch::of(&full(20), Some(&series()), Span::Hour);
        assert_eq!((stretch.source, stretch.seconds), (Source::Series, 40), "an earlier run's steps count as well");
        let alone = Stretch::of(&full(45), Some(&series()), Span::Hour);
        assert_eq!((alone.source, alone.seconds, alone.totals.requests), (Source::SinceStart, 45, 200));
        assert_eq!(alone.totals.in_flight_max, Some(7), "what only steps tell is told by them");
        let totals = &stretch.totals;
        assert_eq!((totals.requests, totals.ok, totals.failed, totals.refused), (100, Some(89), Some(6), Some(5)));
        assert_eq!((totals.success_ratio, totals.requests_per_second), (figures::ratio(89, 99), 2.5));
        assert_eq!(totals.busiest.map(|step| step.requests_per_second), Some(8.0));
        assert_eq!((totals.wasted_attempts, totals.in_flight_max, totals.streams_max), (Some(12), Some(7), None));
        assert_eq!(totals.tokens.unwrap().answer_tokens, 10);
        let p50 = &stretch.times[0];
        assert_eq!((p50.name, p50.typical_ms, p50.worst_ms), ("p50_ms", 200.0, Some(900.0)));
        assert_eq!(p50.worst_at.unwrap().as_second(), 1_795_615_180);
        assert_eq!(stretch.times.len(), 2, "what was not measured is not told");
    }

    #[test]
    fn without_steps_a_young_gateway_tells_of_its_life_and_an_old_one_of_five_minutes() {
        let young = Stretch::of(&full(600), None, Span::Hour);
        assert_eq!((young.source, young.seconds, young.totals.requests), (Source::SinceStart, 600, 200));
        assert_eq!((young.to.as_second() - young.from.as_second(), young.totals.failed), (600, Some(10)));
        let old = Stretch::of(&full(7_200), None, Span::Hour);
        assert_eq!((old.source, old.seconds, old.totals.requests, old.totals.ok), (Source::FiveMinutes, 300, 30, None));
        assert_eq!(Stretch::of(&full(7_200), None, Span::Day).source, Source::SinceStart);
    }
}
