//! Pace: how much a minute is believed to allow of one limit, below Google's word or beyond it.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::beat::Beat;
use crate::pool::daring::Daring;

/// Demand that was held back within this time is still pressing.
const PRESSING: Duration = Duration::from_mins(1);
/// A step up is waited for: below Google's word, ..
const STEP_BACK: Duration = Duration::from_mins(1);
/// .. beyond it, ..
const STEP_BEYOND: Duration = Duration::from_mins(3);
/// .. after one that was let pass, ..
const STEP_ON: Duration = Duration::from_secs(70);
/// .. and doubled by each that was refused, up to this.
const STEP_WAIT_MAX: Duration = Duration::from_mins(12);
/// Over which time the pace rises to a step: all of it at once would serve those who wait sooner than they were told.
const RISE: Duration = Duration::from_mins(1);
/// One call more than others may make was let pass for so long: twice as many more are dared.
const DARE_AGAIN: Duration = Duration::from_secs(10);
/// A second refusal far below the limit within this time is no accident: somebody else uses the project.
const SURPRISE: Duration = Duration::from_mins(5);

/// One limit of a minute. Says nothing until a refusal told one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Google's word, or what it was found to have become.
    told: Option<u64>,
    /// Google's word alone.
    word: Option<u64>,
    /// Whether it was tried here whether more holds, because another was told more.
    followed: bool,
    /// What is gone by, ..
    allowed: u64,
    /// .. and what the last step adds to it bit by bit.
    rise: u64,
    /// When that was changed last.
    changed: Option<Instant>,
    /// Steps up since the last refusal.
    steps: u32,
    /// Steps up in a row that a refusal ended.
    refused: u32,
    /// Since when demand is held back, and when it was last.
    pressed: Option<(Instant, Instant)>,
    /// When a refusal last came far below the limit.
    surprised: Option<Instant>,
    /// What is believed while no refusal told a limit here.
    presumed: Option<Presumed>,
    beat: Beat,
}

/// What others were told, and how much more was dared.
#[derive(Clone, Copy, Debug)]
struct Presumed {
    allowed: u64,
    step: u64,
    dared: Option<Instant>,
}

impl Pace {
    /// What a minute may take at `at`, unless nothing is known.
    pub fn allowed(&self, at: Instant) -> Option<u64> {
        self.told.map(|_| self.risen(at)).or_else(|| self.presumed.map(|presumed| presumed.allowed))
    }

    /// What is gone by at `at`.
    fn risen(&self, at: Instant) -> u64 {
        let past = self.changed.map_or(RISE, |changed| at.saturating_duration_since(changed).min(RISE));
        let rise = u128::from(self.rise) * past.as_millis();
        self.allowed.saturating_add(u64::try_from(rise.div_ceil(RISE.as_millis())).unwrap_or(u64::MAX))
    }

    /// Google's last word.
    pub fn word(&self) -> Option<u64> {
        self.word
    }

    /// Whether it was tried here whether more holds, because another was told more.
    pub fn has_followed(&self) -> bool {
        self.followed
    }

    /// Google's limit as far as it is known.
    pub fn told(&self) -> Option<u64> {
        self.told
    }

    /// Takes up what an earlier run knew.
    pub fn recall(&mut self, limit: u64) {
        if self.told.is_none() {
            (self.told, self.word, self.allowed) = (Some(limit), Some(limit), limit.max(1));
        }
    }

    /// Others were told this limit: it is believed to hold here too, until that is tried.
    pub fn presume(&mut self, limit: u64) {
        if self.told.is_none() && self.presumed.is_none() {
            self.presumed = Some(Presumed { allowed: limit.max(1), step: 1, dared: None });
        }
    }

