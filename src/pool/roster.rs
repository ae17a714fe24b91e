//! The roster: what holds for a key, a project or an egress whatever the model.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::pool::health::{Strikes, doubling};
use crate::pool::homes::Homes;
use crate::pool::key::Key;
use crate::pool::probing::Probing;
use crate::pool::reason::Reason;

/// A blocked key rests this long, then doubled up to [`BLOCKED_MAX`].
const BLOCKED: Duration = Duration::from_mins(10);
const BLOCKED_MAX: Duration = Duration::from_hours(1);
/// This many failures to connect in a row close an egress, where a living key has another one.
const EGRESS_FAILURES: u8 = 5;
/// Those of attempts that began within this time are one. What waits long for a connection tells as much as what is refused.
const BLIP: Duration = Duration::from_secs(1);
const EGRESS_MAX: Duration = Duration::from_mins(1);

/// A rest and its cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rest {
    /// When it ends.
    pub until: Instant,
    /// Why.
    pub reason: Reason,
}

impl Rest {
    /// The longer of two rests: a deadline never moves nearer.
    pub fn longer(old: Option<Self>, new: Self) -> Self {
        old.filter(|old| old.until >= new.until).unwrap_or(new)
    }
}

/// Whether a key lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// It serves.
    Alive,
    /// It rests; then one request for each model tries it.
    Off(Rest),
    /// It does not come back by itself: only a probe revives it, or with `None` a change of configuration.
    Dead(Reason, Option<Instant>),
}

/// A key's life and how often it was struck.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Alive, off or dead.
    pub life: Life,
    /// Rests and deaths in a row.
    pub strikes: Strikes,
}

/// A project, known by its label or its key's id.
#[derive(Clone, Debug)]
pub struct Project {
    /// The label.
    pub name: Arc<str>,
    /// A rest for every model.
    pub off: Option<Rest>,
    /// Until when requests that ground their answers go elsewhere.
    pub grounding: Option<Instant>,
    /// `free`, `paid`, ... as its refusals revealed.
    pub tier: Option<&'static str>,
    /// `projects/N` as Google's errors named it.
    pub consumer: Option<Arc<str>>,
}

impl Project {
    /// A project of which only the name is known.
    pub fn new(name: Arc<str>) -> Self {
        Self { name, off: None, grounding: None, tier: None, consumer: None }
    }

