//! A lane: everything the pool knows about one model, and the turn of the keys for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::pool::ask::{Avoid, Taken};
use crate::pool::budgets::Budgets;
use crate::pool::choose::Schedule;
use crate::pool::health::{Health, LEVELS, Strikes};
use crate::pool::key::Key;
use crate::pool::keys::Keys;
use crate::pool::limits::Full;
use crate::pool::memory::Clocks;
use crate::pool::reason::Reason;
use crate::pool::room::Ahead;
use crate::pool::roster::{Rest, Roster, SharedRoster};
use crate::pool::standing::{Standing, Trial};
use crate::pool::storm::Lull;
use crate::pool::wakes::Wakes;

/// While one request is on trial, those who are refused are told to come back after this.
const TRIAL_HINT: Duration = Duration::from_secs(1);
/// After this many overloads in a row, they are passed on without another try until one call succeeds.
const OVERLOADS_MAX: u8 = 10;

/// One model's view of the pool. Lives under a lock of its own; a clone is one to think aloud in.
#[derive(Clone, Debug)]
pub struct Lane {
    pub(crate) keys: Arc<Keys>,
    pub(crate) roster: Arc<SharedRoster>,
    /// The roster's epoch that the schedule was made from.
    epoch: u64,
    schedule: Schedule,
    pub(crate) standings: HashMap<u32, Standing>,
    pub(crate) projects: HashMap<u32, Standing>,
    pub(crate) budgets: Budgets,
    /// For requests that may go to any key.
    pub(crate) ahead: Ahead,
    wakes: Wakes,
    /// After a storm of bare refusals.
    pub lull: Lull,
    /// Overloads in a row.
    pub overloads: Strikes,
    /// The model is unknown to every project that was asked lately.
    pub unknown_until: Option<Instant>,
}

impl Lane {
    /// A lane where nothing is known yet.
    pub fn new(keys: Arc<Keys>, roster: Arc<SharedRoster>, budgets: Budgets, now: Instant) -> Self {
        let mut lane = Self {
            keys,
            roster,
            epoch: 0,
            schedule: Schedule::default(),
            standings: HashMap::new(),
            projects: HashMap::new(),
            budgets,
            ahead: Ahead::default(),
            wakes: Wakes::default(),
            lull: Lull::default(),
            overloads: Strikes::default(),
            unknown_until: None,
        };
        lane.refresh(now);
        lane
    }

    /// Whether anything is held against a key, so that a success must be told.
    pub fn is_soft(&self) -> bool {
        !self.standings.is_empty()
            || !self.projects.is_empty()
            || self.overloads.count() > 0
            || self.lull.is_on()
            || self.unknown_until.is_some()
    }

    /// Looks at every key again if something changed above the models, else at those whose time has come.
    pub fn refresh(&mut self, now: Instant) {
        let epoch = self.roster.epoch();
        if epoch == self.epoch && !self.wakes.are_due(now) {
            return;
        }
        let shared = Arc::clone(&self.roster);
        let roster = shared.lock();
        while let Some(index) = self.wakes.due(now) {
            self.evaluate(index, &roster, now);
        }
        if epoch != self.epoch {
            self.epoch = epoch;
            self.move_home(now);
            self.keys.places().for_each(|index| self.evaluate(index, &roster, now));
        }
    }

