//! What holds of a pool whose keys change while it runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::pool::ask::Avoid;
use crate::pool::key::{Ceilings, KeySpec};
use crate::pool::lease::Lease;
use crate::pool::memory::Clocks;
use crate::pool::scene::Moment;
use crate::pool::view::KeyView;
use crate::pool::{Choice, KeyPool};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::verdict::Verdict;

const MODEL: &str = "gemini-3.8-flash";

fn spec(n: u32, weight: u32) -> KeySpec {
    KeySpec {
        id: format!("k{n}").into(),
        secret: Secret::new(format!("fake-key-{n:04}")),
        weight,
        project: None,
        egress: 0,
        ceilings: Ceilings::default(),
        enabled: true,
    }
}

struct Stage {
    pool: KeyPool,
    clocks: Clocks,
}

impl Stage {
    fn of(specs: &[KeySpec]) -> Self {
        let clocks = Clocks { now: Instant::now(), wall: Timestamp::UNIX_EPOCH };
        Self { pool: KeyPool::new(specs, clocks).unwrap(), clocks }
    }

    fn later(&mut self, seconds: u64) {
        let step = Duration::from_secs(seconds);
        (self.clocks.now, self.clocks.wall) = (self.clocks.now + step, self.clocks.wall + step);
    }

    fn take_up(&self, specs: &[KeySpec]) {
        self.pool.take_up(specs, self.clocks.now).unwrap();
    }

    fn choose(&self) -> Option<Lease> {
        match self.pool.select(self.pool.lane(MODEL, self.clocks.now), Avoid::default(), self.clocks.now) {
            Choice::Lease(lease) => Some(lease),
            Choice::Out(_) => None,
        }
    }

    /// How often each key is chosen in so many turns.
    fn turns(&self, count: usize) -> HashMap<Arc<str>, usize> {
        let mut chosen = HashMap::new();
        for lease in (0..count).filter_map(|_| self.choose()) {
            *chosen.entry(Arc::clone(&lease.key().id)).or_default() += 1;
        }
        chosen
    }

    fn lease(&self, id: &str) -> Lease {
        (0..50).filter_map(|_| self.choose()).find(|lease| &*lease.key().id == id).unwrap()
    }

    fn fail(&self, id: &str, verdict: Verdict) {
        let mut lease = self.lease(id);
        let at = Moment { now: self.clocks.now, wall: self.clocks.wall, dice: 0.0 };
        lease.fail(verdict, &Refusal::default(), at);
    }

    fn view(&self, id: &str) -> Option<KeyView> {
        self.pool.view(self.clocks).keys.into_iter().find(|key| &*key.id == id)
    }
}

#[test]
fn a_changed_weight_counts_from_the_next_choice_on() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1)]);
    assert_eq!(stage.turns(10), [("k1".into(), 5), ("k2".into(), 5)].into());
    stage.take_up(&[spec(1, 3), spec(2, 1)]);
    assert_eq!(stage.turns(40), [("k1".into(), 30), ("k2".into(), 10)].into());
}

#[test]
fn a_key_that_stays_keeps_what_is_known_of_it() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1), spec(3, 1)]);
    stage.fail("k1", Verdict::KeyInvalid);
    stage.fail("k2", Verdict::QuotaDay);
    let held = stage.choose().unwrap();
    stage.take_up(&[spec(4, 1), spec(3, 2), spec(2, 1), spec(1, 5)]);
    let states = ["k1", "k2", "k3", "k4"].map(|id| stage.view(id).unwrap().state);
    assert_eq!(states, ["dead", "cooling", "usable", "usable"]);
    assert_eq!((stage.view("k3").unwrap().in_flight, stage.view("k1").unwrap().outcomes.len()), (1, 1));
    assert_eq!(stage.turns(30), [("k3".into(), 20), ("k4".into(), 10)].into());
    drop(held);
}

#[test]
fn a_key_that_is_gone_finishes_what_it_carries_and_is_chosen_no_more() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1)]);
    let mut held = stage.lease("k1");
    stage.take_up(&[spec(2, 1)]);
    assert!(stage.view("k1").is_none() && stage.pool.keys().len() == 1);
    assert_eq!(stage.turns(5), [("k2".into(), 5)].into());
    held.succeed(stage.clocks.now);
    assert_eq!(&*held.key().id, "k1");
    drop(held);
    stage.take_up(&[spec(1, 1), spec(2, 1)]);
    let back = stage.view("k1").unwrap();
    assert_eq!((back.state, back.in_flight, back.outcomes["success"]), ("usable", 0, 1));
}

