//! What the pool learns from refusals, told without a clock that runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::pool::ask::Avoid;
use crate::pool::key::{Ceilings, KeySpec};
use crate::pool::lease::Lease;
use crate::pool::memory::Clocks;
use crate::pool::reason::Reason;
use crate::pool::scene::Moment;
use crate::pool::view::KeyView;
use crate::pool::{Choice, KeyPool};
use crate::refusal::{Refusal, Violation};
use crate::secret::Secret;
use crate::verdict::Verdict;

const MODEL: &str = "gemini-a";
const MINUTE: Duration = Duration::from_millis(60_500);

/// A pool at eleven in the evening in Los Angeles, and a clock that goes only when it is told to.
struct Stage {
    pool: KeyPool,
    started: Clocks,
    now: Instant,
}

impl Stage {
    /// So many keys, each of a project of its own as far as anybody knows.
    fn of(keys: u32) -> Self {
        let now = Instant::now() + Duration::from_hours(1);
        Self::at(keys, Clocks { now, wall: "2026-11-22T07:00:00Z".parse().unwrap() })
    }

    fn at(keys: u32, started: Clocks) -> Self {
        let spec = |n: u32| KeySpec {
            id: n.to_string().into(),
            secret: Secret::new(format!("fake-key-{n:04}")),
            weight: 1,
            project: None,
            egress: 0,
            ceilings: Ceilings::default(),
            enabled: true,
        };
        let specs: Vec<KeySpec> = (1..=keys).map(spec).collect();
        Self { pool: KeyPool::new(&specs, started).unwrap(), started, now: started.now }
    }

    fn choose(&self, avoid: Avoid<'_>) -> Option<Lease> {
        match self.pool.select(self.pool.lane(MODEL, self.now), avoid, self.now) {
            Choice::Lease(lease) => Some(lease),
            Choice::Out(_) => None,
        }
    }

    fn take(&self) -> Option<Lease> {
        self.choose(Avoid::default())
    }

    /// How many requests go through at once, each served.
    fn serve(&self, most: usize) -> usize {
        (0..most).map_while(|_| self.take().map(|mut lease| lease.succeed(self.now))).count()
    }

    fn refuse(&self, mut lease: Lease, verdict: Verdict, quota: &str, value: u64) {
        let violation = Violation { quota_id: quota.into(), value: Some(value), ..Violation::default() };
        let refusal =
            Refusal { violations: vec![violation], retry_in: Some(Duration::from_secs(4)), ..Refusal::default() };
        lease.fail(verdict, &refusal, self.moment());
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, wall: self.started.wall_at(self.now), dice: 0.0 }
    }

    fn key(&self, place: usize) -> KeyView {
        self.pool.view(Clocks { now: self.now, wall: self.started.wall_at(self.now) }).keys.swap_remove(place)
    }
}

#[test]
fn a_project_without_searches_is_seen_and_outlasts_a_restart() {
    let (before, mut after) = (Stage::of(2), Stage::of(2));
    before.take().unwrap().fail(Verdict::Grounding, &Refusal::default(), before.moment());
    after.pool.recall(&before.pool.memory(before.now), after.started);
    assert!(after.pool.may_lack_grounding());
    assert_eq!(after.pool.grounding_spent(after.now).len(), 1);
    let seen =
        |stage: &Stage| [0, 1].map(|place| stage.key(place).cooling.first().map(|rest| (rest.reason, rest.until)));
    assert_eq!(seen(&before)[0].unwrap().0, "grounding");
    assert_eq!(seen(&after).map(|rest| rest.is_some()), [true, false]);
    after.now += Duration::from_mins(61);
    assert_eq!((seen(&after), after.pool.grounding_spent(after.now).len()), ([None, None], 0));
}

const RPM: &str = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
const RPD: &str = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";

#[test]
fn what_one_refusal_tells_is_kept_to_without_another() {
    let mut stage = Stage::of(1);
    stage.refuse(stage.take().unwrap(), Verdict::QuotaMinute, RPM, 10);
    let mut served = 0;
    for second in 0..180_u64 {
        stage.now += Duration::from_secs(1);
        if second % 3 == 0 {
            served += stage.serve(1);
        }
    }
    assert!((24..=31).contains(&served), "{served} of the 30 that three minutes allow");
    let view = stage.key(0);
    assert_eq!((view.learnt[0].limits.rpm, view.tier), (Some(10), Some("free")));
}

#[test]
fn a_refusal_of_the_day_before_costs_the_new_one_five_minutes() {
    // Two seconds before midnight in Los Angeles, for us; and a clock that is three seconds ahead of Google's.
    for (wall, took) in [("2026-11-21T07:59:58Z", 3), ("2026-11-21T08:00:00Z", 0)] {
        let mut stage = Stage::at(1, Clocks { now: Instant::now(), wall: wall.parse().unwrap() });
        let lease = stage.take().unwrap();
        stage.now += Duration::from_secs(took);
        stage.refuse(lease, Verdict::QuotaDay, RPD, 250);
        assert!(stage.take().is_none());
        stage.now += Duration::from_mins(5);
        let learnt = &stage.key(0).learnt[0];
        assert_eq!((learnt.limits.rpd, learnt.day_requests), (Some(250), u64::from(took == 0)), "{wall}");
        stage.refuse(stage.take().unwrap(), Verdict::QuotaDay, RPD, 250);
        stage.now += Duration::from_hours(20);
        assert!(stage.take().is_none(), "the new day is spent as well");
    }
}

