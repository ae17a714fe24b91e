//! The way to a key, as the gateway's own `layer::lease::line` goes it for a call that may go to any: the first who comes
//! looks for one, all others wait in the real line.

use std::sync::Arc;
use std::time::Duration;

use geminate::layer::lease::line::{Arrival, wait};
use geminate::pool::ask::Avoid;
use geminate::pool::lease::Lease;
use geminate::pool::{Choice, KeyPool};
use tokio::time::Instant;

use crate::sim::Denied;

/// What a request brings to the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) client: &'a Arc<str>,
    pub(crate) model: &'a str,
    pub(crate) avoid: Avoid<'a>,
    pub(crate) patient: bool,
    pub(crate) arrived: Instant,
    pub(crate) limit: Instant,
    pub(crate) queue_max: usize,
}

/// A lease, at once or after a wait; without one, what the client is told.
pub(crate) async fn obtain(pool: &KeyPool, place: &Place<'_>) -> Result<Lease, Denied> {
    let began = Instant::now();
    let Place { client, avoid, arrived, limit, queue_max, .. } = *place;
    let mut lane = pool.lane(place.model, began);
    if lane.turns.is_empty() || !place.patient {
        match pool.select(lane, avoid, began) {
            Choice::Lease(lease) => return Ok(lease),
            Choice::Out(outage) if !place.patient || outage.soonest.is_none_or(|at| at > limit) => {
                let retry_after = outage.soonest.map(|at| at.saturating_duration_since(began));
                return Err(Denied { retry_after, before: 0, refused: true });
            }
            Choice::Out(_) => lane = pool.lane(place.model, began),
        }
    }
    let failure = match wait(pool, &lane, Arrival { client, arrived, avoid, limit, queue_max }).await {
        Ok(lease) => return Ok(lease),
        Err(failure) => failure,
    };
    let now = Instant::now();
    let soonest = failure.outage.and_then(|outage| outage.soonest).map(|at| at.saturating_duration_since(now));
    let told: Option<Duration> = failure.error.and_then(|error| error.retry_after());
    // It has left the line by now: those whose turn would come before its own.
    let before = lane.turns.before(client, arrived) as u64;
    Err(Denied { retry_after: soonest.or(told), before, refused: true })
}
