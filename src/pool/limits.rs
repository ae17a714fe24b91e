//! Limits of one project for one model: the operator's ceilings, Google's limits as refusals tell them, and what was used.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::daring::Daring;
use crate::pool::day::Day;
use crate::pool::health::LEVELS;
use crate::pool::key::Ceilings;
use crate::pool::memory::{Clocks, UseMemory};
use crate::pool::minute::{Minute, SPAN, Use};
use crate::pool::pace::Pace;
use crate::quota::{LIMIT_MAX, Lesson, Unit, Window, may_be_of_yesterday, until_midnight};

#[cfg(test)]
mod tests;

/// Below this share of its tokens a project is as good as full for any request.
const FULL_SHARE: u64 = 20;
/// With fewer requests than this in a minute a project is quiet.
const QUIET: u64 = 30;

/// What was used of the last minute and of Google's day, and how much may be.
#[derive(Clone, Debug)]
pub struct Windows {
    ceilings: Ceilings,
    pub(crate) requests: Pace,
    pub(crate) tokens: Pace,
    pub(crate) minute: Minute,
    day: Day,
    clocks: Clocks,
    /// When something was last taken.
    last: Instant,
    /// The level that its keys' weights were last made from.
    shown: u32,
    /// Until when nothing more fits.
    full: Option<Instant>,
    /// A refusal of a call that began before this has been taken up already.
    refused: Option<Instant>,
}

/// Requests and tokens that a minute may take, as far as that is known.
pub type Most = (Option<u64>, Option<u64>);

/// There is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full {
    /// When there is again.
    pub until: Instant,
    /// Whether a smaller request would have found some.
    pub for_this_size: bool,
}

/// What a project has left for one model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// What was used in the last minute.
    pub minute: Use,
    /// What a minute may take, as far as that is known.
    pub minute_max: Most,
    /// Requests of Google's day.
    pub day: u64,
    /// How many a day may take, as far as that is known.
    pub day_max: Option<u64>,
}

impl Windows {
    /// Nothing used yet, by clocks that tell when Google's day ends.
    pub fn new(ceilings: Ceilings, clocks: Clocks, now: Instant) -> Self {
        Self {
            ceilings: ceilings.countable(),
            requests: Pace::default(),
            tokens: Pace::default(),
            minute: Minute::default(),
            day: Day::new(clocks, now),
            clocks,
            last: now,
            shown: LEVELS,
            full: None,
            refused: None,
        }
    }

    /// The operator's ceilings have changed.
    pub fn bound(&mut self, ceilings: Ceilings) {
        let ceilings = ceilings.countable();
        if self.ceilings != ceilings {
            (self.ceilings, self.full) = (ceilings, None);
        }
    }

    /// Takes a request of about so many input tokens out of the budget, or says when there is room again.
    pub fn take(&mut self, tokens: u64, daring: &mut Daring, now: Instant) -> Result<(), Full> {
        self.turn(now);
        if self.ceilings.rpd.is_some_and(|rpd| self.day.used(now) >= rpd) {
            let until = self.day.end();
            self.full = Some(until);
            return Err(Full { until, for_this_size: false });
        }
        let asked = Use { requests: 1, tokens };
        let used = self.minute.used(now);
        let mut max = self.minute_max(now);
        // Mostly nothing is known yet.
        if max != (None, None) {
            max = self.admit(asked, used, max, daring, now)?;
        }
        self.minute.add(asked, now);
        self.requests.used(1, max.0, now);
        self.tokens.used(tokens, max.1, now);
        self.day.add(1);
        self.last = now;
        Ok(())
    }

