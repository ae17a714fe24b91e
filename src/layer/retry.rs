//! Retry: another attempt where another key may succeed, until the plan says stop. Never after a byte went out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use tokio::time::{Instant, sleep};
use tower::Service;
use tower::layer::{Layer, layer_fn};
use tracing::warn;

use crate::affinity::{Affinity, Bound};
use crate::backoff::{Facts, Next, Plan, removes_its_key};
use crate::budget::Budget;
use crate::call::{Answered, Attempt, Call, Failure};
use crate::error::{Error, seconds};
use crate::pool::KeyPool;
use crate::pool::ask::Avoid;
use crate::pool::key::Key;
use crate::pool::lease::SharedLane;
use crate::pool::outage::Outage;
use crate::pool::reason::Reason;
use crate::record::Outcome;
use crate::relay::Relay;
use crate::resource::Resource;
use crate::settings;
use crate::verdict::Verdict;

/// A prompt of more bytes than this is likely over 200,000 tokens: an internal error is then likely its own fault.
const LONG_PROMPT_BYTES: u64 = 800 << 10;
/// When to ask again where nobody knows better.
const RETRY: Duration = Duration::from_secs(10);
/// When another key may serve what one could not.
const SOON: Duration = Duration::from_secs(1);
/// How long a model that two projects do not know is not asked twice.
const UNKNOWN: Duration = Duration::from_mins(5);

/// What the layer needs beside the service within. Made once, shared.
#[derive(Debug)]
pub struct Means {
    /// How often.
    pub settings: settings::Retry,
    /// Shared by all workers.
    pub budget: Arc<Budget>,
    /// Told when a model turns out to be unknown.
    pub pool: Arc<KeyPool>,
    /// Knows who made what a key does not know.
    pub affinity: Arc<Affinity>,
}

/// Tries again where the service within failed.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    means: Arc<Means>,
}

/// Retries with `means`.
pub fn layer<S>(means: Means) -> impl Layer<S, Service = Retry<S>> + Clone {
    let means = Arc::new(means);
    layer_fn(move |inner| Retry { inner, means: Arc::clone(&means) })
}

impl<S> Service<Arc<Call>> for Retry<S>
where
    S: Service<Attempt, Response = Response<Relay>, Error = Box<Failure>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Relay>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let (mut inner, means) = (self.inner.clone(), Arc::clone(&self.means));
        Box::pin(async move {
            let mut story = Story::new(&means, &call);
            let mut attempt = Attempt::first(call);
            loop {
                match inner.call(attempt.clone()).await {
                    Ok(reply) => {
                        story.succeeded();
                        return Ok(reply);
                    }
                    Err(failure) => match story.failed(failure, &mut attempt) {
                        Ok(pause) => {
                            attempt.call.record.add_pause(pause);
                            sleep(pause).await;
                        }
                        Err(end) => return *end,
                    },
                }
            }
        })
    }
}

/// The attempts of one call so far.
pub(crate) struct Story<'m> {
    means: &'m Means,
    plan: Plan,
    attempts: u32,
    last: Option<Box<Failure>>,
    /// Keys whose projects did not know the model.
    strangers: Vec<(Arc<Key>, Arc<SharedLane>)>,
    /// Projects whose keys gave an answer with nothing in it.
    empty: Vec<u32>,
}

impl<'m> Story<'m> {
    /// Of a call that begins: it earns its share of the budget, once for all the models that are asked.
    pub(crate) fn new(means: &'m Means, call: &Call) -> Self {
        if call.record.fallback().is_none() {
            means.budget.deposit();
        }
        let settings = &means.settings;
        let plan = Plan::new(settings.retries, settings.empty_retries, means.pool.keys().len());
        let plan = match &call.left {
            Some(left) => plan.at_most(left.load(Relaxed)),
            None => plan,
        };
        Self { means, plan, attempts: 0, last: None, strangers: Vec::new(), empty: Vec::new() }
    }

    /// Another project served the model: those that did not know it are not asked for a while.
    pub(crate) fn succeeded(&self) {
        for (key, lane) in &self.strangers {
            KeyPool::rule_out(lane, key, Instant::now());
        }
    }

