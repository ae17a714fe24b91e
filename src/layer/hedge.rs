//! Hedge: beside an attempt that is slower than most, a second one on another project's key; the first answer counts.
//!
//! Only where it costs nobody else anything: the call may be made twice, another project has room to spare, and the
//! budget of retries has a share left. The one that is not needed is dropped at once, which ends it at Google's; its key
//! is not to blame.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use http::Response;
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tower::layer::{Layer, layer_fn};
use tracing::debug;

use crate::affinity::Bound;
use crate::budget::Budget;
use crate::call::{Attempt, Call, Failure, Leased};
use crate::pool::KeyPool;
use crate::pool::first_bytes::FirstBytes;
use crate::pool::lease::SharedLane;
use crate::record::{Hedged, Record};
use crate::relay::Relay;
use crate::telemetry::Telemetry;

/// No answer is slow before this.
const PATIENCE_MIN: Duration = Duration::from_millis(50);

/// What the layer needs beside the service within. Made once, shared.
#[derive(Debug)]
pub struct Means {
    /// Whose keys have room.
    pub pool: Arc<KeyPool>,
    /// Shared with the retries.
    pub budget: Arc<Budget>,
    /// Counts hedges.
    pub telemetry: Arc<Telemetry>,
}

/// Makes a second attempt where the first one is slow.
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    inner: S,
    means: Arc<Means>,
}

/// Hedges with `means`.
pub fn layer<S>(means: Arc<Means>) -> impl Layer<S, Service = Hedge<S>> + Clone {
    layer_fn(move |inner| Hedge { inner, means: Arc::clone(&means) })
}

type Reply = Result<Response<Relay>, Failure>;

impl<S> Service<Attempt> for Hedge<S>
where
    S: Service<Attempt, Response = Response<Relay>, Error = Failure> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Failure;
    type Future = BoxFuture<'static, Reply>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        if !may_be_doubled(&attempt) {
            return Box::pin(self.inner.call(attempt));
        }
        Box::pin(serve(self.inner.clone(), Arc::clone(&self.means), attempt))
    }
}

/// Whether a second attempt beside this one can do no harm but its price, and may go to another project.
fn may_be_doubled(attempt: &Attempt) -> bool {
    let call = &attempt.call;
    let free = matches!(call.bound, Bound::Free) && attempt.only.is_none();
    // Calls that name no model have nothing in common, so that none of them is slow for its kind.
    free && call.payload.is_kept() && call.endpoint.replayable && !call.lane.is_empty()
}

async fn serve<S>(mut inner: S, means: Arc<Means>, attempt: Attempt) -> Reply
where
    S: Service<Attempt, Response = Response<Relay>, Error = Failure>,
{
    let lane = means.pool.lane(&attempt.call.lane, Instant::now());
    let times = lane.first_bytes(attempt.call.endpoint.action.streams());
    let slot = Slot::default();
    let mut first = pin!(inner.call(slot.lent_to(attempt.clone())));
    let Some(patience) = times.p95() else { return slot.timed(first.await, times) };
    let patience = patience.max(PATIENCE_MIN);
    // Who waits for a key is not served slowly: the time runs from when it has one.
    let slow = loop {
        let since = slot.leased().map_or_else(Instant::now, |leased| leased.at);
        match timeout_at(since + patience, &mut first).await {
            Ok(reply) => return slot.timed(reply, times),
            Err(_) => {
                if let Some(leased) = slot.leased().filter(|leased| leased.at.elapsed() >= patience) {
                    break leased;
                }
            }
        }
    };
    let Some(second) = means.second(&attempt, slow, &lane) else { return slot.timed(first.await, times) };
    let beside = Slot::default();
    let second = pin!(inner.call(beside.lent_to(second)));
    let race = Race { record: &attempt.call.record, times, first: &slot, second: &beside };
    let mut sent = Sent { telemetry: &means.telemetry, slot: &beside, outcome: Hedged::Lost };
    match select(first, second).await {
        Either::Left((Ok(reply), _)) => Ok(race.won_by(&slot, reply)),
        Either::Left((Err(failure), second)) => match second.await {
            Ok(reply) => {
                sent.outcome = Hedged::Won;
                Ok(race.won_by(&beside, reply))
            }
            Err(_) => {
                sent.outcome = Hedged::Failed;
                Err(race.lost(failure))
            }
        },
        Either::Right((Ok(reply), _)) => {
            sent.outcome = Hedged::Won;
            Ok(race.won_by(&beside, reply))
        }
        Either::Right((Err(other), first)) => {
            sent.outcome = Hedged::Failed;
            debug!(verdict = other.verdict.name(), "a hedge failed");
            match first.await {
                Ok(reply) => Ok(race.won_by(&slot, reply)),
                Err(failure) => Err(race.lost(failure)),
            }
        }
    }
}

