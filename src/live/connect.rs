//! Connecting: a key, the handshake, the setup message, and Google's first word; another key where one refuses.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::call::{Attempt, Call, Failure};
use crate::error::Error;
use crate::layer::lease::{UnderWay, attempt_due, failure, learn_owner, verdict};
use crate::layer::retry::Story;
use crate::live::books::TOKEN;
use crate::live::close::Close;
use crate::live::means::Means;
use crate::live::socket::{self, GoogleSocket, Message};
use crate::pool::key::{Form, Key};
use crate::pool::lease::Lease;
use crate::resource::Resource;
use crate::secret::Secret;
use crate::upstream::{Broken, Handshake, Opened, headers};
use crate::verdict::Verdict;

/// A session that has begun.
#[derive(Debug)]
pub(super) struct Connected {
    /// `None`: the session is an ephemeral token's.
    pub(super) lease: Option<Lease>,
    /// The key in whose project it lives: the lease's, or the one that made the token. `None`: it is not known.
    pub(super) key: Option<Arc<Key>>,
    pub(super) socket: GoogleSocket,
    /// Google's first message.
    pub(super) first: Message,
}

/// Connects on the key whose turn it is. As nothing but the setup has been sent until Google's first message, each
/// refusal before it may be taken to another key.
pub(super) async fn connect(
    means: &Means,
    call: &Arc<Call>,
    handshake: &Handshake,
    setup: &Message,
) -> Result<Connected, Error> {
    let mut attempt = Attempt::first(Arc::clone(call));
    let mut story = Story::new(&means.retry, call);
    let attempts = async {
        loop {
            match once(means, &attempt, handshake, setup).await {
                Ok(connected) => {
                    story.succeeded();
                    return Ok(connected);
                }
                Err(failure) => match story.failed(failure, &mut attempt) {
                    Ok(pause) => {
                        call.record.add_pause(pause);
                        sleep(pause).await;
                    }
                    Err(end) => return Err(end.err().unwrap_or(Error::StreamBroken("it did not begin"))),
                },
            }
        }
    };
    let late = |_| Error::DeadlineExceeded(call.time);
    timeout_at(call.deadline, attempts).await.map_err(late)?
}

/// Connects with an ephemeral token: no key goes up, so none is to blame, and none can take over.
pub(super) async fn connect_by_token(
    means: &Means,
    call: &Call,
    handshake: &Handshake,
    setup: &Message,
    token: &Secret,
) -> Result<Connected, Error> {
    // By the way out of the key that made it.
    let owner = Resource::of_value(token.expose()).and_then(|token| means.lease.eyes.affinity.owner(&token));
    let key = owner.and_then(|owner| means.lease.pool.keys().get(owner.key)).cloned();
    let egress = key.as_ref().map_or(0, |key| key.egress());
    let id: Arc<str> = TOKEN.into();
    let path = with_token(&call.endpoint.target, token);
    let target = Target { path, egress, credential: None, key: Arc::clone(&id) };
    let under_way = UnderWay::begin(&means.lease.eyes.telemetry, &call.record, &id, Instant::now());
    match timeout_at(call.deadline, begin(means, call, target, handshake, setup)).await {
        Ok(Ok((socket, first))) => {
            under_way.over();
            if let Some(key) = &key {
                learn_owner(&means.lease.eyes, call, key);
            }
            Ok(Connected { lease: None, key, socket, first })
        }
        Ok(Err(failure)) => {
            let error = failure.error.unwrap_or(Error::StreamBroken("it did not begin"));
            under_way.came_to(failure.verdict, &error.to_string());
            Err(error)
        }
        Err(_) => {
            let error = Error::DeadlineExceeded(call.time);
            under_way.came_to(Verdict::Interrupted, &error.to_string());
            Err(error)
        }
    }
}

/// The target with the one credential that goes up in it.
fn with_token(target: &PathAndQuery, token: &Secret) -> PathAndQuery {
    let mark = if target.query().is_some() { '&' } else { '?' };
    let token = utf8_percent_encode(token.expose(), NON_ALPHANUMERIC);
    PathAndQuery::try_from(format!("{target}{mark}access_token={token}")).unwrap_or_else(|_| target.clone())
}