#[test]
fn a_key_under_another_name_is_the_same_key() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1)]);
    stage.fail("k1", Verdict::QuotaDay);
    stage.fail("k2", Verdict::Banned);
    let named = |n: u32, id: &str| KeySpec { id: id.into(), ..spec(n, 1) };
    stage.take_up(&[named(1, "one"), named(2, "two")]);
    assert_eq!((stage.view("one").unwrap().state, stage.view("two").unwrap().state), ("cooling", "dead"));
    assert!(stage.choose().is_none() && stage.view("k1").is_none());
}

#[test]
fn a_key_keeps_what_is_held_against_it_when_its_former_name_comes_back() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1), spec(3, 1)]);
    let named = |n: u32, id: &str| KeySpec { id: id.into(), ..spec(n, 1) };
    stage.take_up(&[named(1, "one"), named(2, "two"), spec(3, 1)]);
    stage.fail("one", Verdict::Banned);
    stage.fail("two", Verdict::QuotaDay);
    stage.take_up(&[spec(1, 1), spec(2, 1), spec(3, 1)]);
    assert_eq!(["k1", "k2", "k3"].map(|id| stage.view(id).unwrap().state), ["dead", "cooling", "usable"]);
}

#[test]
fn what_a_key_began_under_another_name_goes_on_with_it() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1)]);
    let begun = stage.lease("k1").key().index;
    stage.take_up(&[KeySpec { id: "one".into(), ..spec(1, 1) }, spec(2, 1)]);
    let lane = || stage.pool.lane(MODEL, stage.clocks.now);
    let Choice::Lease(lease) = stage.pool.seize(lane(), begun, stage.clocks.now) else { panic!("no key") };
    assert_eq!(&*lease.key().id, "one");
    stage.take_up(&[spec(2, 1)]);
    assert!(matches!(stage.pool.seize(lane(), begun, stage.clocks.now), Choice::Out(_)));
}

#[test]
fn one_success_opens_a_key_that_got_its_name_while_it_rested() {
    let mut stage = Stage::of(&[spec(1, 1)]);
    stage.fail("k1", Verdict::KeyBlocked);
    stage.take_up(&[KeySpec { id: "one".into(), ..spec(1, 1) }]);
    stage.later(3_600);
    let mut trial = stage.choose().unwrap();
    assert!(stage.choose().is_none(), "one at a time");
    trial.succeed(stage.clocks.now);
    let (_one, _two) = (stage.choose().unwrap(), stage.choose().unwrap());
}

#[test]
fn one_success_opens_all_keys_of_a_project_whose_rest_another_one_met() {
    let mut stage = Stage::of(&[spec(1, 1)]);
    let shared = |n| KeySpec { project: Some("team".into()), ..spec(n, 1) };
    stage.take_up(&[shared(1), shared(2)]);
    stage.fail("k1", Verdict::Billing);
    stage.take_up(&[shared(2)]);
    stage.later(4_000);
    stage.choose().unwrap().succeed(stage.clocks.now);
    let (_one, _two) = (stage.choose().unwrap(), stage.choose().unwrap());
}

#[test]
fn a_trial_of_a_key_that_goes_to_another_project_is_over_for_the_first() {
    let shared = |n| KeySpec { project: Some("team".into()), ..spec(n, 1) };
    let mut stage = Stage::of(&[shared(1), shared(2)]);
    stage.fail("k1", Verdict::QuotaMinute);
    stage.later(70);
    let trial = stage.choose().unwrap();
    assert!(stage.choose().is_none());
    let mut specs = [shared(1), shared(2)];
    specs[trial.key().index as usize].project = Some("other".into());
    stage.take_up(&specs);
    drop(trial);
    assert_eq!(stage.turns(4).len(), 2, "both serve");
}

#[test]
fn a_full_key_that_a_list_leaves_out_at_this_moment_is_not_asked_for_ever() {
    let one = |n| KeySpec { ceilings: Ceilings { rpm: Some(1), ..Ceilings::default() }, ..spec(n, 1) };
    let stage = Stage::of(&[one(1), one(2)]);
    let _held = [stage.choose().unwrap(), stage.choose().unwrap()];
    // No lane has looked again yet.
    stage.pool.keys().show(vec![0]);
    assert!(stage.choose().is_none());
}