    /// The key whose turn it is, taken out of its project's budget. One that is on trial is out of the schedule until
    /// the trial ends.
    pub fn pick(&mut self, avoid: Avoid<'_>, now: Instant) -> Option<Taken> {
        self.refresh(now);
        let tokens = self.budgets.estimate(avoid.bytes);
        // Projects without room for this one whose keys are in the schedule: they have some for smaller ones.
        let mut small: Vec<u32> = Vec::new();
        loop {
            let Self { keys, schedule, .. } = self;
            // Borrowed, not cloned: a count shared by all threads costs more than the choice.
            let key = |index: u32| &keys[index];
            let load = |index: u32| key(index).in_flight();
            // Most may go to any key: none is looked up for them.
            let any = avoid.is_open() && small.is_empty();
            let elsewhere = |index: u32| any || avoid.allows(key(index)) && !small.contains(&key(index).project());
            let untried = |index: u32| elsewhere(index) && !avoid.keys.contains(&index);
            let left = |index: u32| self.budgets.of(key(index).project()).map_or(1.0, |windows| windows.day_share(now));
            let most = avoid.thrifty.then(|| {
                let open = keys.places().filter(|index| schedule.weight(*index) > 0);
                open.filter(|index| untried(*index)).map(left).fold(0.0, f64::max)
            });
            let fresh = |index: u32| untried(index) && most.is_none_or(|most| left(index) >= most);
            let whole = any && avoid.keys.is_empty() && most.is_none();
            let index = schedule.pick(whole, fresh, load).or_else(|| {
                // Every key was tried: the same one again, where the project may be asked again.
                if avoid.keys.is_empty() { None } else { schedule.pick(any, elsewhere, load) }
            })?;
            let project = key(index).project();
            match self.budgets.take(project, tokens, now) {
                Err(Full { for_this_size: true, .. }) => small.push(project),
                Err(_) => {
                    self.look_at_project(project, now);
                    // A key that a new list has just left out is not among its project's keys.
                    if self.schedule.weight(index) > 0 {
                        small.push(project);
                    }
                }
                Ok(()) => {
                    self.try_out(index, project, now);
                    self.ahead.served += 1;
                    return Some(Taken { index, tokens });
                }
            }
        }
    }

    /// Marks an open trial of the key or its project as taken. Where the day is over by our own count, each request is
    /// one: Google may have counted otherwise, and one refusal is enough to know.
    fn try_out(&mut self, index: u32, project: u32, now: Instant) {
        if let Some(windows) = self.budgets.of_mut(project) {
            let (over, moved) = (windows.is_day_over(), windows.has_moved(now));
            if over {
                self.projects.entry(project).or_insert_with(|| Standing::new(now)).trial = Trial::Open;
            }
            if moved {
                self.look_at_project(project, now);
            }
        }
        if let Some(standing) = self.standings.get_mut(&index).filter(|s| s.trial == Trial::Open) {
            standing.trial = Trial::Taken(index, now);
            self.schedule.set(index, 0);
        }
        if let Some(standing) = self.projects.get_mut(&project).filter(|s| s.trial == Trial::Open) {
            standing.trial = Trial::Taken(index, now);
            self.look_at_project(project, now);
        }
    }

    /// The attempt that began then ended. If it was a trial, and without a verdict, the next request may try.
    pub fn release(&mut self, key: &Key, began: Instant, now: Instant) {
        let own = self.standings.get_mut(&key.index);
        let project = self.projects.get_mut(&key.project());
        for standing in [own, project].into_iter().flatten() {
            if standing.trial == Trial::Taken(key.index, began) {
                standing.trial = Trial::Open;
            }
        }
        self.look_at_project(key.project(), now);
    }

    /// A success of an attempt that began then: nothing soft is held against the key or its project for this model any more.
    pub fn succeeded(&mut self, key: &Key, began: Instant, now: Instant) {
        self.overloads.clear();
        self.unknown_until = None;
        self.lull.served();
        self.lull.pass(now);
        // A rest that was set while this attempt was under way stands: only its own time ends it.
        let resting = |standing: &Standing| standing.rest.is_some_and(|rest| rest.until > now);
        let mut reopened = false;
        if self.projects.get(&key.project()).is_some_and(|s| s.trial == Trial::Taken(key.index, began))
            && let Some(windows) = self.budgets.of_mut(key.project()).filter(|windows| windows.is_day_over())
        {
            windows.day_goes_on();
        }
        if self.projects.get(&key.project()).is_some_and(|s| !resting(s)) {
            reopened = self.projects.remove(&key.project()).is_some();
        }
        if let Some(standing) = self.standings.get_mut(&key.index).filter(|s| !resting(s)) {
            reopened |= standing.trial != Trial::None || standing.health.is_full(now);
            // Health climbs back by time alone; strikes are forgiven at once.
            *standing = Standing { health: standing.health, ..Standing::new(now) };
        }
        if reopened {
            self.look_at_project(key.project(), now);
        }
    }