    /// A refusal told `limit` although only `got` are known to have been let pass within the last minute. Whether it came far below a
    /// limit that was known before.
    pub fn refuse(&mut self, limit: u64, got: u64, now: Instant) -> bool {
        let known = self.told.replace(limit);
        self.presumed = None;
        if self.word.replace(limit) != Some(limit) {
            self.followed = false;
        }
        (self.allowed, self.rise) = (self.risen(now), 0);
        self.refused = if self.steps > 0 { self.refused.saturating_add(1) } else { self.refused };
        (self.steps, self.changed) = (0, Some(now));
        if known != Some(limit) {
            // Another limit than the one known: nothing that was found of that one holds.
            (self.allowed, self.refused, self.surprised) = (limit.max(1), 0, None);
            return false;
        }
        self.allowed = self.allowed.min(limit).max(1);
        let far_below = |limit: u64| got + limit / 10 < limit;
        if far_below(self.allowed) {
            if self.surprised.is_some_and(|at| now.saturating_duration_since(at) < SURPRISE) {
                self.allowed = got.clamp(1, self.allowed);
            }
            self.surprised = Some(now);
        }
        far_below(limit)
    }

    /// Demand is held back by this limit: after a while of that, a step up, never beyond `ceiling`, and beyond what is known
    /// only with `daring`. A tenth first, then as much again: since the pace rises to it bit by bit, a large step is refused
    /// as soon as a small one and costs no more.
    pub fn press(&mut self, ceiling: Option<u64>, daring: &mut Daring, now: Instant) {
        let most = ceiling.unwrap_or(u64::MAX);
        if let Some(presumed) = &mut self.presumed
            && presumed.allowed < most
            && presumed.dared.is_none_or(|at| now.saturating_duration_since(at) >= DARE_AGAIN)
            && daring.dare(now)
        {
            presumed.allowed = presumed.allowed.saturating_add(presumed.step);
            (presumed.step, presumed.dared) = (presumed.step.saturating_mul(2), Some(now));
        }
        let since = match self.pressed {
            Some((since, last)) if now.saturating_duration_since(last) < PRESSING => since,
            _ => now,
        };
        self.pressed = Some((since, now));
        let Some(told) = self.told else { return };
        let held = |since: Instant| now.saturating_duration_since(since);
        if held(since) < PRESSING {
            return;
        }
        if let Some(more) = self.more_of_another(daring).map(|more| more.min(most))
            && more > self.risen(now)
            && daring.dare(now)
        {
            self.allowed = self.risen(now);
            (self.rise, self.changed, self.steps) = (more - self.allowed, Some(now), 0);
            (self.followed, self.refused) = (true, 0);
            return;
        }
        if self.changed.is_some_and(|at| held(at) < self.pause(told)) {
            return;
        }
        // Each wait is longer than a rise.
        (self.allowed, self.rise) = (self.risen(now), 0);
        let step = if self.allowed < told {
            (told / 10).clamp(1, told - self.allowed)
        } else {
            // The last step was let pass, so what it found is the limit now.
            if self.told.replace(self.allowed) != Some(self.allowed) {
                daring.passed();
            }
            // Where nothing may be tried, none of it is spent.
            if self.allowed >= most || !daring.dare(now) {
                return;
            }
            if self.steps == 0 { (self.allowed / 10).max(1) } else { self.allowed }
        };
        let next = self.allowed.saturating_add(step).min(most);
        if next > self.allowed {
            // Back at Google's word, what lies beyond it is another matter.
            let steps = if next == told { 0 } else { self.steps + 1 };
            (self.rise, self.changed, self.steps) = (next - self.allowed, Some(now), steps);
        }
    }

    /// What another was told more than the word that was told here too, until that is tried.
    fn more_of_another(&self, daring: &Daring) -> Option<u64> {
        if self.followed { None } else { daring.raised(self.word?) }
    }

    /// So much was used, where a minute may take `max`.
    pub fn used(&mut self, amount: u64, max: Option<u64>, now: Instant) {
        if let Some(max) = max {
            self.beat.take(amount, max, now);
        }
    }

