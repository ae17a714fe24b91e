//! The last hour in steps of ten seconds and the last day in steps of five minutes: what charts are drawn of.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::telemetry::columns::{Gauges, Points, Row};
use crate::telemetry::windows::{Ring, SLICE, Window};

/// The length of a slice, which is a step of the hour's.
const STEP_SECONDS: i64 = SLICE.as_secs().cast_signed();
/// Steps of the hour's that make one of the day's.
const STEPS_OF_DAY: i64 = 30;
/// Where slices were not looked at for so many, nobody knows whether the process ran.
const LATE_MAX: u64 = 3;

/// How far back to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Span {
    /// 360 steps of 10 s.
    Hour,
    /// 288 steps of 5 min.
    Day,
}

impl Span {
    /// `hour` or `day`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Hour, Self::Day].into_iter().find(|span| span.name() == name)
    }

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The length of a step.
    const fn step_seconds(self) -> i64 {
        match self {
            Self::Hour => STEP_SECONDS,
            Self::Day => STEP_SECONDS * STEPS_OF_DAY,
        }
    }

    const fn steps(self) -> i64 {
        match self {
            Self::Hour => 360,
            Self::Day => 288,
        }
    }
}

/// Steps that are over, evenly spaced, the last one at the end.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Series {
    /// `hour` or `day`.
    pub span: &'static str,
    /// The length of a step.
    pub step_seconds: i64,
    /// When the first step began.
    pub from: Timestamp,
    /// What was counted in each.
    pub points: Points,
}

/// What the next run should know. Only steps in which somebody counted are in it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Memory {
    #[serde(default)]
    hour: Points,
    #[serde(default)]
    day: Points,
}

/// Filled slice by slice.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    hour: Steps,
    day: Steps,
    /// The first slice that was not taken yet.
    next: u64,
    gauges: Gauges,
    /// The step of the hour's at which an earlier run came to its end: this one may have begun in it.
    ended_in: Option<i64>,
    open: Option<Open>,
}

/// By their number since 1970, which grows.
#[derive(Debug, Default)]
struct Steps(VecDeque<(i64, Row)>);

/// The step of the day's that runs.
#[derive(Debug)]
struct Open {
    step: i64,
    window: Window,
    gauges: Gauges,
    /// What an earlier run counted in it.
    before: Option<Row>,
}

impl History {
    /// Notes what is to be seen just now.
    pub(crate) fn see(&self, gauges: Gauges) {
        let mut kept = self.lock();
        kept.gauges = kept.gauges.most(gauges);
    }

    /// Takes over the slices before `current` that are new, all of which are in the ring. `began` is the time of day at
    /// which a slice began.
    pub(crate) fn take(&self, ring: &Ring, current: u64, began: impl Fn(u64) -> Timestamp) {
        let mut kept = self.lock();
        if current <= kept.next {
            return;
        }
        let gauges = mem::take(&mut kept.gauges);
        let first = kept.next.max(current.saturating_sub(Span::Hour.steps().unsigned_abs()));
        let late = current.saturating_sub(kept.next) > LATE_MAX;
        for slice in first..current {
            let window = ring.sum(slice, slice);
            // Who was held up does not know what came meanwhile, but for what was counted.
            if !(late && window.is_empty()) {
                kept.add(step(began(slice)), &window, gauges);
            }
        }
        kept.next = current;
    }

    /// The steps before the one in which `now` is.
    pub(crate) fn series(&self, span: Span, now: Timestamp) -> Series {
        let kept = self.lock();
        let (steps, length) = (kept.steps(span), span.step_seconds());
        let end = now.as_second().div_euclid(length);
        let mut points = Points::default();
        for number in end - span.steps()..end {
            points.push(number * length, steps.row(number));
        }
        drop(kept);
        let from = points.at.first().and_then(|at| Timestamp::from_second(*at).ok()).unwrap_or_default();
        Series { span: span.name(), step_seconds: length, from, points }
    }

    pub(crate) fn memory(&self) -> Memory {
        let kept = self.lock();
        let mut memory = Memory { hour: kept.hour.points(Span::Hour), day: kept.day.points(Span::Day) };
        if let Some(open) = &kept.open {
            memory.day.push(open.step * Span::Day.step_seconds(), Some(&open.row()));
        }
        memory
    }

    /// Goes on from what an earlier run left, as far as it is of the last hour and day before `now`.
    pub(crate) fn recall(&self, memory: &Memory, now: Timestamp) {
        let mut kept = self.lock();
        kept.hour.recall(&memory.hour, Span::Hour, now);
        kept.ended_in = kept.hour.0.back().map(|(number, _)| *number);
        kept.day.recall(&memory.day, Span::Day, now);
        let runs = now.as_second().div_euclid(Span::Day.step_seconds());
        if let Some((_, before)) = kept.day.0.pop_back_if(|(number, _)| *number == runs) {
            kept.open = Some(Open { before: Some(before), ..Open::new(runs) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    const fn steps(&self, span: Span) -> &Steps {
        match span {
            Span::Hour => &self.hour,
            Span::Day => &self.day,
        }
    }

    fn add(&mut self, number: i64, window: &Window, gauges: Gauges) {
        let row = Row::of(window, gauges);
        let before = self.ended_in.take_if(|step| *step == number).and_then(|step| self.hour.row(step).copied());
        self.hour.push(number, before.map_or(row, |before| before.and(row)), Span::Hour);
        let of_day = number.div_euclid(STEPS_OF_DAY);
        if let Some(over) = self.open.take_if(|open| open.step != of_day) {
            self.day.push(over.step, over.row(), Span::Day);
        }
        let open = self.open.get_or_insert_with(|| Open::new(of_day));
        open.window.add(window);
        open.gauges = open.gauges.most(gauges);
    }
}

impl Open {
    fn new(step: i64) -> Self {
        Self { step, window: Window::new(), gauges: Gauges::default(), before: None }
    }

    fn row(&self) -> Row {
        let row = Row::of(&self.window, self.gauges);
        self.before.map_or(row, |before| before.and(row))
    }
}

impl Steps {
    /// Where the time of day was set back, what it had counted ahead is forgotten.
    fn push(&mut self, number: i64, row: Row, span: Span) {
        while self.0.pop_back_if(|(last, _)| *last >= number).is_some() {}
        self.0.push_back((number, row));
        while self.0.pop_front_if(|(first, _)| *first <= number - span.steps()).is_some() {}
    }

    fn row(&self, number: i64) -> Option<&Row> {
        let place = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.0.get(place).map(|(_, row)| row)
    }

    fn points(&self, span: Span) -> Points {
        let mut points = Points::default();
        for (number, row) in &self.0 {
            points.push(number * span.step_seconds(), Some(row));
        }
        points
    }

    fn recall(&mut self, points: &Points, span: Span, now: Timestamp) {
        let runs = now.as_second().div_euclid(span.step_seconds());
        for (at, row) in points.rows().take(2 * usize::try_from(span.steps()).unwrap_or(0)) {
            let number = at.div_euclid(span.step_seconds());
            if (runs - span.steps()..=runs).contains(&number) {
                self.push(number, row, span);
            }
        }
    }
}

/// The number of the hour's step that begins at about this time.
fn step(began: Timestamp) -> i64 {
    began.as_second().div_euclid(STEP_SECONDS)
}

#[cfg(test)]
mod tests;
