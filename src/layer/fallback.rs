//! Fallback: where a model is exhausted or overloaded everywhere, the next one of the operator's list is asked.
//!
//! While another one is left, a model is asked without patience: no wait in line, one further try of an overload. When all
//! of them are out, the one that the client asked for is waited for as usual, then each that was out of keys. The client
//! hears the refusal of the model that it asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use tower::Service;
use tower::layer::{Layer, layer_fn};
use tracing::{debug, warn};

use crate::affinity::Bound;
use crate::call::{Call, Payload};
use crate::error::Error;
use crate::reference::references;
use crate::relay::Relay;
use crate::settings;
use crate::skim::names::renamed;

/// The kinds of resources that are of one model: what names one of them cannot go to another.
const OF_ONE_MODEL: [&str; 2] = ["cachedContents", "tunedModels"];

/// The models to ask in the place of each that has a list. Made once, shared by all workers.
#[derive(Debug)]
pub struct Lists(HashMap<Box<str>, Arc<[Arc<str>]>>);

impl Lists {
    /// As configured; `None` where no model has a list.
    pub fn new(settings: &settings::Models) -> Option<Arc<Self>> {
        let list = |(model, list): (&String, &Vec<String>)| {
            (model.as_str().into(), list.iter().map(|other| Arc::from(other.as_str())).collect())
        };
        (!settings.fallback.is_empty()).then(|| Arc::new(Self(settings.fallback.iter().map(list).collect())))
    }

    /// The list for a call that may go to another model than its own.
    fn of(&self, call: &Call) -> Option<Arc<[Arc<str>]>> {
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

impl<S> Service<Call> for Fallback<S>
where
    S: Service<Call, Response = Response<Relay>, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Relay>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Some(list) = self.lists.of(&call) else { return Box::pin(self.inner.call(call)) };
        Box::pin(serve(self.inner.clone(), call, list))
    }
}

type Reply = Result<Response<Relay>, Error>;

/// Asks the call's model, those of the list, and the call's model again. `call` itself stays here: it holds the memory
/// of the body that all of them are asked with.
async fn serve<S>(mut inner: S, call: Call, list: Arc<[Arc<str>]>) -> Reply
where
    S: Service<Call, Response = Response<Relay>, Error = Error>,
{
    let record = &call.record;
    let reply = inner.call(asked(&call, None, false).ok_or(Error::Panicked)?).await;
    let Some(lack) = lack(&reply, &call) else { return reply };
    let mut out = Vec::new();
    for model in list.iter() {
        let Some(other) = asked(&call, Some(model), false) else { continue };
        debug!(from = &*call.lane, to = &**model, reason = lack.name(), "another model is asked");
        record.fall_back(Some(model));
        let reply = inner.call(other).await;
        if ends(&reply, &call) {
            return reply;
        }
        tell(&call.lane, model, &reply);
        out.extend(matches!(self::lack(&reply, &call), Some(Lack::Exhausted)).then_some(model));
    }
    // All are out. Who cannot be served in time is told at once, so that the first that returns in time is waited for.
    record.fall_back(None);
    let last = inner.call(asked(&call, None, true).ok_or(Error::Panicked)?).await;
    if self::lack(&last, &call).is_none() {
        return last;
    }
    for model in out {
        let Some(other) = asked(&call, Some(model), true) else { continue };
        record.fall_back(Some(model));
        let reply = inner.call(other).await;
        if ends(&reply, &call) {
            return reply;
        }
    }
    record.fall_back(None);
    last
}

/// Why another model may serve where one did not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lack {
    /// No key can serve it now.
    Exhausted,
    /// It has too much to do.
    Overloaded,
}

impl Lack {
    const fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Overloaded => "overloaded",
        }
    }
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

/// Whether what a model of the list said is the answer: it served, or something may have come of a call that must not be
/// made twice. All else is of no interest to a client that asked for another model.
fn ends(reply: &Reply, call: &Call) -> bool {
    match reply {
        Ok(reply) if reply.status().is_success() => true,
        Ok(reply) if reply.status().is_client_error() => false,
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

/// The call as `model` is asked it, or its own where there is none; `None` where the model cannot be put in its place.
fn asked(call: &Call, model: Option<&str>, patient: bool) -> Option<Call> {
    let Payload::Kept(body, _) = &call.payload else { return None };
    let Some(model) = model else {
        let same = call.in_place(call.endpoint.clone(), Payload::Kept(body.clone(), None));
        return Some(Call { patient, ..same });
    };
    let own = |written: &str| written.strip_prefix("models/").unwrap_or(written) == &*call.lane;
    let in_body = renamed(body, |written| own(written).then(|| model.into()));
    let in_path = call.endpoint.of_model(model);
    if in_body.is_none() && in_path.is_none() {
        return None;
    }
    let endpoint = in_path.unwrap_or_else(|| call.endpoint.clone());
    let body = in_body.unwrap_or_else(|| Bytes::clone(body));
    Some(Call { lane: model.into(), patient, ..call.in_place(endpoint, Payload::Kept(body, None)) })
}

/// Whether the body names a cache, or a tuned model. Who names no resource at all has nobody looked for one.
fn names_what_is_of_one_model(call: &Call) -> bool {
    let of_one_model = |named: &[crate::reference::Reference]| {
        named.iter().any(|named| OF_ONE_MODEL.iter().any(|kind| named.resource.is_in(kind)))
    };
    let free = matches!(call.bound, Bound::Free | Bound::Prefers(_));
    !free && references(call.payload.bytes()).map_or(true, |named| of_one_model(&named))
}