    /// Decides after a failure: the pause before the next attempt, or how the call ends.
    pub(crate) fn failed(
        &mut self,
        failure: Box<Failure>,
        attempt: &mut Attempt,
    ) -> Result<Duration, Box<Result<Response<Relay>, Error>>> {
        let Some((key, lane)) = failure.with.clone() else {
            return Err(Box::new(self.end(failure, &attempt.call)));
        };
        self.attempts += 1;
        let maker = self.maker(failure.verdict, attempt, &key);
        let facts = Facts { maker_known: maker.is_some(), ..facts(attempt, &key, &lane) };
        let next = self.plan.after(failure.verdict, &facts);
        attempt.call.left.iter().for_each(|left| left.store(self.plan.left(), Relaxed));
        let allowed = !matches!(next, Next::Again { budgeted: true, .. }) || self.means.budget.withdraw();
        if failure.verdict == Verdict::ModelUnknown {
            self.strangers.push((Arc::clone(&key), Arc::clone(&lane)));
            if self.strangers.len() > 1 {
                lane.change(|lane| lane.unknown_until = Some(Instant::now() + UNKNOWN));
            }
        }
        let Next::Again { pause, elsewhere, .. } = next else {
            self.tell(&failure, &key, "no other attempt can help");
            return Err(Box::new(self.end(failure, &attempt.call)));
        };
        if !allowed {
            self.tell(&failure, &key, "the retry budget is spent");
            return Err(Box::new(self.end(failure, &attempt.call)));
        }
        self.tell(&failure, &key, &format!("next key in {:.1} s", pause.as_secs_f64()));
        attempt.tried.push(key.index);
        attempt.tried.extend(failure.beside);
        if elsewhere {
            attempt.shunned.push(key.project());
        }
        attempt.only = attempt.only.or(maker);
        attempt.thrifty = failure.verdict == Verdict::Overloaded;
        if failure.verdict == Verdict::Empty {
            self.empty.push(key.project());
        } else {
            // Whoever gave an answer is not paid for another one because others have none.
            attempt.shunned.extend(&self.empty);
        }
        let patient = attempt.only.is_none() && (!elsewhere || removes_its_key(failure.verdict));
        attempt.patient = attempt.call.patient && patient && self.empty.is_empty();
        // Of equal refusals the first is the one to show; a signature's, whatever its maker says; and an answer is one, even
        // with nothing in it.
        let kept = |last: &Failure| {
            matches!(last.verdict, Verdict::ForeignSignature | Verdict::Empty) || last.verdict == failure.verdict
        };
        if !self.last.as_deref().is_some_and(kept) {
            self.last = Some(failure);
        }
        Ok(pause)
    }

    /// Where to go with a history whose signature the key's project did not make.
    fn maker(&self, verdict: Verdict, attempt: &Attempt, key: &Key) -> Option<u32> {
        let call = &attempt.call;
        let free = matches!(call.bound, Bound::Free | Bound::Prefers(_) | Bound::Unknown(_));
        let signatures = self.means.affinity.signatures();
        let wanted = verdict == Verdict::ForeignSignature && free;
        let maker = wanted.then(|| signatures.maker(call.payload.bytes(), key.project()))?;
        maker.map(|project| self.means.pool.homes().of(project)).filter(|project| *project != key.project())
    }

    fn tell(&self, failure: &Failure, key: &Key, then: &str) {
        if !failure.verdict.is_failure() {
            return;
        }
        let (n, most) = (self.attempts, self.plan.limit().max(self.attempts));
        let what = what(failure);
        warn!(verdict = failure.verdict.name(), "attempt {n}/{most} on key #{} failed ({what}), {then}", key.id);
    }

    /// How the call ends when no attempt gave an answer.
    fn end(&mut self, failure: Box<Failure>, call: &Call) -> Result<Response<Relay>, Error> {
        let owner = call.bound.resource().cloned();
        if let Some(outage) = failure.outage {
            return match self.last.take() {
                Some(last) if stands_alone(last.verdict, &outage) => show(last, outage.soonest),
                _ => Err(exhausted(&outage, owner)),
            };
        }
        // An answer with nothing in it is still an answer; of equal refusals of a model the first one counts.
        let first = self.last.take().filter(|last| match last.verdict {
            Verdict::Empty => true,
            Verdict::ForeignSignature => removes_its_key(failure.verdict),
            Verdict::ModelForbidden => failure.verdict == Verdict::ModelForbidden,
            _ => false,
        });
        let failure = first.unwrap_or(failure);
        let outage = self.outage(&failure, call);
        let soonest = outage.as_ref().and_then(|outage| outage.soonest);
        match (outage, Reason::of(failure.verdict)) {
            (_, Some(Reason::NotInTier)) => show(failure, soonest),
            (Some(outage), Some(_)) if !stands_alone(failure.verdict, &outage) => Err(exhausted(&outage, owner)),
            (Some(outage), None) if failure.verdict == Verdict::QuotaBare => Err(exhausted(&outage, owner)),
            // A dead or spent key must not look like the client's own: others may serve its next request.
            (None, Some(reason)) => {
                let mut outage = Outage::default();
                outage.add(reason, Some(Instant::now() + SOON));
                Err(exhausted(&outage, owner))
            }
            _ => show(failure, soonest),
        }
    }

