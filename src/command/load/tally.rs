//! What was measured, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::usage::Usage;

/// The longest time told apart, in microseconds; longer ones count as this.
const MICROS_MAX: u64 = 7_200_000_000;
/// Tenths of a token a second, likewise.
const TENTHS_MAX: u64 = 10_000_000;
/// Three digits: every figure is right within a thousandth.
const DIGITS: u8 = 3;

/// How one request ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum End {
    /// Answered to the last byte.
    Ok,
    /// An answer that is an error.
    Status(u16),
    /// Nobody answers there.
    NoConnection,
    /// The answer did not come within its time.
    TimedOut,
    /// The connection broke before the end.
    BrokenOff,
    /// An answer that began well and told of an error.
    ErrorWithin,
    /// A stream that ended without saying why.
    Unfinished,
}

impl End {
    /// The word in JSON.
    pub(super) fn name(self) -> String {
        match self {
            Self::Ok => "ok".to_owned(),
            Self::Status(code) => format!("status_{code}"),
            Self::NoConnection => "no_connection".to_owned(),
            Self::TimedOut => "timed_out".to_owned(),
            Self::BrokenOff => "broken_off".to_owned(),
            Self::ErrorWithin => "error_within".to_owned(),
            Self::Unfinished => "unfinished".to_owned(),
        }
    }
}

/// One request that is over.
#[derive(Debug)]
pub(super) struct Shot {
    pub(super) end: End,
    /// From when it was due to its answer's last byte.
    pub(super) total: Duration,
    /// The same to the first byte of the body, where one came.
    pub(super) first_byte: Option<Duration>,
    /// How much later than due it was sent.
    pub(super) late: Duration,
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    pub(super) usage: Usage,
    /// What the other side said, where it failed; scrubbed.
    pub(super) said: Option<String>,
}

/// Requests that ended one way.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Failed {
    pub(super) count: u64,
    /// What the first of them was told.
    pub(super) first_message: Option<String>,
}

/// The sum of many.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) succeeded: u64,
    pub(super) failed: BTreeMap<End, Failed>,
    pub(super) total: Histogram<u64>,
    pub(super) first_byte: Histogram<u64>,
    pub(super) gaps: Histogram<u64>,
    pub(super) speed: Histogram<u64>,
    pub(super) failed_total: Histogram<u64>,
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    pub(super) usage: Usage,
    /// Requests that were sent [`LATE`] or more after they were due.
    pub(super) late: u64,
    pub(super) latest: Duration,
}

/// What is called late: more than a clock that ticks in milliseconds explains.
pub(super) const LATE: Duration = Duration::from_millis(10);

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        let up_to = |most| Histogram::new_with_bounds(1, most, DIGITS).expect("the bounds are in order");
        let times = || up_to(MICROS_MAX);
        Self {
            succeeded: 0,
            failed: BTreeMap::new(),
            total: times(),
            first_byte: times(),
            gaps: times(),
            speed: up_to(TENTHS_MAX),
            failed_total: times(),
            bytes: 0,
            chunks: 0,
            usage: Usage::default(),
            late: 0,
            latest: Duration::ZERO,
        }
    }

    /// Counts one. Only what was answered tells how fast answers are; failures have a measure of their own.
    pub(super) fn record(&mut self, shot: Shot) {
        if shot.end == End::Ok {
            self.succeeded += 1;
            self.total.saturating_record(micros(shot.total));
            if let Some(first) = shot.first_byte {
                self.first_byte.saturating_record(micros(first));
                self.speed_of(shot.usage.answer_tokens + shot.usage.thought_tokens, shot.total.saturating_sub(first));
            }
        } else {
            self.failed_total.saturating_record(micros(shot.total));
            let failed = self.failed.entry(shot.end).or_default();
            failed.count += 1;
            failed.first_message = failed.first_message.take().or(shot.said);
        }
        self.bytes += shot.bytes;
        self.chunks += shot.chunks;
        self.cost(shot.usage);
        self.late += u64::from(shot.late >= LATE);
        self.latest = self.latest.max(shot.late);
    }

    /// A pause between two pieces of one stream.
    pub(super) fn gap(&mut self, gap: Duration) {
        self.gaps.saturating_record(micros(gap));
    }

    /// Adds `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        for (end, more) in &other.failed {
            let failed = self.failed.entry(*end).or_default();
            failed.count += more.count;
            failed.first_message = failed.first_message.take().or_else(|| more.first_message.clone());
        }
        for (mine, theirs) in [
            (&mut self.total, &other.total),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.gaps, &other.gaps),
            (&mut self.speed, &other.speed),
            (&mut self.failed_total, &other.failed_total),
        ] {
            // The bounds are the same, so it cannot fail.
            let _same_bounds = mine.add(theirs);
        }
        self.bytes += other.bytes;
        self.chunks += other.chunks;
        self.cost(other.usage);
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
    }

    /// Those that ended badly.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().map(|failed| failed.count).sum()
    }

    fn cost(&mut self, more: Usage) {
        self.usage.prompt_tokens += more.prompt_tokens;
        self.usage.cached_tokens += more.cached_tokens;
        self.usage.answer_tokens += more.answer_tokens;
        self.usage.thought_tokens += more.thought_tokens;
        self.usage.tool_tokens += more.tool_tokens;
    }

    /// Tokens a second of one stream, from its first byte on; an answer that came at once has no speed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and the histogram has an end"
    )]
    fn speed_of(&mut self, tokens: u64, took: Duration) {
        if tokens > 0 && took >= Duration::from_millis(1) {
            self.speed.saturating_record((tokens as f64 * 10.0 / took.as_secs_f64()).round() as u64);
        }
    }
}

