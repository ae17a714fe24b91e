//! The pool's reports: the view for operators, the memory for a restart.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use crate::pool::key::{Ceilings, Key};
use crate::pool::keypool::KeyPool;
use crate::pool::lease::SharedLane;
use crate::pool::limits::{Room, Windows};
use crate::pool::memory::{Clocks, KeyMemory, Memory, ModelMemory, UseMemory};
use crate::pool::reason::Reason;
use crate::pool::roster::{Life, Project, Rest};
use crate::pool::view::{CoolingView, KeyView, LearntView, ModelView, PoolView};
use crate::quota;

impl KeyPool {
    fn lanes_by_name(&self) -> Vec<Arc<SharedLane>> {
        let mut lanes = self.lanes();
        lanes.sort_unstable_by(|a, b| a.model.cmp(&b.model));
        lanes
    }

    /// Everything an operator asks of the keys.
    pub fn view(&self, clocks: Clocks) -> PoolView {
        let now = clocks.now;
        let lanes = self.lanes_by_name();
        lanes.iter().for_each(|lane| lane.pass_time(|lane| lane.refresh(now)));
        let mut keys: Vec<KeyView> = self.keys().iter().map(|key| self.key_view(key, &lanes, clocks)).collect();
        let weights: f64 = keys.iter().map(|key| key.effective_weight).sum();
        let attempts: u64 = keys.iter().map(|key| key.attempts).sum();
        #[expect(clippy::cast_precision_loss, reason = "a share for the eye")]
        for key in &mut keys {
            key.expected_share = if weights > 0.0 { key.effective_weight / weights } else { 0.0 };
            key.actual_share = if attempts > 0 { key.attempts as f64 / attempts as f64 } else { 0.0 };
        }
        let usable = keys.iter().filter(|key| !matches!(key.state, "off" | "dead" | "disabled")).count();
        let model = |lane: &Arc<SharedLane>| ModelView {
            model: Arc::clone(&lane.model),
            in_flight: lane.in_flight.load(Relaxed),
            waiting: lane.waits(),
            waiting_clients: lane.turns.clients(),
            overloads: lane.lock().overloads.count().into(),
        };
        PoolView {
            usable,
            soonest_return: keys.iter().filter_map(|key| key.returns_at).min(),
            waiting: lanes.iter().map(|lane| lane.waits()).sum(),
            models: lanes.iter().map(model).collect(),
            keys,
        }
    }

    fn key_view(&self, key: &Key, lanes: &[Arc<SharedLane>], clocks: Clocks) -> KeyView {
        let (mut cooling, mut learnt) = (Vec::new(), Vec::new());
        let mut health = 1.0_f32;
        for lane in lanes {
            let locked = lane.lock();
            let roster = self.scene.roster.lock();
            let limited = locked.budgets().of(key.project()).filter(|windows| windows.is_limited());
            learnt.extend(limited.map(|windows| limits_view(lane, windows, clocks.now)));
            let (_, share, blocked) = locked.look(key, &roster, clocks.now);
            health = health.min(share);
            if let Some((reason, until)) = blocked.filter(|_| roster.blocked(key, clocks.now).is_none()) {
                let until = until.map(|at| clocks.wall_at(at));
                cooling.push(CoolingView { model: Arc::clone(&lane.model), reason: reason.name(), until });
            }
        }
        let roster = self.scene.roster.lock();
        let project = &roster.projects[key.project() as usize];
        if let Some(until) = project.grounding.filter(|until| *until > clocks.now) {
            let (reason, until) = (Reason::Grounding.name(), Some(clocks.wall_at(until)));
            cooling.push(CoolingView { model: Arc::default(), reason, until });
        }
        let blocked = roster.blocked(key, clocks.now);
        let state = match (roster.life(key), blocked) {
            (Life::Dead(Reason::Disabled, _), _) => "disabled",
            (Life::Dead(..), _) => "dead",
            (_, Some(_)) => "off",
            _ if roster.on_trial(key) => "trial",
            _ if !cooling.is_empty() => "cooling",
            _ => "usable",
        };
        let probe = match roster.life(key) {
            Life::Dead(_, at) => at,
            _ => None,
        };
        let returns = blocked.and_then(|(_, until)| until).or(probe).map(|at| clocks.wall_at(at));
        let out = blocked.is_some();
        KeyView {
            id: Arc::clone(&key.id),
            tail: key.tail.clone(),
            project: Arc::clone(&project.name),
            consumer: project.consumer.clone(),
            tier: project.tier,
            state,
            reason: blocked.map(|(reason, _)| reason.name()).or(cooling.first().map(|c| c.reason)),
            returns_at: returns.or(cooling.iter().filter_map(|c| c.until).min()),
            configured_weight: key.weight(),
            effective_weight: if out { 0.0 } else { f64::from(key.weight()) * f64::from(health) },
            expected_share: 0.0,
            actual_share: 0.0,
            in_flight: key.in_flight(),
            attempts: key.attempts(),
            outcomes: key.counts().map(|(verdict, count)| (verdict.name(), count)).collect(),
            last_error: key.last_error(),
            cooling,
            probably_same_project_as: self.twins(key),
            learnt,
        }
    }

