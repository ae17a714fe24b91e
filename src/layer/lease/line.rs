//! The line of those who wait for a key: fair among clients, bounded in length and time. Who cannot be served in time is
//! told so at once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep_until};

use crate::affinity::Bound;
use crate::affinity::prefixes::Prefixes;
use crate::call::{Attempt, Call, Failure};
use crate::endpoint::Action;
use crate::error::Error;
use crate::layer::lease::homing;
use crate::layer::lease::limits::Limits;
use crate::pool::ask::{Avoid, Only};
use crate::pool::key::Key;
use crate::pool::lease::{Lease, SharedLane};
use crate::pool::turns::Waiting;
use crate::pool::{Choice, KeyPool};

/// What Google's search tools are called in a request: the ones whose quota is a project's own.
const GROUNDING: [&[u8]; 2] = [b"\"google_search", b"\"googleSearch"];
/// No two looks for a key follow each other faster, whatever time a lane promises.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Those who wait for their turn look every so often whether they will still be in time. Together they look at most once
/// in [`LOOK_SPACING`], so that a long line costs no more than a short one.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_SPACING: Duration = Duration::from_millis(10);

/// One that comes to wait for a key.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Whose it is: clients take turns.
    pub client: &'a Arc<str>,
    /// When it came: a client's own go in this order.
    pub arrived: Instant,
    /// What may not serve it.
    pub avoid: Avoid<'a>,
    /// It is of no use to it to be served later.
    pub limit: Instant,
    /// How many may wait in one lane.
    pub queue_max: usize,
}

/// A lease for the attempt; without one, why not.
pub(super) async fn obtain(
    pool: &Arc<KeyPool>,
    prefixes: Option<&Prefixes>,
    attempt: &Attempt,
    limits: &Limits,
) -> Result<Lease, Box<Failure>> {
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
    let only = attempt.only.map(Only::Project).or_else(|| call.only());
    // Who comes while others wait goes to its place in the line, not around it.
    let bytes = call.payload.weight();
    let avoid = Avoid { keys: &attempt.tried, projects: &shunned, only, thrifty: attempt.thrifty, bytes };
    let first = lane.line(avoid).is_empty();
    if first && only.is_none() {
        if let Some(prefixes) = prefixes
            && let Some((lease, followed)) = homing::home(pool, prefixes, attempt, &lane, avoid, began)
        {
            prefixes.goes(&call.prefix, &lane.model, lease.key().project(), followed, began);
            return Ok(lease);
        }
        let preferred = preferred(pool, attempt, &lane, &shunned, began);
        if let Some(lease) = preferred.or_else(|| unspent(pool, attempt, &lane, &shunned, began)) {
            return Ok(lease);
        }
    }
    // Who may go to another model leaves what comes free here to those who wait.
    if !first && only.is_none() && !call.patient && attempt.tried.is_empty() {
        return Err(Failure::out(lane.lock().outage(avoid, began)));
    }
    let limit = call.deadline.min(began + limits.max_wait);
    // Who may go to one project alone takes nobody's turn by going there, and nobody's is held up by its wait; and who
    // would not wait anyway had a turn before.
    if first || only.is_some() || !attempt.patient {
        match pool.select(lane, avoid, began) {
            Choice::Lease(lease) => return Ok(lease),
            Choice::Out(outage) if !attempt.patient || outage.soonest.is_none_or(|at| at > limit) => {
                return Err(Failure::out(outage));
            }
            Choice::Out(_) => lane = pool.lane(&call.lane, began),
        }
    }
    let (client, arrived, queue_max) = (call.client.id(), call.arrived, limits.queue_max);
    // Rare, so that it has no room in every call's future.
    let waited = Box::pin(wait(pool, &lane, Arrival { client, arrived, avoid, limit, queue_max })).await;
    call.record.add_wait_for_key(began.elapsed());
    waited
}

/// A lease as soon as it is the arrival's turn and a key is free. It is refused as soon as it is known that this will not
/// be before its limit, with the time at which it would be; and with [`Error::LineFull`] where it has no place, or has
/// to give it up to a client with fewer requests in line.
///
/// Dropped, it leaves its place, and nobody's turn is lost.
pub async fn wait(pool: &KeyPool, lane: &Arc<SharedLane>, arrival: Arrival<'_>) -> Result<Lease, Box<Failure>> {
    if arrival.avoid.only.is_some() {
        let _bound = Beside::enter(lane, &arrival)?;
        return look(pool, lane, &arrival).await;
    }
    let turns = lane.line(arrival.avoid);
    let before = turns.before(arrival.client, arrival.arrived);
    in_time(lane, &arrival, before)?;
    let place = turns.enter(arrival.client, arrival.arrived, arrival.avoid.bytes, arrival.queue_max);
    let waiting = place.ok_or_else(|| full(lane, &arrival, before))?;
    queue(lane, &waiting, &arrival).await?;
    look(pool, lane, &arrival).await
}