    /// Whether the minute has room for a request, given what it may take; what it may take then.
    fn admit(&mut self, asked: Use, used: Use, max: Most, daring: &mut Daring, now: Instant) -> Result<Most, Full> {
        let mut over = over(used, asked, max);
        let held = [self.requests.holds_until(max.0, now, now), self.tokens.holds_until(max.1, now, now)];
        let pressed = [over.requests > 0 || held[0].is_some(), over.tokens > 0 || held[1].is_some()];
        // Held back: it may be time to see whether more is let pass by now.
        if pressed[0] {
            self.requests.press(self.ceilings.rpm, daring, now);
        }
        if pressed[1] {
            self.tokens.press(self.ceilings.tpm, daring, now);
        }
        let max = if pressed.contains(&true) { self.minute_max(now) } else { max };
        if over != Use::default() {
            over = self::over(used, asked, max);
        }
        if over != Use::default() {
            let until = self.minute.left(over, now);
            let for_this_size = over.requests == 0 && !self.is_nearly_out_of_tokens(max);
            self.full = if for_this_size { self.full } else { Some(until) };
            return Err(Full { until, for_this_size });
        }
        if let Some(until) = held.into_iter().flatten().max() {
            self.full = Some(until);
            return Err(Full { until, for_this_size: false });
        }
        Ok(max)
    }

    fn is_nearly_out_of_tokens(&self, (_, tpm): Most) -> bool {
        let used = self.minute.own().tokens;
        tpm.is_some_and(|max| max.saturating_sub(used) * FULL_SHARE < max)
    }

    /// What a minute may take at `at`: the lower of ceiling and pace.
    pub(crate) fn minute_max(&self, at: Instant) -> Most {
        let lower = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        (lower(self.ceilings.rpm, self.requests.allowed(at)), lower(self.ceilings.tpm, self.tokens.allowed(at)))
    }

    /// Until when nothing fits, as the last that was turned away found.
    pub fn full_until(&self, now: Instant) -> Option<Instant> {
        self.full.filter(|until| *until > now)
    }

    /// When a request of so many tokens fits; `None`: now.
    pub fn wait(&self, tokens: u64, now: Instant) -> Option<Instant> {
        let over = over(self.minute.used_at(now), Use { requests: 1, tokens }, self.minute_max(now));
        (over != Use::default()).then(|| self.minute.left(over, now)).or(self.full_until(now))
    }

    /// The clock on the wall goes otherwise than `before`.
    pub fn move_days(&mut self, before: Clocks, clocks: Clocks) {
        (self.clocks, self.full) = (clocks, None);
        self.day.moves(before, clocks);
    }

    /// When Google's day ends.
    pub const fn day_end(&self) -> Instant {
        self.day.end()
    }

    /// How many requests Google's day leaves at `at`. Where it is over by our own count alone, one more will find out.
    pub fn left_of_day(&self, at: Instant) -> u64 {
        let left = |most: u64| most.saturating_sub(self.day.used(at));
        let own = self.ceilings.rpd.map_or(u64::MAX, left);
        own.min(self.day.allowed().map_or(u64::MAX, |most| left(most).max(1)))
    }

    /// From when on Google's day has any left, if not at `at`.
    pub fn open_from(&self, at: Instant) -> Instant {
        if self.left_of_day(at) == 0 { self.day.end().max(at) } else { at }
    }

    /// What a day may take: the lower of ceiling and what Google's is believed to have.
    fn day_max(&self) -> Option<u64> {
        self.ceilings.rpd.into_iter().chain(self.day.allowed()).min()
    }

    /// What is left.
    pub fn room(&mut self, now: Instant) -> Room {
        self.turn(now);
        let day_max = self.day_max();
        Room { minute: self.minute.used(now), minute_max: self.minute_max(now), day: self.day.used(now), day_max }
    }

    /// Whether something would be lost with what is known of it: what a refusal told, or what was used of an operator's day
    /// that is not over.
    pub fn is_worth_keeping(&self, now: Instant) -> bool {
        self.learnt() != Ceilings::default() || self.ceilings.rpd.is_some() && self.day.used(now) > 0
    }

    /// Whether any limit is known.
    pub fn is_limited(&self) -> bool {
        let Ceilings { rpm, tpm, rpd } = self.ceilings;
        let told = [self.requests.told(), self.tokens.told(), self.day.told()];
        [rpm, tpm, rpd].into_iter().chain(told).any(|limit| limit.is_some())
    }