    fn twins(&self, key: &Key) -> Vec<Arc<str>> {
        let twins = self.scene.twins.lock().unwrap_or_else(PoisonError::into_inner);
        let projects: Vec<u32> = twins.of(key.project()).map(|project| self.homes().of(project)).collect();
        if projects.is_empty() {
            return Vec::new();
        }
        let others = self.keys().iter().filter(|other| other.project() != key.project());
        others.filter(|other| projects.contains(&other.project())).map(|other| Arc::clone(&other.id)).collect()
    }

    /// What must survive a restart. The same rests give the same memory, whenever it is asked for.
    pub fn memory(&self, now: Instant) -> Memory {
        let clocks = self.clocks();
        // By place: the list may grow while this goes on.
        let mut memories: HashMap<u32, KeyMemory> = HashMap::new();
        let ahead = |rest: &Rest| (rest.until > now).then(|| clocks.wall_at(rest.until));
        for shared in self.lanes_by_name() {
            // Copied first: no request waits for the lane while its projects' keys are looked up.
            let lane = shared.lock();
            let rests: Vec<_> = lane.rests().collect();
            let limited = lane.budgets().all().filter(|(_, windows)| windows.is_limited());
            let limits: Vec<_> = limited.map(|(project, of)| (project, of.learnt(), of.used(now))).collect();
            drop(lane);
            let model = || shared.model.to_string();
            for (key, project, rest) in rests {
                let Some(until) = ahead(&rest).filter(|_| rest.reason != Reason::Budget) else { continue };
                let entry = ModelMemory { model: model(), project: project.is_some(), reason: rest.reason, until };
                let members = project.into_iter().flat_map(|project| self.keys.of_project(project));
                for index in members.chain(key) {
                    memories.entry(index).or_default().models.push(entry.clone());
                }
            }
            for (project, learnt, used) in limits {
                for index in self.keys.of_project(project) {
                    let memory = memories.entry(index).or_default();
                    if learnt != Ceilings::default() {
                        memory.learnt.insert(model(), learnt);
                    }
                    if used.is_any() {
                        memory.used.insert(model(), used);
                    }
                }
            }
        }
        let roster = self.scene.roster.lock();
        for key in self.keys().iter() {
            let memory = memories.entry(key.index).or_default();
            match roster.life(key) {
                Life::Dead(Reason::Disabled, _) | Life::Alive => {}
                Life::Dead(reason, at) => memory.dead = Some((reason, at.map(|at| clocks.wall_at(at)))),
                Life::Off(rest) => memory.off = ahead(&rest).map(|until| (rest.reason, until)),
            }
            let Project { off, grounding, consumer, tier, .. } = &roster.projects[key.project() as usize];
            memory.tier = tier.map(str::to_owned);
            memory.consumer = consumer.as_deref().map(str::to_owned);
            memory.grounding = grounding.filter(|until| *until > now).map(|until| clocks.wall_at(until));
            memory.project_off = off.and_then(|rest| Some((rest.reason, ahead(&rest)?)));
        }
        let known = |key: &Arc<Key>| Some((key.digest.to_string(), memories.remove(&key.index)?));
        Memory { keys: self.keys().iter().filter_map(known).filter(|(_, memory)| !memory.is_empty()).collect() }
    }