/// Waits for the turn.
async fn queue(lane: &SharedLane, waiting: &Waiting<'_>, arrival: &Arrival<'_>) -> Result<(), Box<Failure>> {
    let mut seen = Instant::now();
    loop {
        let Some(before) = waiting.before() else {
            let before = lane.line(arrival.avoid).before(arrival.client, arrival.arrived);
            return Err(full(lane, arrival, before));
        };
        if before == 0 {
            return Ok(());
        }
        let pause = LOOK_EVERY.max(LOOK_SPACING * u32::try_from(lane.waits()).unwrap_or(u32::MAX));
        let again = arrival.limit.min(seen + pause);
        if Instant::now() >= again {
            in_time(lane, arrival, before)?;
            seen = Instant::now();
            continue;
        }
        tokio::select! {
            () = waiting.told().notified() => {}
            () = sleep_until(again) => {}
        }
    }
}

/// Takes the first key that is free, in the turn or beside the line.
async fn look(pool: &KeyPool, lane: &Arc<SharedLane>, arrival: &Arrival<'_>) -> Result<Lease, Box<Failure>> {
    loop {
        let (mut changed, mut above) = (pin!(lane.changed.notified()), pin!(lane.changed_above().notified()));
        // What changes while the lane is looked at must not be missed.
        changed.as_mut().enable();
        above.as_mut().enable();
        let now = Instant::now();
        let outage = match pool.select(Arc::clone(lane), arrival.avoid, now) {
            Choice::Lease(lease) => return Ok(lease),
            Choice::Out(outage) => outage,
        };
        let in_time = |at: &Instant| *at <= arrival.limit && now < arrival.limit;
        let Some(soonest) = outage.soonest.filter(in_time) else { return Err(Failure::out(outage)) };
        tokio::select! {
            () = sleep_until(soonest.max(now + PAUSE_MIN)) => {}
            () = changed => {}
            () = above => {}
        }
    }
}

/// Whether one with so many before it will be served by its limit; if not, why, and when it would be.
fn in_time(lane: &SharedLane, arrival: &Arrival<'_>, before: usize) -> Result<(), Box<Failure>> {
    let now = Instant::now();
    let room = room(lane, arrival, before, now);
    if now < arrival.limit && room.is_some_and(|at| at <= arrival.limit) {
        return Ok(());
    }
    let mut outage = lane.lock().outage(arrival.avoid, now);
    if outage.is_empty() && room.is_some() {
        // A key is free just now: it is for those before.
        return Err(full(lane, arrival, before));
    }
    outage.soonest = outage.soonest.max(room);
    Err(Failure::out(outage))
}

fn room(lane: &SharedLane, arrival: &Arrival<'_>, before: usize, now: Instant) -> Option<Instant> {
    let each = lane.line(arrival.avoid).bytes_each();
    lane.lock().room(arrival.avoid, before + 1, each, now)
}

/// No place for one with so many before it.
fn full(lane: &SharedLane, arrival: &Arrival<'_>, before: usize) -> Box<Failure> {
    let now = Instant::now();
    let room = room(lane, arrival, before, now).unwrap_or(now);
    let retry_after = room.saturating_duration_since(now).max(Duration::from_secs(1));
    Failure::refused(Error::LineFull { waiting: lane.waits(), retry_after })
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
    let untried = |key: &Arc<Key>| key.project() == project && !attempt.tried.contains(&key.index);
    // A conversation may name what its client made, or may not: not all of them may go where that is.
    let turn = attempt.call.endpoint.action == Action::Interaction;
    if turn && !lane.lock().budgets().of(project).is_none_or(|windows| windows.is_quiet(now)) {
        return None;
    }
    if !pool.keys().iter().any(untried) || !pool.is_fresh(project, now) {
        return None;
    }
    let bytes = attempt.call.payload.weight();
    let only = Some(Only::Project(project));
    let avoid = Avoid { keys: &attempt.tried, projects: shunned, only, bytes, ..Avoid::default() };
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
    let tried = attempt.tried.iter().map(|index| pool.keys()[*index].project());
    let projects: Vec<u32> = shunned.iter().chain(&spent).copied().chain(tried).collect();
    match pool.select(Arc::clone(lane), Avoid { projects: &projects, ..Avoid::default() }, now) {
        Choice::Lease(lease) => Some(lease),
        Choice::Out(_) => None,
    }
}

/// One of those who wait for one project alone; leaves them when dropped.
struct Beside<'l>(&'l AtomicUsize);

impl<'l> Beside<'l> {
    fn enter(lane: &'l SharedLane, arrival: &Arrival<'_>) -> Result<Self, Box<Failure>> {
        let waiting = lane.bound.fetch_add(1, Relaxed);
        let entered = Self(&lane.bound);
        if waiting < arrival.queue_max { Ok(entered) } else { Err(full(lane, arrival, 0)) }
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
