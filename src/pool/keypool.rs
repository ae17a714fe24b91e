//! The key pool: the one door to all keys.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::pool::ask::{Avoid, Only};
use crate::pool::budgets::Budgets;
use crate::pool::homes::Homes;
use crate::pool::key::Key;
use crate::pool::keys::Keys;
use crate::pool::lane::Lane;
use crate::pool::lease::{Lease, SharedLane};
use crate::pool::memory::Clocks;
use crate::pool::outage::Outage;
use crate::pool::probe::Probe;
use crate::pool::probing::Probing;
use crate::pool::reason::Reason;
use crate::pool::register::Register;
use crate::pool::roster::{Life, Rest, Roster};
use crate::pool::scene::Scene;

/// Lanes beyond these share one, so that made-up model names cannot fill the memory.
const LANES_MAX: usize = 256;
/// A clock that is set right by less than this goes on as it was.
const APART_MAX: SignedDuration = SignedDuration::from_secs(1);
/// The name of the lane that the models beyond [`LANES_MAX`] share.
const OVERFLOW: &str = "other";

/// The keys and all that is known of them. Made once, shared.
#[derive(Debug)]
pub struct KeyPool {
    pub(crate) keys: Arc<Keys>,
    pub(crate) scene: Arc<Scene>,
    /// Read by every call, so that looking writes nothing that threads share; a new lane is a new map. Models are few: a
    /// tree finds one before a hash is made.
    pub(crate) lanes: ArcSwap<BTreeMap<Arc<str>, Arc<SharedLane>>>,
    /// Held by whoever adds a lane, or changes the keys.
    pub(crate) register: Mutex<Register>,
    /// At one moment: the start, or when the clock on the wall was last seen to go otherwise.
    pub(crate) clocks: Mutex<Clocks>,
}

/// What a choice came to.
#[derive(Debug)]
pub enum Choice {
    /// A key.
    Lease(Lease),
    /// None now. [`Outage::soonest`] tells whether to wait.
    Out(Outage),
}

impl KeyPool {
    /// Asks dead keys by `probing`.
    #[must_use]
    pub fn with_probing(self, probing: Probing) -> Self {
        self.scene.roster.lock().probing = probing;
        self
    }

    /// From the next death on.
    pub fn probe_by(&self, probing: Probing) {
        self.scene.roster.lock().probing = probing;
    }

    /// The lane of a model; the empty name is for calls that name none.
    pub fn lane(&self, model: &str, now: Instant) -> Arc<SharedLane> {
        if let Some(lane) = self.lanes.load().get(model) {
            return Arc::clone(lane);
        }
        let register = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.lanes.load_full();
        // Nothing is lost with a lane that nobody holds beside the map, where no key rests and nothing of limits is known.
        let rests = |lane: &Lane| lane.rests().any(|(_, _, rest)| rest.until > now);
        let taught = |lane: &Lane| rests(lane) || lane.budgets().are_worth_keeping(now);
        let spare = |lane: &Arc<SharedLane>| Arc::strong_count(lane) == 1 && !taught(&lane.lock());
        let full = known.len() >= LANES_MAX;
        let name = if !full || known.contains_key(model) || known.values().any(spare) { model } else { OVERFLOW };
        if let Some(lane) = known.get(name) {
            return Arc::clone(lane);
        }
        let kept = known.iter().filter(|(_, lane)| !full || !spare(lane));
        let mut lanes: BTreeMap<_, _> = kept.map(|(name, lane)| (Arc::clone(name), Arc::clone(lane))).collect();
        let name: Arc<str> = name.into();
        let lane = self.lane_of(&register, now);
        let (scene, keys) = (Arc::clone(&self.scene), Arc::clone(&self.keys));
        let lane = Arc::new(SharedLane::new(Arc::clone(&name), scene, keys, lane));
        lanes.insert(name, Arc::clone(&lane));
        self.lanes.store(Arc::new(lanes));
        lane
    }

