//! What went wrong: the last failed attempts, and how many of each class there were in each minute of the last hour.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::record::{Did, Fate};
use crate::verdict::{self, Verdict};

/// How many are kept.
pub(crate) const KEPT_MAX: usize = 100;
/// The longest text kept of one.
const TEXT_BYTES_MAX: usize = 512;
/// How many minutes are told apart.
const MINUTES_MAX: usize = 60;
/// Reasons of refusals told apart in one minute: more than there are.
const REASONS_MAX: usize = 64;

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

/// The last [`KEPT_MAX`] failures, and the last hour by minutes.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    last: VecDeque<(Failure, Arc<Fate>)>,
    minutes: VecDeque<Minute>,
    /// Refusals by reason, as they were counted by the last look.
    refusals: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Minute {
    /// Since 1970.
    number: i64,
    /// By verdict.
    failed: [u32; verdict::ALL.len()],
    refused: Vec<(&'static str, u32)>,
}

/// Failed attempts and refusals by minute, the running one last. It begins with the first minute that had any.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorSeries {
    /// The length of a step.
    pub step_seconds: i64,
    /// When the step began, in Unix seconds.
    pub at: Vec<i64>,
    /// Failed attempts by class: a count for each step. Classes without any are not there.
    pub classes: BTreeMap<&'static str, Vec<u32>>,
    /// Refusals of geminate's own by reason, likewise.
    pub refusals: BTreeMap<&'static str, Vec<u32>>,
}

impl Failures {
    /// Keeps one, and drops the oldest beyond the limit.
    pub(crate) fn push(&self, failure: Failure, verdict: Verdict, fate: Arc<Fate>) {
        let mut kept = self.lock();
        kept.minute(failure.at).failed[verdict as usize] += 1;
        if kept.last.len() == KEPT_MAX {
            kept.last.pop_front();
        }
        kept.last.push_back((failure, fate));
    }

    /// Told now and then how many refusals there were since the start.
    pub(crate) fn refused(&self, total: &BTreeMap<&'static str, u64>, now: Timestamp) {
        let mut kept = self.lock();
        for (reason, count) in total {
            let before = kept.refusals.insert(*reason, *count).unwrap_or(0);
            let more = u32::try_from(count.saturating_sub(before)).unwrap_or(u32::MAX);
            if more == 0 {
                continue;
            }
            let refused = &mut kept.minute(now).refused;
            match refused.iter().position(|(name, _)| name == reason) {
                Some(place) => refused[place].1 = refused[place].1.saturating_add(more),
                None if refused.len() < REASONS_MAX => refused.push((*reason, more)),
                None => {}
            }
        }
    }

    /// The last hour up to `now`.
    pub(crate) fn series(&self, now: Timestamp) -> ErrorSeries {
        let kept = self.lock();
        let to = minute_of(now);
        let from = (to + 1).saturating_sub_unsigned(MINUTES_MAX as u64);
        let minutes: Vec<&Minute> = kept.minutes.iter().filter(|minute| (from..=to).contains(&minute.number)).collect();
        let first = minutes.first().map_or(to, |minute| minute.number);
        let mut series = ErrorSeries {
            step_seconds: 60,
            at: (first..=to).map(|minute| minute * 60).collect(),
            classes: BTreeMap::new(),
            refusals: BTreeMap::new(),
        };
        let steps = series.at.len();
        for minute in minutes {
            let Ok(place) = usize::try_from(minute.number - first) else { continue };
            for (verdict, count) in verdict::ALL.iter().zip(minute.failed).filter(|(_, count)| *count > 0) {
                series.classes.entry(verdict.name()).or_insert_with(|| vec![0; steps])[place] += count;
            }
            for (reason, count) in &minute.refused {
                series.refusals.entry(*reason).or_insert_with(|| vec![0; steps])[place] += count;
            }
        }
        series
    }

    /// Up to `limit` of them, the newest first.
    pub(crate) fn last(&self, limit: usize) -> Vec<Failure> {
        let kept = self.lock();
        let told =
            |(failure, fate): &(Failure, Arc<Fate>)| Failure { did: fate.did().map(Did::name), ..failure.clone() };
        kept.last.iter().rev().take(limit).map(told).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The minute of `now`; where the time of day was set back, the last one that was counted in.
    fn minute(&mut self, now: Timestamp) -> &mut Minute {
        let last = self.minutes.back().map_or(i64::MIN, |minute| minute.number);
        let number = minute_of(now);
        // Set back by more than the hour that is shown, it would be counted in what nobody sees.
        if number < last.saturating_sub_unsigned(MINUTES_MAX as u64) {
            self.minutes.clear();
        }
        if self.minutes.is_empty() || number > last {
            if self.minutes.len() == MINUTES_MAX {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute { number, failed: [0; verdict::ALL.len()], refused: Vec::new() });
        }
        let place = self.minutes.len() - 1;
        &mut self.minutes[place]
    }
}

fn minute_of(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
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
            failures.push(failure, Verdict::Overloaded, Arc::default());
        }
        let last = failures.last(1000);
        assert_eq!((last.len(), last[0].status, last[99].status), (100, Some(249), Some(150)));
        assert_eq!(last[0].message.len(), 512);
        assert_eq!(failures.last(3).len(), 3);
    }

    fn fail(failures: &Failures, verdict: Verdict, at: Timestamp) {
        let failure = Failure {
            at,
            request_id: "r".into(),
            key: "1".into(),
            model: "m".into(),
            class: verdict.name(),
            status: None,
            message: "".into(),
            did: None,
        };
        failures.push(failure, verdict, Arc::default());
    }

    #[test]
    fn an_hour_is_told_by_minutes_and_forgotten_after_it() {
        let failures = Failures::default();
        let start: Timestamp = "2026-11-26T12:00:30Z".parse().unwrap();
        let at = |minute: u64| start + std::time::Duration::from_mins(minute);
        fail(&failures, Verdict::Overloaded, at(0));
        fail(&failures, Verdict::Overloaded, at(2));
        fail(&failures, Verdict::QuotaDay, at(2));
        failures.refused(&[("rate_limited", 4)].into(), at(1));
        failures.refused(&[("rate_limited", 7), ("busy", 0)].into(), at(2));
        let series = failures.series(at(3));
        assert_eq!((series.at.len(), series.at[0], series.step_seconds), (4, at(0).as_second() - 30, 60));
        assert_eq!(series.classes, [("overloaded", vec![1, 0, 1, 0]), ("quota_day", vec![0, 0, 1, 0])].into());
        assert_eq!(series.refusals["rate_limited"], [0, 0, 7, 0], "what is told late is counted when it is told");
        assert_eq!((series.refusals.len(), failures.series(at(200)).classes.len()), (1, 0));
        for minute in 0..500 {
            fail(&failures, Verdict::Edge, at(minute));
        }
        let series = failures.series(at(499));
        assert_eq!((series.at.len(), series.classes["edge"].len()), (60, 60));
        assert!(series.classes["edge"].iter().all(|count| *count == 1));
    }
}
