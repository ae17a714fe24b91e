//! The methods of the API when nothing stands in their way.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Refused};
use crate::mock::catalogue;
use crate::mock::fault::Fault;
use crate::mock::generate;
use crate::mock::openai;
use crate::mock::refusals::Refusal;
use crate::mock::route::{Call, Framing, Route};
use crate::mock::speech::{self, Speech};
use crate::mock::wire::Answer;
use crate::mock::world::World;

/// The kind of everything but streams and pages.
pub(crate) const JSON: &str = "application/json; charset=UTF-8";

/// A call, read.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) route: &'a Route,
    pub(crate) body: Bytes,
    /// The body as JSON; null when it is none.
    pub(crate) json: Value,
}

/// What Google objects to in the call itself.
pub(crate) fn objection(world: &World, question: &Question<'_>, asked: &Asked) -> Option<Refused> {
    let Question { head, route, json, .. } = question;
    let missing = |name: &str, message: &str| {
        let present = json.get(name).is_some_and(|value| !value.is_null());
        (!present).then(|| bodies::plain(400, message))
    };
    if route.call == Call::Unknown {
        return Some(bodies::plain(404, &format!("Requested entity was not found: {}", head.uri.path())));
    }
    if !matches!(route.call, Call::Echo) && head.method == Method::POST && !json.is_object() {
        return Some(bodies::plain(400, "Invalid JSON payload received. Expected an object."));
    }
    let has_model = !matches!(route.call, Call::Echo | Call::Models | Call::ModelsOpenai);
    if has_model && !catalogue::knows(&world.settings().models, &asked.model) {
        return Some(Refusal::ModelNotFound.to(asked, None));
    }
    match route.call {
        Call::Generate(_) => missing("contents", "* GenerateContentRequest.contents: contents is not specified\n"),
        Call::Embed => missing("content", "* EmbedContentRequest.content: content is not specified\n"),
        Call::BatchEmbed => missing("requests", "* BatchEmbedContentsRequest.requests: requests is not specified\n"),
        Call::ChatOpenai => missing("messages", "Missing required field: messages"),
        Call::EmbedOpenai => missing("input", "Missing required field: input"),
        _ => None,
    }
}

/// The input tokens that a call takes from the quota; `None` for one that takes nothing.
pub(crate) fn tokens(question: &Question<'_>) -> Option<u64> {
    let counts = matches!(
        question.route.call,
        Call::Generate(_) | Call::Embed | Call::BatchEmbed | Call::ChatOpenai | Call::EmbedOpenai
    );
    counts.then(|| speech::prompt_tokens(&question.json))
}

/// The answer of a call that nobody refuses.
pub(crate) fn answer(world: &World, question: &Question<'_>, asked: &Asked, faults: &[Fault]) -> Answer {
    let Question { head, route, json, .. } = question;
    let listed = &world.settings().models;
    match route.call {
        Call::Generate(framing) => generated(world, question, framing, asked, faults),
        Call::ChatOpenai => chatted(world, question, asked, faults),
        Call::Models => {
            let fields: Vec<_> = auth::query(head.uri.query().unwrap_or("")).collect();
            let field = |wanted| fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
            match catalogue::page(listed, field("pageSize"), field("pageToken")) {
                Some(page) => whole(&page),
                None => Answer {
                    status: StatusCode::BAD_REQUEST,
                    ..whole(&json!({"error": {
                        "code": 400, "message": "Invalid page token.", "status": "INVALID_ARGUMENT",
                    }}))
                },
            }
        }
        Call::Model => whole(&catalogue::model(&route.model)),
        Call::CountTokens => whole(&generate::count(speech::prompt_tokens(json))),
        Call::Embed => whole(&json!({"embedding": {"values": embed(json)}})),
        Call::BatchEmbed => {
            let all = json["requests"].as_array().map_or(&[][..], Vec::as_slice);
            let all: Vec<Value> = all.iter().map(|request| json!({"values": embed(request)})).collect();
            whole(&json!({"embeddings": all}))
        }
        Call::EmbedOpenai => whole(&openai::embeddings(json, &route.model, speech::prompt_tokens(json))),
        Call::ModelsOpenai => {
            let all: Vec<Value> = catalogue::names(listed).into_iter().map(openai::model).collect();
            whole(&json!({"object": "list", "data": all}))
        }
        Call::ModelOpenai => whole(&openai::model(&route.model)),
        Call::Echo | Call::Unknown | Call::Nowhere => whole(&echo(question)),
    }
}