    /// The pace of what a lesson of a minute is about.
    pub fn pace(&self, lesson: Lesson) -> Option<&Pace> {
        match (lesson.window, lesson.unit) {
            (Window::Minute, Unit::Requests) => Some(&self.requests),
            (Window::Minute, Unit::InputTokens) => Some(&self.tokens),
            (Window::Day, _) => None,
        }
    }

    /// Google's limits as far as refusals told them.
    pub fn learnt(&self) -> Ceilings {
        Ceilings { rpm: self.requests.told(), tpm: self.tokens.told(), rpd: self.day.told() }
    }

    /// What the next run should know of what was used.
    pub fn used(&self, now: Instant) -> UseMemory {
        let Use { requests, tokens } = self.minute.used_at(now);
        let at = self.clocks.wall_at(self.last);
        UseMemory { at, requests, tokens, day: self.day.used(now) }
    }

    /// Takes up what an earlier run knew.
    pub fn recall(&mut self, learnt: Ceilings, used: UseMemory, clocks: Clocks) {
        learnt.countable().lessons().for_each(|lesson| self.know(lesson));
        let small = |count: u64| count.min(LIMIT_MAX);
        let age = Duration::try_from(clocks.wall.duration_since(used.at)).unwrap_or_default();
        if age < SPAN {
            let used = Use { requests: small(used.requests), tokens: small(used.tokens) };
            self.minute.guess(used, true, clocks.now);
        }
        if age < until_midnight(used.at) {
            self.day.add(small(used.day));
        }
    }

    fn know(&mut self, lesson: Lesson) {
        match (lesson.window, lesson.unit) {
            (Window::Minute, Unit::Requests) => self.requests.recall(lesson.limit),
            (Window::Minute, Unit::InputTokens) => self.tokens.recall(lesson.limit),
            (Window::Day, Unit::Requests) => self.day.know(lesson.limit),
            (Window::Day, Unit::InputTokens) => {}
        }
    }

    /// Another label of the same project: what was used under it counts here, and the lower of two ceilings holds.
    pub fn absorb(&mut self, other: &Self, now: Instant) {
        self.bound(self.ceilings.lower(other.ceilings));
        other.learnt().lessons().for_each(|lesson| self.know(lesson));
        self.minute.merge(&other.minute, now);
        self.day.add(other.day.used(now));
    }

    /// Most other projects were told this limit of a minute's requests.
    pub fn presume(&mut self, rpm: u64) {
        self.requests.presume(rpm);
    }

    /// A refusal of a call that began at `began` told this limit. Whether it came far below what was known.
    pub fn refuse(&mut self, lesson: Lesson, began: Instant, now: Instant) -> bool {
        self.turn(now);
        let Lesson { window, unit, limit } = lesson;
        // One of a burst: the others say nothing more.
        let again = self.refused.is_some_and(|at| began <= at);
        let (own, used) = (self.minute.own(), self.minute.used(now));
        let (pace, got, missing) = match (window, unit) {
            (Window::Minute, Unit::Requests) => {
                let missing = Use { requests: limit.saturating_sub(used.requests), tokens: 0 };
                (&mut self.requests, own.requests, missing)
            }
            (Window::Minute, Unit::InputTokens) => {
                let missing = Use { requests: 0, tokens: limit.saturating_sub(used.tokens) };
                (&mut self.tokens, own.tokens, missing)
            }
            (Window::Day, Unit::Requests) => {
                let took = now.saturating_duration_since(began);
                // Of a day that is over the limit alone is news.
                if may_be_of_yesterday(self.clocks.wall_at(now), took) {
                    self.day.know(limit);
                } else {
                    self.day.refuse(limit);
                }
                return false;
            }
            // No limit of a day's tokens is kept: none has a place in `[[keys]]`.
            (Window::Day, Unit::InputTokens) => return false,
        };
        if again && pace.told() == Some(limit) {
            return false;
        }
        self.refused = Some(now);
        self.minute.guess(missing, false, now);
        pace.refuse(limit, got, now)
    }

