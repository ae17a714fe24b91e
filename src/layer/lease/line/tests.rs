//! The line, with keys that rest and a clock that goes only when everybody waits.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use crate::call::Failure;
use crate::error::Error;
use crate::layer::lease::line::{Arrival, wait};
use crate::pool::ask::{Avoid, Only};
use crate::pool::key::{Ceilings, KeySpec};
use crate::pool::lease::{Lease, SharedLane};
use crate::pool::memory::Clocks;
use crate::pool::reason::Reason;
use crate::pool::roster::Rest;
use crate::pool::scene::Moment;
use crate::pool::{Choice, KeyPool, Probe};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::verdict::Verdict;

const MODEL: &str = "gemini-a";
const OTHER: &str = "gemini-b";

struct Stage {
    pool: KeyPool,
    lane: Arc<SharedLane>,
    start: Instant,
    queue_max: usize,
}

impl Stage {
    /// So many keys, each of a project of its own.
    fn of(keys: u32) -> Self {
        Self::with(keys, Ceilings::default())
    }

    fn with(keys: u32, ceilings: Ceilings) -> Self {
        let start = Instant::now();
        let clocks = Clocks { now: start, wall: wall() };
        let spec = |n: u32| KeySpec {
            id: n.to_string().into(),
            secret: Secret::new(format!("fake-key-{n:04}")),
            weight: 1,
            project: None,
            egress: 0,
            ceilings,
            enabled: true,
        };
        let pool = KeyPool::new(&(0..keys).map(spec).collect::<Vec<_>>(), clocks).unwrap();
        let lane = pool.lane(MODEL, start);
        Self { pool, lane, start, queue_max: 100 }
    }

    /// A key of the model, and no other.
    fn take(&self, model: &str, index: u32) -> Lease {
        let avoid = Avoid { only: Some(Only::Key(index)), ..Avoid::default() };
        match self.pool.select(self.pool.lane(model, Instant::now()), avoid, Instant::now()) {
            Choice::Lease(lease) => lease,
            Choice::Out(outage) => panic!("no key: {outage}"),
        }
    }

    /// The key rests for the model: for so many seconds as are told, and one more.
    fn rests(&self, index: u32, seconds: u64) {
        let refusal = Refusal { retry_in: Some(Duration::from_secs(seconds - 1)), ..Refusal::default() };
        fail(self.take(MODEL, index), Verdict::QuotaMinute, &refusal);
    }

    async fn wait(&self, client: &str, limit: u64) -> Result<Lease, Box<Failure>> {
        self.wait_with(client, limit, Avoid::default()).await
    }

    async fn wait_with(&self, client: &str, limit: u64, avoid: Avoid<'_>) -> Result<Lease, Box<Failure>> {
        let (client, arrived) = (Arc::from(client), Instant::now());
        let limit = self.start + Duration::from_secs(limit);
        wait(&self.pool, &self.lane, Arrival { client: &client, arrived, avoid, limit, queue_max: self.queue_max })
            .await
    }