    /// Takes up what an earlier run remembered. Keys that are unknown by now, and times that are past, are ignored.
    pub fn recall(&self, memory: &Memory, clocks: Clocks) {
        for key in self.keys().iter() {
            let Some(known) = memory.keys.get(&key.digest.to_string()) else { continue };
            let rest = |(reason, until)| Some(Rest { reason, until: clocks.instant_at(until)? });
            let dead = known
                .dead
                .map(|(reason, at)| Life::Dead(reason, at.map(|at| clocks.instant_at(at).unwrap_or(clocks.now))));
            if let Some(life) = dead.or_else(|| known.off.and_then(rest).map(Life::Off)) {
                key.ailing.store(true, Relaxed);
                self.scene.roster.change(|roster| roster.recall(key, life));
            }
            if let Some(rest) = known.project_off.and_then(rest) {
                key.ailing.store(true, Relaxed);
                self.scene.roster.change(|roster| roster.rest_project(key.project(), rest));
            }
            if let Some(consumer) = known.consumer.as_ref().filter(|consumer| quota::is_consumer(consumer)) {
                self.scene.roster.meet(key.project(), consumer, self.homes());
            }
            if let Some(tier) = known.tier.as_deref().and_then(quota::tier_named) {
                self.scene.roster.lock().projects[key.project() as usize].tier = Some(tier);
            }
            if let Some(until) = known.grounding.and_then(|until| clocks.instant_at(until)) {
                let grounding = &mut self.scene.roster.lock().projects[key.project() as usize].grounding;
                *grounding = (*grounding).max(Some(until));
                self.scene.grounding.store(true, Relaxed);
            }
            for model in &known.models {
                self.recall_model(key, model, clocks.instant_at(model.until), clocks.now);
            }
        }
        self.recall_limits(memory, clocks);
    }

    /// What was used stands with each key of a project, and counts once: which of them are one is known by now.
    fn recall_limits(&self, memory: &Memory, clocks: Clocks) {
        let mut limits: BTreeMap<(u32, &str), (Ceilings, UseMemory)> = BTreeMap::new();
        for key in self.keys().iter() {
            let Some(known) = memory.keys.get(&key.digest.to_string()) else { continue };
            for (model, learnt) in &known.learnt {
                let (before, _) = limits.entry((key.project(), model)).or_default();
                *before = before.lower(*learnt);
            }
            for (model, used) in &known.used {
                let (_, before) = limits.entry((key.project(), model)).or_default();
                *before = before.more(*used);
            }
        }
        for ((project, model), (learnt, used)) in limits {
            self.lane(model, clocks.now).change(|lane| lane.budgets_mut().recall(project, learnt, used, clocks));
        }
    }

    fn recall_model(&self, key: &Key, model: &ModelMemory, until: Option<Instant>, now: Instant) {
        let Some(rest) = until.map(|until| Rest { until, reason: model.reason }) else { return };
        self.lane(&model.model, now).change(|lane| {
            if model.project {
                lane.rest_project(key.project(), rest, now);
            } else {
                lane.judge(key, now, |standing| standing.rest_until(rest));
            }
        });
    }
}

fn limits_view(lane: &SharedLane, windows: &Windows, now: Instant) -> LearntView {
    let Room { minute, minute_max, day, day_max } = windows.clone().room(now);
    LearntView {
        model: Arc::clone(&lane.model),
        limits: windows.learnt(),
        paced_rpm: minute_max.0,
        paced_tpm: minute_max.1,
        minute_requests: minute.requests,
        minute_tokens: minute.tokens,
        day_requests: day,
        day_requests_max: day_max,
    }
}
