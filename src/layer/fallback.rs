//! Fallback: where a model is exhausted or overloaded everywhere, the next one of the operator's list is asked.
//!
//! While another one is left, a model is asked without patience: no wait in line, one further try of an overload. When all
//! of them are out, the one that the client asked for is waited for as usual, then each that was out of keys. The client
//! hears the refusal of the model that it asked for, and to come back when the first of them returns. However often a model
//! is come back to, it gets no more attempts in all than one that has no list. One that was overloaded call after call is
//! passed over for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;
use tower::Service;
use tower::layer::{Layer, layer_fn};
use tracing::warn;

use crate::affinity::Bound;
use crate::call::{Call, Payload};
use crate::error::{Error, seconds};
use crate::reference::references;
use crate::relay::Relay;
use crate::settings;
use crate::skim::names::renamed;

mod strain;

use self::strain::Strain;

/// The kinds of resources that are of one model: what names one of them cannot go to another.
const OF_ONE_MODEL: [&str; 2] = ["cachedContents", "tunedModels"];

/// The models to ask in the place of each that has a list. Made once, shared by all workers.
#[derive(Debug)]
pub struct Lists(HashMap<Box<str>, Arc<List>>);

/// A model, and those to ask in its place, in this order.
#[derive(Debug)]
struct List {
    own: Arc<Model>,
    others: Box<[Arc<Model>]>,
}

#[derive(Debug)]
struct Model {
    name: Arc<str>,
    strain: Strain,
}

impl Lists {
    /// As configured; `None` where no model has a list.
    pub fn new(settings: &settings::Models) -> Option<Arc<Self>> {
        let mut models: HashMap<&str, Arc<Model>> = HashMap::new();
        let mut model = |name| {
            let new = || Arc::new(Model { name: Arc::from(name), strain: Strain::default() });
            Arc::clone(models.entry(name).or_insert_with(new))
        };
        let mut lists = HashMap::new();
        for (name, others) in &settings.fallback {
            let others = others.iter().map(|other| model(other.as_str())).collect();
            lists.insert(name.as_str().into(), Arc::new(List { own: model(name.as_str()), others }));
        }
        (!lists.is_empty()).then(|| Arc::new(Self(lists)))
    }

    /// The list for a call that may go to another model than its own.
    fn of(&self, call: &Call) -> Option<Arc<List>> {
        // The lane of a count of tokens is not called as its model is: a count of another model's is another number.
        let list = self.0.get(&call.lane)?;
        let asks = call.method == Method::POST && call.endpoint.resource.is_none() && !call.endpoint.is_upload();
        let free = asks && call.payload.is_kept() && !matches!(call.bound, Bound::Key(..) | Bound::Part(_));
        (free && !names_what_is_of_one_model(call)).then(|| Arc::clone(list))
    }
}

/// Asks another model where the one asked for cannot serve.
#[derive(Clone, Debug)]
pub struct Fallback<S> {
    inner: S,
    lists: Arc<Lists>,
}

/// Falls back by `lists`.
pub fn layer<S>(lists: Arc<Lists>) -> impl Layer<S, Service = Fallback<S>> + Clone {
    layer_fn(move |inner| Fallback { inner, lists: Arc::clone(&lists) })
}

impl<S> Service<Arc<Call>> for Fallback<S>
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Relay>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let Some(list) = self.lists.of(&call) else { return Box::pin(self.inner.call(call)) };
        let (inner, own) = (self.inner.clone(), Arc::clone(&list.own));
        Box::pin(Walk { inner, call, own, back: HashMap::new(), left: HashMap::new() }.through(list))
    }
}

type Reply = Result<Response<Relay>, Error>;

/// A call on its way through the models. It stays here to the end: it holds the memory of the body that all are asked with.
struct Walk<S> {
    inner: S,
    call: Arc<Call>,
    own: Arc<Model>,
    /// When to ask each model again that could not serve, as its last refusal says.
    back: HashMap<Arc<str>, Instant>,
    /// How many attempts that count are left to each model that was asked.
    left: HashMap<Arc<str>, Arc<AtomicU32>>,
}

