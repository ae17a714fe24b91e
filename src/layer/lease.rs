//! Lease: one attempt. A key is leased, waited for in a line that is fair among clients when all rest, and its answer
//! judged.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Response;
use tokio::time::Instant;
use tower::Service;

use crate::call::{Attempt, Call, Failure};
use crate::error::Error;
use crate::flow::{Flow, in_time};
use crate::pool::KeyPool;
use crate::pool::key::{Form, Key};
use crate::pool::lease::Lease as KeyLease;
use crate::relay::{Eyes, Relay};
use crate::upstream::{Broken, Upstream};
use crate::verdict::Verdict;

mod words;
mod refused;
mod limits;
mod homing;
pub mod line;
mod open;
mod under_way;

pub use limits::Limits;
pub(crate) use limits::attempt_due;
pub(crate) use open::learn_owner;
pub(crate) use refused::{failure, verdict};
pub(crate) use under_way::UnderWay;

/// The innermost service of the walk.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Means>);

/// What the service needs. Made once for each worker.
#[derive(Debug)]
pub struct Means {
    /// The keys.
    pub pool: Arc<KeyPool>,
    /// The worker's connections.
    pub upstream: Upstream,
    /// Told of every attempt.
    pub eyes: Eyes,
    /// The bounds of an attempt.
    pub limits: Limits,
}

impl Lease {
    /// Leases keys to attempts, with `means`.
    pub fn new(means: Means) -> Self {
        Self(Arc::new(means))
    }
}

impl Means {
    /// A lease for the attempt, waited for in line when all keys rest; without one, why not.
    pub(crate) async fn obtain(&self, attempt: &Attempt) -> Result<KeyLease, Box<Failure>> {
        line::obtain(&self.pool, self.eyes.affinity.prefixes(), attempt, &self.limits).await
    }

    /// The failure of an attempt that was sent at `sent` and stayed silent until its call's end.
    pub(crate) fn silent(&self, call: &Call, sent: Instant) -> Box<Failure> {
        Limits { first_byte: None, ..self.limits }.silent(call, sent)
    }

    /// Reads an error answer: the failure that it is, scrubbed.
    pub(crate) async fn judge(&self, call: &Call, answer: Response<reqwest::Body>) -> Box<Failure> {
        refused::judge(&self.eyes, call, answer, self.limits.error(call)).await
    }

    /// Gives the verdict of a failure back to the pool, and tells it to those who count.
    pub(crate) fn settle(&self, call: &Call, lease: KeyLease, failure: Box<Failure>) -> Box<Failure> {
        refused::settle(&self.eyes, call, lease, failure)
    }

    /// An attempt of the call begins, on the key of `lease`.
    pub(crate) fn begin<'a>(&'a self, call: &'a Call, lease: &KeyLease, now: Instant) -> UnderWay<'a> {
        // The pool's own word for the key: the lease goes on without this.
        let key = &self.pool.keys()[lease.key().index];
        UnderWay::begin(&self.eyes.telemetry, &call.record, &key.id, now)
    }

    async fn run(self: Arc<Self>, attempt: Attempt) -> Result<Response<Relay>, Box<Failure>> {
        let lease = self.obtain(&attempt).await?;
        let call = &attempt.call;
        let surface = call.endpoint.surface;
        let began = Instant::now();
        let under_way = self.begin(call, &lease, began);
        attempt.got(lease.key());
        open::keep_together(&self.eyes, call, lease.key());
        let form = lease.key().form(surface);
        let came = match self.once(&attempt, lease, form, began).await {
            Ok(reply) => Ok(reply),
            Err((lease, failure)) if failure.verdict != Verdict::Unauthorized || !call.payload.is_kept() => {
                Err(refused::settle(&self.eyes, call, lease, failure))
            }
            // Rare, so that it has no room in every call's future.
            Err((lease, failure)) => Box::pin(self.in_other_form(&attempt, lease, form, failure)).await,
        };
        under_way.over();
        came
    }

    /// The key may want its credential in the other form: that is asked once, and remembered.
    async fn in_other_form(
        &self,
        attempt: &Attempt,
        lease: KeyLease,
        form: Form,
        failure: Box<Failure>,
    ) -> Result<Response<Relay>, Box<Failure>> {
        let call = &attempt.call;
        let other = if form == Form::ApiKey { Form::Bearer } else { Form::ApiKey };
        refused::not_the_last(&self.eyes, call, &lease, &failure);
        let began = Instant::now();
        call.record.attempt(&lease.key().id, began);
        match self.once(attempt, lease, other, began).await {
            Ok(reply) => {
                self.accept(&reply, attempt, other);
                Ok(reply)
            }
            Err((lease, again)) if again.verdict == Verdict::Unauthorized => {
                Err(refused::settle(&self.eyes, call, lease, failure))
            }
            Err((lease, again)) => Err(refused::settle(&self.eyes, call, lease, again)),
        }
    }

    fn accept(&self, reply: &Response<Relay>, attempt: &Attempt, form: Form) {
        let id = attempt.call.record.key();
        let key = self.pool.keys().iter().find(|key| Some(&key.id) == id.as_ref());
        if let Some(key) = key.filter(|_| reply.status().is_success()) {
            key.accept(attempt.call.endpoint.surface, form);
        }
    }

    /// Sends once. The lease comes back with a failure, so that it is judged only when nothing more is tried with it.
    async fn once(
        &self,
        attempt: &Attempt,
        lease: KeyLease,
        form: Form,
        began: Instant,
    ) -> Result<Response<Relay>, (KeyLease, Box<Failure>)> {
        let call = &attempt.call;
        let answer = match self.sent(call, lease.key(), form, began).await {
            Ok(answer) => answer,
            Err(failure) => return Err((lease, failure)),
        };
        let sent = call.payload.flow().map_or(began, |flow| flow.last().max(began));
        if answer.status().is_success() {
            open::open(&self.eyes, call, lease, answer, (&self.limits, sent)).await
        } else {
            refused::read(&self.eyes, call, lease, answer, self.limits.error(call)).await
        }
    }

    /// The head of the answer, in time.
    async fn sent(
        &self,
        call: &Call,
        key: &Key,
        form: Form,
        began: Instant,
    ) -> Result<Response<reqwest::Body>, Box<Failure>> {
        let flow = call.payload.flow();
        let due = Limits::due(call, began, self.limits.first_byte);
        let sending = pin!(self.upstream.send(call, key, form));
        let broken = match in_time(flow, due.at, due.patience, sending).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(broken)) => broken,
            None if flow.is_some_and(Flow::waits) => {
                return Err(failure(Verdict::Abandoned, Error::BodyTimeout(due.patience)));
            }
            None => return Err(self.limits.silent(call, flow.map_or(began, |flow| flow.last().max(began)))),
        };
        let clean = |why: String| self.eyes.scrubber.scrub_str(&why).into_owned();
        let (verdict, error) = match broken {
            Broken::Connect(why) => (Verdict::Connect, Error::Unreachable(clean(why))),
            Broken::Interrupted(why) => (Verdict::Interrupted, Error::Interrupted(clean(why))),
            Broken::Body(fault) => (Verdict::Abandoned, fault),
        };
        Err(failure(verdict, error))
    }
}

impl Service<Attempt> for Lease {
    type Response = Response<Relay>;
    type Error = Box<Failure>;
    type Future = BoxFuture<'static, Result<Response<Relay>, Box<Failure>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Box<Failure>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(Arc::clone(&self.0).run(attempt))
    }
}