    fn now_s(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

fn wall() -> Timestamp {
    "2026-11-21T11:00:00Z".parse().unwrap()
}

fn fail(mut lease: Lease, verdict: Verdict, refusal: &Refusal) {
    lease.fail(verdict, refusal, Moment { now: Instant::now(), wall: wall(), dice: 0.0 });
}

/// In how many seconds from now a refusal says that the request could be served.
fn told(refused: Result<Lease, Box<Failure>>) -> Option<u64> {
    let outage = refused.expect_err("a key").outage.expect("which keys are out");
    outage.soonest.map(|at| at.saturating_duration_since(Instant::now()).as_secs())
}

fn is_full(refused: &Result<Lease, Box<Failure>>) -> bool {
    matches!(refused, Err(failure) if matches!(failure.error, Some(Error::LineFull { .. })))
}

/// Whoever runs beside it comes later, in the order of these.
async fn after<F: Future>(milliseconds: u64, future: F) -> F::Output {
    sleep(Duration::from_millis(milliseconds)).await;
    future.await
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_when_the_key_returns() {
    let stage = Stage::of(1);
    stage.rests(0, 10);
    assert!(stage.wait("alice", 10).await.is_ok(), "the last moment is in time");
    assert_eq!(stage.now_s(), 10);
    assert_eq!(stage.lane.waits(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_is_told_at_once_when() {
    let stage = Stage::of(2);
    stage.rests(0, 10);
    stage.rests(1, 30);
    assert_eq!(told(stage.wait("alice", 9).await), Some(10));
    let avoid = Avoid { projects: &[0], ..Avoid::default() };
    assert_eq!(told(stage.wait_with("alice", 20, avoid).await), Some(30));
    let avoid = Avoid { only: Some(Only::Project(1)), ..Avoid::default() };
    assert_eq!(told(stage.wait_with("alice", 20, avoid).await), Some(30));
    assert_eq!((stage.now_s(), stage.lane.waits()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn clients_take_turns_one_request_each() {
    let stage = Stage::of(1);
    stage.rests(0, 10);
    let order = RefCell::new(Vec::new());
    let ask = async |client: &'static str| {
        // Dropped without a verdict: the key stays on trial, so that one at a time is served.
        drop(stage.wait(client, 20).await.unwrap());
        order.borrow_mut().push(client);
    };
    let greedy = join_all((0..5).map(|n| after(n, ask("greedy"))));
    let quiet = join(after(10, ask("quiet")), after(11, ask("quiet")));
    join(greedy, quiet).await;
    assert_eq!(order.into_inner(), ["greedy", "quiet", "greedy", "quiet", "greedy", "greedy", "greedy"]);
    assert_eq!(stage.now_s(), 10);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_next_one_is_served() {
    for leaving in 0..3 {
        let stage = Stage::of(1);
        stage.rests(0, 10);
        let ask = async |n: u64| {
            let patience = if n == leaving { 5 } else { 60 };
            let served = timeout(Duration::from_secs(patience), after(n, stage.wait("alice", 60))).await;
            served.map(|lease| drop(lease.unwrap())).is_ok()
        };
        let served = join_all((0..3).map(ask)).await;
        assert_eq!(served, [0, 1, 2].map(|n| n != leaving));
        assert_eq!((stage.now_s(), stage.lane.waits()), (10, 0), "{leaving} left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revived_serves_at_once() {
    let stage = Stage::of(2);
    fail(stage.take(OTHER, 1), Verdict::KeyInvalid, &Refusal::default());
    stage.rests(0, 10);
    let waiting = async {
        let lease = stage.wait("alice", 20).await.unwrap();
        assert_eq!((&*lease.key().id, stage.now_s()), ("1", 3));
    };
    join(waiting, after(3_000, async { stage.pool.probed(&stage.pool.keys()[1], Probe::Alive, Instant::now()) })).await;
}

#[tokio::test(start_paused = true)]
async fn when_every_key_dies_all_who_wait_are_told_at_once() {
    let stage = Stage::of(1);
    stage.rests(0, 10);
    let all = join_all((0..5).map(|n| stage.wait(if n % 2 == 0 { "alice" } else { "bob" }, 20)));
    let bound = stage.wait_with("carol", 20, Avoid { only: Some(Only::Key(0)), ..Avoid::default() });
    let death = after(2_000, async { fail(stage.take(OTHER, 0), Verdict::KeyInvalid, &Refusal::default()) });
    let (refused, ()) = join(join(all, bound), death).await;
    assert_eq!(stage.now_s(), 2);
    for refused in refused.0.into_iter().chain([refused.1]) {
        let outage = refused.expect_err("a key").outage.unwrap();
        assert!(outage.only(Reason::Invalid) && outage.soonest.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_another_is_told_when_its_own_keys_are_gone_for_longer() {
    let stage = Stage::of(2);
    stage.rests(0, 15);
    stage.rests(1, 12);
    let first = stage.wait_with("alice", 20, Avoid { projects: &[1], ..Avoid::default() });
    let second = after(1, stage.wait_with("bob", 20, Avoid { projects: &[0], ..Avoid::default() }));
    let later = async {
        let rest = Rest { until: stage.start + Duration::from_mins(1), reason: Reason::QuotaMinute };
        stage.lane.change(|lane| lane.rest_project(1, rest, Instant::now()));
    };
    let second = async {
        assert_eq!(told(second.await), Some(56));
        assert_eq!(stage.now_s(), 3, "within a second");
    };
    let (first, _) = join(first, join(second, after(2_500, later))).await;
    assert!(first.is_ok() && stage.now_s() == 15);
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_in_vain_is_told_what_holds_then() {
    let stage = Stage::of(1);
    stage.rests(0, 10);
    sleep(Duration::from_secs(10)).await;
    let trial = stage.take(MODEL, 0);
    let refused = join(stage.wait("alice", 14), stage.wait("bob", 14)).await;
    for refused in [refused.0, refused.1] {
        let outage = refused.expect_err("a key").outage.unwrap();
        assert!(outage.only(Reason::Trial) && outage.soonest > Some(Instant::now()));
    }
    assert!((13..=14).contains(&stage.now_s()));
    drop(trial);
    assert!(stage.wait("alice", 20).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_go_everywhere_holds_up_nobody_who_may() {
    let stage = Stage::of(2);
    stage.rests(0, 10);
    stage.rests(1, 5);
    let picky = stage.wait_with("alice", 20, Avoid { projects: &[1], ..Avoid::default() });
    let free = after(1, stage.wait("alice", 8));
    let free = async { (free.await.is_ok(), stage.now_s()) };
    let (picky, free) = join(picky, free).await;
    assert_eq!((picky.is_ok(), stage.now_s(), free), (true, 10, (true, 5)));
}

/// One key with three requests a minute, which were used at 0, 10 and 20 s: room comes at 60.5, 70.5 and 80.5 s.
async fn spent() -> Stage {
    let stage = Stage::with(1, Ceilings { rpm: Some(3), ..Ceilings::default() });
    for second in [0, 10, 20] {
        sleep(stage.start + Duration::from_secs(second) - Instant::now()).await;
        stage.take(MODEL, 0).succeed(Instant::now());
    }
    stage
}

/// When it was served; or in how many seconds it is told that it could be, and when.
async fn end(stage: &Stage, served: impl Future<Output = Result<Lease, Box<Failure>>>) -> (Option<u64>, u64) {
    match served.await {
        Ok(mut lease) => {
            lease.succeed(Instant::now());
            (None, stage.now_s())
        }
        refused => (told(refused), stage.now_s()),
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_told_counts_those_who_wait_before() {
    let stage = spent().await;
    let first = end(&stage, stage.wait("alice", 100));
    let second = end(&stage, after(1, stage.wait("alice", 100)));
    let late = end(&stage, after(2, stage.wait("alice", 75)));
    let quiet = end(&stage, after(3, stage.wait("bob", 75)));
    let ((first, second), (late, quiet)) = join(join(first, second), join(late, quiet)).await;
    assert_eq!((first, quiet, second), ((None, 60), (None, 70), (None, 80)));
    assert_eq!(late, (Some(60), 20), "it would have been the third, at once told so");
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_by_anothers_turn_is_told_when_it_will_be_too_late() {
    let stage = spent().await;
    let greedy = join(end(&stage, stage.wait("alice", 75)), end(&stage, after(1, stage.wait("alice", 75))));
    let quiet = end(&stage, after(1_500, stage.wait("bob", 75)));
    let ((first, second), quiet) = join(greedy, quiet).await;
    assert_eq!((first, quiet), ((None, 60), (None, 70)));
    assert_eq!(second, (Some(58), 22), "within a second");
}

#[tokio::test(start_paused = true)]
async fn a_full_line_takes_a_quiet_client_in_the_greedy_ones_place() {
    let stage = Stage { queue_max: 2, ..Stage::of(1) };
    stage.rests(0, 10);
    let quiet = after(2, stage.wait("bob", 20)).map(|served| served.is_ok());
    let first = stage.wait("alice", 20).map(|served| served.is_ok());
    let greedy = (first, after(1, stage.wait("alice", 20)), after(3, stage.wait("alice", 20)));
    let second = async {
        let refused = greedy.1.await;
        (is_full(&refused), stage.start.elapsed() < Duration::from_millis(10))
    };
    let third = async {
        let refused = greedy.2.await;
        (is_full(&refused), stage.start.elapsed() < Duration::from_millis(10))
    };
    let (served, (second, third)) = join(join(greedy.0, quiet), join(second, third)).await;
    assert_eq!((second, third), ((true, true), (true, true)), "the newest, and who came when all had as many");
    assert_eq!(served, (true, true));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_waits_takes_no_time_of_its_own() {
    let stage = Stage { queue_max: 500, ..Stage::of(1) };
    stage.rests(0, 10);
    let mut all = Box::pin(join_all((0..500).map(|n| stage.wait(["alice", "bob", "carol"][n % 3], 20))));
    assert!(all.as_mut().now_or_never().is_none());
    assert_eq!((stage.lane.waits(), stage.lane.turns.clients()), (500, 3));
    drop(all);
    assert_eq!((stage.lane.waits(), stage.lane.turns.clients()), (0, 0));
}