fn generated(world: &World, question: &Question<'_>, framing: Framing, asked: &Asked, faults: &[Fault]) -> Answer {
    let speech = say(world, question, faults);
    let mut values = generate::content(&speech, framing, &question.route.model, &world.answer_id());
    let error = stream_error(asked, faults, framing, &mut values);
    let lf = faults.contains(&Fault::Lf);
    let mut answer = whole(&Value::Null);
    answer.frames = generate::frames(framing, &values, error.as_ref(), lf);
    answer.streams = framing != Framing::Unary;
    if framing == Framing::Sse {
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer.headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    answer
}

fn chatted(world: &World, question: &Question<'_>, asked: &Asked, faults: &[Fault]) -> Answer {
    let speech = say(world, question, faults);
    let (model, id, created) = (&question.route.model, world.answer_id(), world.unix());
    if question.json["stream"] != true {
        return whole(&openai::completion(&speech, model, &id, created));
    }
    let include_usage = question.json["stream_options"]["include_usage"] == true;
    let mut values = openai::chunks(&speech, model, &id, created, include_usage);
    let error = stream_error(asked, faults, Framing::Openai, &mut values);
    let mut frames = generate::frames(Framing::Openai, &values, error.as_ref(), true);
    if faults.contains(&Fault::Unfinished) {
        frames.pop();
    }
    let mut answer = Answer { frames, streams: true, ..whole(&Value::Null) };
    answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

fn say(world: &World, question: &Question<'_>, faults: &[Fault]) -> Speech {
    let settings = world.settings();
    let (prompt, tokens) = (speech::prompt(&question.json), speech::prompt_tokens(&question.json));
    Speech::new(&prompt, tokens, settings.chunks.max(1), settings.answer_bytes, faults)
}

/// The error that ends a stream, which loses its last frames to it; nothing for an answer that does not stream.
fn stream_error(asked: &Asked, faults: &[Fault], framing: Framing, values: &mut Vec<Value>) -> Option<Value> {
    let (refusal, after) = faults.iter().find_map(|fault| match fault {
        Fault::StreamError(refusal, after) if framing != Framing::Unary => Some((*refusal, *after)),
        _ => None,
    })?;
    values.truncate(after.min(values.len().saturating_sub(1)));
    Some(match refusal.to(asked, None).body {
        bodies::Page::Json(value) => value,
        bodies::Page::Html(page) => json!({"error": {"code": 502, "message": page, "status": "UNAVAILABLE"}}),
    })
}

fn embed(request: &Value) -> Vec<f32> {
    let length =
        request["outputDimensionality"].as_u64().or(request["embedContentConfig"]["outputDimensionality"].as_u64());
    let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(generate::EMBEDDING_LENGTH);
    generate::embedding(&speech::prompt(request), length)
}

/// What arrived, credentials left out: shows what a gateway passes on.
fn echo(question: &Question<'_>) -> Value {
    let Question { head, body, json, .. } = question;
    json!({
        "method": head.method.as_str(),
        "path": auth::without_credentials(head.uri.path_and_query().map_or("", |path| path.as_str())),
        "headers": auth::safe_headers(&head.headers),
        "body": if json.is_null() { json!(String::from_utf8_lossy(body)) } else { json.clone() },
        "body_bytes": body.len(),
    })
}

fn whole(value: &Value) -> Answer {
    let mut headers = headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Answer { status: StatusCode::OK, headers, frames: vec![generate::pretty(value)], streams: false }
}

/// What Google's front end puts on every answer.
pub(crate) fn headers() -> HeaderMap {
    [
        ("server", "scaffolding on HTTPServer2"),
        ("vary", "Origin, X-Origin, Referer"),
        ("x-xss-protection", "0"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-content-type-options", "nosniff"),
        ("server-timing", "gfet4t7; dur=42"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect()
}
