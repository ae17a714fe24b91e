//! The pool as a whole: what keys go through, told without a clock that runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::pool::ask::Avoid;
use crate::pool::key::{Ceilings, KeySpec};
use crate::pool::lease::Lease;
use crate::pool::memory::{Clocks, Memory};
use crate::pool::outage::Outage;
use crate::pool::reason::Reason;
use crate::pool::scene::Moment;
use crate::pool::view::KeyView;
use crate::pool::{Choice, KeyPool, Probe};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::verdict::Verdict;

const MODELS: [&str; 2] = ["gemini-a", "gemini-b"];

/// A pool, and a clock that goes only when it is told to.
struct Stage {
    pool: KeyPool,
    started: Clocks,
    now: Instant,
}

impl Stage {
    /// Keys of these projects.
    fn of(projects: &[&str]) -> Self {
        Self::with(projects, Ceilings::default())
    }

    fn with(projects: &[&str], ceilings: Ceilings) -> Self {
        let now = Instant::now();
        let started = Clocks { now, wall: "2026-11-21T11:00:00Z".parse().unwrap() };
        let spec = |(n, project): (usize, &&str)| KeySpec {
            id: (n + 1).to_string().into(),
            secret: Secret::new(format!("fake-key-{n:04}")),
            weight: 1,
            project: Some((*project).into()),
            egress: 0,
            ceilings,
            enabled: true,
        };
        let specs: Vec<KeySpec> = projects.iter().enumerate().map(spec).collect();
        Self { pool: KeyPool::new(&specs, started).unwrap(), started, now }
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn choose(&self, model: &str) -> Result<Lease, Outage> {
        match self.pool.select(self.pool.lane(model, self.now), Avoid::default(), self.now) {
            Choice::Lease(lease) => Ok(lease),
            Choice::Out(outage) => Err(outage),
        }
    }

    fn take(&self) -> Lease {
        self.choose(MODELS[0]).expect("a key")
    }

    fn out(&self) -> Outage {
        self.choose(MODELS[0]).expect_err("a key was free")
    }

    fn fail(&self, mut lease: Lease, verdict: Verdict) {
        lease.fail(verdict, &Refusal::default(), Moment { now: self.now, wall: self.wall(), dice: 0.0 });
    }

    fn succeed(&self, mut lease: Lease) {
        lease.succeed(self.now);
    }

    fn wall(&self) -> Timestamp {
        self.started.wall_at(self.now)
    }

    fn key(&self, place: usize) -> KeyView {
        self.pool.view(Clocks { now: self.now, wall: self.wall() }).keys.swap_remove(place)
    }

    /// In how many seconds the first key returns.
    fn back_in(&self) -> u64 {
        self.out().soonest.unwrap().saturating_duration_since(self.now).as_secs()
    }
}

#[test]
fn after_a_rest_one_request_tries_and_its_end_lets_the_next_one_in() {
    let mut stage = Stage::of(&["p"]);
    stage.fail(stage.take(), Verdict::QuotaMinute);
    stage.later(stage.back_in());
    let trial = stage.take();
    assert_eq!(stage.out().reasons().collect::<Vec<_>>(), [(Reason::Trial, 1)]);
    drop(trial);
    let trial = stage.take();
    stage.fail(trial, Verdict::Overloaded);
    let trial = stage.take();
    assert!(stage.choose(MODELS[0]).is_err(), "an overload proves nothing about the quota");
    stage.succeed(trial);
    let (_one, _two) = (stage.take(), stage.take());
}

#[test]
fn one_key_tries_for_all_keys_of_its_project() {
    let mut stage = Stage::of(&["p", "p"]);
    stage.fail(stage.take(), Verdict::QuotaMinute);
    stage.later(stage.back_in());
    let trial = stage.take();
    assert!(stage.choose(MODELS[0]).is_err());
    stage.succeed(trial);
    let (one, two) = (stage.take(), stage.take());
    assert_ne!(one.key().id, two.key().id);
}

#[test]
fn a_rest_above_the_models_ends_with_one_trial_for_each_model() {
    let mut stage = Stage::of(&["p"]);
    drop((stage.take(), stage.choose(MODELS[1])));
    stage.fail(stage.take(), Verdict::KeyBlocked);
    stage.later(600);
    let trials = MODELS.map(|model| stage.choose(model).unwrap());
    assert!(MODELS.iter().all(|model| stage.choose(model).is_err()));
    drop(trials);
    MODELS.map(|model| stage.choose(model).unwrap()).into_iter().for_each(|trial| stage.succeed(trial));
    for model in MODELS {
        let (_one, _two) = (stage.choose(model).unwrap(), stage.choose(model).unwrap());
    }
}

#[test]
fn the_end_of_an_earlier_attempt_does_not_end_a_trial() {
    let mut stage = Stage::of(&["p"]);
    let earlier = [stage.take(), stage.take()];
    stage.fail(stage.take(), Verdict::QuotaMinute);
    stage.later(stage.back_in());
    let _trial = stage.take();
    let [left, failed] = earlier;
    drop(left);
    assert!(stage.choose(MODELS[0]).is_err());
    stage.fail(failed, Verdict::Overloaded);
    assert!(stage.choose(MODELS[0]).is_err());
}

#[test]
fn what_was_used_of_an_operators_day_outlasts_a_restart_and_a_crowd_of_models() {
    let day = Ceilings { rpd: Some(3), ..Ceilings::default() };
    let before = Stage::with(&["p"], day);
    drop((before.take(), before.take()));
    let after = Stage::with(&["p"], day);
    after.pool.recall(&before.pool.memory(before.now), after.started);
    drop(after.take());
    assert_eq!(after.out().reasons().collect::<Vec<_>>(), [(Reason::Budget, 1)]);
    (0..300).for_each(|n| drop(after.pool.lane(&format!("made-up-{n}"), after.now)));
    assert!(after.choose(MODELS[0]).is_err());
}

#[test]
fn models_whose_rests_and_days_are_over_make_place_for_others() {
    let mut stage = Stage::with(&["p"], Ceilings { rpd: Some(1_000), ..Ceilings::default() });
    for n in 0..256 {
        let verdict = if n % 2 == 0 { Verdict::QuotaBare } else { Verdict::ModelUnknown };
        stage.fail(stage.choose(&format!("made-up-{n}")).unwrap(), verdict);
    }
    assert_ne!(&*stage.pool.lane(MODELS[0], stage.now).model, MODELS[0], "of each something is known today");
    stage.later(2 * 86_400);
    assert!(MODELS.iter().all(|model| &*stage.pool.lane(model, stage.now).model == *model));
}

#[test]
fn a_success_of_an_earlier_attempt_does_not_end_a_rest() {
    let stage = Stage::of(&["p"]);
    for verdict in [Verdict::QuotaDay, Verdict::KeyBlocked, Verdict::Billing] {
        let (slow, quick) = (stage.choose(MODELS[1]), stage.choose(MODELS[1]));
        let (Ok(slow), Ok(quick)) = (slow, quick) else { break };
        stage.fail(quick, verdict);
        stage.succeed(slow);
        assert!(stage.choose(MODELS[1]).is_err(), "{verdict:?}");
        assert_eq!(stage.choose(MODELS[0]).is_ok(), verdict == Verdict::QuotaDay);
    }
}

#[test]
fn ladders_climb_with_each_trial_that_fails_and_end_with_a_success() {
    let mut stage = Stage::of(&["p"]);
    let mut rests = |verdict, times: usize| -> Vec<u64> {
        let mut rest = || {
            stage.fail(stage.take(), verdict);
            let rest = stage.back_in();
            stage.later(rest);
            rest
        };
        let rests = (0..times).map(|_| rest()).collect();
        stage.succeed(stage.take());
        stage.later(1);
        rests
    };
    assert_eq!(rests(Verdict::QuotaBare, 7), [5, 10, 30, 60, 120, 300, 300]);
    assert_eq!(rests(Verdict::QuotaBare, 2), [5, 10]);
    assert_eq!(rests(Verdict::KeyBlocked, 4), [600, 1200, 2400, 3600]);
    assert_eq!(rests(Verdict::KeyBlocked, 1), [600]);
}

#[test]
fn a_dead_key_is_due_again_later_each_time_and_once_each_time() {
    let mut stage = Stage::of(&["p"]);
    stage.fail(stage.take(), Verdict::KeyInvalid);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let due = stage.pool.next_probe().unwrap();
        waits.push(due.saturating_duration_since(stage.now).as_secs() / 60);
        stage.now = due;
        let key = stage.pool.due_probes(stage.now).pop().unwrap();
        assert!(stage.pool.due_probes(stage.now).is_empty());
        stage.pool.probed(&key, Probe::Dead, stage.now);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 360, 360]);
    stage.pool.probed(&Arc::clone(&stage.pool.keys()[0]), Probe::Alive, stage.now);
    assert!(stage.choose(MODELS[0]).is_ok() && stage.pool.next_probe().is_none());
}

