//! Where requests wait for a key.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use geminate::pool::lane::Avoid;
use geminate::pool::lease::{Lease, SharedLane};
use geminate::pool::outage::Outage;
use geminate::pool::{Choice, KeyPool};
use tokio::time::{Instant, sleep_until, timeout_at};

/// What a request brings to the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) model: &'a str,
    pub(crate) avoid: Avoid<'a>,
    pub(crate) patient: bool,
    pub(crate) deadline: Instant,
    pub(crate) max_wait: Duration,
    pub(crate) queue_max: usize,
}

/// No lease: how many stand in line, why no key serves.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) waiting: usize,
    pub(crate) outage: Outage,
}

/// A lease, at once or after a wait in order of arrival.
pub(crate) async fn obtain(pool: &KeyPool, place: &Place<'_>) -> Result<Lease, Out> {
    let began = Instant::now();
    let mut lane = pool.lane(place.model, began);
    let limit = place.deadline.min(began + place.max_wait);
    if lane.waiting.load(Relaxed) == 0 {
        match pool.select(lane, place.avoid, began) {
            Choice::Lease(lease) => return Ok(lease),
            Choice::Out(outage) if !place.patient || outage.soonest.is_none_or(|at| at > limit) => {
                return Err(Out { waiting: 0, outage });
            }
            Choice::Out(_) => lane = pool.lane(place.model, began),
        }
    }
    let waiting = lane.waiting.fetch_add(1, Relaxed);
    let _waiting = Waiting(&lane);
    if waiting >= place.queue_max {
        let outage = lane.lock().outage(place.avoid, began);
        return Err(Out { waiting, outage });
    }
    let Ok(_turn) = timeout_at(limit, lane.turn.lock()).await else {
        let outage = lane.lock().outage(place.avoid, Instant::now());
        return Err(Out { waiting: 0, outage });
    };
    loop {
        let changed = lane.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let outage = match pool.select(Arc::clone(&lane), place.avoid, Instant::now()) {
            Choice::Lease(lease) => return Ok(lease),
            Choice::Out(outage) => outage,
        };
        let out = |outage| Out { waiting: 0, outage };
        let Some(soonest) = outage.soonest.filter(|at| *at <= limit) else { return Err(out(outage)) };
        tokio::select! {
            biased;
            () = changed => {}
            () = sleep_until(soonest) => {}
        }
        if Instant::now() >= limit {
            return Err(out(outage));
        }
    }
}

struct Waiting<'l>(&'l SharedLane);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
