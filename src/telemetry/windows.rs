//! The last minutes in slices of ten seconds: rates, success and percentiles.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::usage::Usage;

/// The length of a slice.
pub(crate) const SLICE: Duration = Duration::from_secs(10);
/// How far back the slices reach: five minutes and the one that runs.
const SLICES_MAX: usize = 31;
/// The longest time told apart, in microseconds: ten minutes. Longer ones count as this.
const MICROS_MAX: u64 = 600_000_000;

/// What one call adds to its slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    pub(crate) total: Duration,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) overhead: Option<Duration>,
    pub(crate) success: Option<bool>,
    /// Whether geminate itself refused it.
    pub(crate) refused: bool,
    pub(crate) tokens: Usage,
}

/// Calls that ended within one slice, or within several that were added up.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) calls: u64,
    pub(crate) good: u64,
    /// Calls that should have been served and were not.
    pub(crate) bad: u64,
    /// Of the bad ones, those that geminate did not refuse itself.
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) attempts: u64,
    /// Attempts that failed.
    pub(crate) wasted: u64,
    pub(crate) tokens: Usage,
    total: Histogram<u32>,
    first_byte: Histogram<u32>,
    overhead: Histogram<u32>,
}

impl Window {
    pub(crate) fn new() -> Self {
        // Two digits: 12 KB each.
        let histogram = || Histogram::new_with_bounds(1, MICROS_MAX, 2).expect("the bounds are in order");
        Self {
            calls: 0,
            good: 0,
            bad: 0,
            failed: 0,
            refused: 0,
            attempts: 0,
            wasted: 0,
            tokens: Usage::default(),
            total: histogram(),
            first_byte: histogram(),
            overhead: histogram(),
        }
    }

    /// Counts a call.
    pub(crate) fn record(&mut self, lap: Lap) {
        self.calls += 1;
        match lap.success {
            Some(true) => self.good += 1,
            Some(false) => {
                self.bad += 1;
                self.failed += u64::from(!lap.refused);
            }
            None => {}
        }
        self.refused += u64::from(lap.refused);
        self.tokens += lap.tokens;
        self.total.saturating_record(micros(lap.total));
        if let Some(first_byte) = lap.first_byte {
            self.first_byte.saturating_record(micros(first_byte));
        }
        if let Some(overhead) = lap.overhead {
            self.overhead.saturating_record(micros(overhead));
        }
    }

    /// Counts an attempt.
    pub(crate) fn attempted(&mut self, failed: bool) {
        self.attempts += 1;
        self.wasted += u64::from(failed);
    }

    /// From arrival to the last byte.
    pub(crate) fn total(&self) -> Quantiles {
        Quantiles::of(&self.total)
    }

    /// From arrival to the first byte.
    pub(crate) fn first_byte(&self) -> Quantiles {
        Quantiles::of(&self.first_byte)
    }

    /// Adds `other`'s calls to these.
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.good += other.good;
        self.bad += other.bad;
        self.failed += other.failed;
        self.refused += other.refused;
        self.attempts += other.attempts;
        self.wasted += other.wasted;
        self.tokens += other.tokens;
        for (mine, theirs) in [
            (&mut self.total, &other.total),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.overhead, &other.overhead),
        ] {
            // The bounds are the same, so it cannot fail.
            let _same_bounds = mine.add(theirs);
        }
    }

    /// Forgets every call, for use again.
    pub(crate) fn clear(&mut self) {
        (self.calls, self.good, self.bad, self.failed, self.refused) = (0, 0, 0, 0, 0);
        (self.attempts, self.wasted, self.tokens) = (0, 0, Usage::default());
        self.total.reset();
        self.first_byte.reset();
        self.overhead.reset();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls == 0 && self.attempts == 0
    }
}

/// The slices that are over, and whatever was added to the one that runs.
#[derive(Debug, Default)]
pub(crate) struct Ring(Mutex<VecDeque<(u64, Window)>>);

impl Ring {
    /// Adds what was counted in slice number `slice`.
    pub(crate) fn add(&self, slice: u64, window: &Window) {
        let mut ring = self.lock();
        let place = ring.partition_point(|(number, _)| *number < slice);
        match ring.get_mut(place) {
            Some((number, present)) if *number == slice => present.add(window),
            _ => {
                let mut fresh = if ring.len() < SLICES_MAX {
                    Window::new()
                } else if place == 0 {
                    return;
                } else {
                    ring.pop_front().map_or_else(Window::new, |(_, old)| old)
                };
                fresh.clear();
                fresh.add(window);
                let place = ring.partition_point(|(number, _)| *number < slice);
                ring.insert(place, (slice, fresh));
            }
        }
    }

