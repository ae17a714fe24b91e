//! Files, batches, pictures and films in the shapes of `OpenAI`, over the same resources as Google's own.

use http::{HeaderValue, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Refused};
use crate::mock::content::Content;
use crate::mock::files::{self, Label};
use crate::mock::generate::PNG;
use crate::mock::mint;
use crate::mock::multipart;
use crate::mock::pictures::PICTURES_MAX;
use crate::mock::question::Question;
use crate::mock::references;
use crate::mock::reply::{bare, refusal, whole};
use crate::mock::shelf::Verb;
use crate::mock::store::Thing;
use crate::mock::wire::Answer;
use crate::mock::world::World;

/// How many resources a list shows when no limit is asked for, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// What becomes of a call for files.
pub(crate) fn files(world: &World, question: &Question<'_>, verb: Verb, asked: &Asked) -> Answer {
    let name = &question.route.name;
    let (mut store, now) = (world.store(), world.now());
    let found = store.find(&asked.project, name, now).cloned();
    let missing = || refusal(references::missing(name), true);
    match (verb, found) {
        (Verb::Create, _) => {
            let Some(file) = sent(question, asked, now) else {
                return refusal(bodies::plain(400, "A form with a field `file` is expected."), true);
            };
            let shown = file_shown(&file.value);
            store.put(file);
            whole(&shown)
        }
        (Verb::List, _) => {
            drop(store);
            list(world, question, asked, "files", file_shown)
        }
        (Verb::Get, Some(thing)) => whole(&file_shown(&thing.value)),
        (Verb::Delete, Some(_)) => {
            store.remove(&asked.project, name, now);
            whole(&json!({"id": name, "object": "file", "deleted": true}))
        }
        (Verb::Download, Some(Thing { content: Some(content), value, .. })) => {
            let mut answer = Answer { frames: content.pieces(), ..bare() };
            let mime = HeaderValue::from_str(value["mimeType"].as_str().unwrap_or(""));
            let mime = mime.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            answer.headers.insert(header::CONTENT_TYPE, mime);
            answer
        }
        _ => missing(),
    }
}

/// What becomes of a call for batches, but for their making.
pub(crate) fn batches(world: &World, question: &Question<'_>, verb: Verb, asked: &Asked) -> Answer {
    let name = &question.route.name;
    let now = world.now();
    if verb == Verb::List {
        return list(world, question, asked, "batches", batch_shown);
    }
    let mut store = world.store();
    if verb == Verb::Cancel
        && let Some(thing) = store.find_mut(&asked.project, name, now).filter(|thing| thing.next.is_some())
    {
        thing.next = None;
        thing.value["done"] = json!(true);
        thing.value["metadata"]["state"] = json!("BATCH_STATE_CANCELLED");
    }
    match store.poll(&asked.project, name, now) {
        Some(value) => whole(&batch_shown(&value)),
        None => refusal(references::missing(name), true),
    }
}

/// A batch, native as it is stored, as `OpenAI` shows one.
pub(crate) fn batch_shown(value: &Value) -> Value {
    let metadata = &value["metadata"];
    let status = match metadata["state"].as_str() {
        Some("BATCH_STATE_SUCCEEDED") => "completed",
        Some("BATCH_STATE_CANCELLED") => "cancelled",
        Some("BATCH_STATE_FAILED") => "failed",
        _ => "in_progress",
    };
    let counted = &metadata["batchStats"];
    let count = |name: &str| counted[name].as_str().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    let mut shown = json!({
        "id": value["name"],
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "status": status,
        "created_at": seconds(&metadata["createTime"]),
        "input_file_id": metadata["inputConfig"]["fileName"],
        "request_counts": {"total": count("requestCount"), "completed": count("successfulRequestCount"), "failed": 0},
    });
    if status == "completed" {
        shown["output_file_id"] = metadata["output"]["responsesFile"].clone();
        shown["completed_at"] = seconds(&metadata["endTime"]);
    }
    shown
}

/// Pictures, each as base64.
pub(crate) fn pictures(body: &Value, created: i64) -> Value {
    let count = body["n"].as_u64().unwrap_or(1).clamp(1, PICTURES_MAX);
    json!({"created": created, "data": (0..count).map(|_| json!({"b64_json": PNG})).collect::<Vec<_>>()})
}

/// Begins a film, or tells how far it is.
pub(crate) fn films(world: &World, question: &Question<'_>, verb: Verb, asked: &Asked) -> Answer {
    let mut store = world.store();
    if verb == Verb::Create {
        let id = mint::id();
        let name = format!("videos/{id}");
        let (model, created) = (&question.json["model"], world.now().as_second());
        let open = json!({"id": id, "object": "video", "status": "queued", "model": model, "created_at": created});
        let mut done = open.clone();
        done["status"] = json!("completed");
        done["progress"] = json!(100);
        let project = asked.project.clone();
        store.put(Thing { project, name, value: open.clone(), next: Some(done), ..Thing::default() });
        return whole(&open);
    }
    match store.poll(&asked.project, &question.route.name, world.now()) {
        Some(value) => whole(&value),
        None => refusal(references::missing(&question.route.name), true),
    }
}

/// The file that a form holds.
fn sent(question: &Question<'_>, asked: &Asked, now: Timestamp) -> Option<Thing> {
    let parts = multipart::parts(&question.head.headers, &question.body)?;
    let file = parts.iter().find(|part| part.parameter("name") == Some("file"))?;
    let label = Label {
        display_name: file.parameter("filename").map(str::to_owned),
        mime: file.header("content-type").map(str::to_owned),
        ..Label::default()
    };
    Some(files::file(&asked.project, &label, "UPLOADED", Content::of(file.body), now))
}

fn file_shown(value: &Value) -> Value {
    let bytes = value["sizeBytes"].as_str().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
    let shown = value.get("displayName").unwrap_or(&value["name"]);
    json!({
        "id": value["name"],
        "object": "file",
        "bytes": bytes,
        "created_at": seconds(&value["createTime"]),
        "expires_at": seconds(&value["expirationTime"]),
        "filename": shown,
        "purpose": if value["source"] == "GENERATED" { "batch_output" } else { "batch" },
        "status": "processed",
    })
}

/// A list from behind the id that `after` names.
fn list(world: &World, question: &Question<'_>, asked: &Asked, collection: &str, shown: fn(&Value) -> Value) -> Answer {
    let query: Vec<_> = auth::query(question.head.uri.query().unwrap_or("")).collect();
    let field = |wanted| query.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let limit = field("limit").and_then(|limit| limit.parse().ok()).unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let store = world.store();
    let all = store.page(&asked.project, collection, usize::MAX, None, world.now());
    let all = all.map(|page| page.values).unwrap_or_default();
    let after = field("after").map(|id| all.iter().position(|value| value["name"] == id));
    let start = match after {
        Some(None) => return refusal(unknown_cursor(), true),
        Some(Some(at)) => at + 1,
        None => 0,
    };
    let data: Vec<Value> = all.iter().skip(start).take(limit).map(shown).collect();
    let id = |value: Option<&Value>| value.map_or(Value::Null, |value| value["id"].clone());
    whole(&json!({
        "object": "list",
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "has_more": all.len() > start + limit,
        "data": data,
    }))
}

fn unknown_cursor() -> Refused {
    bodies::plain(400, "`after` names nothing of this list.")
}

fn seconds(moment: &Value) -> Value {
    json!(moment.as_str().and_then(|text| text.parse::<Timestamp>().ok()).map(Timestamp::as_second))
}
