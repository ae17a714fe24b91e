//! The Interactions API: stored turns that others build on, unary, in the background, or as a stream to be resumed.

use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Page, Refused};
use crate::mock::catalogue;
use crate::mock::fault::Fault;
use crate::mock::mint;
use crate::mock::operations::moment;
use crate::mock::question::Question;
use crate::mock::references;
use crate::mock::reply::{refusal, whole};
use crate::mock::shelf::Verb;
use crate::mock::speech::{self, Speech};
use crate::mock::store::Thing;
use crate::mock::wire::Answer;
use crate::mock::world::World;
use crate::secret::Digest;

/// What Google objects to in a new interaction.
pub(crate) fn objection(world: &World, question: &Question<'_>, asked: &Asked) -> Option<Refused> {
    let body = &question.json;
    let invalid = |message: &str| Some(bodies::worded(400, "invalid_request", message));
    for foreign in ["contents", "messages", "generationConfig", "systemInstruction"] {
        if body.get(foreign).is_some() {
            return Some(bodies::worded(400, "parameter_unknown", &format!("Unknown parameter '{foreign}'.")));
        }
    }
    match (body["model"].as_str(), body["agent"].as_str()) {
        (None, None) => return invalid("One of 'model' and 'agent' is required."),
        (Some(_), Some(_)) => return invalid("Only one of 'model' and 'agent' may be given."),
        (Some(_), None) if !catalogue::knows(&world.settings().models, &asked.model) => {
            return Some(bodies::worded(404, "model_not_found", &format!("Model '{}' was not found.", asked.model)));
        }
        (None, Some(agent)) if !agent.starts_with("deep-research-") && !agent.starts_with("antigravity-") => {
            let name = format!("agents/{}", agent.trim_start_matches("agents/"));
            if world.store().find(&asked.project, &name, world.now()).is_none() {
                return Some(references::missing(&name));
            }
        }
        _ => {}
    }
    if body["input"].is_null() {
        return invalid("'input' is required.");
    }
    (body["background"] == true && body["store"] == false)
        .then(|| bodies::worded(400, "invalid_request", "An interaction in the background must be stored."))
}

/// What becomes of a call for interactions that nobody refuses.
pub(crate) fn answer(world: &World, question: &Question<'_>, verb: Verb, asked: &Asked, faults: &[Fault]) -> Answer {
    let name = &question.route.name;
    if verb == Verb::Create {
        return create(world, question, asked, faults);
    }
    let (mut store, now) = (world.store(), world.now());
    let missing = || refusal(references::missing(name), false);
    match verb {
        Verb::Get => {
            let Some(value) = store.poll(&asked.project, name, now) else { return missing() };
            drop(store);
            let query: Vec<_> = auth::query(question.head.uri.query().unwrap_or("")).collect();
            let field = |wanted| query.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
            if field("stream") != Some("true") {
                return whole(&value);
            }
            let events = events(&value, world.settings().chunks);
            let seen = field("last_event_id").filter(|id| !id.is_empty());
            let next = seen.map_or(Some(0), |id| events.iter().position(|it| it["event_id"] == id).map(|at| at + 1));
            let Some(next) = next else {
                return refusal(bodies::worded(416, "out_of_range", "There is no event of this id."), false);
            };
            stream(&events[next..], asked, faults)
        }
        Verb::Delete => {
            if store.remove(&asked.project, name, now).is_none() {
                missing()
            } else {
                whole(&json!({}))
            }
        }
        Verb::Cancel => {
            let Some(thing) = store.find_mut(&asked.project, name, now) else { return missing() };
            if thing.next.take().is_none() {
                let message = "Only an interaction that runs in the background can be cancelled.";
                return refusal(bodies::worded(400, "failed_precondition", message), false);
            }
            thing.value["status"] = json!("cancelled");
            thing.value["updated"] = json!(moment(now));
            whole(&thing.value)
        }
        _ => missing(),
    }
}