    /// Changes what is known of a key for this model.
    pub fn judge(&mut self, key: &Key, now: Instant, change: impl FnOnce(&mut Standing)) {
        let standing = self.standings.entry(key.index).or_insert_with(|| Standing::new(now));
        change(standing);
        self.look_at_project(key.project(), now);
    }

    /// The project rests for this model, at least until `rest` ends.
    pub fn rest_project(&mut self, project: u32, rest: Rest, now: Instant) {
        let standing = self.projects.entry(project).or_insert_with(|| Standing::new(now));
        standing.rest_until(rest);
        standing.trial = Trial::None;
        self.look_at_project(project, now);
    }

    /// The clock on the wall goes otherwise than `before`: days end, and what rests until then returns, by what it says now.
    pub fn move_days(&mut self, before: Clocks, clocks: Clocks) {
        self.budgets.move_days(before, clocks);
        for rest in self.projects.values_mut().filter_map(|standing| standing.rest.as_mut()) {
            if rest.reason == Reason::QuotaDay {
                rest.until = clocks.moved(before, rest.until);
            }
        }
        let keys = Arc::clone(&self.keys);
        self.look_again(keys.places(), clocks.now);
    }

    /// Nothing is held against the key or its project for this model any more.
    pub fn reset(&mut self, key: &Key, now: Instant) {
        self.standings.remove(&key.index);
        self.projects.remove(&key.project());
        self.look_at_project(key.project(), now);
    }

    /// Every key rests for this model.
    pub fn rest_all(&mut self, rest: Rest, now: Instant) {
        let keys = Arc::clone(&self.keys);
        for key in keys.iter() {
            self.standings.entry(key.index).or_insert_with(|| Standing::new(now)).rest_until(rest);
        }
        self.look_again(keys.iter().map(|key| key.index), now);
    }

    /// Forgives the strikes and rests of a cause that turned out not to be the keys' own.
    pub fn forgive(&mut self, reason: Reason, now: Instant) {
        for standing in self.standings.values_mut().filter(|s| s.rest.is_some_and(|rest| rest.reason == reason)) {
            standing.rest = None;
            standing.bare.clear();
        }
        let all: Vec<u32> = self.standings.keys().copied().collect();
        self.look_again(all.into_iter(), now);
    }

    /// Whether another try of an overload is a waste, because so many came in a row or because each costs of a day's
    /// quota that is nearly spent; and whether the model was unknown to all who were asked lately.
    pub fn doubts(&mut self, project: u32, now: Instant) -> (bool, bool) {
        let short = self.budgets.of_mut(project).is_some_and(|windows| windows.day_is_short(now));
        (short || self.overloads.count() >= OVERLOADS_MAX, self.unknown_until.is_some_and(|until| until > now))
    }

    /// The limits of all projects, and what was used of them.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// The same, to be told of more.
    pub fn budgets_mut(&mut self) -> &mut Budgets {
        &mut self.budgets
    }

