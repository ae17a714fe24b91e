//! Batches: prompts that are taken now and answered when they are asked for.

use serde_json::{Value, json};

use crate::mock::bodies::Asked;
use crate::mock::content::Content;
use crate::mock::files::{self, Label};
use crate::mock::generate;
use crate::mock::mint;
use crate::mock::openai;
use crate::mock::operations::{kind, moment};
use crate::mock::question::Question;
use crate::mock::references;
use crate::mock::reply::whole;
use crate::mock::route::{Call, Framing};
use crate::mock::speech::{self, Speech};
use crate::mock::store::Thing;
use crate::mock::wire::Answer;
use crate::mock::world::World;

/// One request of a batch, with what its sender knows it by.
struct Entry {
    request: Value,
    metadata: Value,
    key: Value,
}

/// How a batch is given and shown.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Generate,
    Embed,
    Openai,
}

/// Takes a batch of a file in `OpenAI`'s shape; gives it as Google's own shape is stored.
pub(crate) fn taken(world: &World, question: &Question<'_>, asked: &Asked) -> Value {
    let file = question.json["input_file_id"].as_str().and_then(references::file_of);
    let entries = file.as_deref().map(|name| of_file(world, asked, name)).unwrap_or_default();
    let batch = json!({"inputConfig": {"fileName": file}});
    enter(world, asked, &batch, &entries, true, Kind::Openai)
}

/// Takes a batch: the operation `batches/ID`, which is done when it is first asked for.
pub(crate) fn answer(world: &World, question: &Question<'_>, asked: &Asked) -> Answer {
    let kind = if question.route.call == Call::AsyncBatchEmbed { Kind::Embed } else { Kind::Generate };
    let batch = question.json.get("batch").unwrap_or(&question.json);
    let input = batch.get("inputConfig").or(batch.get("input_config")).unwrap_or(&Value::Null);
    let file = ["fileName", "file_name"].iter().find_map(|name| input[*name].as_str()).and_then(references::file_of);
    let entries = file.as_deref().map_or_else(|| inlined(input), |name| of_file(world, asked, name));
    whole(&enter(world, asked, batch, &entries, file.is_some(), kind))
}

/// Answers every entry, puts the answers where they belong, and gives the operation as it begins.
fn enter(world: &World, asked: &Asked, batch: &Value, entries: &[Entry], to_file: bool, kind: Kind) -> Value {
    let answered: Vec<Value> = entries.iter().map(|entry| answer_one(world, entry, &asked.model, kind)).collect();
    let id = mint::id();
    let output = if to_file {
        let lines = entries.iter().zip(&answered).map(|(entry, response)| format!("{}\n", line(entry, response, kind)));
        let label =
            Label { id: Some(format!("batch-{id}")), mime: Some("application/jsonl".to_owned()), ..Label::default() };
        let content = Content::of(lines.collect::<String>().as_bytes());
        let file = files::file(&asked.project, &label, "GENERATED", content, world.now());
        let name = file.name.clone();
        world.store().put(file);
        json!({"responsesFile": name})
    } else {
        let responses = entries.iter().zip(answered).map(|(entry, response)| {
            let mut one = json!({"response": response});
            if !entry.metadata.is_null() {
                one["metadata"] = entry.metadata.clone();
            }
            one
        });
        json!({"inlinedResponses": {"inlinedResponses": responses.collect::<Vec<_>>()}})
    };
    let thing = operation(world, asked, batch, &format!("batches/{id}"), entries.len(), &output, kind);
    let begun = thing.value.clone();
    world.store().put(thing);
    begun
}

fn operation(
    world: &World,
    asked: &Asked,
    batch: &Value,
    name: &str,
    count: usize,
    output: &Value,
    form: Kind,
) -> Thing {
    let message = if form == Kind::Embed { "EmbedContentBatch" } else { "GenerateContentBatch" };
    let now = moment(world.now());
    let shown = batch.get("displayName").or(batch.get("display_name")).cloned().unwrap_or_default();
    let mut metadata = json!({
        "@type": kind(message),
        "model": format!("models/{}", asked.model),
        "displayName": shown,
        "createTime": now,
        "updateTime": now,
        "name": name,
        "state": "BATCH_STATE_PENDING",
        "batchStats": {"requestCount": count.to_string(), "pendingRequestCount": count.to_string()},
    });
    let input = batch.get("inputConfig").or(batch.get("input_config"));
    if let Some(file) = input.and_then(|input| input.get("fileName").or(input.get("file_name"))) {
        metadata["inputConfig"] = json!({"fileName": file});
    }
    let open = json!({"name": name, "metadata": metadata});
    metadata["state"] = json!("BATCH_STATE_SUCCEEDED");
    metadata["endTime"] = json!(now);
    metadata["batchStats"] = json!({"requestCount": count.to_string(), "successfulRequestCount": count.to_string()});
    metadata["output"] = output.clone();
    let mut response = output.clone();
    response["@type"] = json!(kind(&format!("{message}Output")));
    let done = json!({"name": name, "metadata": metadata, "done": true, "response": response});
    let project = asked.project.clone();
    Thing { project, name: name.to_owned(), value: open, next: Some(done), ..Thing::default() }
}

fn inlined(input: &Value) -> Vec<Entry> {
    let requests = &input["requests"];
    let requests = if requests.is_array() { requests } else { &requests["requests"] };
    let entry = |one: &Value| Entry {
        request: one.get("request").unwrap_or(one).clone(),
        metadata: one.get("metadata").cloned().unwrap_or_default(),
        key: Value::Null,
    };
    requests.as_array().into_iter().flatten().map(entry).collect()
}

fn of_file(world: &World, asked: &Asked, name: &str) -> Vec<Entry> {
    let (store, now) = (world.store(), world.now());
    let content = store.find(&asked.project, name, now).and_then(|file| file.content.clone());
    content.map(|content| lines(&content.head)).unwrap_or_default()
}

/// The requests of a file, one a line; a line that is no JSON is left out, as a last one that was not kept whole is.
fn lines(text: &[u8]) -> Vec<Entry> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let entry = |line: Value| Entry {
        request: line.get("request").unwrap_or(&line["body"]).clone(),
        metadata: Value::Null,
        key: line.get("key").or(line.get("custom_id")).cloned().unwrap_or_default(),
    };
    lines.map(entry).collect()
}

/// A line of the file of answers.
fn line(entry: &Entry, response: &Value, kind: Kind) -> Value {
    if kind != Kind::Openai {
        return json!({"key": entry.key, "response": response});
    }
    let response = json!({"status_code": 200, "request_id": mint::id(), "body": response});
    json!({"id": format!("batch_req_{}", mint::id()), "custom_id": entry.key, "response": response, "error": null})
}

fn answer_one(world: &World, entry: &Entry, model: &str, kind: Kind) -> Value {
    let request = &entry.request;
    let (prompt, tokens) = (speech::prompt(request), speech::prompt_tokens(request));
    if kind == Kind::Embed {
        return json!({"embedding": {"values": generate::embedding(&prompt, generate::EMBEDDING_LENGTH)}});
    }
    let speech = Speech::of(request, &prompt, tokens, 1, world.settings().answer_bytes, &[]);
    if kind == Kind::Openai {
        let model = request["model"].as_str().unwrap_or("");
        return openai::completion(&speech, model, &world.answer_id(), world.unix());
    }
    generate::content(&speech, Framing::Unary, model, &world.answer_id()).remove(0)
}