    /// Demand that stays above the limit is spread over the minute, so that room comes bit by bit and nobody waits long: how
    /// many times as much as `each` may be used at once at `at`, if demand stays what it is now.
    pub fn at_once(&self, each: u64, max: Option<u64>, at: Instant, now: Instant) -> u64 {
        max.filter(|_| self.spreads(at, now)).map_or(u64::MAX, |max| self.beat.room(each, max, at))
    }

    /// When more may be used than nothing; `None`: at `at`.
    pub fn holds_until(&self, max: Option<u64>, at: Instant, now: Instant) -> Option<Instant> {
        let max = max.filter(|_| self.spreads(at, now))?;
        self.beat.from(max).filter(|from| *from > at)
    }

    /// Whether at `at` demand, if it stays as it is, has been held back for so long that it is better spread.
    fn spreads(&self, at: Instant, now: Instant) -> bool {
        let pressed = self.pressed.filter(|(_, last)| now.saturating_duration_since(*last) < PRESSING);
        pressed.is_some_and(|(since, _)| since + PRESSING <= at)
    }

    /// How long after the last change the next step is due.
    fn pause(&self, told: u64) -> Duration {
        let base = if self.allowed < told { STEP_BACK } else { STEP_BEYOND };
        if self.steps > 0 { STEP_ON } else { base.saturating_mul(1 << self.refused.min(4)).min(STEP_WAIT_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presses every second for so many seconds.
    fn press(pace: &mut Pace, ceiling: Option<u64>, from: Instant, seconds: u64) -> Instant {
        let mut daring = Daring::new(from);
        (0..seconds).for_each(|second| pace.press(ceiling, &mut daring, from + Duration::from_secs(second)));
        from + Duration::from_secs(seconds)
    }

    fn told(limit: u64, now: Instant) -> Pace {
        let mut pace = Pace::default();
        pace.refuse(limit, limit, now);
        pace
    }

    #[test]
    fn a_doubled_limit_is_found_within_minutes() {
        let now = Instant::now();
        let mut pace = told(100, now);
        let at = press(&mut pace, None, now, 9 * 60);
        assert!(pace.allowed(at).unwrap() >= 200, "{pace:?}");
        assert!(pace.told().unwrap() > 100, "what was let pass is known to be the limit");
    }

    #[test]
    fn a_step_that_is_refused_is_taken_back_and_the_next_one_comes_later() {
        let now = Instant::now();
        let mut pace = told(100, now);
        let mut at = press(&mut pace, None, now, 181);
        assert_eq!(
            [at, at + RISE / 2, at + RISE * 2].map(|at| pace.allowed(at)),
            [101, 106, 110].map(Some),
            "bit by bit"
        );
        assert!(!pace.refuse(100, 100, at + RISE));
        at += RISE;
        assert_eq!(pace.allowed(at), Some(100));
        at = press(&mut pace, None, at, 350);
        assert_eq!(pace.allowed(at), Some(100), "twice the wait");
        at = press(&mut pace, None, at, 20);
        assert_eq!(pace.allowed(at + RISE), Some(110));
    }

    #[test]
    fn nothing_goes_beyond_the_ceiling_or_rises_without_demand() {
        let now = Instant::now();
        let mut pace = told(100, now);
        let at = press(&mut pace, Some(100), now, 3_600);
        assert_eq!(pace.allowed(at), Some(100));
        let mut pace = told(100, now);
        let mut daring = Daring::new(now);
        (0..100).for_each(|n| pace.press(None, &mut daring, now + PRESSING * 2 * n));
        assert_eq!(pace.allowed(now + PRESSING * 200), Some(100), "demand that comes and goes is not pressing");
    }

    #[test]
    fn who_shares_a_project_unknowingly_comes_down_to_what_it_gets() {
        let now = Instant::now();
        let mut pace = told(100, now);
        assert!(pace.refuse(100, 40, now), "the first may be what was used before a start");
        assert_eq!(pace.allowed(now), Some(100));
        assert!(pace.refuse(100, 50, now + PRESSING));
        assert_eq!(pace.allowed(now), Some(50));
        let at = press(&mut pace, None, now + PRESSING, 130);
        assert_eq!(pace.allowed(at + RISE), Some(60));
    }

    #[test]
    fn what_others_were_told_holds_until_more_is_dared() {
        let now = Instant::now();
        let (mut pace, mut daring) = (Pace::default(), Daring::new(now));
        while daring.dare(now) {}
        pace.presume(10);
        pace.press(None, &mut daring, now);
        assert_eq!((pace.allowed(now), pace.told()), (Some(10), None));
        let allowed: Vec<_> = (1..50)
            .filter_map(|second| {
                pace.press(None, &mut daring, now + Duration::from_secs(second));
                pace.presume(10);
                pace.allowed(now)
            })
            .collect();
        let found: std::collections::BTreeSet<_> = allowed.into_iter().collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [10, 11, 13, 17, 25, 41], "one more, then twice as many");
        pace.refuse(20, 20, now + PRESSING);
        pace.presume(10);
        assert_eq!((pace.allowed(now), pace.told()), (Some(20), Some(20)));
    }

    #[test]
    fn no_step_goes_beyond_what_is_known_without_daring() {
        let now = Instant::now();
        let (mut pace, mut daring) = (told(100, now), Daring::new(now));
        let at = |second| now + Duration::from_secs(second);
        (0..180).for_each(|second| pace.press(None, &mut daring, at(second)));
        while daring.dare(at(180)) {}
        pace.press(None, &mut daring, at(181));
        assert_eq!(pace.allowed(at(300)), Some(100));
        pace.press(None, &mut daring, at(187));
        assert_eq!(pace.allowed(at(300)), Some(110), "a few seconds later there is some");
    }

    #[test]
    fn who_is_at_the_ceiling_leaves_all_daring_to_others() {
        let now = Instant::now();
        let (mut capped, mut believed, mut daring) = (told(100, now), Pace::default(), Daring::new(now));
        believed.presume(100);
        for second in 0..600 {
            let at = now + Duration::from_secs(second);
            capped.press(Some(100), &mut daring, at);
            believed.press(Some(100), &mut daring, at);
        }
        let last = now + Duration::from_mins(10);
        assert_eq!([capped.allowed(last), believed.allowed(last)], [Some(100); 2]);
        let mut whole = Daring::new(now);
        let left = |daring: &mut Daring| (0..100).take_while(|_| daring.dare(last)).count();
        assert_eq!(left(&mut daring), left(&mut whole));
    }

    #[test]
    fn what_another_was_told_is_tried_at_once_and_only_once() {
        let now = Instant::now();
        let (mut pace, mut daring) = (told(100, now), Daring::new(now));
        let mut at = press(&mut pace, None, now, 61);
        daring.raise(100, 300);
        pace.press(Some(250), &mut daring, at);
        assert_eq!([at + RISE / 2, at + RISE].map(|at| pace.allowed(at)), [Some(175), Some(250)], "below the ceiling");
        at += RISE;
        assert!(!pace.refuse(100, 100, at) && pace.has_followed());
        at = press(&mut pace, None, at, 120);
        pace.press(None, &mut daring, at);
        assert_eq!(pace.allowed(at + RISE), Some(100));
        assert!(!pace.refuse(200, 200, at) && !pace.has_followed(), "another word is another matter");
    }

    #[test]
    fn another_word_of_googles_is_believed_at_once() {
        let now = Instant::now();
        let mut pace = told(100, now);
        assert!(!pace.refuse(50, 50, now) && pace.allowed(now) == Some(50));
        assert!(!pace.refuse(1_000, 50, now) && pace.allowed(now) == Some(1_000));
    }
}
