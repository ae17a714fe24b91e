//! Connecting: a key, the handshake, the setup message, and Google's first word; another key where one refuses.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::call::{Attempt, Call, Failure};
use crate::error::Error;
use crate::layer::retry::Story;
use crate::live::Means;
use crate::live::close::Close;
use crate::live::socket::{self, GoogleSocket, Message};
use crate::pool::key::Form;
use crate::pool::lease::Lease;
use crate::refusal::Refusal;
use crate::upstream::{Broken, Handshake, Opened};
use crate::verdict::Verdict;

/// A session that has begun.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) lease: Lease,
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
    let mut attempt = Attempt { call: Arc::clone(call), tried: Vec::new(), shunned: Vec::new(), patient: true };
    let mut story = Story::new(&means.retry);
    let attempts = async {
        loop {
            match once(means, &attempt, handshake, setup).await {
                Ok(connected) => {
                    story.succeeded();
                    return Ok(connected);
                }
                Err(failure) => match story.failed(failure, &mut attempt) {
                    Ok(pause) => {
                        call.record.add_wait(pause);
                        sleep(pause).await;
                    }
                    Err(end) => return Err(end.err().unwrap_or(Error::StreamBroken("it did not begin"))),
                },
            }
        }
    };
    let late = |_| Error::DeadlineExceeded(call.deadline - call.arrived);
    timeout_at(call.deadline, attempts).await.map_err(late)?
}

async fn once(means: &Means, attempt: &Attempt, handshake: &Handshake, setup: &Message) -> Result<Connected, Failure> {
    let mut lease = means.lease.obtain(attempt).await?;
    let call = &attempt.call;
    call.record.attempt(&lease.key().id);
    let began = Instant::now();
    let begun = begin(means, call, &lease, handshake, setup).await;
    call.record.add_upstream(began.elapsed());
    match begun {
        Ok((socket, first)) => {
            lease.succeed(Instant::now());
            Ok(Connected { lease, socket, first })
        }
        Err(failure) => Err(means.lease.settle(call, lease, *failure)),
    }
}

/// One attempt, up to Google's first message.
async fn begin(
    means: &Means,
    call: &Call,
    lease: &Lease,
    handshake: &Handshake,
    setup: &Message,
) -> Result<(GoogleSocket, Message), Box<Failure>> {
    let (key, lease_means) = (lease.key(), &means.lease);
    let credential = Some(key.credential(Form::ApiKey));
    let opened = lease_means.upstream.open(&call.endpoint.target, &call.headers, handshake, key.egress, credential);
    let clean = |why: String| lease_means.eyes.scrubber.scrub_str(&why).into_owned();
    let io = match opened.await {
        Ok(Opened::Socket(io)) => io,
        Ok(Opened::Refused(answer)) => {
            let failure = lease_means.judge(call, answer).await;
            let status = failure.answered.as_ref().map(|answered| answered.status).unwrap_or_default();
            let Close { code, reason } = Close::of_answer(status, &failure.refusal);
            let error = Some(Error::Closed { code, reason });
            return Err(Box::new(Failure { answered: None, error, ..failure }));
        }
        Err(Broken::Connect(why)) => return Err(failed(Verdict::Connect, Error::Unreachable(clean(why)))),
        Err(Broken::Interrupted(why)) => return Err(interrupted(clean(why))),
        Err(Broken::Body(fault)) => return Err(failed(Verdict::Caller, fault)),
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
    let verdict = Verdict::of(&refusal, &call.endpoint);
    let Close { code, reason } = close;
    let failure = failed(verdict, Error::Closed { code, reason });
    Box::new(Failure { refusal, ..*failure })
}

fn interrupted(why: String) -> Box<Failure> {
    failed(Verdict::Interrupted, Error::Interrupted(why))
}

fn failed(verdict: Verdict, error: Error) -> Box<Failure> {
    Box::new(Failure {
        verdict,
        with: None,
        outage: None,
        answered: None,
        refusal: Refusal::default(),
        error: Some(error),
    })
}