/// A distribution; its unit is named where it stands. All zero when nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) count: u64,
    pub(super) mean: f64,
    /// The standard deviation.
    pub(super) deviation: f64,
    pub(super) min: f64,
    pub(super) p50: f64,
    pub(super) p75: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99_9")]
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of times, in milliseconds.
    pub(super) fn millis(micros: &Histogram<u64>) -> Self {
        Self::of(micros, 1_000.0)
    }

    /// Of speeds, in tokens a second.
    pub(super) fn tokens(tenths: &Histogram<u64>) -> Self {
        Self::of(tenths, 10.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "values are bounded")]
    fn of(values: &Histogram<u64>, unit: f64) -> Self {
        let round = |value: f64| (value / unit * 1e3).round() / 1e3;
        // The histogram tells the end of the cell that a value lies in, which may lie beyond the longest.
        let max = if values.is_empty() { 0 } else { values.max() };
        let at = |quantile| round(values.value_at_quantile(quantile).min(max) as f64);
        Self {
            count: values.len(),
            mean: round(values.mean()),
            deviation: round(values.stdev()),
            min: round(if values.is_empty() { 0.0 } else { values.min() as f64 }),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: round(max as f64),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(end: End, ms: u64) -> Shot {
        let total = Duration::from_millis(ms);
        let usage = Usage { answer_tokens: ms / 2, ..Usage::default() };
        let (first_byte, said) = (Some(total / 2), (end != End::Ok).then(|| format!("after {ms} ms")));
        Shot { end, total, first_byte, late: Duration::from_millis(ms / 100), bytes: 10, chunks: 2, usage, said }
    }

    #[test]
    fn percentiles_mean_and_deviation_are_right_within_a_thousandth() {
        let mut tally = Tally::new();
        (1..=1_000).for_each(|ms| tally.record(shot(End::Ok, ms)));
        let seen = Spread::millis(&tally.total);
        // The deviation of 1 to n is the root of (n² - 1) / 12.
        for (got, want) in [
            (seen.mean, 500.5),
            (seen.deviation, 288.675),
            (seen.min, 1.0),
            (seen.p50, 500.0),
            (seen.p75, 750.0),
            (seen.p90, 900.0),
            (seen.p95, 950.0),
            (seen.p99, 990.0),
            (seen.p999, 999.0),
            (seen.max, 1_000.0),
        ] {
            assert!((got - want).abs() <= want * 0.001 + 0.001, "{got} is not {want}");
        }
        let speed = Spread::tokens(&tally.speed);
        assert!((speed.p99 - 1_000.0).abs() <= 20.0, "half a token a millisecond over half the time: {speed:?}");
        assert_eq!((tally.late, tally.latest), (1, Duration::from_millis(10)));
        assert_eq!(Spread::millis(&Tally::new().total).max.to_string(), "0");
    }

    #[test]
    fn failures_are_counted_by_kind_and_never_make_answers_look_fast() {
        let (mut all, mut other) = (Tally::new(), Tally::new());
        all.record(shot(End::Ok, 800));
        all.record(shot(End::Status(429), 1));
        other.record(shot(End::Status(429), 2));
        other.record(shot(End::TimedOut, 9));
        other.gap(Duration::from_millis(5));
        all.add(&other);
        assert_eq!((all.succeeded, all.failures(), all.bytes, all.chunks), (1, 3, 40, 8));
        let refused = &all.failed[&End::Status(429)];
        assert_eq!((refused.count, refused.first_message.as_deref()), (2, Some("after 1 ms")));
        assert!(Spread::millis(&all.total).min > 799.0);
        assert_eq!((all.failed_total.len(), all.gaps.len()), (3, 1));
        assert_eq!(End::Status(503).name(), "status_503");
    }
}