#[test]
fn a_way_out_closes_after_failures_in_a_row_and_not_before() {
    let way = |n| KeySpec { egress: u32::from(n == 7), ..spec(n, 1) };
    let mut stage = Stage::of(&(1..=7).map(way).collect::<Vec<_>>());
    let failing = ["k1", "k2", "k3", "k4", "k5"];
    for id in failing {
        stage.later(2);
        stage.fail(id, Verdict::Connect);
        stage.lease("k6").succeed(stage.clocks.now);
    }
    assert_eq!(stage.turns(14).len(), 7);
    for id in failing {
        stage.later(2);
        stage.fail(id, Verdict::Connect);
    }
    assert_eq!(stage.turns(7), [("k7".into(), 7)].into());
}

#[test]
fn a_way_out_stays_open_where_no_living_key_has_another_and_whatever_fails_at_once() {
    let way = |n, egress| KeySpec { egress, ..spec(n, 1) };
    let mut stage = Stage::of(&[way(1, 1), way(2, 1), way(3, 2)]);
    let burst: Vec<Lease> = (0..20).filter_map(|_| stage.choose()).filter(|lease| lease.key().egress() == 1).collect();
    stage.later(2);
    let at = Moment { now: stage.clocks.now, wall: stage.clocks.wall, dice: 0.0 };
    burst.into_iter().for_each(|mut lease| lease.fail(Verdict::Connect, &Refusal::default(), at));
    assert_eq!(stage.turns(6).len(), 3, "one blip is one failure");
    stage.fail("k3", Verdict::KeyInvalid);
    for _ in 0..10 {
        stage.later(2);
        stage.fail("k1", Verdict::Connect);
    }
    assert_eq!(stage.turns(6).len(), 2, "nothing else is left");
    stage.take_up(&[way(1, 1), way(2, 1), way(4, 2)]);
    stage.later(2);
    stage.fail("k1", Verdict::Connect);
    assert_eq!(stage.turns(6), [("k4".into(), 6)].into());
}

#[test]
fn ceilings_come_and_go() {
    let stage = Stage::of(&[spec(1, 1)]);
    let bounded = |rpm| KeySpec { ceilings: Ceilings { rpm, ..Ceilings::default() }, ..spec(1, 1) };
    stage.take_up(&[bounded(Some(2))]);
    assert_eq!(stage.turns(10).values().sum::<usize>(), 2);
    stage.take_up(&[bounded(Some(5))]);
    assert_eq!(stage.turns(10).values().sum::<usize>(), 3, "what was used before counts");
    stage.take_up(&[bounded(None)]);
    assert_eq!(stage.turns(10).values().sum::<usize>(), 10);
}

#[test]
fn a_ceiling_that_is_taken_away_is_gone_for_projects_that_turned_out_to_be_one() {
    let mut stage = Stage::of(&[]);
    let bounded = |rpm| KeySpec { ceilings: Ceilings { rpm, ..Ceilings::default() }, ..spec(2, 1) };
    stage.take_up(&[spec(1, 1), bounded(Some(2))]);
    let met = Refusal { consumer: "projects/123456".into(), ..Refusal::default() };
    let at = Moment { now: stage.clocks.now, wall: stage.clocks.wall, dice: 0.0 };
    ["k1", "k2"].map(|id| stage.lease(id)).into_iter().for_each(|mut lease| lease.fail(Verdict::Deadline, &met, at));
    stage.later(120);
    assert_eq!(stage.turns(10).values().sum::<usize>(), 2);
    stage.take_up(&[spec(1, 1), bounded(None)]);
    assert_eq!(stage.turns(10).values().sum::<usize>(), 10);
}

#[test]
fn keys_that_are_put_into_one_project_share_its_rests() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1)]);
    let shared = |n| KeySpec { project: Some("team".into()), ..spec(n, 1) };
    stage.take_up(&[shared(1), shared(2)]);
    stage.fail("k1", Verdict::QuotaDay);
    assert_eq!(stage.view("k2").unwrap().state, "cooling");
    stage.take_up(&[spec(1, 1), spec(2, 1)]);
    assert_eq!(stage.view("k2").unwrap().state, "usable");
}

#[test]
fn what_was_used_of_a_projects_day_outlasts_a_restart_without_its_first_key() {
    let shared = |n| KeySpec {
        project: Some("team".into()),
        ceilings: Ceilings { rpd: Some(5), ..Ceilings::default() },
        ..spec(n, 1)
    };
    let before = Stage::of(&[shared(1), shared(2), shared(3)]);
    assert_eq!(before.turns(3).values().sum::<usize>(), 3);
    let after = Stage::of(&[shared(2), shared(3)]);
    after.pool.recall(&before.pool.memory(before.clocks.now), after.clocks);
    assert_eq!(after.turns(5).values().sum::<usize>(), 2, "what two keys tell of one project counts once");
}

