//! One call from its head to its answer: who asks, what is asked, what a script or a quota says to it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Page, Refused};
use crate::mock::control;
use crate::mock::fault::{Fault, Place};
use crate::mock::generate;
use crate::mock::journal::{BODY_KEPT_MAX, Ending, OpenCall, SeenCall};
use crate::mock::line::Line;
use crate::mock::methods::{self, Question};
use crate::mock::pages;
use crate::mock::quota::Work;
use crate::mock::refusals::Refusal;
use crate::mock::route::{Call, Route};
use crate::mock::script::{Script, Subject};
use crate::mock::wire::{self, Answer, AnswerBody, Step};
use crate::mock::world::World;
use crate::secret::Digest;

/// What Google takes inline, with room for its envelope.
const BODY_MAX: usize = 128 << 20;

/// Answers one request, or breaks its line.
pub(crate) async fn answer(
    world: Arc<World>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let (head, body) = request.into_parts();
    if control::owns(&head.uri) {
        let body = Limited::new(body, 1 << 20).collect().await.map(Collected::to_bytes).unwrap_or_default();
        let answer = control::answer(&world, &head.method, &head.uri, &body);
        return Ok(respond(&answer, wire::plan(&answer, Duration::ZERO, 1, &[]), line, None));
    }
    let mut route = Route::parse(&head.method, &head.uri);
    let call = world.journal().enter(head_of(&head, &line, &route));
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let answer = refusal(bodies::plain(400, "Request payload size exceeds the limit."), &route);
            call.note(|call| call.status = 400);
            return Ok(respond(&answer, wire::plan(&answer, Duration::ZERO, 1, &[]), line, Some(call)));
        }
        Err(_) => {
            drop(call);
            return broken_off(&line).await;
        }
    };
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if matches!(route.call, Call::ChatOpenai | Call::EmbedOpenai) {
        json["model"].as_str().unwrap_or("").trim_start_matches("models/").clone_into(&mut route.model);
    }
    call.note(|call| {
        call.model.clone_from(&route.model);
        call.body = Bytes::copy_from_slice(&body[..body.len().min(BODY_KEPT_MAX)]);
        call.body_bytes = body.len() as u64;
        call.body_digest = Some(Digest::of(&body));
    });
    let (answer, script) = decide(&world, &route, &head, &call, &Question { head: &head, route: &route, body, json });
    call.note(|call| call.script = script.as_ref().map(ToString::to_string));
    let faults = script.map(|script| script.faults).unwrap_or_default();
    if let Some(patience) = patience(&head).filter(|patience| *patience < wait(&world, &faults)) {
        tokio::time::sleep(patience).await;
        let answer = refusal(Refusal::DeadlineExceeded.to(&Asked::default(), None), &route);
        call.note(|call| call.status = answer.status.as_u16());
        return Ok(respond(&answer, wire::plan(&answer, Duration::ZERO, 1, &[]), line, Some(call)));
    }
    finish(&world, answer, &faults, line, call).await
}

/// Waits, then answers; or breaks the line before the head.
async fn finish(
    world: &World,
    answer: Answer,
    faults: &[Fault],
    line: Arc<Line>,
    call: OpenCall,
) -> Result<Response<AnswerBody>, Infallible> {
    let wait = wait(world, faults);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let broken = |fault: &&Fault| matches!(fault, Fault::Cut(Place::Head) | Fault::Reset(Place::Head));
    if let Some(fault) = faults.iter().find(broken) {
        call.end(Ending::Broken);
        if matches!(fault, Fault::Reset(_)) {
            line.reset();
        }
        return broken_off(&line).await;
    }
    call.note(|call| call.status = answer.status.as_u16());
    let settings = world.settings();
    let steps = wire::plan(&answer, settings.chunk_interval, settings.chunks, faults);
    Ok(respond(&answer, steps, line, Some(call)))
}

/// The time before the head.
fn wait(world: &World, faults: &[Fault]) -> Duration {
    let delays = faults.iter().filter_map(|fault| if let Fault::Delay(wait) = fault { Some(*wait) } else { None });
    world.settings().latency + delays.sum::<Duration>()
}

/// How long the caller lets Google work, in seconds of `X-Server-Timeout`.
fn patience(head: &Parts) -> Option<Duration> {
    let seconds = head.headers.get("x-server-timeout")?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|patience| !patience.is_zero())
}

/// Ends the line; the future that waits here is dropped with it.
async fn broken_off(line: &Line) -> Result<Response<AnswerBody>, Infallible> {
    line.close();
    std::future::pending().await
}

pub(crate) fn respond(
    answer: &Answer,
    steps: VecDeque<Step>,
    line: Arc<Line>,
    call: Option<OpenCall>,
) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::new(answer, steps, line, call));
    *response.status_mut() = answer.status;
    response.headers_mut().clone_from(&answer.headers);
    response
}

