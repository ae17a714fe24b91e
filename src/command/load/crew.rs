//! Those who send: a task for each connection, who take the next request that is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep_until};

use crate::command::load::plan::{AT_ONCE_MAX, LATE_MAX, Pace, Plan};
use crate::command::load::shot::Range;
use crate::command::load::tally::{End, Tally};
use crate::command::load::target::{Target, is_loopback};
use crate::scrub::Scrubber;
use crate::tasks::Tasks;
use crate::upstream::Authorities;

/// Tallies that are kept apart, so that those who send do not wait for each other.
const TALLIES: usize = 8;
/// The clock of the runtime ticks in milliseconds and wakes late rather than early.
const TICK: Duration = Duration::from_millis(1);
/// The time that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Why no more is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// All requests were sent and are over, or the time is.
    Done,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) share: f64,
    pub(super) elapsed: Duration,
    pub(super) sent: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

/// Those who send, at work.
pub(super) struct Crew {
    work: Arc<Work>,
    tasks: Tasks,
}

struct Work {
    plan: Plan,
    range: Range,
    began: Instant,
    /// The number of the next request.
    next: AtomicU64,
    sent: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    tallies: [Mutex<Tally>; TALLIES],
}

impl Crew {
    /// Begins. To be called within a runtime.
    pub(super) fn hire(plan: Plan, target: Target) -> anyhow::Result<Self> {
        // No certificates are loaded for plain HTTP, and nothing of this machine is asked through a proxy.
        let trusted =
            if target.url().scheme() == "https" { Authorities::read(None) } else { Ok(Authorities::default()) };
        let trusted = trusted.map_err(anyhow::Error::msg)?;
        let client = reqwest::Client::builder()
            .http1_only()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(plan.timeout))
            .pool_max_idle_per_host(AT_ONCE_MAX as usize)
            .tls_certs_only(trusted.all().iter().cloned());
        let client = if is_loopback(target.url()) { client.no_proxy() } else { client };
        let client = client.build().map_err(reqwest::Error::without_url).context("the HTTP client")?;
        let scrubber = Scrubber::new(target.token())?;
        let work = Arc::new(Work {
            plan,
            range: Range { client, target, scrubber, timeout: plan.timeout },
            began: Instant::now(),
            next: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            tallies: std::array::from_fn(|_| Mutex::new(Tally::new())),
        });
        let crew = Self { work, tasks: Tasks::new() };
        for hand in 0..plan.hands() as usize {
            let (work, tasks) = (Arc::clone(&crew.work), crew.tasks.clone());
            crew.tasks.spawn(async move {
                // A request that is under way when it is told to stop is dropped with it.
                tokio::select! {
                    () = work.send(hand % TALLIES) => {}
                    () = tasks.stopping() => {}
                }
            })?;
        }
        Ok(crew)
    }

    /// Comes back when nothing is left to do.
    pub(super) async fn done(&self) {
        self.tasks.finished().await;
    }

    /// What is asked.
    pub(super) fn target(&self) -> &Target {
        &self.work.range.target
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let work = &self.work;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (elapsed, sent) = (work.began.elapsed(), read(&work.sent));
        let (succeeded, failed) = (read(&work.succeeded), read(&work.failed));
        Progress { share: work.plan.share(succeeded + failed, elapsed), elapsed, sent, succeeded, failed }
    }

    /// Ends what is left, and tells what was measured.
    pub(super) async fn dismiss(&self) -> (Progress, Tally) {
        self.tasks.stop();
        self.tasks.finished().await;
        let progress = self.progress();
        let mut sum = Tally::new();
        for tally in &self.work.tallies {
            sum.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        (progress, sum)
    }
}

impl Work {
    /// One hand's work: request after request, until none is due any more.
    async fn send(&self, tally: usize) {
        let (tally, ends) = (&self.tallies[tally], self.began + self.plan.duration);
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(due) = self.plan.due(n) else { return };
            let due = match self.plan.pace {
                Pace::Callers(_) => Instant::now(),
                Pace::Rate(_) => {
                    let due = self.began + due;
                    sleep_until(due - TICK).await;
                    due
                }
            };
            if Instant::now() >= ends {
                return;
            }
            // Too many wait before it: it will never be sent.
            if self.plan.due_by(self.began.elapsed()).is_some_and(|due| due > n + LATE_MAX) {
                continue;
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
            let shot = self.range.shoot(n, due, tally).await;
            let count = if shot.end == End::Ok { &self.succeeded } else { &self.failed };
            count.fetch_add(1, Ordering::Relaxed);
            tally.lock().unwrap_or_else(PoisonError::into_inner).record(shot);
        }
    }
}