fn create(world: &World, question: &Question<'_>, asked: &Asked, faults: &[Fault]) -> Answer {
    let body = &question.json;
    let speech = say(world, question, asked, faults);
    let id = format!("v1_{}", mint::secret());
    let now = moment(world.now());
    let mut done = json!({
        "id": id,
        "object": "interaction",
        "status": if speech.call.is_some() { "requires_action" } else { "completed" },
        "created": now,
        "updated": now,
        "role": "model",
        "service_tier": "standard",
        "steps": steps(&speech),
        "usage": usage(&speech),
    });
    for field in ["model", "agent", "previous_interaction_id"] {
        if let Some(value) = body.get(field) {
            done[field] = value.clone();
        }
    }
    let mut kept = done.clone();
    let text = speech::said(&body["input"]);
    let mut all = vec![json!({"type": "user_input", "content": [{"type": "text", "text": text}]})];
    all.extend(done["steps"].as_array().cloned().unwrap_or_default());
    kept["steps"] = Value::Array(all);
    let background = body["background"] == true;
    let mut open = done.clone();
    if let Some(fields) = open.as_object_mut() {
        fields.remove("usage");
        fields.remove("steps");
    }
    open["status"] = json!("in_progress");
    if body["store"] != false {
        let (value, next) = if background { (open.clone(), Some(kept)) } else { (kept, None) };
        let (project, name) = (asked.project.clone(), format!("interactions/{id}"));
        world.store().put(Thing { project, name, value, next, ..Thing::default() });
    }
    match (body["stream"] == true, background) {
        (true, _) => {
            let mut events = events(&done, speech.pieces.len());
            if faults.contains(&Fault::Unfinished) {
                events.truncate(events.len() - 1);
            }
            stream(&events, asked, faults)
        }
        (false, true) => whole(&open),
        (false, false) => whole(&done),
    }
}

fn say(world: &World, question: &Question<'_>, asked: &Asked, faults: &[Fault]) -> Speech {
    let settings = world.settings();
    let body = &question.json;
    let before = body["previous_interaction_id"].as_str().map(|id| format!("interactions/{id}"));
    let carried = before.and_then(|name| {
        let (store, now) = (world.store(), world.now());
        store.find(&asked.project, &name, now).and_then(|it| it.value["usage"]["total_tokens"].as_u64())
    });
    let tokens = speech::prompt_tokens(body) + carried.unwrap_or(0);
    Speech::of(body, &speech::said(&body["input"]), tokens, settings.chunks.max(1), settings.answer_bytes, faults)
}

fn steps(speech: &Speech) -> Value {
    let mut steps = Vec::new();
    if let Some(thought) = speech.thought {
        steps.push(json!({"type": "thought", "summary": [{"type": "text", "text": thought}], "signature": "bW9jaw=="}));
    }
    match &speech.call {
        Some(call) => steps.push(json!({
            "type": "function_call",
            "id": format!("call_{}", mint::id()),
            "name": call.name,
            "arguments": call.arguments,
        })),
        None if speech.text().is_empty() => {}
        None => steps.push(json!({"type": "model_output", "content": [{"type": "text", "text": speech.text()}]})),
    }
    Value::Array(steps)
}

fn usage(speech: &Speech) -> Value {
    let (prompt, thoughts) = (speech.prompt_tokens, speech.thought_tokens());
    let output = speech.answer_tokens(speech.pieces.len());
    json!({
        "total_input_tokens": prompt,
        "input_tokens_by_modality": [{"modality": "text", "tokens": prompt}],
        "total_cached_tokens": speech.cached_tokens,
        "total_output_tokens": output,
        "total_tool_use_tokens": 0,
        "total_thought_tokens": thoughts,
        "total_tokens": prompt + output + thoughts,
    })
}

