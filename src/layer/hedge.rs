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
use crate::record::Hedged;
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

type Reply = Result<Response<Relay>, Box<Failure>>;

impl<S> Service<Attempt> for Hedge<S>
where
    S: Service<Attempt, Response = Response<Relay>, Error = Box<Failure>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Box<Failure>;
    type Future = BoxFuture<'static, Reply>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Box<Failure>>> {
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
    S: Service<Attempt, Response = Response<Relay>, Error = Box<Failure>>,
{
    let lane = means.pool.lane(&attempt.call.lane, Instant::now());
    let times = &lane.first_bytes[usize::from(attempt.call.endpoint.action.streams())];
    let of_first = Slot::default();
    let mut first = pin!(inner.call(of_first.lent_to(attempt.clone())));
    let Some(patience) = times.p95() else { return of_first.timed(first.await, times) };
    let patience = patience.max(PATIENCE_MIN);
    // Who waits for a key is not served slowly: the time runs from when it has one.
    let slow = loop {
        let since = of_first.leased().map_or_else(Instant::now, |leased| leased.at);
        match timeout_at(since + patience, &mut first).await {
            Ok(reply) => return of_first.timed(reply, times),
            Err(_) => {
                if let Some(leased) = of_first.leased().filter(|leased| leased.at.elapsed() >= patience) {
                    break leased;
                }
            }
        }
    };
    let Some(second) = means.second(&attempt, slow, &lane) else { return of_first.timed(first.await, times) };
    let of_second = Slot::default();
    let second = pin!(inner.call(of_second.lent_to(second)));
    let mut sent = Sent { telemetry: &means.telemetry, slot: &of_second, outcome: Hedged::Lost };
    // The answer, and whether it is the second one's.
    let served = match select(first, second).await {
        Either::Left((Ok(reply), _)) => Ok((reply, false)),
        Either::Left((Err(failure), second)) => second.await.map(|reply| (reply, true)).map_err(|_| failure),
        Either::Right((Ok(reply), _)) => {
            // Without it what is given up would be missing among the slow ones, and ever more would seem slow.
            times.note(slow.at.elapsed());
            Ok((reply, true))
        }
        Either::Right((Err(failure), first)) => {
            debug!(verdict = failure.verdict.name(), "a hedge failed");
            sent.outcome = Hedged::Failed;
            first.await.map(|reply| (reply, false))
        }
    };
    let Some(second) = of_second.leased() else { return of_first.timed(served.map(|(reply, _)| reply), times) };
    match served {
        Ok((reply, won)) => {
            let winner = if won { second } else { slow };
            attempt.call.record.served_by(&winner.key.id, Instant::now());
            if won {
                sent.outcome = Hedged::Won;
            }
            if reply.status().is_success() {
                times.note(winner.at.elapsed());
            }
            Ok(reply)
        }
        Err(mut failure) => {
            sent.outcome = Hedged::Failed;
            failure.beside = Some(second.key.index);
            Err(failure)
        }
    }
}

impl Means {
    /// The attempt to make beside a slow one, where another project has room to spare and the budget allows it.
    fn second(&self, attempt: &Attempt, slow: &Leased, lane: &SharedLane) -> Option<Attempt> {
        let (tried, shunned) = ([&attempt.tried[..], &[slow.key.index]], [&attempt.shunned[..], &[slow.key.project()]]);
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