#[test]
fn tokens_are_thought_of_before_and_known_after() {
    let mut stage = Stage::of(1);
    stage.refuse(
        stage.take().unwrap(),
        Verdict::QuotaMinute,
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
        1_000,
    );
    stage.now += MINUTE;
    let prompt = Avoid { bytes: 2_000, ..Avoid::default() };
    let mut first = stage.choose(prompt).unwrap();
    first.succeed(stage.now);
    let second = stage.choose(prompt).unwrap();
    assert!(stage.choose(prompt).is_none(), "two of about 500 tokens are what a minute takes");
    first.settle(20, stage.now);
    assert!(stage.choose(prompt).is_some(), "the first was smaller than thought");
    drop(second);
}

#[test]
fn the_end_of_a_known_day_costs_one_refusal() {
    let mut stage = Stage::of(1);
    stage.refuse(stage.take().unwrap(), Verdict::QuotaDay, RPD, 5);
    assert!(stage.take().is_none());
    stage.now += Duration::from_secs(3_600 + 3);
    assert_eq!(stage.serve(1), 1, "one tries after midnight");
    let leases: Vec<Lease> = (0..10).map_while(|_| stage.take()).collect();
    assert_eq!(leases.len(), 5, "those that are left of the five, and one that finds out whether that is all");
    for (n, mut lease) in leases.into_iter().enumerate() {
        if n < 4 { lease.succeed(stage.now) } else { stage.refuse(lease, Verdict::QuotaDay, RPD, 5) }
    }
    assert!(stage.take().is_none());
    assert_eq!(stage.key(0).outcomes["quota_day"], 2);
}

#[test]
fn a_restart_forgets_neither_limits_nor_what_was_used() {
    let mut stage = Stage::of(2);
    for lease in [stage.take().unwrap(), stage.take().unwrap()] {
        stage.refuse(lease, Verdict::QuotaMinute, RPM, 10);
    }
    stage.now += MINUTE * 2;
    assert!(stage.serve(15) >= 15);
    let memory = stage.pool.memory(stage.now);
    let memory = serde_json::from_slice(&serde_json::to_vec(&memory).unwrap()).unwrap();
    let clocks = Clocks { now: stage.now + Duration::from_secs(5), wall: stage.started.wall_at(stage.now) };
    let next = Stage::at(2, clocks);
    next.pool.recall(&memory, clocks);
    let served = next.serve(40);
    assert!(served <= 5, "{served} more than the minute has left");
    assert_eq!(next.key(0).learnt[0].limits.rpm, Some(10));
}

#[test]
fn keys_of_which_google_says_that_they_are_of_one_project_share_its_rests() {
    let stage = Stage::of(3);
    let told = Refusal { consumer: "projects/42".into(), ..Refusal::default() };
    let one = stage.take().unwrap();
    let two = stage.take().unwrap();
    let pair = [one.key().index, two.key().index];
    for mut lease in [one, two] {
        lease.fail(Verdict::Overloaded, &told, stage.moment());
    }
    let mut lease = stage.take().unwrap();
    while !pair.contains(&lease.key().index) {
        lease = stage.take().unwrap();
    }
    stage.refuse(lease, Verdict::QuotaDay, RPD, 5);
    let left = stage.take().unwrap();
    assert!(!pair.contains(&left.key().index), "the other key of the project rests with it");
    let homes = Arc::clone(stage.pool.homes());
    assert_eq!(homes.count(), 2);
    let again = Stage::at(3, stage.started);
    again.pool.recall(&stage.pool.memory(stage.now), stage.started);
    assert_eq!(again.pool.homes().count(), 2, "and after a restart");
}

#[test]
fn keys_that_are_refused_together_far_below_their_limits_are_reported() {
    let mut stage = Stage::of(3);
    for round in 0..5 {
        stage.now += MINUTE * 3;
        let leases: Vec<Lease> = (0..3).filter_map(|_| stage.take()).collect();
        for lease in leases {
            if lease.key().index < 2 || round == 0 {
                stage.refuse(lease, Verdict::QuotaMinute, RPM, 100);
            }
        }
    }
    assert_eq!(stage.key(0).probably_same_project_as, ["2".into()]);
    assert!(stage.key(2).probably_same_project_as.is_empty());
}

#[test]
fn after_an_overload_the_key_with_most_of_its_day_left_is_next() {
    let mut stage = Stage::of(3);
    let leases: Vec<Lease> = (0..3).map(|_| stage.take().unwrap()).collect();
    for lease in leases {
        let rpd = if lease.key().index == 1 { 1_000 } else { 10 };
        stage.refuse(lease, Verdict::QuotaDay, RPD, rpd);
    }
    stage.now += Duration::from_secs(3_605);
    stage.serve(9);
    let thrifty = Avoid { thrifty: true, ..Avoid::default() };
    for _ in 0..5 {
        assert_eq!(stage.choose(thrifty).map(|lease| lease.key().index), Some(1));
    }
    let tried = Avoid { thrifty: true, keys: &[1], ..Avoid::default() };
    assert_ne!(stage.choose(tried).map(|lease| lease.key().index), Some(1));
}