    /// The share of the requests that a project is due by its keys' weights now.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn share(&self, project: u32) -> f64 {
        let weight: u64 = self.keys.of_project(project).map(|index| u64::from(self.schedule.weight(index))).sum();
        weight as f64 / self.schedule.total().max(1) as f64
    }

    /// The key's weight now, the share of it that its health leaves, and why it cannot be chosen.
    pub fn look(&self, key: &Key, roster: &Roster, now: Instant) -> (u32, f32, Option<(Reason, Option<Instant>)>) {
        let health = self.standings.get(&key.index).map_or(1.0, |s| s.health.value(now));
        (self.schedule.weight(key.index), health, self.blocked(key, roster, now))
    }

    /// The rests for this model: by key, or by project where the second is set.
    pub fn rests(&self) -> impl Iterator<Item = (Option<u32>, Option<u32>, Rest)> {
        let keys = self.standings.iter().filter_map(|(key, s)| Some((Some(*key), None, s.rest?)));
        keys.chain(self.projects.iter().filter_map(|(project, s)| Some((None, Some(*project), s.rest?))))
    }

    /// Enters the project's keys into the schedule, or takes them out, by what holds now.
    pub fn look_at_project(&mut self, project: u32, now: Instant) {
        let keys = Arc::clone(&self.keys);
        self.look_again(keys.of_project(project), now);
    }

    fn look_again(&mut self, indices: impl Iterator<Item = u32>, now: Instant) {
        let shared = Arc::clone(&self.roster);
        let roster = shared.lock();
        indices.for_each(|index| self.evaluate(index, &roster, now));
    }

    /// Why the key cannot be chosen now, and until when (`None`: until somebody mends it).
    pub(crate) fn blocked(&self, key: &Key, roster: &Roster, now: Instant) -> Option<(Reason, Option<Instant>)> {
        let held = self.held(key, roster, now);
        if held.is_some_and(|(_, until)| until.is_none()) {
            return held;
        }
        let full = self.budgets.of(key.project()).and_then(|windows| windows.full_until(now));
        held.into_iter().chain(full.map(|until| (Reason::Budget, Some(until)))).max_by_key(|(_, until)| *until)
    }

    /// The same, were there room in its budget.
    pub(crate) fn held(&self, key: &Key, roster: &Roster, now: Instant) -> Option<(Reason, Option<Instant>)> {
        let above = roster.blocked(key, now);
        if above.is_some_and(|(_, until)| until.is_none()) {
            return above;
        }
        let own = || [self.standings.get(&key.index), self.projects.get(&key.project())].into_iter().flatten();
        let rests = own().filter_map(|s| s.rest).filter(|rest| rest.until > now);
        let longest = rests.map(|rest| (rest.reason, Some(rest.until))).chain(above).max_by_key(|(_, until)| *until);
        let trial = own().any(|s| matches!(s.trial, Trial::Taken(..)));
        longest.or_else(|| trial.then_some((Reason::Trial, Some(now + TRIAL_HINT))))
    }

    /// Enters the key into the schedule, or takes it out and notes when to look again.
    fn evaluate(&mut self, index: u32, roster: &Roster, now: Instant) {
        let key = Arc::clone(&self.keys[index]);
        if let Some(standing) = self.standings.get_mut(&index) {
            standing.wake(now);
        }
        if let Some(standing) = self.projects.get_mut(&key.project()) {
            standing.wake(now);
        }
        if roster.blocked(&key, now).is_none() && roster.on_trial(&key) {
            // Whichever key of it succeeds ends the rest.
            key.ailing.store(true, Relaxed);
            let standing = self.standings.entry(index).or_insert_with(|| Standing::new(now));
            if standing.trial == Trial::None {
                standing.trial = Trial::Open;
            }
        }
        let health = self.standings.get(&index).map_or(LEVELS, |s| s.health.level(now));
        let (weight, next_look) = match self.blocked(&key, roster, now) {
            Some((Reason::Trial, _)) => (0, None),
            Some((_, until)) => (0, until),
            None => {
                (key.weight() * self.trust(key.project(), health, now), (health < LEVELS).then(|| now + Health::step()))
            }
        };
        self.schedule.set(index, weight);
        next_look.into_iter().for_each(|at| self.wakes.note(index, at));
        if self.standings.get(&index).is_some_and(|s| s.is_clear(now)) {
            self.standings.remove(&index);
        }
    }

    /// Health and what is left of the budget, in tenths of the weight.
    fn trust(&mut self, project: u32, health: u32, now: Instant) -> u32 {
        let left = self.budgets.of_mut(project).map_or(LEVELS, |windows| windows.level(now));
        (health * left / LEVELS).max(1)
    }
}
