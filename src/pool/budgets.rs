//! Budgets: the limits of all projects for one model, and what its prompts weigh.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::pool::daring::Daring;
use crate::pool::key::Ceilings;
use crate::pool::limits::{Full, Windows};
use crate::pool::memory::{Clocks, UseMemory};
use crate::quota::{Lesson, Unit, Window};

/// Tokens of a prompt's byte before any answer told better: four bytes are a token of English.
const TOKENS_PER_BYTE: f64 = 0.25;
/// How much the latest prompt counts in what a byte is thought to weigh.
const LATEST: f64 = 0.05;

/// By project. What was asked is kept from the start: the first refusal finds it written down.
#[derive(Clone, Debug)]
pub struct Budgets {
    clocks: Clocks,
    /// The operator's ceilings.
    ceilings: Arc<HashMap<u32, Ceilings>>,
    /// Of the projects that were asked.
    windows: Vec<Option<Box<Windows>>>,
    /// Those of all others, by their ceilings: nothing is used.
    untouched: HashMap<Ceilings, Windows>,
    tokens_per_byte: f64,
    limited: bool,
    daring: Daring,
}

impl Budgets {
    /// With the operator's ceilings.
    pub fn new(ceilings: Arc<HashMap<u32, Ceilings>>, clocks: Clocks, now: Instant) -> Self {
        Self {
            clocks,
            limited: !ceilings.is_empty(),
            untouched: untouched(&ceilings, clocks, now),
            ceilings,
            windows: Vec::new(),
            tokens_per_byte: TOKENS_PER_BYTE,
            daring: Daring::new(now),
        }
    }

    /// Whether any limit is known, so that the tokens of answers must be told.
    pub const fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether something would be lost with what is known of any project.
    pub fn are_worth_keeping(&self, now: Instant) -> bool {
        self.limited && self.all().any(|(_, windows)| windows.is_worth_keeping(now))
    }

    /// The windows of a project; `None`: no limit is known, and nothing was used.
    pub fn of(&self, project: u32) -> Option<&Windows> {
        let touched = self.windows.get(project as usize).and_then(Option::as_deref);
        touched.or_else(|| self.untouched.get(self.ceilings.get(&project)?))
    }

    /// Those of a project that was asked, to be changed.
    pub fn of_mut(&mut self, project: u32) -> Option<&mut Windows> {
        self.windows.get_mut(project as usize)?.as_deref_mut()
    }

    /// The same, for a limit that becomes known.
    pub fn learn(&mut self, project: u32, now: Instant) -> &mut Windows {
        self.limited = true;
        self.windows(project, now)
    }

    fn windows(&mut self, project: u32, now: Instant) -> &mut Windows {
        touched(&mut self.windows, &self.ceilings, self.clocks, project, now)
    }

    /// Takes up what an earlier run knew of a project.
    pub fn recall(&mut self, project: u32, learnt: Ceilings, used: UseMemory, clocks: Clocks) {
        self.limited |= learnt != Ceilings::default();
        self.windows(project, clocks.now).recall(learnt, used, clocks);
    }

    /// The operator's ceilings have changed.
    pub fn bound(&mut self, ceilings: Arc<HashMap<u32, Ceilings>>, now: Instant) {
        self.limited |= !ceilings.is_empty();
        self.untouched = untouched(&ceilings, self.clocks, now);
        for (project, windows) in (0..).zip(&mut self.windows) {
            if let Some(windows) = windows {
                windows.bound(ceilings.get(&project).copied().unwrap_or_default());
            }
        }
        self.ceilings = ceilings;
    }

    /// The clock on the wall goes otherwise than `before`.
    pub fn move_days(&mut self, before: Clocks, clocks: Clocks) {
        self.clocks = clocks;
        self.windows.iter_mut().flatten().for_each(|windows| windows.move_days(before, clocks));
        self.untouched = untouched(&self.ceilings, clocks, clocks.now);
    }

