//! A success: its first chunk is read before the head goes on, so that what fails until then can be tried again.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::affinity::{Answer, Bound, Witness};
use crate::call::{Answered, Call, Failure};
use crate::endpoint::{Action, Makes};
use crate::error::Error;
use crate::flow::in_time;
use crate::layer::lease::limits::Limits;
use crate::layer::lease::refused;
use crate::layer::lease::words::{self, End, Words, next_chunk};
use crate::meter::Meter;
use crate::meter::finish::Finish;
use crate::pool::key::Key;
use crate::pool::lease::Lease;
use crate::refusal::Refusal;
use crate::relay::{Eyes, Line, Relay, Watch};
use crate::telemetry::clock;
use crate::verdict::Verdict;

/// The most that is read ahead of an answer to see whether it is empty or an error.
const AHEAD_BYTES_MAX: usize = 64 << 10;
/// An answer of which so much came, or a whole frame, would have shown by now that it is an error.
const TELLING_BYTES: usize = 64;
/// How long an error may take to come whole.
const ERROR_TIME: Duration = Duration::from_secs(5);

/// What is known of an answer from its head.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a head")]
struct Head {
    readable: bool,
    events: bool,
    generation: bool,
    /// Whether it is an interaction's stream, which is stored with its first event.
    interaction: bool,
    must_finish: bool,
}

impl Head {
    fn of(call: &Call, headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        // What a file says is the client's own affair.
        let kind = if call.endpoint.is_download() { b"" } else { kind };
        let events = kind.starts_with(b"text/event-stream");
        let readable = (events || kind.starts_with(b"application/json")) && !headers.contains_key(CONTENT_ENCODING);
        let action = call.endpoint.action;
        let generation = matches!(action, Action::Generate | Action::StreamSse | Action::StreamArray | Action::Chat);
        let interaction = action == Action::Interaction && events;
        let must_finish = matches!(action, Action::StreamSse | Action::StreamArray)
            || action == Action::Chat && events
            || interaction;
        Self { readable, events, generation, interaction, must_finish }
    }

    /// Whether it is an error in truth, so that nothing happened.
    fn is_error(&self, meter: &Meter) -> bool {
        self.generation && meter.error() || self.interaction && meter.began_with_error()
    }

    /// Whether too little came yet to tell.
    fn may_turn_out_an_error(&self, bytes: usize, meter: &Meter) -> bool {
        let frame_ended = self.events && meter.at_boundary();
        (self.generation || self.interaction) && self.readable && bytes < TELLING_BYTES && !frame_ended
    }
}

/// The answer with its first chunk at hand; or a failure, when that chunk never came or is an error.
pub(super) async fn open(
    eyes: &Eyes,
    call: &Arc<Call>,
    mut lease: Lease,
    answer: Response<reqwest::Body>,
    (limits, sent): (&Limits, Instant),
) -> Result<Response<Relay>, (Lease, Box<Failure>)> {
    let (parts, mut body) = answer.into_parts();
    let head = Head::of(call, &parts.headers);
    let mut meter = Meter::default();
    let mut ahead = VecDeque::new();
    let (mut len, mut whole) = (0, false);
    let (flow, hold_empty) = (call.payload.flow(), limits.hold_empty);
    let left = limits.first_byte.map(|limit| limit.saturating_sub(sent.elapsed()));
    let interrupted = |error| refused::failure(Verdict::Interrupted, error);
    loop {
        let due = Limits::due(call, Instant::now(), left);
        let chunk = match in_time(flow, due.at, due.patience, pin!(next_chunk(&mut body))).await {
            Some(Some(Ok(chunk))) => chunk,
            Some(None) if head.must_finish && ahead.is_empty() => {
                let why = "the answer ended before its first byte".to_owned();
                return Err((lease, interrupted(Error::Interrupted(why))));
            }
            Some(None) => {
                whole = true;
                break;
            }
            Some(Some(Err(why))) => return Err((lease, interrupted(Error::Interrupted(why)))),
            None => return Err((lease, limits.silent(call, sent))),
        };
        if head.readable {
            meter.feed(&chunk);
        }
        len += chunk.len();
        ahead.push_back(chunk);
        if let Some(at) = meter.error_document().filter(|_| head.is_error(&meter)) {
            let limit = limits.error(call).min(ERROR_TIME);
            // Rare, so that it has no room in every call's future.
            return Err((lease, Box::pin(error_inside(eyes, call, ahead, at, body, limit)).await));
        }
        let settled = !hold_empty || !head.generation || !head.readable || meter.has_content();
        let settled = settled || meter.complete() && !meter_is_empty(&meter) || len > AHEAD_BYTES_MAX;
        if settled && !head.may_turn_out_an_error(len, &meter) {
            break;
        }
    }
    lease.succeed(Instant::now());
    lease.key().let_in(call.endpoint.surface);
    learn_owner(eyes, call, lease.key());
    eyes.learn_signatures(&mut meter, lease.key());
    if hold_empty && head.generation && whole && head.readable && meter_is_empty(&meter) {
        // Its tokens are spent, whatever another attempt gives.
        if let Some(usage) = meter.usage().filter(|_| spends(call)) {
            call.record.usage_aside(usage);
            lease.settle(usage.prompt_tokens, Instant::now());
        }
        return Err((lease, empty(eyes, parts, ahead)));
    }
    let mut watch = Box::new(watch(eyes, call, &head, lease, meter));
    watch.fed = if head.readable { ahead.len() } else { 0 };
    watch.status = parts.status;
    if !parts.status.is_success() {
        watch.witness = None;
    }
    let mut reply = Response::new(Relay::stream(ahead, body, watch));
    *reply.status_mut() = parts.status;
    *reply.headers_mut() = refused::headers_down(eyes, parts.headers);
    Ok(reply)
}