    /// A request taken at `at` was not counted by Google: it never came there, or was refused for a quota.
    pub fn give_back(&mut self, tokens: u64, at: Instant) {
        self.minute.correct(Use { requests: 1, tokens }, Use::default(), at);
        self.day.give_back();
        self.full = None;
    }

    /// The input tokens of a request taken at `at`, where `estimate` were thought of. Whether there may be room that
    /// nobody expected.
    pub fn settle(&mut self, estimate: u64, tokens: u64, at: Instant) -> bool {
        let of = |tokens| Use { requests: 0, tokens };
        self.minute.correct(of(estimate), of(tokens), at);
        let expected = self.full.is_none_or(|until| until == self.day.end()) || tokens >= estimate;
        if !expected {
            self.full = None;
        }
        !expected
    }

    /// So many input tokens more, beside those of any request.
    pub fn spend(&mut self, tokens: u64, now: Instant) {
        self.minute.add(Use { requests: 0, tokens }, now);
    }

    /// Whether Google's day is used up by our own count, so that the next request alone finds out.
    pub fn is_day_over(&self) -> bool {
        self.day.is_over()
    }

    /// The one that was to find out was let pass.
    pub fn day_goes_on(&mut self) {
        self.day.goes_on();
    }

    /// Whether less than a tenth of the day's requests is known to be left.
    pub fn day_is_short(&mut self, now: Instant) -> bool {
        self.day_left(now).is_some_and(|(left, rpd)| left * 10 < rpd)
    }

    /// Requests of the day that are left, and all of them, as far as they are known.
    pub fn day_left(&mut self, now: Instant) -> Option<(u64, u64)> {
        let Room { day, day_max, .. } = self.room(now);
        day_max.map(|rpd| (rpd.saturating_sub(day), rpd))
    }

    /// The share of the day's requests that is left, 1 where no limit is known.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn day_share(&self, now: Instant) -> f64 {
        self.day_max().map_or(1.0, |rpd| rpd.saturating_sub(self.day.used(now)) as f64 / rpd.max(1) as f64)
    }

    /// Whether little was asked of it in the last minute, and less than half of what is known to be its minute or its day.
    pub fn is_quiet(&self, now: Instant) -> bool {
        let (used, (rpm, tpm)) = (self.minute.used_at(now), self.minute_max(now));
        let half = |used: u64, max: Option<u64>| max.is_none_or(|max| used * 2 < max);
        used.requests < QUIET && half(used.requests, rpm) && half(used.tokens, tpm) && self.day_share(now) >= 0.5
    }

    /// What is left of the day, in tenths, at least one: a minute comes back too soon to move a weight.
    pub fn level(&mut self, now: Instant) -> u32 {
        let left = self.day_left(now).map_or(LEVELS, |(left, rpd)| {
            u32::try_from((left * u64::from(LEVELS)).div_ceil(rpd.max(1))).unwrap_or(LEVELS)
        });
        left.clamp(1, LEVELS)
    }

    /// Whether that has changed since it was last asked.
    pub fn has_moved(&mut self, now: Instant) -> bool {
        if self.day_max().is_none() {
            return false;
        }
        let level = self.level(now);
        std::mem::replace(&mut self.shown, level) != level
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        if self.full.is_some_and(|until| until <= now) {
            self.full = None;
        }
        self.day.turn(self.clocks, now);
    }
}

/// By how much a request would go over what is allowed. One alone is let pass whatever its size.
pub(crate) fn over(used: Use, asked: Use, (rpm, tpm): Most) -> Use {
    let beyond = |used: u64, asked: u64, max: Option<u64>| max.map_or(0, |max| (used + asked).saturating_sub(max));
    let tokens = if used.tokens == 0 { 0 } else { beyond(used.tokens, asked.tokens, tpm).min(used.tokens) };
    Use { requests: beyond(used.requests, asked.requests, rpm), tokens }
}