    /// The other one is this one.
    fn join(&mut self, other: Self) {
        self.off = other.off.map_or(self.off, |off| Some(Rest::longer(self.off, off)));
        self.grounding = self.grounding.max(other.grounding);
        self.tier = self.tier.or(other.tier);
        self.consumer = self.consumer.take().or(other.consumer);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Egress {
    failures: Strikes,
    off: Option<Rest>,
    strikes: Strikes,
}

/// The roster under its lock, with a number that changes whenever it does, so that a lane knows when to look again.
///
/// A lane's lock is always taken before this one.
#[derive(Debug)]
pub struct SharedRoster {
    roster: Mutex<Roster>,
    epoch: AtomicU64,
    /// Whether a connection failed through any egress since something last answered through it.
    unsteady: AtomicBool,
    /// Told of every change: a key may have come back, or died.
    pub changed: Notify,
}

impl SharedRoster {
    /// Shares a roster.
    pub fn new(roster: Roster) -> Self {
        let (epoch, unsteady) = (AtomicU64::new(1), AtomicBool::new(false));
        Self { roster: Mutex::new(roster), epoch, unsteady, changed: Notify::new() }
    }

    /// The number of changes so far.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A look, or a change that no lane needs to see at once.
    pub fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection could not be made.
    pub fn disconnected(&self, egress: u32, began: Instant, now: Instant) {
        self.change_if(|roster| {
            self.unsteady.store(true, Ordering::Relaxed);
            roster.disconnected(egress, began, now)
        });
    }

    /// Something answered through the egress. Costs a look where none failed.
    pub fn connected(&self, egress: u32) {
        if self.unsteady.load(Ordering::Relaxed) {
            self.change_if(|roster| {
                let changed = roster.connected(egress);
                self.unsteady
                    .store(roster.egresses.iter().any(|egress| egress.failures.count() > 0), Ordering::Relaxed);
                changed
            });
        }
    }

    /// A look that may end in a change: lanes see it only where it says that it was one.
    fn change_if(&self, change: impl FnOnce(&mut Roster) -> bool) {
        let changed = change(&mut self.lock());
        self.epoch.fetch_add(u64::from(changed), Ordering::Release);
        if changed {
            self.changed.notify_waiters();
        }
    }

    /// Google named the project `consumer`. Whoever has that name already is the same project: both are one from now on.
    pub fn meet(&self, project: u32, consumer: &str, homes: &Homes) {
        let mut roster = self.lock();
        let named = |project: &Project| project.consumer.as_deref() == Some(consumer);
        let other = (0..)
            .zip(&roster.projects)
            .find(|(index, other)| homes.of(*index) == *index && *index != project && named(other));
        let other = other.map(|(index, _)| index);
        roster.projects[project as usize].consumer = Some(consumer.into());
        let Some(other) = other else { return };
        let (into, from) = (project.min(other), project.max(other));
        roster.merge(from, into);
        homes.merge(from, into);
        drop(roster);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// A change that every lane sees at its next choice.
    pub fn change<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        let changed = change(&mut self.lock());
        self.epoch.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
        changed
    }
}

/// The states above the models.
#[derive(Debug)]
pub struct Roster {
    /// As configured.
    pub probing: Probing,
    keys: Vec<Standing>,
    /// The number of each key's egress.
    ways: Vec<u32>,
    /// By the index in [`Key::project`].
    pub projects: Vec<Project>,
    egresses: Vec<Egress>,
}

impl Default for Roster {
    fn default() -> Self {
        Self::new()
    }
}

impl Roster {
    /// Nobody is on it.
    pub fn new() -> Self {
        let egresses = vec![Egress::default()];
        Self { probing: Probing::default(), keys: Vec::new(), ways: Vec::new(), projects: Vec::new(), egresses }
    }

    /// One key more, alive.
    pub fn enter(&mut self) {
        self.keys.push(Standing { life: Life::Alive, strikes: Strikes::default() });
        self.ways.push(0);
    }

    /// What is held against a key is held against it in another place too.
    pub fn inherit(&mut self, index: u32, former: u32) {
        self.keys[index as usize] = self.keys[former as usize];
    }

    /// Whether the key takes part. One that does again begins anew.
    pub fn enable(&mut self, index: u32, enabled: bool) {
        let standing = &mut self.keys[index as usize];
        let disabled = matches!(standing.life, Life::Dead(Reason::Disabled, _));
        if disabled == enabled {
            let life = if enabled { Life::Alive } else { Life::Dead(Reason::Disabled, None) };
            *standing = Standing { life, strikes: Strikes::default() };
        }
    }

    /// The key goes out by the way of this number.
    pub fn lead_out(&mut self, index: u32, egress: u32) {
        self.ways[index as usize] = egress;
        let ways = self.egresses.len().max(egress as usize + 1);
        self.egresses.resize(ways, Egress::default());
    }

    /// The state of a key.
    pub fn life(&self, key: &Key) -> Life {
        self.keys[key.index as usize].life
    }

    /// Why the key can serve no model now, and until when (`None`: until a probe or a person mends it).
    pub fn blocked(&self, key: &Key, now: Instant) -> Option<(Reason, Option<Instant>)> {
        let off = match self.life(key) {
            Life::Dead(reason, _) => return Some((reason, None)),
            Life::Off(rest) => Some(rest),
            Life::Alive => None,
        };
        let rests = [off, self.projects[key.project() as usize].off, self.egresses[key.egress() as usize].off];
        let longest = rests.into_iter().flatten().filter(|rest| rest.until > now).max_by_key(|rest| rest.until)?;
        Some((longest.reason, Some(longest.until)))
    }

    /// Whether the key or its project comes from a rest that no success has ended yet.
    pub fn on_trial(&self, key: &Key) -> bool {
        matches!(self.life(key), Life::Off(_)) || self.projects[key.project() as usize].off.is_some()
    }

    /// The key is dead until a probe finds it alive, or with `forever` until configuration changes.
    pub fn kill(&mut self, key: &Key, reason: Reason, forever: bool, began: Instant, now: Instant) {
        let standing = &mut self.keys[key.index as usize];
        let strikes = standing.strikes.strike(began, now).unwrap_or(standing.strikes.count());
        if !matches!(standing.life, Life::Dead(_, None)) {
            let probe = (!forever).then(|| now + self.probing.pause(strikes));
            standing.life = Life::Dead(reason, probe);
        }
    }

    /// The key rests: for an hour where its place or tier is not served, else from ten minutes to an hour.
    pub fn rest(&mut self, key: &Key, reason: Reason, began: Instant, now: Instant) {
        let standing = &mut self.keys[key.index as usize];
        let strikes = standing.strikes.strike(began, now).unwrap_or(standing.strikes.count());
        let pause = if reason == Reason::Precondition { BLOCKED_MAX } else { doubling(BLOCKED, strikes, BLOCKED_MAX) };
        standing.life = match standing.life {
            Life::Dead(reason, probe) => Life::Dead(reason, probe),
            Life::Off(old) => Life::Off(Rest::longer(Some(old), Rest { until: now + pause, reason })),
            Life::Alive => Life::Off(Rest { until: now + pause, reason }),
        };
    }

    /// A success: rests that are over are forgotten. One that was set meanwhile stands.
    pub fn succeeded(&mut self, key: &Key, now: Instant) {
        let standing = &mut self.keys[key.index as usize];
        if matches!(standing.life, Life::Off(rest) if rest.until <= now) {
            *standing = Standing { life: Life::Alive, strikes: Strikes::default() };
        }
        let off = &mut self.projects[key.project() as usize].off;
        *off = off.filter(|rest| rest.until > now);
    }

    /// A probe found a dead key alive.
    pub fn revive(&mut self, key: &Key) {
        let standing = &mut self.keys[key.index as usize];
        if matches!(standing.life, Life::Dead(_, Some(_))) {
            *standing = Standing { life: Life::Alive, strikes: Strikes::default() };
        }
    }

    /// Nothing is held against the key or its project any more, unless it is disabled.
    pub fn reset(&mut self, key: &Key) {
        let standing = &mut self.keys[key.index as usize];
        if !matches!(standing.life, Life::Dead(Reason::Disabled, _)) {
            *standing = Standing { life: Life::Alive, strikes: Strikes::default() };
        }
        let project = &mut self.projects[key.project() as usize];
        (project.off, project.grounding) = (None, None);
    }

    /// Whether nothing at all is held against the key or its project.
    pub fn is_well(&self, key: &Key) -> bool {
        self.life(key) == Life::Alive && self.projects[key.project() as usize].off.is_none()
    }

    /// Puts back what was remembered from an earlier run.
    pub fn recall(&mut self, key: &Key, life: Life) {
        let standing = &mut self.keys[key.index as usize];
        if standing.life == Life::Alive {
            standing.life = life;
        }
    }

    fn merge(&mut self, from: u32, into: u32) {
        let other = self.projects[from as usize].clone();
        self.projects[into as usize].join(other);
    }

    /// The first of each of these is the second from now on: what is known of it goes there.
    pub fn carry(&mut self, moved: &[(u32, u32)]) {
        let mut leave = |(from, into): &(u32, u32)| {
            let project = &mut self.projects[*from as usize];
            let fresh = Project::new(Arc::clone(&project.name));
            (*into, std::mem::replace(project, fresh))
        };
        let left: Vec<(u32, Project)> = moved.iter().map(&mut leave).collect();
        left.into_iter().for_each(|(into, other)| self.projects[into as usize].join(other));
    }

    /// Every model of a project rests.
    pub fn rest_project(&mut self, project: u32, rest: Rest) {
        let off = &mut self.projects[project as usize].off;
        *off = Some(Rest::longer(*off, rest));
    }

    /// A connection could not be made. Closes the egress after several in a row, if another one is left. Whether it did.
    fn disconnected(&mut self, egress: u32, began: Instant, now: Instant) -> bool {
        let failures = self.egresses[egress as usize].failures.strike(began, began + BLIP);
        if failures.is_none_or(|failures| failures < EGRESS_FAILURES) || !self.has_another_way(egress, now) {
            return false;
        }
        let egress = &mut self.egresses[egress as usize];
        let Some(strikes) = egress.strikes.strike(began, now) else { return false };
        let until = now + doubling(Duration::from_secs(5), strikes, EGRESS_MAX);
        egress.off = Some(Rest::longer(egress.off, Rest { until, reason: Reason::Network }));
        true
    }

    /// Whether a key that lives goes out by another way, and that one is open.
    fn has_another_way(&self, egress: u32, now: Instant) -> bool {
        let open = |way: u32| self.egresses[way as usize].off.is_none_or(|rest| rest.until <= now);
        let lives = |key: &Standing| !matches!(key.life, Life::Dead(..));
        self.keys.iter().zip(&self.ways).any(|(key, way)| *way != egress && lives(key) && open(*way))
    }

    /// Something answered through the egress. Whether that opened it.
    fn connected(&mut self, egress: u32) -> bool {
        std::mem::take(&mut self.egresses[egress as usize]).off.is_some()
    }

    /// Dead keys whose probe is due. Each is handed out once: the next probe is set before this one starts.
    pub fn due_probes(&mut self, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        for (index, standing) in (0..).zip(&mut self.keys) {
            if let Life::Dead(reason, Some(at)) = standing.life
                && at <= now
            {
                let wait = self.probing.pause(standing.strikes.count().saturating_add(1));
                standing.life = Life::Dead(reason, Some(now + wait));
                due.push(index);
            }
        }
        due
    }

    /// When the next probe is due.
    pub fn next_probe(&self) -> Option<Instant> {
        let due = self.keys.iter().filter_map(|standing| match standing.life {
            Life::Dead(_, at) => at,
            _ => None,
        });
        due.min()
    }
}