impl<S> Walk<S>
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error>,
{
    /// Asks the call's model, those of the list, and the call's model again.
    async fn through(mut self, list: Arc<List>) -> Reply {
        let mut refusal = None;
        if self.own.strain.bears(Instant::now()) {
            let reply = self.ask(&list.own, false).await;
            if lack(&reply, &self.call).is_none() {
                return reply;
            }
            refusal = Some(reply);
        }
        let mut out = Vec::new();
        for model in list.others.iter().filter(|model| model.strain.bears(Instant::now())) {
            let reply = self.ask(model, false).await;
            if ends(&reply, &self.call) {
                return reply;
            }
            tell(&self.own.name, &model.name, &reply);
            out.extend((lack(&reply, &self.call) == Some(Lack::Exhausted)).then_some(model));
        }
        // All are out. Who cannot be served in time is told at once, so that the first that returns in time is waited for.
        let refusal = match refusal {
            Some(refusal) if self.is_spent(&list.own) => refusal,
            _ => self.ask(&list.own, true).await,
        };
        if lack(&refusal, &self.call).is_none() {
            return refusal;
        }
        for model in out {
            if self.is_spent(model) {
                continue;
            }
            let reply = self.ask(model, true).await;
            if ends(&reply, &self.call) {
                return reply;
            }
        }
        self.call.record.fall_back(None);
        let soonest = self.back.values().min().map(|at| at.saturating_duration_since(Instant::now()));
        match soonest {
            Some(wait) => told_to_wait(refusal, wait),
            None => refusal,
        }
    }

    /// Whether the model has had all its attempts.
    fn is_spent(&self, model: &Model) -> bool {
        self.left.get(&model.name).is_some_and(|left| left.load(Relaxed) == 0)
    }

    /// Asks one model, and learns whether it has too much to do.
    async fn ask(&mut self, model: &Arc<Model>, patient: bool) -> Reply {
        let other = Some(&model.name).filter(|_| !Arc::ptr_eq(model, &self.own));
        self.call.record.fall_back(other);
        let began = Instant::now();
        let new = || Arc::new(AtomicU32::new(u32::MAX));
        let left = Arc::clone(self.left.entry(Arc::clone(&model.name)).or_insert_with(new));
        let reply = self.inner.call(asked(&self.call, other, patient, left)).await;
        let lack = lack(&reply, &self.call);
        match wait(&reply).filter(|_| lack.is_some()) {
            Some(wait) => drop(self.back.insert(Arc::clone(&model.name), Instant::now() + wait)),
            None => drop(self.back.remove(&model.name)),
        }
        match lack {
            Some(Lack::Overloaded) => model.strain.overloaded(began, Instant::now()),
            None if reply.as_ref().is_ok_and(|reply| reply.status().is_success()) => model.strain.answered(),
            _ => {}
        }
        reply
    }
}

/// Why another model may serve where one did not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lack {
    /// No key can serve it now.
    Exhausted,
    /// It has too much to do.
    Overloaded,
}

/// Whether the model could not serve, and it is certain that nothing came of it where that matters.
fn lack(reply: &Reply, call: &Call) -> Option<Lack> {
    match reply {
        Err(Error::Exhausted { .. } | Error::LineFull { .. }) => Some(Lack::Exhausted),
        Ok(reply) if reply.status() == StatusCode::TOO_MANY_REQUESTS => Some(Lack::Exhausted),
        Ok(reply) if reply.status() == StatusCode::SERVICE_UNAVAILABLE && call.endpoint.replayable => {
            Some(Lack::Overloaded)
        }
        _ => None,
    }
}

/// How long a refusal tells its client to wait.
fn wait(reply: &Reply) -> Option<Duration> {
    match reply {
        Ok(reply) => reply.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs),
        Err(error) => error.retry_after(),
    }
}

/// The refusal, telling its client to wait so long.
fn told_to_wait(mut refusal: Reply, wait: Duration) -> Reply {
    match &mut refusal {
        Ok(reply) => drop(reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)))),
        Err(Error::Exhausted { retry_after, .. }) => *retry_after = Some(wait),
        Err(Error::LineFull { retry_after, .. }) => *retry_after = wait,
        Err(_) => {}
    }
    refusal
}

/// Whether what a model of the list said is the answer: it served, it took all the time there was, or something may have
/// come of a call that must not be made twice. All else is of no interest to a client that asked for another model.
fn ends(reply: &Reply, call: &Call) -> bool {
    match reply {
        Ok(reply) if reply.status().is_success() => true,
        Ok(reply) if reply.status().is_client_error() => false,
        Err(Error::DeadlineExceeded(time)) if *time == call.time => true,
        reply => !call.endpoint.replayable && lack(reply, call).is_none(),
    }
}

/// Tells the operator of a model in a list that refuses what the model it stands in for may take.
fn tell(from: &str, to: &str, reply: &Reply) {
    if let Ok(reply) = reply
        && reply.status().is_client_error()
        && reply.status() != StatusCode::TOO_MANY_REQUESTS
    {
        warn!(from, to, status = reply.status().as_u16(), "a model of models.fallback refused what it was asked");
    }
}

/// The call as `model` is asked it, or its own where there is none.
fn asked(call: &Call, model: Option<&Arc<str>>, patient: bool, left: Arc<AtomicU32>) -> Arc<Call> {
    let left = Some(left);
    let body = match &call.payload {
        Payload::Kept(body, _) => body.clone(),
        // None comes so far.
        Payload::Streamed(..) => Bytes::new(),
    };
    let Some(model) = model else {
        return Arc::new(Call { left, patient, ..call.in_place(call.endpoint.clone(), Payload::Kept(body, None)) });
    };
    let own = |written: &str| written.strip_prefix("models/").unwrap_or(written) == &*call.lane;
    let body = renamed(&body, |written| own(written).then(|| (&**model).into())).unwrap_or(body);
    let endpoint = call.endpoint.of_model(model).unwrap_or_else(|| call.endpoint.clone());
    Arc::new(Call { lane: (&**model).into(), left, patient, ..call.in_place(endpoint, Payload::Kept(body, None)) })
}

/// Whether the body names a cache, or a tuned model. Who names no resource at all has nobody looked for one.
fn names_what_is_of_one_model(call: &Call) -> bool {
    let of_one_model = |named: &[crate::reference::Reference]| {
        named.iter().any(|named| OF_ONE_MODEL.iter().any(|kind| named.resource.is_in(kind)))
    };
    let free = matches!(call.bound, Bound::Free | Bound::Prefers(_));
    !free && references(call.payload.bytes()).map_or(true, |named| of_one_model(&named))
}