/// The events that tell of a finished interaction, each with the id to resume behind it.
fn events(done: &Value, chunks: usize) -> Vec<Value> {
    let mut begun = done.clone();
    let mut ended = done.clone();
    for value in [&mut begun, &mut ended] {
        if let Some(fields) = value.as_object_mut() {
            fields.remove("steps");
        }
    }
    begun["status"] = json!("in_progress");
    if let Some(fields) = begun.as_object_mut() {
        fields.remove("usage");
    }
    let mut events = vec![
        json!({"event_type": "interaction.created", "interaction": begun}),
        json!({"event_type": "interaction.status_update", "interaction_id": done["id"], "status": "in_progress"}),
    ];
    let steps = done["steps"].as_array().into_iter().flatten().filter(|step| step["type"] != "user_input");
    for (index, step) in steps.enumerate() {
        let (start, deltas) = unfold(step, chunks);
        events.push(json!({"event_type": "step.start", "index": index, "step": start}));
        for delta in deltas {
            events.push(json!({"event_type": "step.delta", "index": index, "delta": delta}));
        }
        events.push(json!({"event_type": "step.stop", "index": index}));
    }
    events.push(json!({"event_type": "interaction.completed", "interaction": ended}));
    let id = done["id"].as_str().unwrap_or("");
    for (at, event) in events.iter_mut().enumerate() {
        event["event_id"] = json!(format!("{at:04}-{}", &Digest::of(id.as_bytes()).to_string()[..12]));
    }
    events
}

/// How a step begins, and what is added to it.
fn unfold(step: &Value, chunks: usize) -> (Value, Vec<Value>) {
    match step["type"].as_str() {
        Some("model_output") => {
            let text = step["content"][0]["text"].as_str().unwrap_or("");
            let pieces = speech::pieces(text, chunks.max(1));
            let deltas = pieces.iter().map(|piece| json!({"type": "text", "text": piece})).collect();
            (json!({"type": "model_output"}), deltas)
        }
        Some("function_call") => {
            let start = json!({"type": "function_call", "id": step["id"], "name": step["name"], "arguments": {}});
            (start, vec![json!({"type": "arguments_delta", "arguments": step["arguments"].to_string()})])
        }
        _ => {
            let summary = json!({"type": "thought_summary", "content": step["summary"][0]});
            let signature = json!({"type": "thought_signature", "signature": step["signature"]});
            (json!({"type": "thought"}), vec![summary, signature])
        }
    }
}

/// Server-sent events as this API writes them: named, and ended by `done`.
fn stream(events: &[Value], asked: &Asked, faults: &[Fault]) -> Answer {
    let error = faults.iter().find_map(|fault| match fault {
        Fault::StreamError(refusal, after) => Some((*refusal, *after)),
        _ => None,
    });
    let mut events = events.to_vec();
    let whole_stream = events.last().is_some_and(|event| event["event_type"] == "interaction.completed");
    if let Some((reason, after)) = error {
        events.truncate(after.min(events.len().saturating_sub(1)));
        events.push(json!({"event_type": "error", "error": worded(reason.to(asked, None))}));
    }
    let written = events.iter().map(|event| {
        let kind = event["event_type"].as_str().unwrap_or("");
        Bytes::from(format!("event: {kind}\ndata: {event}\n\n"))
    });
    let done = (whole_stream && error.is_none()).then(|| Bytes::from_static(b"event: done\ndata: [DONE]\n\n"));
    let mut answer = Answer { frames: written.chain(done).collect(), streams: true, ..whole(&Value::Null) };
    answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

/// An error in the words of this API, whoever refuses.
fn worded(refused: Refused) -> Value {
    let Page::Json(body) = refused.body else {
        return json!({"code": "internal", "message": "An internal error has occurred."});
    };
    let error = &body["error"];
    let code = match refused.status {
        _ if error["code"].is_string() => error["code"].as_str().unwrap_or("").to_owned(),
        429 => "rate_limit_exceeded".to_owned(),
        _ => error["status"].as_str().unwrap_or("INTERNAL").to_ascii_lowercase(),
    };
    json!({"code": code, "message": error["message"]})
}