#[test]
fn a_banned_key_stays_dead_whatever_comes() {
    let mut stage = Stage::of(&["p", "q"]);
    let late = stage.take();
    let other = stage.take();
    let banned = stage.choose(MODELS[1]).unwrap();
    let key = Arc::clone(banned.key());
    stage.fail(banned, Verdict::Banned);
    for lease in [late, other] {
        if lease.key().id == key.id { stage.fail(lease, Verdict::KeyInvalid) } else { stage.succeed(lease) }
    }
    stage.pool.probed(&key, Probe::Alive, stage.now);
    stage.later(400 * 86_400);
    assert!(stage.pool.is_dead(&key) && stage.pool.due_probes(stage.now).is_empty());
    assert!((0..10).all(|_| stage.take().key().id != key.id));
}

#[test]
fn a_storm_halves_the_pace_and_successes_raise_it() {
    let mut stage = Stage::of(&["p", "q", "r", "s"]);
    let mut under_way: Vec<Lease> = (0..8).map(|_| stage.take()).collect();
    for lease in under_way.split_off(5) {
        stage.fail(lease, Verdict::QuotaBare);
    }
    assert_eq!(stage.out().reasons().next().unwrap().0, Reason::Storm);
    assert_eq!(stage.key(0).reason, Some("storm"), "every key rests, whoever was refused");
    stage.later(6);
    assert!(stage.choose(MODELS[0]).is_err(), "five are under way, three are the pace");
    under_way.drain(..3).for_each(drop);
    assert!(stage.choose(MODELS[0]).is_ok());
}