/// A whole answer without content, to be shown where no other attempt has any.
fn empty(eyes: &Eyes, parts: Parts, ahead: VecDeque<Bytes>) -> Box<Failure> {
    let body = Bytes::from(ahead.into_iter().flatten().collect::<Vec<u8>>());
    let answered = Answered { status: parts.status, headers: refused::headers_down(eyes, parts.headers), body };
    Box::new(Failure { answered: Some(answered), error: Some(Error::Busy), ..Failure::of(Verdict::Empty) })
}

/// The watch over an answer of which nothing was passed on yet.
fn watch(eyes: &Eyes, call: &Call, head: &Head, lease: Lease, meter: Meter) -> Watch {
    Watch {
        lease,
        meter,
        witness: witness(eyes, call),
        record: Arc::clone(&call.record),
        eyes: eyes.clone(),
        surface: call.endpoint.surface,
        readable: head.readable,
        events: head.events,
        must_finish: head.must_finish,
        spends: spends(call),
        status: StatusCode::OK,
        withheld: Vec::new(),
        said: None,
        line: Line::default(),
        fed: 0,
        over: false,
    }
}

/// What was served by this key's project lives there.
pub(crate) fn learn_owner(eyes: &Eyes, call: &Call, key: &Key) {
    let Bound::Unknown(resources) = &call.bound else { return };
    for resource in resources.iter() {
        eyes.affinity.learn(resource.clone(), key, None, clock());
    }
}

/// What a client makes where it is free to, it will go on with there, and may at the same time: it is known from here on.
/// Conversations go on wherever they are.
pub(super) fn keep_together(eyes: &Eyes, call: &Call, key: &Key) {
    let Some(makes) = call.endpoint.makes(&call.method) else { return };
    if makes == Makes::Turn || matches!(call.bound, Bound::Free | Bound::Prefers(_)) {
        eyes.affinity.stick(&call.client, makes, key.project());
    }
}

/// Whether a call spends the tokens that its answer tells of. To look at what was made, or to stop it, spends nothing: its
/// tokens were counted when they were spent.
fn spends(call: &Call) -> bool {
    call.method == Method::POST && (call.endpoint.resource.is_none() || call.endpoint.action != Action::Other)
}

/// Who sees what an answer names: where what it makes and names lives is known from then on.
fn witness(eyes: &Eyes, call: &Call) -> Option<Box<Witness>> {
    let endpoint = &call.endpoint;
    if !endpoint.names_resources() {
        return None;
    }
    let resource = endpoint.resource.as_ref().filter(|_| !endpoint.is_upload());
    let (collection, below) = (endpoint.collection(), resource.is_some());
    let (lists, client) = match (&call.method, resource) {
        // What an operation made is its maker's, whoever looks.
        (&Method::GET, Some(resource)) => (true, eyes.affinity.owner(resource).and_then(|owner| owner.client)),
        // Who sees a list made nothing of it; where clients are kept apart, the answer to its maker must tell who that is.
        (&Method::GET, None) if eyes.affinity.isolates(&call.client) => return None,
        (&Method::GET, None) => (true, None),
        (&Method::POST, _) => (collection == "files" && !below, Some(call.client.clone())),
        _ if endpoint.is_upload() => (false, Some(call.client.clone())),
        _ => (false, None),
    };
    let deletes = resource.filter(|resource| call.method == Method::DELETE && endpoint.is_of(resource)).cloned();
    Some(Box::new(Witness::new(Arc::clone(&eyes.affinity), Answer { collection, below, lists }, client, deletes)))
}

/// Ended, or about to, with STOP or no reason at all, and nothing but thoughts in it.
fn meter_is_empty(meter: &Meter) -> bool {
    !meter.has_content() && matches!(meter.finish(), Finish::Open | Finish::Stop)
}

/// A stream of which nothing went on before its error is that error, whose document begins `at` there and is to come within
/// `limit`: its code is in it. What came before is not told, as another attempt may answer in its place. One that is too long,
/// or breaks off, is told anew: its cut may have left half of a key.
async fn error_inside(
    eyes: &Eyes,
    call: &Call,
    ahead: VecDeque<Bytes>,
    at: usize,
    body: reqwest::Body,
    limit: Duration,
) -> Box<Failure> {
    let begun = ahead.into_iter().flatten().skip(at).collect();
    let Words { bytes: text, end } = words::read(begun, body, limit).await;
    let refusal = Refusal::in_stream(&text);
    let status = StatusCode::from_u16(refusal.code).ok().filter(|status| !status.is_success());
    let start = memchr::memchr(b'{', &text).unwrap_or(0);
    let json = serde_json::Deserializer::from_slice(&text[start..]).into_iter::<&serde_json::value::RawValue>().next();
    let body = match (json.and_then(Result::ok), end) {
        (Some(json), _) => json.get().as_bytes(),
        (None, End::Whole) => &text,
        (None, _) => &[],
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json; charset=UTF-8"));
    refused::judged(eyes, call, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), headers, body, refusal)
}
