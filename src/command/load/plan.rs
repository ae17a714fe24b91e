//! How much load, how fast and for how long: which request is due when.

use std::time::Duration;

use serde::Serialize;

/// Requests on their way at once.
pub(super) const AT_ONCE_MAX: u32 = 1_000;
/// Requests of one run.
pub(super) const REQUESTS_MAX: u64 = 10_000_000;
/// Seconds of one run, and of one answer.
pub(super) const DURATION_S_MAX: u64 = 3_600;
/// Requests a second.
const RATE_MAX: f64 = 100_000.0;
/// Requests that are due and wait for a free connection; those beyond are not sent at all.
pub(super) const LATE_MAX: u64 = 10_000;

/// What sets the pace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pace {
    /// The clock: so many requests a second.
    #[serde(rename = "requests_per_second")]
    Rate(f64),
    /// The answers: so many callers, each with one request at a time.
    #[serde(rename = "concurrency")]
    Callers(u32),
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) pace: Pace,
    /// The most that are sent.
    pub(super) requests: u64,
    /// None is due later.
    pub(super) duration: Duration,
    /// The time of one answer, to its end.
    pub(super) timeout: Duration,
}

/// Requests a second, as the command line has them.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (0.01..=RATE_MAX).contains(rate)).ok_or_else(|| format!("from 0.01 to {RATE_MAX}"))
}

impl Plan {
    /// Connections that are needed.
    pub(super) fn hands(&self) -> u32 {
        match self.pace {
            Pace::Rate(_) => AT_ONCE_MAX,
            Pace::Callers(callers) => callers,
        }
        .min(u32::try_from(self.requests).unwrap_or(u32::MAX))
    }

    /// When request number `n` (from 0) is due, from the start; at once where the answers set the pace. `None`: never.
    #[expect(clippy::cast_precision_loss, reason = "numbers are bounded by `REQUESTS_MAX`")]
    pub(super) fn due(&self, n: u64) -> Option<Duration> {
        if n >= self.requests {
            return None;
        }
        match self.pace {
            Pace::Rate(rate) => Some(Duration::from_secs_f64(n as f64 / rate)).filter(|due| *due < self.duration),
            Pace::Callers(_) => Some(Duration::ZERO),
        }
    }

    /// How many were due after `elapsed`; the clock's pace only.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times and rates are bounded, and positive"
    )]
    pub(super) fn due_by(&self, elapsed: Duration) -> Option<u64> {
        let Pace::Rate(rate) = self.pace else { return None };
        let in_time = |span: Duration| (span.as_secs_f64() * rate).floor() as u64 + 1;
        let last = (self.duration.as_secs_f64() * rate).ceil() as u64;
        Some(in_time(elapsed).min(last).min(self.requests))
    }

    /// The most requests that can come of it.
    pub(super) fn most(&self) -> u64 {
        self.due_by(self.duration).unwrap_or(self.requests)
    }

    /// How far it is, from 0 to 1, by whichever of its bounds is nearer.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(super) fn share(&self, requests: u64, elapsed: Duration) -> f64 {
        let by_count = requests as f64 / self.most() as f64;
        let by_time = elapsed.as_secs_f64() / self.duration.as_secs_f64();
        by_count.max(by_time).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pace: Pace, requests: u64, seconds: u64) -> Plan {
        Plan { pace, requests, duration: Duration::from_secs(seconds), timeout: Duration::from_secs(1) }
    }

    #[test]
    fn the_clock_sets_the_pace_until_the_time_or_the_count_is_over() {
        let plan = plan(Pace::Rate(4.0), 1_000, 2);
        let due: Vec<_> = (0..9).map(|n| plan.due(n).map(|due| due.as_millis())).collect();
        let ms = [0, 250, 500, 750, 1_000, 1_250, 1_500, 1_750].map(Some);
        assert_eq!((&due[..8], due[8]), (&ms[..], None));
        assert_eq!(plan.most(), 8);
        let by = |ms| plan.due_by(Duration::from_millis(ms));
        assert_eq!([by(0), by(249), by(250), by(1_750), by(60_000)], [1, 1, 2, 8, 8].map(Some));
        assert_eq!(Plan { requests: 3, ..plan }.due(3), None);
        assert_eq!(Plan { requests: 3, ..plan }.most(), 3);
    }

    #[test]
    fn the_answers_set_the_pace_of_callers() {
        let plan = plan(Pace::Callers(7), 5, 10);
        assert_eq!((plan.due(4), plan.due(5)), (Some(Duration::ZERO), None));
        assert_eq!((plan.due_by(Duration::from_secs(1)), plan.most()), (None, 5));
        assert_eq!(plan.hands(), 5, "nobody is hired who has nothing to do");
        assert_eq!(Plan { requests: 50, ..plan }.hands(), 7);
    }

    #[test]
    fn the_nearer_bound_says_how_far_it_is() {
        let plan = plan(Pace::Callers(1), 100, 10);
        let share = |requests, seconds| plan.share(requests, Duration::from_secs(seconds));
        let shares = [share(50, 1), share(10, 9), share(0, 0), share(0, 99)];
        assert_eq!(shares.map(|share| share.to_string()), ["0.5", "0.9", "0", "1"]);
    }

    #[test]
    fn a_rate_is_bounded() {
        assert_eq!((rate("0.5"), rate("100000")), (Ok(0.5), Ok(100_000.0)));
        for text in ["0", "-1", "100001", "NaN", "inf", "x", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