/// A call as its head tells it.
pub(crate) fn head_of(head: &Parts, line: &Line, route: &Route) -> SeenCall {
    SeenCall {
        id: 0,
        at: Instant::now(),
        connection: line.number,
        version: head.version,
        method: head.method.clone(),
        path_and_query: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers.clone(),
        credentials: auth::credentials(&head.uri, &head.headers),
        key: None,
        project: None,
        model: route.model.clone(),
        action: route.action.clone(),
        body: Bytes::new(),
        body_bytes: 0,
        body_digest: None,
        script: None,
        status: 0,
        bytes_sent: 0,
        writes: 0,
        close_heard: None,
        ending: Ending::Open,
        ended_at: None,
    }
}

/// The answer, and the script that bends it.
fn decide(
    world: &World,
    route: &Route,
    head: &Parts,
    call: &OpenCall,
    question: &Question<'_>,
) -> (Answer, Option<Script>) {
    let mut asked = Asked {
        model: route.model.clone(),
        version: route.version.clone(),
        action: route.action.clone(),
        work: if matches!(route.call, Call::Embed | Call::BatchEmbed | Call::EmbedOpenai) {
            Work::Embed
        } else {
            Work::Generate
        },
        ..Asked::default()
    };
    let refuse = |refusal_: Refusal, asked: &Asked| (refusal(refusal_.to(asked, None), route), None);
    if route.call == Call::Nowhere {
        return (refusal(Refused { status: 404, body: Page::Html(pages::NOT_FOUND) }, route), None);
    }
    match auth::key(&auth::credentials(&head.uri, &head.headers), route.openai) {
        Ok(key) => asked.key = key,
        Err(reason) => return refuse(reason, &asked),
    }
    let Some(holder) = world.holder(&asked.key) else { return refuse(Refusal::ApiKeyInvalid, &asked) };
    asked.tier = holder.tier;
    asked.consumer = holder.consumer();
    call.note(|call| {
        call.key = Some(asked.key.clone());
        call.project = Some(holder.project.clone());
    });
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let subject =
        Subject { key: &asked.key, project: &holder.project, model: &route.model, action: &route.action, path };
    // What Google would not even read costs no quota; a script may still bend it.
    let objection = methods::objection(world, question, &asked);
    let tokens = methods::tokens(question).filter(|_| objection.is_none());
    let script = match world.judge(&subject, &holder, tokens) {
        Ok(script) => script.unwrap_or_default(),
        Err(shortage) => return (refusal(bodies::quota_exceeded(&asked, &shortage), route), None),
    };
    let mut answer = match (script.refusal(), objection) {
        (Some((reason, retry)), _) => refusal(reason.to(&asked, retry), route),
        (None, Some(refused)) => refusal(refused, route),
        (None, None) => methods::answer(world, question, &asked, &script.faults),
    };
    bend(&mut answer, &script, &asked);
    let played = !script.faults.is_empty() || !script.headers.is_empty() || script.body.is_some();
    (answer, played.then_some(script))
}

/// Puts the script's own status, headers and body in place of the answer's.
fn bend(answer: &mut Answer, script: &Script, asked: &Asked) {
    let status =
        script.faults.iter().find_map(|fault| if let Fault::Status(code) = fault { Some(*code) } else { None });
    if let Some(status) = status {
        answer.status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        if script.refusal().is_none() {
            answer.frames.clear();
            answer.streams = false;
        }
    }
    if let Some(body) = &script.body {
        answer.frames = vec![body.replace("{key}", &asked.key).into()];
        answer.streams = false;
    }
    for (name, value) in &script.headers {
        let value = HeaderValue::from_str(&value.replace("{key}", &asked.key));
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value) {
            answer.headers.insert(name, value);
        }
    }
}

/// Refuses a call that gets no further than its head.
pub(crate) fn refuse(refused: Refused, route: &Route, line: Arc<Line>, call: OpenCall) -> Response<AnswerBody> {
    let answer = refusal(refused, route);
    call.note(|call| call.status = answer.status.as_u16());
    respond(&answer, wire::plan(&answer, Duration::ZERO, 1, &[]), line, Some(call))
}

/// A refusal as it goes out: wrapped in an array where Google wraps it.
fn refusal(refused: Refused, route: &Route) -> Answer {
    let (kind, body) = match refused.body {
        Page::Html(page) => ("text/html; charset=UTF-8", Bytes::from_static(page.as_bytes())),
        Page::Json(value) if route.errors_in_array() => (methods::JSON, generate::pretty(&json!([value]))),
        Page::Json(value) => (methods::JSON, generate::pretty(&value)),
    };
    let mut headers = methods::headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer { status, headers, frames: vec![body], streams: false }
}