#[test]
fn a_storm_passes_though_streams_go_on() {
    let mut stage = Stage::of(&["p", "q", "r", "s"]);
    let mut streams: Vec<Lease> = (0..5).map(|_| stage.take()).collect();
    streams.iter_mut().for_each(|lease| lease.succeed(stage.now));
    (0..3).for_each(|_| stage.fail(stage.take(), Verdict::QuotaBare));
    stage.later(6);
    // Nobody else waits for a first byte.
    let waits = stage.take();
    assert!(stage.out().only(Reason::Storm), "one was the pace");
    stage.later(300);
    let (_one, _two) = (stage.take(), stage.take());
    drop(waits);
}

#[test]
fn a_burst_of_refusals_is_one_storm_however_many_were_under_way() {
    let stage = Stage::of(&["p", "q", "r", "s"]);
    let burst: Vec<Lease> = (0..100).map(|_| stage.take()).collect();
    burst.into_iter().for_each(|lease| stage.fail(lease, Verdict::QuotaBare));
    let lane = stage.pool.lane(MODELS[0], stage.now);
    assert_eq!(lane.lock().lull.most(stage.now), Some(49), "half of the 98 that were left when it was seen");
}

#[test]
fn overloads_in_a_row_are_not_tried_again_and_a_burst_is_one() {
    let mut stage = Stage::of(&["p", "q"]);
    let burst: Vec<Lease> = (0..20).map(|_| stage.take()).collect();
    stage.later(1);
    burst.into_iter().for_each(|lease| stage.fail(lease, Verdict::Overloaded));
    let is_open = |stage: &Stage| stage.pool.lane(MODELS[0], stage.now).lock().doubts(0, stage.now).0;
    for _ in 1..10 {
        assert!(!is_open(&stage));
        stage.later(1);
        stage.fail(stage.take(), Verdict::Overloaded);
    }
    assert!(is_open(&stage));
    stage.succeed(stage.take());
    assert!(!is_open(&stage));
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Fail(usize, Verdict),
    Succeed(usize),
    Leave(usize),
    Later(u64),
    Probe(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let failures: Vec<Verdict> = crate::verdict::ALL.into_iter().filter(|verdict| verdict.is_failure()).collect();
    let step = prop_oneof![
        6 => (0..MODELS.len()).prop_map(Step::Take),
        3 => (0..8_usize, prop::sample::select(failures)).prop_map(|(n, verdict)| Step::Fail(n, verdict)),
        2 => (0..8_usize).prop_map(Step::Succeed),
        1 => (0..8_usize).prop_map(Step::Leave),
        2 => prop_oneof![0..20_u64, 0..100_000_u64].prop_map(Step::Later),
        1 => any::<bool>().prop_map(Step::Probe),
    ];
    prop::collection::vec(step, 1..80)
}

/// Plays the steps; what holds after each is asserted.
fn play(stage: &mut Stage, steps: &[Step]) {
    let mut leases: Vec<Lease> = Vec::new();
    for step in steps {
        let mut pick = |n: usize| (!leases.is_empty()).then(|| leases.swap_remove(n % leases.len()));
        match step {
            Step::Take(model) => match stage.choose(MODELS[*model]) {
                Ok(lease) => {
                    let key = stage.key(lease.key().index as usize);
                    assert!(!matches!(key.state, "dead" | "off" | "disabled"), "{key:?}");
                    assert!(key.cooling.iter().all(|c| &*c.model != MODELS[*model] || c.reason == "trial"), "{key:?}");
                    leases.push(lease);
                }
                Err(outage) => {
                    let paced = outage.only(Reason::Storm);
                    assert!(paced || outage.len() == stage.pool.keys().len(), "a key was free: {outage}");
                    assert!(outage.soonest.is_none_or(|at| at > stage.now), "{outage}");
                }
            },
            Step::Fail(n, verdict) => pick(*n).into_iter().for_each(|lease| stage.fail(lease, *verdict)),
            Step::Succeed(n) => pick(*n).into_iter().for_each(|lease| stage.succeed(lease)),
            Step::Leave(n) => drop(pick(*n)),
            Step::Later(seconds) => stage.later(*seconds),
            Step::Probe(alive) => {
                for key in stage.pool.due_probes(stage.now) {
                    stage.pool.probed(&key, if *alive { Probe::Alive } else { Probe::Dead }, stage.now);
                }
            }
        }
        let under_way: u32 = stage.pool.keys().iter().map(|key| key.in_flight()).sum();
        assert_eq!(under_way as usize, leases.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_happens_a_free_key_is_found_and_a_resting_one_is_not(steps in steps(), rpm in prop::option::of(1..4_u64)) {
        let mut stage = Stage::with(&["p", "p", "q"], Ceilings { rpm, ..Ceilings::default() });
        play(&mut stage, &steps);
        // No rest is for ever: two days on, every key that is not dead serves again.
        stage.later(2 * 86_400);
        let alive = stage.pool.keys().iter().filter(|key| !stage.pool.is_dead(key)).count();
        for model in MODELS {
            prop_assert_eq!(stage.choose(model).is_ok(), alive > 0);
        }
    }

    #[test]
    fn a_restart_changes_nothing_that_lasts(steps in steps()) {
        let mut stage = Stage::of(&["p", "p", "q"]);
        play(&mut stage, &steps);
        let before = stage.pool.memory(stage.now);
        let text = serde_json::to_string(&before).unwrap();
        let read: Memory = serde_json::from_str(&text).unwrap();
        let wall = stage.wall();
        let mut next = Stage::of(&["p", "p", "q"]);
        next.started = Clocks { now: next.now, wall };
        next.pool.recall(&read, next.started);
        for key in stage.pool.keys().iter() {
            let (old, new) = (stage.key(key.index as usize), next.key(key.index as usize));
            prop_assert_eq!(stage.pool.is_dead(key), next.pool.is_dead(&next.pool.keys()[key.index]));
            let lasting = |view: &KeyView| view.cooling.iter().filter(|c| !matches!(c.reason, "trial" | "budget")).map(|c| (Arc::clone(&c.model), c.reason)).collect::<Vec<_>>();
            prop_assert_eq!(lasting(&old), lasting(&new));
            if matches!(old.state, "off" | "dead") {
                prop_assert_eq!((old.state, old.reason), (new.state, new.reason));
            }
        }
    }
}
