//! The line of those who wait for a key: first come, first served, bounded in length and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::affinity::Bound;
use crate::call::{Attempt, Call, Failure};
use crate::error::Error;
use crate::layer::lease::limits::Limits;
use crate::pool::key::Key;
use crate::pool::lane::{Avoid, Only};
use crate::pool::lease::{Lease, SharedLane};
use crate::pool::{Choice, KeyPool};

/// What Google's search tools are called in a request: the ones whose quota is a project's own.
const GROUNDING: [&[u8]; 2] = [b"\"google_search", b"\"googleSearch"];

/// A lease for the attempt; without one, why not.
pub(super) async fn obtain(pool: &Arc<KeyPool>, attempt: &Attempt, limits: &Limits) -> Result<Lease, Failure> {
    let call = &attempt.call;
    let began = Instant::now();
    let mut lane = pool.lane(&call.lane, began);
    if let Bound::Key(index, _) = call.bound {
        return match pool.seize(lane, index, began) {
            Choice::Lease(lease) => Ok(lease),
            Choice::Out(outage) => Err(Failure::out(outage)),
        };
    }
    let shunned = shunned(pool, attempt, began);
    let only = attempt.only.map(Only::Project).or_else(|| only(&call.bound));
    if only.is_none() {
        let preferred = preferred(pool, attempt, &lane, &shunned, began);
        if let Some(lease) = preferred.or_else(|| unspent(pool, attempt, &lane, &shunned, began)) {
            return Ok(lease);
        }
    }
    let avoid = Avoid { keys: &attempt.tried, projects: &shunned, only };
    let limit = call.deadline.min(began + limits.max_wait);
    // Who may go to one project alone takes nobody's turn by going there, and nobody's is held up by its wait.
    if lane.waiting.load(Relaxed) == 0 || avoid.only.is_some() {
        match pool.select(lane, avoid, began) {
            Choice::Lease(lease) => return Ok(lease),
            // Whoever cannot be served in time is told at once, not after a wait.
            Choice::Out(outage) if !attempt.patient || outage.soonest.is_none_or(|at| at > limit) => {
                return Err(Failure::out(outage));
            }
            Choice::Out(_) => lane = pool.lane(&call.lane, began),
        }
    }
    if !attempt.patient {
        return Err(Failure::out(lane.lock().outage(avoid, began)));
    }
    let waited = wait(pool, &lane, avoid, limit, limits.queue_max).await;
    call.record.add_wait(began.elapsed());
    waited
}

async fn wait(
    pool: &Arc<KeyPool>,
    lane: &Arc<SharedLane>,
    avoid: Avoid<'_>,
    limit: Instant,
    queue_max: usize,
) -> Result<Lease, Failure> {
    let _waiting = Waiting::enter(lane, queue_max, avoid)?;
    let _turn = match avoid.only {
        Some(_) => None,
        None => match timeout_at(limit, lane.turn.lock()).await {
            Ok(turn) => Some(turn),
            Err(_) => return Err(Failure::out(lane.lock().outage(avoid, Instant::now()))),
        },
    };
    loop {
        let changed = lane.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let outage = match pool.select(Arc::clone(lane), avoid, Instant::now()) {
            Choice::Lease(lease) => return Ok(lease),
            Choice::Out(outage) => outage,
        };
        let Some(soonest) = outage.soonest.filter(|at| *at <= limit) else { return Err(Failure::out(outage)) };
        tokio::select! {
            () = sleep_until(soonest) => {}
            () = changed => {}
        }
        if Instant::now() >= limit {
            return Err(Failure::out(outage));
        }
    }
}

/// The projects that must not serve this attempt.
fn shunned(pool: &KeyPool, attempt: &Attempt, now: Instant) -> Vec<u32> {
    let mut shunned = attempt.shunned.clone();
    if pool.may_lack_grounding() && grounded(&attempt.call) {
        shunned.extend(pool.grounding_spent(now));
    }
    shunned
}

fn grounded(call: &Call) -> bool {
    GROUNDING.iter().any(|name| memchr::memmem::find(call.payload.bytes(), name).is_some())
}

/// A key of the project that the call prefers, while one that was not tried can be had at once.
fn preferred(
    pool: &KeyPool,
    attempt: &Attempt,
    lane: &Arc<SharedLane>,
    shunned: &[u32],
    now: Instant,
) -> Option<Lease> {
    let Bound::Prefers(project) = attempt.call.bound else { return None };
    let untried = |key: &Arc<Key>| key.project == project && !attempt.tried.contains(&key.index);
    if !pool.keys().iter().any(untried) || !pool.is_fresh(project, now) {
        return None;
    }
    let avoid = Avoid { keys: &attempt.tried, projects: shunned, only: Some(Only::Project(project)) };
    match pool.select(Arc::clone(lane), avoid, now) {
        Choice::Lease(lease) => Some(lease),
        Choice::Out(_) => None,
    }
}

/// For a call that makes what later prompts will name: a key of a project that was not tried and has no model's day spent,
/// while one can be had at once. Google counts no day for such a call itself.
fn unspent(pool: &KeyPool, attempt: &Attempt, lane: &Arc<SharedLane>, shunned: &[u32], now: Instant) -> Option<Lease> {
    let call = &attempt.call;
    let makes = call.method == Method::POST && call.lane.is_empty() && call.endpoint.names_resources();
    if !makes {
        return None;
    }
    let spent = pool.spent(now);
    if spent.is_empty() {
        return None;
    }
    // A lease that is taken and not used would count as an attempt: what was tried is ruled out beforehand.
    let tried = attempt.tried.iter().map(|index| pool.keys()[*index as usize].project);
    let projects: Vec<u32> = shunned.iter().chain(&spent).copied().chain(tried).collect();
    match pool.select(Arc::clone(lane), Avoid { projects: &projects, ..Avoid::default() }, now) {
        Choice::Lease(lease) => Some(lease),
        Choice::Out(_) => None,
    }
}

/// The owner of what the call names.
fn only(bound: &Bound) -> Option<Only> {
    match bound {
        Bound::Free | Bound::Prefers(_) | Bound::Unknown(_) => None,
        Bound::Project(project, _) | Bound::Part(project) => Some(Only::Project(*project)),
        Bound::Key(index, _) => Some(Only::Key(*index)),
    }
}

/// One of those who wait; leaves them when dropped.
struct Waiting<'l>(&'l AtomicUsize);

impl<'l> Waiting<'l> {
    fn enter(lane: &'l SharedLane, queue_max: usize, avoid: Avoid<'_>) -> Result<Self, Failure> {
        let count = if avoid.only.is_some() { &lane.bound } else { &lane.waiting };
        let waiting = count.fetch_add(1, Relaxed);
        let entered = Self(count);
        if waiting < queue_max {
            return Ok(entered);
        }
        let now = Instant::now();
        let soonest = lane.lock().outage(avoid, now).soonest;
        let retry_after =
            soonest.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)).max(Duration::from_secs(1));
        Err(Failure::refused(Error::LineFull { waiting, retry_after }))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
