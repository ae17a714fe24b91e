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

    fn fail(&self, id: &str, verdict: Verdict) {
        let mut lease = (0..50).filter_map(|_| self.choose()).find(|lease| &*lease.key().id == id).unwrap();
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
    let mut held = (0..2).filter_map(|_| stage.choose()).find(|lease| &*lease.key().id == "k1").unwrap();
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
fn keys_that_are_put_into_one_project_share_its_rests() {
    let stage = Stage::of(&[spec(1, 1), spec(2, 1)]);
    let shared = |n| KeySpec { project: Some("team".into()), ..spec(n, 1) };
    stage.take_up(&[shared(1), shared(2)]);
    stage.fail("k1", Verdict::QuotaDay);
    assert_eq!(stage.view("k2").unwrap().state, "cooling");
    stage.take_up(&[spec(1, 1), spec(2, 1)]);
    assert_eq!(stage.view("k2").unwrap().state, "usable");
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
