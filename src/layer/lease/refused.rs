//! A refusal: Google's error answer is read, scrubbed and judged, and its verdict told to all who count.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::affinity::Bound;
use crate::answer;
use crate::call::{Answered, Call, Failure};
use crate::error::Error;
use crate::layer::lease::words::{self, End};
use crate::pool::lease::Lease;
use crate::pool::scene::Moment;
use crate::record::Outcome;
use crate::refusal::Refusal;
use crate::relay::{Eyes, Relay};
use crate::telemetry::{AttemptSeen, clock};
use crate::upstream::headers;
use crate::verdict::Verdict;

/// A failure without an answer.
pub(crate) fn failure(verdict: Verdict, error: Error) -> Box<Failure> {
    Box::new(Failure { error: Some(error), ..Failure::of(verdict) })
}

/// Reads an error answer, of which all is to come within `limit`: the caller's own goes on as it is, all others are
/// failures.
pub(super) async fn read(
    eyes: &Eyes,
    call: &Arc<Call>,
    mut lease: Lease,
    answer: Response<reqwest::Body>,
    limit: Duration,
) -> Result<Response<Relay>, (Lease, Box<Failure>)> {
    let mut failure = judge(eyes, call, answer, limit).await;
    match (failure.verdict, failure.answered.take()) {
        (verdict @ (Verdict::Caller | Verdict::Success), Some(answered)) => {
            let now = Instant::now();
            lease.pass(verdict, now);
            told(eyes, call, &lease, verdict, answered.status, "", now);
            Ok(reply(answered))
        }
        (_, answered) => {
            failure.answered = answered;
            Err((lease, failure))
        }
    }
}

/// Reads an error answer: the failure that it is. One that breaks off is judged by what came of it only where that tells
/// what is wrong with the key; else it was never given.
pub(super) async fn judge(eyes: &Eyes, call: &Call, answer: Response<reqwest::Body>, limit: Duration) -> Box<Failure> {
    let (parts, body) = answer.into_parts();
    let words = words::read(Vec::new(), body, limit).await;
    let mut refusal = Refusal::read(parts.status.as_u16(), &words.bytes);
    // A page beside a redirection that leads on is there to be clicked on. One that leads elsewhere is the edge's own, as
    // to an address that sent too much.
    refusal.html &= !(parts.status.is_redirection() && parts.headers.contains_key(LOCATION));
    let whole = match words.end {
        End::Whole => &words.bytes[..],
        // What was read of it is told instead.
        End::TooLong => &[],
        End::Broken(_) if Verdict::of_beginning(&refusal, &call.endpoint).is_some() => &[],
        End::Broken(why) => return failure(Verdict::Interrupted, Error::Interrupted(why)),
    };
    judged(eyes, call, parts.status, headers_down(eyes, parts.headers), whole, refusal)
}

/// The headers of an answer that go down, without any key: Google puts it into the URL of an upload, for one.
pub(super) fn headers_down(eyes: &Eyes, headers: HeaderMap) -> HeaderMap {
    let mut headers = headers::down(headers);
    for value in headers.values_mut() {
        if let Cow::Owned(clean) = eyes.scrubber.scrub(value.as_bytes()) {
            *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static("[key]"));
        }
    }
    headers
}

/// The failure that an error answer is, scrubbed. The headers are clean already. What has no body that a client of the
/// surface can read is told anew.
pub(super) fn judged(
    eyes: &Eyes,
    call: &Call,
    status: StatusCode,
    mut headers: HeaderMap,
    body: &[u8],
    mut refusal: Refusal,
) -> Box<Failure> {
    let verdict = verdict(&refusal, call);
    refusal.scrub(&eyes.scrubber);
    headers.remove(CONTENT_LENGTH);
    let mut body = Bytes::from(eyes.scrubber.scrub(body).into_owned());
    let is_error = status.is_client_error() || status.is_server_error();
    let is_plain = body.is_empty() || !headers.contains_key(CONTENT_ENCODING);
    if is_error
        && is_plain
        && call.method != Method::HEAD
        && let Some(told) = answer::retold(call.endpoint.surface, status, &refusal, &body)
    {
        headers.remove(CONTENT_ENCODING);
        headers.insert(CONTENT_TYPE, answer::JSON);
        body = told;
    }
    let answered = Some(Answered { status, headers, body });
    Box::new(Failure { answered, refusal, ..Failure::of(verdict) })
}

/// What a refusal of the call comes to: where nobody is known to own what the call names, another project may.
pub(crate) fn verdict(refusal: &Refusal, call: &Call) -> Verdict {
    match (Verdict::of(refusal, &call.endpoint), &call.bound) {
        // A page of the edge's knows of no resource.
        (Verdict::Caller, Bound::Unknown(_)) if matches!(refusal.code, 403 | 404) && !refusal.html => Verdict::NotOwner,
        (verdict, _) => verdict,
    }
}

/// Gives the verdict of a failure back to the pool, and tells it to those who count.
pub(super) fn settle(eyes: &Eyes, call: &Call, mut lease: Lease, mut failure: Box<Failure>) -> Box<Failure> {
    let now = Instant::now();
    let wall = clock();
    let Failure { verdict, refusal, answered, error, .. } = &*failure;
    let summary = error.as_ref().map_or_else(|| refusal.summary().to_owned(), ToString::to_string);
    let asks_once = *verdict == Verdict::Unauthorized && !call.payload.is_kept();
    if asks_once && lease.doubt(call.endpoint.surface, now) {
        lease.note(*verdict, summary.clone(), wall);
    } else if verdict.is_failure() {
        let dice = f64::from((now - call.arrived).subsec_nanos() % 1_009) / 1_009.0;
        lease.fail(*verdict, refusal, Moment { now, wall, dice });
        lease.note(*verdict, summary.clone(), wall);
    } else if *verdict == Verdict::Abandoned {
        // Of the key it says nothing.
        lease.abandon();
    } else {
        lease.pass(*verdict, now);
    }
    let status = answered.as_ref().map(|answered| answered.status);
    told(eyes, call, &lease, *verdict, status.unwrap_or_default(), &summary, now);
    failure.with = Some((Arc::clone(lease.key()), Arc::clone(lease.lane())));
    failure
}

/// Counts an attempt after which another one is made with the same lease, and tells it to those who count.
pub(super) fn not_the_last(eyes: &Eyes, call: &Call, lease: &Lease, failure: &Failure) {
    lease.key().count(failure.verdict);
    let status = failure.answered.as_ref().map(|answered| answered.status).unwrap_or_default();
    told(eyes, call, lease, failure.verdict, status, failure.refusal.summary(), Instant::now());
}

fn told(eyes: &Eyes, call: &Call, lease: &Lease, verdict: Verdict, status: StatusCode, message: &str, now: Instant) {
    let status = Some(status.as_u16()).filter(|status| *status != 200);
    let (record, key) = (&*call.record, &lease.key().id);
    eyes.telemetry.attempt(AttemptSeen { record, key, verdict, status, message, now });
}

fn reply(answered: Answered) -> Response<Relay> {
    let Answered { status, headers, body } = answered;
    let mut reply = Response::new(Relay::from(body));
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply.extensions_mut().insert(if status.is_client_error() { Outcome::CallerError } else { Outcome::Ok });
    reply
}
