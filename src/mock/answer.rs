//! One call from its head to its answer: who asks, what is asked, what a script or a quota says to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Page, Refused};
use crate::mock::control;
use crate::mock::delivery::{self, Delivered};
use crate::mock::door;
use crate::mock::journal::{BODY_KEPT_MAX, Ending, OpenCall, SeenCall};
use crate::mock::line::Line;
use crate::mock::methods;
use crate::mock::multipart;
use crate::mock::pages;
use crate::mock::question::Question;
use crate::mock::quota::{Measure, Shortage};
use crate::mock::reply;
use crate::mock::route::{Call, Route};
use crate::mock::script::Script;
use crate::mock::signatures;
use crate::mock::upload;
use crate::mock::wire::{self, Answer};
use crate::mock::world::World;
use crate::secret::Digest;

/// What Google takes inline, with room for its envelope.
const BODY_MAX: usize = 128 << 20;

/// Answers one request, or breaks its line.
pub(crate) async fn answer(world: Arc<World>, line: Arc<Line>, request: Request<Incoming>) -> Delivered {
    let (head, body) = request.into_parts();
    if control::owns(&head.uri) {
        let body = Limited::new(body, 1 << 20).collect().await.map(Collected::to_bytes).unwrap_or_default();
        let answer = control::answer(&world, &head.method, &head.uri, &body);
        return Ok(delivery::respond(&answer, wire::plan(&answer, Duration::ZERO, 1, &[]), line, None));
    }
    let mut route = Route::parse(&head.method, &head.uri);
    if route.call == Call::Upload {
        route.action = upload::action(&head).to_owned();
    }
    let call = world.journal().enter(seen(&head, &line, &route));
    if lacks_length(&head) {
        let refused = Refused { status: 411, body: Page::Html(pages::LENGTH_REQUIRED) };
        return Ok(delivery::at_once(&reply::refusal(refused, false), line, call));
    }
    if route.call == Call::Upload {
        return upload::answer(&world, &route, &head, body, line, call).await;
    }
    let in_array = route.errors_in_array();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let refused = bodies::plain(400, "Request payload size exceeds the limit.");
            return Ok(delivery::at_once(&reply::refusal(refused, in_array), line, call));
        }
        Err(_) => {
            drop(call);
            return delivery::broken_off(&line).await;
        }
    };
    // To Google's own API no body is a message with nothing in it; OpenAI's dialect wants one.
    let empty = body.is_empty() && head.method == Method::POST && !route.openai && route.call != Call::Echo;
    let message: &[u8] = if empty { b"{}" } else { &body };
    let json = serde_json::from_slice(message).unwrap_or_else(|_| multipart::fields(&head.headers, &body));
    if route.names_model_in_body() {
        let named = json["model"].as_str().or(json["agent"].as_str()).unwrap_or("");
        named.trim_start_matches("models/").clone_into(&mut route.model);
    }
    call.note(|call| {
        call.model.clone_from(&route.model);
        call.body = Bytes::copy_from_slice(&body[..body.len().min(BODY_KEPT_MAX)]);
        call.body_bytes = body.len() as u64;
        call.body_digest = Some(Digest::of(&body));
    });
    if route.call == Call::Nowhere {
        let refused = Refused { status: 404, body: Page::Html(pages::NOT_FOUND) };
        return delivery::deliver(&world, &head, reply::refusal(refused, in_array), None, in_array, line, call).await;
    }
    let question = Question { head: &head, route: &route, body, json };
    let (answer, script) = decide(&world, &call, &question);
    delivery::deliver(&world, &head, answer, script, in_array, line, call).await
}

/// Whether the edge cannot know where the request ends, as it sees it: a `POST` without a body says so.
fn lacks_length(head: &Parts) -> bool {
    matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
        && matches!(head.version, Version::HTTP_10 | Version::HTTP_11)
        && !head.headers.contains_key(CONTENT_LENGTH)
        && !head.headers.contains_key(TRANSFER_ENCODING)
}

/// A call as its head tells it.
pub(crate) fn seen(head: &Parts, line: &Line, route: &Route) -> SeenCall {
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
fn decide(world: &World, call: &OpenCall, question: &Question<'_>) -> (Answer, Option<Script>) {
    let Question { head, route, .. } = question;
    let in_array = route.errors_in_array();
    let (asked, holder) = match door::admit(world, route, head, call) {
        Ok(admitted) => admitted,
        Err(refused) => return (reply::refusal(refused, in_array), None),
    };
    // What Google would not even read costs no quota; a script may still bend it.
    let objection = methods::objection(world, question, &asked);
    let tokens = methods::tokens(question).filter(|_| objection.is_none());
    let script = match world.judge(&door::subject(&asked, head), &holder, tokens) {
        Ok(script) => script.unwrap_or_default(),
        Err(shortage) => return (reply::refusal(short(route, &asked, &shortage), in_array), None),
    };
    let objection = objection.or_else(|| signatures::objection(&question.json, &asked, &script.faults));
    let mut answer = match (script.refusal(), objection) {
        (Some((reason, retry)), _) => reply::refusal(reason.to(&asked, retry), in_array),
        (None, Some(refused)) => reply::refusal(refused, in_array),
        (None, None) => methods::answer(world, question, &asked, &script.faults),
    };
    reply::bend(&mut answer, &script, &asked.key);
    (answer, script.plays().then_some(script))
}

/// The refusal for a spent quota, in the words of the API that was called.
fn short(route: &Route, asked: &Asked, shortage: &Shortage) -> Refused {
    if !matches!(route.call, Call::Interactions(_)) {
        return bodies::quota_exceeded(asked, shortage);
    }
    let day = shortage.violations.iter().any(|violation| violation.measure == Measure::DayRequests);
    let code = if day { "quota_exceeded" } else { "rate_limit_exceeded" };
    bodies::worded(
        429,
        code,
        &format!("You exceeded your current quota. Please retry in {}s.", shortage.retry.as_secs()),
    )
}
