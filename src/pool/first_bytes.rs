//! How long a model's answers took to their first byte of late, so that a slow one can be told.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Times that are remembered: the latest.
const TIMES_MAX: usize = 256;
/// With fewer, nobody knows what is slow.
const TIMES_MIN: usize = 50;
/// So many new ones change little: the figure is taken anew after them.
const REFRESH: usize = 8;

/// The times of answers of one kind. Shared by all workers: the figure is read without a lock.
#[derive(Debug, Default)]
pub struct FirstBytes {
    times: Mutex<Times>,
    /// Microseconds; 0 is not known yet.
    p95: AtomicU32,
}

impl FirstBytes {
    /// One answer took this long; an attempt that was given up for another, at least this long.
    pub fn note(&self, took: Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.note(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        if let Some(p95) = times.p95().filter(|_| times.noted.is_multiple_of(REFRESH)) {
            self.p95.store(p95.max(1), Relaxed);
        }
    }

    /// What 95 of 100 answers need at most; `None` while too few are known.
    pub fn p95(&self) -> Option<Duration> {
        let micros = self.p95.load(Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }
}

#[derive(Debug, Default)]
struct Times {
    /// Microseconds, in a ring.
    latest: Vec<u32>,
    noted: usize,
}

impl Times {
    fn note(&mut self, micros: u32) {
        if self.latest.len() < TIMES_MAX {
            self.latest.push(micros);
        } else {
            self.latest[self.noted % TIMES_MAX] = micros;
        }
        self.noted += 1;
    }

    fn p95(&self) -> Option<u32> {
        let mut times = self.latest.clone();
        let at = times.len().checked_mul(95)?.div_ceil(100).checked_sub(1)?;
        (times.len() >= TIMES_MIN).then(|| *times.select_nth_unstable(at).1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> FirstBytes {
        let times = FirstBytes::default();
        millis.into_iter().for_each(|time| times.note(Duration::from_millis(time)));
        times
    }

    #[test]
    fn a_few_answers_do_not_tell_what_is_slow() {
        assert_eq!(of(0..0).p95(), None);
        assert_eq!(of(1..TIMES_MIN as u64).p95(), None);
        assert_eq!(of(1..=104).p95(), Some(Duration::from_millis(99)));
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let (slow, fast) = (vec![900; TIMES_MAX], vec![10; TIMES_MAX]);
        assert_eq!(of(slow.iter().chain(&fast).copied()).p95(), Some(Duration::from_millis(10)));
        assert_eq!(of(fast.iter().chain(&slow[..20]).copied()).p95(), Some(Duration::from_millis(900)));
    }

    #[test]
    fn giving_up_what_is_slow_does_not_make_the_rest_look_slow() {
        let times = of((0..256).map(|n| 100 + n % 100));
        let before = times.p95().unwrap();
        // One in twenty is given up at the figure, and another one answers like most do.
        for n in 0..2_000_u64 {
            let took = Duration::from_millis(100 + n % 100);
            let late = took > times.p95().unwrap();
            if late {
                times.note(times.p95().unwrap() + Duration::from_millis(1));
            }
            times.note(if late { Duration::from_millis(150) } else { took });
        }
        let after = times.p95().unwrap();
        assert!(before.abs_diff(after) < Duration::from_millis(15), "{before:?} {after:?}");
    }

    proptest! {
        #[test]
        fn one_in_twenty_is_slower(millis in prop::collection::vec(1_u64..10_000, 56..600)) {
            let kept = millis.len() / REFRESH * REFRESH;
            let latest = &millis[kept.saturating_sub(TIMES_MAX)..kept];
            let p95 = of(millis.iter().copied()).p95().unwrap();
            let slower = latest.iter().filter(|time| Duration::from_millis(**time) > p95).count();
            prop_assert!(slower * 20 <= latest.len(), "{} of {}", slower, latest.len());
        }
    }
}