    /// A lane in which nothing is held against any key. It is not among the pool's own.
    pub(crate) fn fresh_lane(&self, now: Instant) -> Lane {
        self.lane_of(&self.register.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    fn lane_of(&self, register: &Register, now: Instant) -> Lane {
        let budgets = Budgets::new(Arc::clone(&register.ceilings), self.clocks(), now);
        Lane::new(Arc::clone(&self.keys), Arc::clone(&self.scene.roster), budgets, now)
    }

    /// The lane of a model, where it has one; made-up names may share one.
    pub(crate) fn known_lane(&self, model: &str) -> Option<Arc<SharedLane>> {
        let lanes = self.lanes.load();
        let shared = || lanes.get(OVERFLOW).filter(|_| lanes.len() >= LANES_MAX);
        lanes.get(model).or_else(shared).map(Arc::clone)
    }

    /// Chooses the key whose turn it is for a model. The lane goes into the lease: a count less to raise and lower.
    pub fn select(&self, shared: Arc<SharedLane>, avoid: Avoid<'_>, now: Instant) -> Choice {
        let chosen = shared.pass_time(|lane| {
            lane.lull.pass(now);
            if lane.lull.most(now).is_some_and(|most| shared.awaited.load(Relaxed) >= most) {
                let mut outage = Outage::default();
                outage.add(Reason::Storm, Some(now + Duration::from_secs(1)));
                return Err(outage);
            }
            lane.pick(avoid, now).ok_or_else(|| lane.outage(avoid, now))
        });
        match chosen {
            Ok(taken) => Choice::Lease(Lease::taken(shared, taken, avoid.bytes, now)),
            Err(outage) => Choice::Out(outage),
        }
    }

    /// The key at `index` and no other, whatever it rests for: to go on with what it began spends no quota. A dead one
    /// serves nothing.
    pub fn seize(&self, shared: Arc<SharedLane>, index: u32, now: Instant) -> Choice {
        let dead = |index| self.keys.get(index).is_none_or(|key| self.is_dead(key));
        // What got another id since is the same key.
        let index = if dead(index) { self.keys.successor(index) } else { index };
        if dead(index) {
            let only = Avoid { only: Some(Only::Key(index)), ..Avoid::default() };
            let outage = shared.lock().outage(only, now);
            return Choice::Out(outage);
        }
        Choice::Lease(Lease::new(shared, index, now))
    }

    /// Whether a key of the project could serve by what holds whatever the model, and none of its models has spent its
    /// day.
    pub fn is_fresh(&self, project: u32, now: Instant) -> bool {
        let serves = |roster: &Roster| {
            self.keys.iter().any(|key| key.project() == project && roster.blocked(key, now).is_none())
        };
        serves(&self.scene.roster.lock()) && !self.spent(now).contains(&project)
    }

    /// The projects that have spent the day of a model.
    pub fn spent(&self, now: Instant) -> Vec<u32> {
        let mut spent = Vec::new();
        for lane in self.lanes.load().values() {
            let lane = lane.lock();
            let of_day = |rest: &Rest| rest.reason == Reason::QuotaDay && rest.until > now;
            spent.extend(lane.rests().filter(|(_, _, rest)| of_day(rest)).filter_map(|(_, project, _)| project));
        }
        spent.sort_unstable();
        spent.dedup();
        spent
    }

    /// The model of `lane` is unknown to the key's project while another one serves it.
    pub fn rule_out(lane: &SharedLane, key: &Key, now: Instant) {
        let rest = Rest { until: now + Duration::from_hours(12), reason: Reason::ModelUnknown };
        lane.change(|lane| lane.judge(key, now, |standing| standing.rest_until(rest)));
    }

    /// Every lane there is.
    pub(crate) fn lanes(&self) -> Vec<Arc<SharedLane>> {
        self.lanes.load().values().map(Arc::clone).collect()
    }

    /// All keys: those that take part, in order of configuration, and by their place those that did.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Which of the projects turned out to be one.
    pub fn homes(&self) -> &Arc<Homes> {
        &self.keys.homes
    }

    /// How many projects the keys are of, as configured.
    pub fn projects(&self) -> u32 {
        self.keys.homes.len()
    }

    /// Whether a key could serve now, by what holds whatever the model.
    pub fn can_serve(&self, now: Instant) -> bool {
        let roster = self.scene.roster.lock();
        self.keys.iter().any(|key| roster.blocked(key, now).is_none())
    }

    /// Whether any project may be out of its quota of grounded requests: a cheap look before [`Self::grounding_spent`].
    pub fn may_lack_grounding(&self) -> bool {
        self.scene.grounding.load(Relaxed)
    }

    /// Projects whose quota of grounded requests is spent.
    pub fn grounding_spent(&self, now: Instant) -> Vec<u32> {
        let roster = self.scene.roster.lock();
        let spent = (0..).zip(&roster.projects).filter(|(_, project)| project.grounding.is_some_and(|at| at > now));
        let spent: Vec<u32> = spent.map(|(index, _)| index).collect();
        self.scene.grounding.store(!spent.is_empty(), Relaxed);
        spent
    }

    /// Dead keys that are due to be asked whether they live. Each is handed out once per rest.
    pub fn due_probes(&self, now: Instant) -> Vec<Arc<Key>> {
        let due = self.scene.roster.lock().due_probes(now);
        due.into_iter().map(|index| Arc::clone(&self.keys[index])).collect()
    }

    /// When the next dead key is due.
    pub fn next_probe(&self) -> Option<Instant> {
        self.scene.roster.lock().next_probe()
    }

    /// What a probe of a dead key found. `banned`: it will never come back.
    pub fn probed(&self, key: &Key, found: Probe, now: Instant) {
        self.scene.roster.change(|roster| match found {
            Probe::Alive => roster.revive(key),
            Probe::Dead => roster.kill(key, Reason::Invalid, false, now, now),
            Probe::Banned => {
                roster.revive(key);
                roster.kill(key, Reason::Banned, true, now, now);
            }
            Probe::Unclear => {}
        });
    }

    /// Ends whatever the key and its project rest for, and its death. A disabled key stays so, and limits that are used up
    /// stay used up.
    pub fn reset(&self, key: &Key, now: Instant) {
        self.scene.roster.change(|roster| roster.reset(key));
        key.ailing.store(false, Relaxed);
        for lane in self.lanes() {
            lane.change(|lane| lane.reset(key, now));
        }
    }

    /// Whether the key is dead.
    pub fn is_dead(&self, key: &Key) -> bool {
        matches!(self.scene.roster.lock().life(key), Life::Dead(..))
    }

    /// The time on the wall at `now`.
    pub fn wall_at(&self, now: Instant) -> Timestamp {
        self.clocks().wall_at(now)
    }

    pub(crate) fn clocks(&self) -> Clocks {
        *self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the clocks say now. If the one on the wall was set, or went on while the machine slept, Google's days move with
    /// it. Until then times are told by what they said before: small steps add up, and none of them moves what is told.
    pub fn look_at_clocks(&self, now: Clocks) {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        if clocks.wall_at(now.now).duration_since(now.wall).abs() <= APART_MAX {
            return;
        }
        let before = std::mem::replace(&mut *clocks, now);
        drop(clocks);
        for lane in self.lanes() {
            lane.change(|lane| lane.move_days(before, now));
        }
    }
}