    /// Why none of the keys that may serve the call can do so now; `None`: one can.
    fn outage(&self, failure: &Failure, call: &Call) -> Option<Outage> {
        let avoid = Avoid { only: call.only(), ..Avoid::default() };
        let (_, lane) = failure.with.as_ref()?;
        let outage = lane.lock().outage(avoid, Instant::now());
        let may_serve = self.means.pool.keys().iter().filter(|key| avoid.allows(key)).count();
        Some(outage).filter(|outage| outage.len() >= may_serve)
    }
}

fn facts(attempt: &Attempt, key: &Key, lane: &SharedLane) -> Facts {
    let (call, now) = (&attempt.call, Instant::now());
    let (breaker_open, unknown_lately) = lane.lock().doubts(key.project(), now);
    Facts {
        // Where one key alone may serve, there is nowhere to go on.
        kept: call.payload.is_kept() && !matches!(call.bound, Bound::Key(..)),
        replayable: call.endpoint.replayable,
        patient: call.patient,
        long_prompt: call.payload.weight() > LONG_PROMPT_BYTES,
        tried: attempt.tried.contains(&key.index),
        breaker_open,
        unknown_lately,
        maker_known: false,
        left: call.deadline.saturating_duration_since(now),
        whole: call.time,
        dice: dice(now, call),
    }
}

/// A throw between 0 and 1: the nanoseconds of the clock are random enough to spread retries.
fn dice(now: Instant, call: &Call) -> f64 {
    f64::from((now - call.arrived).subsec_nanos() % 1_000_003) / 1_000_003.0
}

/// `503 UNAVAILABLE: The model is overloaded`; a page of Google's edge has no such name, an empty body neither part.
fn what(failure: &Failure) -> String {
    match (&failure.answered, &failure.error) {
        (Some(answered), _) => {
            let said = [failure.refusal.status.as_str(), failure.refusal.summary()];
            let said = said.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
            format!("{} {said}", answered.status.as_u16()).trim_end().to_owned()
        }
        (None, Some(error)) => error.to_string(),
        (None, None) => failure.verdict.name().to_owned(),
    }
}

/// Whether the last refusal says it all: every key that could be asked is out for the same reason.
fn stands_alone(verdict: Verdict, outage: &Outage) -> bool {
    match verdict {
        Verdict::NotInTier => outage.only(Reason::NotInTier),
        Verdict::KeyBlocked => outage.reasons().all(|(reason, _)| reason == Reason::Blocked),
        // It says neither what is spent nor until when; the outage does.
        Verdict::QuotaBare => false,
        verdict => !removes_its_key(verdict) && verdict != Verdict::DoubleCredential,
    }
}

/// A failure as the client sees it: Google's own answer where there is one that clients can read. `soonest`: when the first
/// key returns, where all are out.
fn show(failure: Box<Failure>, soonest: Option<Instant>) -> Result<Response<Relay>, Error> {
    match (failure.verdict, failure.answered, failure.error) {
        (Verdict::DoubleCredential, ..) => Err(Error::CredentialForm),
        (Verdict::Edge, Some(answered), _) => {
            Err(Error::Edge { status: answered.status, title: failure.refusal.message })
        }
        (_, Some(answered), _) => {
            let known = soonest.map(|at| at.saturating_duration_since(Instant::now()));
            Ok(pass(answered, known, failure.refusal.retry_in))
        }
        (_, None, Some(error)) => Err(error),
        (_, None, None) => Err(Error::Interrupted(failure.verdict.name().to_owned())),
    }
}

fn exhausted(outage: &Outage, owner: Option<Resource>) -> Error {
    let retry_after = outage.soonest.map(|at| at.saturating_duration_since(Instant::now()));
    let reasons = outage.reasons().map(|(reason, count)| (reason.name(), count)).collect();
    let denied = outage.only(Reason::Forbidden);
    Error::Exhausted { reasons, retry_after, fault: outage.is_fault(), denied, owner }
}

/// An error of Google's for the client. It says when to retry: as the pool knows it, else as Google has `told` it.
fn pass(answered: Answered, known: Option<Duration>, told: Option<Duration>) -> Response<Relay> {
    let Answered { status, headers, body } = answered;
    let mut reply = Response::new(Relay::from(body));
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply.headers_mut().remove(CONTENT_LENGTH);
    let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if busy && (known.is_some() || !reply.headers().contains_key(RETRY_AFTER)) {
        let wait = known.or(told).unwrap_or(RETRY);
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)));
    }
    let outcome = match status {
        _ if status.is_success() => Outcome::Ok,
        _ if busy || status.is_server_error() => Outcome::UpstreamError,
        _ => Outcome::CallerError,
    };
    reply.extensions_mut().insert(outcome);
    reply
}