async fn once(
    means: &Means,
    attempt: &Attempt,
    handshake: &Handshake,
    setup: &Message,
) -> Result<Connected, Box<Failure>> {
    let mut lease = means.lease.obtain(attempt).await?;
    let call = &attempt.call;
    let began = Instant::now();
    let under_way = means.lease.begin(call, &lease, began);
    let key = lease.key();
    let credential = Some(key.credential(Form::ApiKey));
    let target =
        Target { path: call.endpoint.target.clone(), egress: key.egress(), credential, key: Arc::clone(&key.id) };
    let opened = timeout_at(attempt_due(call), begin(means, call, target, handshake, setup)).await;
    let came = match opened.unwrap_or_else(|_| Err(means.lease.silent(call, began))) {
        Ok((socket, first)) => {
            lease.succeed(Instant::now());
            learn_owner(&means.lease.eyes, call, lease.key());
            let key = Some(Arc::clone(lease.key()));
            Ok(Connected { lease: Some(lease), key, socket, first })
        }
        Err(failure) => Err(means.lease.settle(call, lease, failure)),
    };
    under_way.over();
    came
}

/// Where an attempt goes, and by what it is let in.
struct Target {
    path: PathAndQuery,
    egress: u32,
    /// `None`: it stands in the path.
    credential: Option<(HeaderName, HeaderValue)>,
    /// The id of the key whose attempt it is.
    key: Arc<str>,
}

/// One attempt, up to Google's first message.
async fn begin(
    means: &Means,
    call: &Call,
    target: Target,
    handshake: &Handshake,
    setup: &Message,
) -> Result<(GoogleSocket, Message), Box<Failure>> {
    let lease_means = &means.lease;
    let Target { path, egress, credential, key } = target;
    let mut headers = call.headers.clone();
    headers::trace(&mut headers, &call.record, &key);
    let opened = lease_means.upstream.open(&path, headers, handshake, egress, credential);
    let clean = |why: String| lease_means.eyes.scrubber.scrub_str(&why).into_owned();
    let io = match opened.await {
        Ok(Opened::Socket(io)) => io,
        Ok(Opened::Refused(answer)) => {
            let mut failure = lease_means.judge(call, answer).await;
            let Some(answered) = failure.answered.take() else { return Err(failure) };
            let Close { code, reason } = Close::of_answer(answered.status, &failure.refusal);
            failure.error = Some(Error::Closed { code, reason });
            return Err(failure);
        }
        Ok(Opened::Mistaken) => return Err(interrupted("it answered another handshake".to_owned())),
        Err(Broken::Connect(why)) => return Err(failure(Verdict::Connect, Error::Unreachable(clean(why)))),
        Err(Broken::Interrupted(why)) => return Err(interrupted(clean(why))),
        Err(Broken::Body(fault)) => return Err(failure(Verdict::Caller, fault)),
    };
    let mut socket = socket::on(io, Role::Client, means.limits.message_bytes).await;
    if let Err(error) = socket.send(setup.clone()).await {
        return Err(interrupted(clean(error.to_string())));
    }
    loop {
        match socket.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                let close = Close::heard(frame.as_ref(), &lease_means.eyes.scrubber);
                return Err(closed(call, close));
            }
            Some(Ok(first)) => return Ok((socket, first)),
            Some(Err(error)) => return Err(interrupted(clean(error.to_string()))),
            None => return Err(interrupted("the connection ended before the session began".to_owned())),
        }
    }
}

/// Google closed instead of answering the setup.
fn closed(call: &Call, close: Close) -> Box<Failure> {
    let refusal = close.refusal();
    let verdict = verdict(&refusal, call);
    let Close { code, reason } = close;
    Box::new(Failure { refusal, error: Some(Error::Closed { code, reason }), ..Failure::of(verdict) })
}

fn interrupted(why: String) -> Box<Failure> {
    failure(Verdict::Interrupted, Error::Interrupted(why))
}