#[test]
fn a_day_that_was_raised_is_found_and_nobody_is_sent_home_before() {
    let mut stage = Stage::of(1);
    stage.refuse(stage.take().unwrap(), Verdict::QuotaDay, RPD, 5);
    stage.now += Duration::from_secs(3_600 + 3);
    assert_eq!(stage.serve(5), 5);
    let mut trial = stage.take().unwrap();
    assert!(stage.take().is_none(), "the day is over by our own count: one finds out");
    let lane = stage.pool.lane(MODEL, stage.now);
    let back = lane.lock().room(Avoid::default(), 1, 0, stage.now).unwrap();
    assert!(back <= stage.now + Duration::from_secs(2), "who asks meanwhile waits for that");
    trial.succeed(stage.now);
    let mut trials = 0;
    for _ in 0..40 {
        let mut leases: Vec<Lease> = (0..10).map_while(|_| stage.take()).collect();
        trials += usize::from(leases.len() < 10);
        leases.iter_mut().for_each(|lease| lease.succeed(stage.now));
    }
    assert!(trials <= 8, "{trials} times one had to find out");
    assert!(stage.key(0).learnt[0].limits.rpd > Some(200), "what was let pass is known to be");
}

#[test]
fn a_day_ends_by_the_clock_on_the_wall_whatever_the_machine_slept() {
    let mut stage = Stage::of(2);
    for lease in [stage.take().unwrap(), stage.take().unwrap()] {
        stage.refuse(lease, Verdict::QuotaDay, RPD, 5);
    }
    stage.now += Duration::from_mins(1);
    let slept = |hours| Clocks { now: stage.now, wall: stage.started.wall_at(stage.now) + Duration::from_mins(hours) };
    stage.pool.look_at_clocks(slept(30));
    assert!(stage.take().is_none(), "half an hour before midnight");
    let back = stage.pool.lane(MODEL, stage.now).lock().room(Avoid::default(), 1, 0, stage.now).unwrap();
    assert_eq!((back - stage.now).as_secs() / 60, 29);
    stage.pool.look_at_clocks(slept(60));
    assert_eq!(stage.serve(2), 2, "one tries each");
    assert_eq!(stage.key(0).learnt[0].day_requests, 1, "of another day");
}

#[test]
fn clocks_that_run_a_little_apart_change_nothing_until_it_adds_up() {
    let mut stage = Stage::of(1);
    stage.refuse(stage.take().unwrap(), Verdict::QuotaDay, RPD, 5);
    let look = |stage: &mut Stage, apart: i64| {
        stage.now += Duration::from_secs(1);
        let wall = stage.started.wall_at(stage.now) + SignedDuration::from_millis(apart);
        stage.pool.look_at_clocks(Clocks { now: stage.now, wall });
        stage.pool.memory(stage.now).lasting()
    };
    let remembered = look(&mut stage, 0);
    for apart in [3, -2, 400, 800, -900] {
        assert_eq!(look(&mut stage, apart), remembered, "{apart} ms");
    }
    assert_eq!(look(&mut stage, 1_200), remembered, "midnight is midnight, and comes sooner");
    let back = stage.pool.lane(MODEL, stage.now).lock().room(Avoid::default(), 1, 0, stage.now).unwrap();
    assert_eq!(back, stage.started.now + Duration::from_millis(3_600_000 - 1_200));
}

#[test]
fn no_quota_at_all_is_no_limit_to_keep_to_when_there_is_one() {
    let mut stage = Stage::of(1);
    stage.refuse(stage.take().unwrap(), Verdict::NotInTier, RPM, 0);
    assert!(stage.take().is_none());
    stage.now += Duration::from_hours(24) + Duration::from_secs(3);
    assert_eq!(stage.serve(1), 1, "one tries");
    assert_eq!(stage.serve(20), 20);
}

#[test]
fn an_exhausted_model_slows_no_other() {
    let stage = Stage::of(2);
    for lease in [stage.take().unwrap(), stage.take().unwrap()] {
        stage.refuse(lease, Verdict::QuotaMinute, RPM, 1);
    }
    assert!(stage.take().is_none());
    let other = stage.pool.lane("gemini-b", stage.now);
    for _ in 0..100 {
        let Choice::Lease(mut lease) = stage.pool.select(Arc::clone(&other), Avoid::default(), stage.now) else {
            panic!("the other model is free")
        };
        lease.succeed(stage.now);
    }
    let lane = stage.pool.lane(MODEL, stage.now);
    let out = lane.lock().outage(Avoid::default(), stage.now);
    assert!(out.reasons().all(|(reason, _)| reason == Reason::QuotaMinute));
    let back = lane.lock().room(Avoid::default(), 1, 0, stage.now).unwrap();
    assert!(back > stage.now && back <= stage.now + MINUTE * 2);
}