#[test]
fn what_is_kept_for_a_restart_is_told_while_keys_come() {
    let bounded = |n| KeySpec { ceilings: Ceilings { rpm: Some(5), ..Ceilings::default() }, ..spec(n, 1) };
    let mut specs: Vec<KeySpec> = (0..500).map(bounded).collect();
    let stage = Stage::of(&specs);
    stage.turns(500);
    std::thread::scope(|scope| {
        let saver = scope.spawn(|| (0..200).for_each(|_| drop(stage.pool.memory(stage.clocks.now))));
        while !saver.is_finished() && specs.len() < 2_000 {
            specs.push(bounded(u32::try_from(specs.len()).unwrap()));
            stage.take_up(&specs);
        }
        saver.join().expect("it was told each time");
    });
}

#[test]
fn a_project_that_gets_a_label_or_another_one_keeps_what_is_known_of_it() {
    let labelled = |n, label: &str| KeySpec { project: Some(label.into()), ..spec(n, 1) };
    let stage = Stage::of(&[spec(1, 1), spec(2, 1), spec(3, 1)]);
    stage.fail("k1", Verdict::QuotaDay);
    stage.fail("k2", Verdict::Billing);
    let seen = |id: &str| stage.view(id).map(|key| (key.state, key.reason));
    let rests = |first, second| {
        assert_eq!(["k1", "k2", "k3"].map(seen), [first, second, ("usable", None)].map(Some));
    };
    let (day, billing) = (("cooling", Some("quota_day")), ("off", Some("billing")));
    stage.take_up(&[labelled(1, "one"), labelled(2, "two"), spec(3, 1)]);
    rests(day, billing);
    stage.take_up(&[labelled(1, "two"), labelled(2, "one"), spec(3, 1)]);
    rests(day, billing);
    stage.take_up(&[spec(1, 1), spec(2, 1), spec(3, 1)]);
    rests(day, billing);
    stage.take_up(&[labelled(1, "all"), labelled(2, "all"), spec(3, 1)]);
    rests(billing, billing);
}

#[test]
fn what_was_used_of_a_minute_goes_with_the_key_that_gets_a_label() {
    let bounded = |project: Option<&str>| KeySpec {
        project: project.map(Into::into),
        ceilings: Ceilings { rpm: Some(3), ..Ceilings::default() },
        ..spec(1, 1)
    };
    let stage = Stage::of(&[bounded(None)]);
    stage.turns(2);
    stage.take_up(&[bounded(Some("team"))]);
    assert_eq!(stage.turns(5).values().sum::<usize>(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_of_a_key_that_comes() {
    let stage = Stage::of(&[KeySpec { enabled: false, ..spec(1, 1) }]);
    let lane = stage.pool.lane(MODEL, stage.clocks.now);
    let told = lane.changed_above().notified();
    assert!(stage.choose().is_none());
    stage.take_up(&[KeySpec { enabled: false, ..spec(1, 1) }, spec(2, 1)]);
    tokio::time::timeout(Duration::from_secs(1), told).await.expect("nobody was told");
    assert!(stage.choose().is_some());
}

#[test]
fn a_key_that_cannot_be_sent_changes_nothing() {
    let stage = Stage::of(&[spec(1, 1)]);
    let broken = KeySpec { secret: Secret::new("fake\nkey".into()), ..spec(2, 1) };
    assert!(stage.pool.take_up(&[broken, spec(3, 1)], stage.clocks.now).is_err());
    assert_eq!(stage.turns(3), [("k1".into(), 3)].into());
}

proptest! {
    #[test]
    fn whatever_changes_only_keys_that_take_part_are_chosen(
        lists in prop::collection::vec(prop::collection::btree_map(0_u32..8, (1_u32..20, any::<bool>()), 1..8), 1..12),
    ) {
        let stage = Stage::of(&[spec(0, 1)]);
        for list in lists {
            let of = |(n, (weight, enabled)): (&u32, &(u32, bool))| KeySpec { enabled: *enabled, ..spec(*n, *weight) };
            let specs: Vec<KeySpec> = list.iter().map(of).collect();
            stage.take_up(&specs);
            let total: u32 = specs.iter().filter(|spec| spec.enabled).map(|spec| spec.weight).sum();
            let turns = stage.turns(total as usize);
            for spec in &specs {
                let due = if spec.enabled { spec.weight as usize } else { 0 };
                let had = turns.get(&spec.id).copied().unwrap_or(0);
                // What was owed before the change may still be paid: a request at most.
                prop_assert!(had.abs_diff(due) <= 1, "{} was chosen {had} times, not {due}", spec.id);
            }
            prop_assert_eq!(turns.values().sum::<usize>(), total as usize);
        }
    }
}