    /// The sum of the slices `from` to `to`, both included.
    pub(crate) fn sum(&self, from: u64, to: u64) -> Window {
        let mut sum = Window::new();
        for (_, window) in self.lock().iter().filter(|(number, _)| (from..=to).contains(number)) {
            sum.add(window);
        }
        sum
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Window)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How geminate did over a span of time.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Performance {
    /// The span that was counted, ending now.
    pub span_seconds: f64,
    /// Calls that ended in it.
    pub requests: u64,
    /// Of those, a second.
    pub requests_per_second: f64,
    /// Of the calls whose end was not the caller's own doing, the share that was served; `None` without any.
    pub success_ratio: Option<f64>,
    /// From a request's arrival to its answer's last byte.
    pub total: Quantiles,
    /// From a request's arrival to its answer's first byte.
    pub first_byte: Quantiles,
    /// Of the time to the first byte, what geminate itself took.
    pub overhead: Quantiles,
}

impl Performance {
    /// What `window` says of a span of this length.
    #[expect(clippy::cast_precision_loss, reason = "counts of five minutes are far below 2^52")]
    pub(crate) fn of(window: &Window, span: Duration) -> Self {
        let seconds = span.as_secs_f64().max(0.001);
        let judged = window.good + window.bad;
        Self {
            span_seconds: round(seconds, 10.0),
            requests: window.calls,
            requests_per_second: round(window.calls as f64 / seconds, 100.0),
            success_ratio: (judged > 0).then(|| round(window.good as f64 / judged as f64, 10_000.0)),
            total: Quantiles::of(&window.total),
            first_byte: Quantiles::of(&window.first_byte),
            overhead: Quantiles::of(&window.overhead),
        }
    }
}

/// The distribution of a time, within one percent. All zero when nothing was measured.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half of them took less.
    pub p50_ms: f64,
    /// 95 of a hundred took less.
    pub p95_ms: f64,
    /// 99 of a hundred took less.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Quantiles {
    #[expect(clippy::cast_precision_loss, reason = "times are bounded by `MICROS_MAX`")]
    fn of(times: &Histogram<u32>) -> Self {
        let at = |quantile: f64| round(times.value_at_quantile(quantile) as f64 / 1e3, 1e3);
        Self {
            count: times.len(),
            mean_ms: round(times.mean() / 1e3, 1e3),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: round(times.max() as f64 / 1e3, 1e3),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX)
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lap(ms: u64, success: Option<bool>) -> Lap {
        let total = Duration::from_millis(ms);
        Lap {
            total,
            first_byte: Some(total / 2),
            overhead: Some(Duration::from_micros(40)),
            success,
            refused: false,
            tokens: Usage::default(),
        }
    }

    #[test]
    fn percentiles_are_right_within_a_percent() {
        let mut window = Window::new();
        (1..=1000).for_each(|ms| window.record(lap(ms, Some(ms % 10 != 0))));
        let seen = Performance::of(&window, Duration::from_mins(1));
        for (got, want) in [
            (seen.total.p50_ms, 500.0),
            (seen.total.p95_ms, 950.0),
            (seen.total.p99_ms, 990.0),
            (seen.first_byte.p50_ms, 250.0),
            (seen.overhead.p99_ms, 0.040),
        ] {
            assert!((got - want).abs() <= want * 0.011, "{got} is not {want}");
        }
        assert_eq!((seen.success_ratio, seen.requests), (Some(0.9), 1000));
        assert!((seen.requests_per_second - 16.67).abs() < 0.01);
    }

    #[test]
    fn slices_from_several_threads_add_up_and_old_ones_go() {
        let ring = Ring::default();
        let mut window = Window::new();
        window.record(lap(5, Some(true)));
        for slice in 0..100 {
            ring.add(slice, &window);
            ring.add(slice, &window);
        }
        assert_eq!(ring.sum(94, 99).calls, 12);
        assert_eq!(ring.sum(0, 99).calls, 2 * SLICES_MAX as u64);
        ring.add(3, &window);
        assert_eq!(ring.sum(0, 10).calls, 0);
    }

    #[test]
    fn the_callers_own_ends_are_not_judged() {
        let mut window = Window::new();
        window.record(lap(5, None));
        assert_eq!(Performance::of(&window, Duration::from_mins(1)).success_ratio, None);
    }
}