impl Means {
    /// The attempt to make beside a slow one, where another project has room to spare and the budget allows it.
    fn second(&self, attempt: &Attempt, slow: &Leased, lane: &SharedLane) -> Option<Attempt> {
        let (tried, shunned) = ([&attempt.tried[..], &[slow.key.index]], [&attempt.shunned[..], &[slow.key.project]]);
        let (tried, shunned) = (tried.concat(), shunned.concat());
        let now = Instant::now();
        let project = self.pool.spare(lane, &tried, &shunned, dice(&attempt.call, now), now)?;
        let only = self.budget.withdraw().then_some(project)?;
        Some(Attempt { tried, shunned, only: Some(only), patient: false, ..attempt.clone() })
    }
}

/// A throw between 0 and 1.
fn dice(call: &Call, now: Instant) -> f64 {
    f64::from((now - call.arrived).subsec_nanos() % 1_009) / 1_009.0
}

/// Two attempts at one call.
struct Race<'r> {
    record: &'r Record,
    times: &'r FirstBytes,
    first: &'r Slot,
    second: &'r Slot,
}

impl Race<'_> {
    /// The answer of the one that has `winner`: the call's key is its key.
    fn won_by(&self, winner: &Slot, reply: Response<Relay>) -> Response<Relay> {
        let Some(leased) = winner.leased() else { return reply };
        self.record.served_by(&leased.key.id);
        self.times.note(leased.at.elapsed());
        if let (true, Some(slow)) = (std::ptr::eq(winner, self.second), self.first.leased()) {
            // Without it what is given up would be missing among the slow ones, and ever more would seem slow.
            self.times.note(slow.at.elapsed());
            self.record.add_wait(leased.at - slow.at);
        }
        reply
    }

    /// Both failed: the first one's failure, with the key of the second.
    fn lost(&self, failure: Failure) -> Failure {
        Failure { beside: self.second.leased().map(|leased| leased.key.index), ..failure }
    }
}

/// Where an attempt says which key it got.
#[derive(Default)]
struct Slot(Arc<OnceLock<Leased>>);

impl Slot {
    fn lent_to(&self, attempt: Attempt) -> Attempt {
        Attempt { leased: Some(Arc::clone(&self.0)), ..attempt }
    }

    fn leased(&self) -> Option<&Leased> {
        self.0.get()
    }

    /// Notes how long an answer took.
    fn timed(&self, reply: Reply, times: &FirstBytes) -> Reply {
        if let (Some(leased), true) = (self.leased(), reply.as_ref().is_ok_and(|reply| reply.status().is_success())) {
            times.note(leased.at.elapsed());
        }
        reply
    }
}

/// A hedge under way: counted when it is over, whatever ends it. One that got no key was none.
struct Sent<'s> {
    telemetry: &'s Telemetry,
    slot: &'s Slot,
    outcome: Hedged,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if self.slot.leased().is_some() {
            self.telemetry.hedged(self.outcome);
        }
    }
}