    /// All windows in which something may be used.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Windows)> {
        (0..).zip(&self.windows).filter_map(|(project, windows)| Some((project, windows.as_deref()?)))
    }

    /// About how many input tokens a body of so many bytes has.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an estimate"
    )]
    pub fn estimate(&self, bytes: u64) -> u64 {
        (bytes as f64 * self.tokens_per_byte) as u64
    }

    /// Takes a request out of its project's budget.
    pub fn take(&mut self, project: u32, tokens: u64, now: Instant) -> Result<(), Full> {
        let Self { clocks, ceilings, windows, untouched, daring, .. } = self;
        // All of them end with one day: else each choice would go through as many as there are.
        if untouched.values().next().is_some_and(|windows| windows.day_end() <= now) {
            untouched.values_mut().for_each(|windows| windows.turn(now));
        }
        let windows = touched(windows, ceilings, *clocks, project, now);
        if let Some(rpm) = daring.presumed() {
            windows.presume(rpm);
        }
        windows.take(tokens, daring, now)?;
        daring.called();
        Ok(())
    }

    /// The request taken at `at` was not counted by Google.
    pub fn give_back(&mut self, project: u32, tokens: u64, at: Instant) {
        if let Some(windows) = self.of_mut(project) {
            windows.give_back(tokens, at);
        }
    }

    /// So many input tokens more, beside those of any request.
    pub fn spend(&mut self, project: u32, tokens: u64, now: Instant) {
        self.windows(project, now).spend(tokens, now);
    }

    /// The input tokens of a body of so many bytes, taken at `at`. Whether there may be room that nobody expected.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn settle(&mut self, project: u32, bytes: u64, estimate: u64, tokens: u64, at: Instant) -> bool {
        if bytes > 0 && tokens > 0 {
            let latest = (tokens as f64 / bytes as f64).min(1.0);
            self.tokens_per_byte += LATEST * (latest - self.tokens_per_byte);
        }
        self.of_mut(project).is_some_and(|windows| windows.settle(estimate, tokens, at))
    }

    /// A refusal of a call that began at `began` told this limit. Whether it came far below what was known.
    pub fn refuse(&mut self, project: u32, lesson: Lesson, began: Instant, now: Instant) -> bool {
        let windows = self.learn(project, now);
        let first = windows.learnt().rpm.is_none();
        let (word, followed) = windows.pace(lesson).map_or((None, false), |pace| (pace.word(), pace.has_followed()));
        let far_below = windows.refuse(lesson, began, now);
        match word {
            Some(word) if word < lesson.limit => self.daring.raise(word, lesson.limit),
            Some(word) if word == lesson.limit && followed => self.daring.forget(word),
            _ => {}
        }
        if let Lesson { window: Window::Minute, unit: Unit::Requests, limit } = lesson
            && first
        {
            self.daring.told(limit);
        }
        far_below
    }

    /// Two projects are one: the limits that are known of either hold for both, and what both used counts.
    pub fn merge(&mut self, from: u32, into: u32, now: Instant) {
        let touched = self.leave(from);
        if let Some(other) = touched.or_else(|| self.of(from).cloned().map(Box::new)) {
            self.join(into, other, now);
        }
    }

    /// Takes away the windows of a project that was asked.
    pub fn leave(&mut self, project: u32) -> Option<Box<Windows>> {
        self.windows.get_mut(project as usize).and_then(Option::take)
    }

    /// These windows are of the project too.
    pub fn join(&mut self, project: u32, other: Box<Windows>, now: Instant) {
        if self.ceilings.contains_key(&project) {
            self.windows(project, now);
        }
        match place(&mut self.windows, project) {
            Some(windows) => windows.absorb(&other, now),
            empty => *empty = Some(other),
        }
    }
}

/// The windows of a project that is asked, or will be.
fn touched<'w>(
    windows: &'w mut Vec<Option<Box<Windows>>>,
    ceilings: &HashMap<u32, Ceilings>,
    clocks: Clocks,
    project: u32,
    now: Instant,
) -> &'w mut Windows {
    let ceilings = || ceilings.get(&project).copied().unwrap_or_default();
    place(windows, project).get_or_insert_with(|| Box::new(Windows::new(ceilings(), clocks, now)))
}

/// Windows of a project that was not asked, for each of these ceilings.
fn untouched(ceilings: &HashMap<u32, Ceilings>, clocks: Clocks, now: Instant) -> HashMap<Ceilings, Windows> {
    let mut untouched = HashMap::new();
    for ceilings in ceilings.values() {
        untouched.entry(*ceilings).or_insert_with(|| Windows::new(*ceilings, clocks, now));
    }
    untouched
}

/// Where a project's windows are.
fn place(windows: &mut Vec<Option<Box<Windows>>>, project: u32) -> &mut Option<Box<Windows>> {
    let place = project as usize;
    if windows.len() <= place {
        windows.resize(place + 1, None);
    }
    &mut windows[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_byte_weighs_is_learnt_from_answers() {
        let now = Instant::now();
        let clocks = Clocks { now, wall: jiff::Timestamp::UNIX_EPOCH };
        let mut budgets = Budgets::new(Arc::default(), clocks, now);
        assert_eq!(budgets.estimate(4_000), 1_000);
        for _ in 0..200 {
            budgets.settle(0, 4_000, 1_000, 2_000, now);
        }
        assert_eq!(budgets.estimate(4_000).next_multiple_of(100), 2_000);
        assert!(!budgets.is_limited());
    }

    #[test]
    fn a_project_that_was_not_asked_has_its_ceilings_without_windows_of_its_own() {
        let now = Instant::now();
        let clocks = Clocks { now, wall: jiff::Timestamp::UNIX_EPOCH };
        let rpm = |rpm| Ceilings { rpm: Some(rpm), ..Ceilings::default() };
        let of = |most: u64| Arc::new((0..1_000).map(|project| (project, rpm(most))).collect::<HashMap<_, _>>());
        let mut budgets = Budgets::new(of(1), clocks, now);
        let most = |budgets: &Budgets, project| budgets.of(project).map(|windows| windows.minute_max(now).0);
        assert_eq!((most(&budgets, 999), most(&budgets, 1_000), budgets.all().count()), (Some(Some(1)), None, 0));
        assert!(budgets.take(7, 0, now).is_ok() && budgets.take(7, 0, now).is_err() && budgets.is_limited());
        budgets.bound(of(2), now);
        assert!(budgets.take(7, 0, now).is_ok() && budgets.take(7, 0, now).is_err());
        budgets.merge(999, 1_000, now);
        assert_eq!(
            (most(&budgets, 8), most(&budgets, 1_000), budgets.all().count()),
            (Some(Some(2)), Some(Some(2)), 2)
        );
    }
}
