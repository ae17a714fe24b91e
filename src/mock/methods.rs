//! The methods of the API when nothing stands in their way.

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::batches;
use crate::mock::bodies::{self, Asked, Refused};
use crate::mock::catalogue;
use crate::mock::fault::Fault;
use crate::mock::generate;
use crate::mock::interactions;
use crate::mock::openai;
use crate::mock::openai_files;
use crate::mock::pictures;
use crate::mock::question::Question;
use crate::mock::references;
use crate::mock::refusals::Refusal;
use crate::mock::reply::whole;
use crate::mock::resources;
use crate::mock::route::{Call, Framing};
use crate::mock::shelf::Verb;
use crate::mock::signatures;
use crate::mock::speech::{self, Speech};
use crate::mock::wire::Answer;
use crate::mock::world::World;

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
    if !route.may_be_without_json() && head.method == Method::POST && !json.is_object() {
        return Some(bodies::plain(400, "Invalid JSON payload received. Expected an object."));
    }
    if route.needs_model() && !catalogue::knows(&world.settings().models, &asked.model) {
        return Some(Refusal::ModelNotFound.to(asked, None));
    }
    let fault = match route.call {
        Call::Generate(_) => missing("contents", "* GenerateContentRequest.contents: contents is not specified\n"),
        Call::Embed => missing("content", "* EmbedContentRequest.content: content is not specified\n"),
        Call::BatchEmbed => missing("requests", "* BatchEmbedContentsRequest.requests: requests is not specified\n"),
        Call::Interactions(Verb::Create) => interactions::objection(world, question, asked),
        Call::BatchGenerate | Call::AsyncBatchEmbed => missing("batch", "* batch: batch is not specified\n"),
        Call::Predict | Call::PredictLong => missing("instances", "* instances: instances is not specified\n"),
        Call::ChatOpenai => missing("messages", "Missing required field: messages").or_else(|| {
            let wrong = "Invalid value at 'messages': a list of messages is expected.";
            (!json["messages"].is_array()).then(|| bodies::plain(400, wrong))
        }),
        Call::BatchesOpenai(Verb::Create) => missing("input_file_id", "Missing required field: input_file_id"),
        Call::ImagesOpenai | Call::FilmsOpenai(Verb::Create) => missing("prompt", "Missing required field: prompt"),
        Call::EmbedOpenai => missing("input", "Missing required field: input"),
        _ => None,
    };
    fault.or_else(|| foreign(world, question, asked))
}

/// The refusal for the first resource named in the body that is not the project's.
fn foreign(world: &World, question: &Question<'_>, asked: &Asked) -> Option<Refused> {
    if question.route.call == Call::Echo {
        return None;
    }
    let (store, now) = (world.store(), world.now());
    let names = references::names(&question.json);
    let name = names.iter().find(|name| store.find(&asked.project, name, now).is_none())?;
    Some(references::missing(name))
}

/// The input tokens that a call takes from the quota; `None` for one that takes nothing.
pub(crate) fn tokens(question: &Question<'_>) -> Option<u64> {
    let counts = matches!(
        question.route.call,
        Call::Generate(_)
            | Call::Embed
            | Call::BatchEmbed
            | Call::ChatOpenai
            | Call::EmbedOpenai
            | Call::Interactions(Verb::Create)
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
        Call::BatchGenerate | Call::AsyncBatchEmbed => batches::answer(world, question, asked),
        Call::Predict => whole(&pictures::predictions(json)),
        Call::PredictLong => whole(&pictures::film(world, asked)),
        Call::FilesOpenai(verb) => openai_files::files(world, question, verb, asked),
        Call::BatchesOpenai(Verb::Create) => whole(&openai_files::batch_shown(&batches::taken(world, question, asked))),
        Call::BatchesOpenai(verb) => openai_files::batches(world, question, verb, asked),
        Call::ImagesOpenai => whole(&openai_files::pictures(json, world.unix())),
        Call::FilmsOpenai(verb) => openai_files::films(world, question, verb, asked),
        Call::Interactions(verb) => interactions::answer(world, question, verb, asked, faults),
        Call::Resource(_) => resources::answer(world, question, asked),
        Call::Echo | Call::Unknown | Call::Upload | Call::Nowhere => whole(&echo(question)),
    }
}

fn generated(world: &World, question: &Question<'_>, framing: Framing, asked: &Asked, faults: &[Fault]) -> Answer {
    let speech = say(world, question, asked, faults);
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
    let speech = say(world, question, asked, faults);
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

fn say(world: &World, question: &Question<'_>, asked: &Asked, faults: &[Fault]) -> Speech {
    let settings = world.settings();
    let cached = cached_tokens(world, question, asked);
    let (prompt, tokens) = (speech::prompt(&question.json), speech::prompt_tokens(&question.json));
    let (chunks, least) = (settings.chunks.max(1), settings.answer_bytes);
    let speech = Speech::of(&question.json, &prompt, tokens + cached, chunks, least, faults);
    let cached =
        if cached > 0 { cached } else { world.met_before(&asked.project, &asked.model, &question.json).min(tokens) };
    let signed = faults.contains(&Fault::Signed);
    let signature = signed.then(|| signatures::of(&asked.project, &world.answer_id()));
    Speech { cached_tokens: cached, signature, ..speech }
}

/// The tokens of the cached content that a prompt stands on.
fn cached_tokens(world: &World, question: &Question<'_>, asked: &Asked) -> u64 {
    let names = references::names(&question.json);
    let Some(name) = names.iter().find(|name| name.starts_with("cachedContents/")) else { return 0 };
    let (store, now) = (world.store(), world.now());
    let cache = store.find(&asked.project, name, now);
    cache.and_then(|cache| cache.value["usageMetadata"]["totalTokenCount"].as_u64()).unwrap_or(0)
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
