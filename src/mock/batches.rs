//! Batches: prompts that are taken now and answered when they are asked for.

use serde_json::{Value, json};

use crate::mock::bodies::Asked;
use crate::mock::content::Content;
use crate::mock::files::{self, Label};
use crate::mock::generate;
use crate::mock::mint;
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

/// Takes a batch: the operation `batches/ID`, which is done when it is first asked for.
pub(crate) fn answer(world: &World, question: &Question<'_>, asked: &Asked) -> Answer {
    let embeds = question.route.call == Call::AsyncBatchEmbed;
    let batch = question.json.get("batch").unwrap_or(&question.json);
    let input = batch.get("inputConfig").or(batch.get("input_config")).unwrap_or(&Value::Null);
    let file = ["fileName", "file_name"].iter().find_map(|name| input[*name].as_str()).and_then(references::file_of);
    let entries = match &file {
        Some(name) => {
            let (store, now) = (world.store(), world.now());
            let content = store.find(&asked.project, name, now).and_then(|file| file.content.clone());
            content.map(|content| lines(&content.head)).unwrap_or_default()
        }
        None => inlined(input),
    };
    let answered: Vec<Value> = entries.iter().map(|entry| answer_one(world, entry, &asked.model, embeds)).collect();
    let id = mint::id();
    let output = match file {
        Some(_) => {
            let lines = entries
                .iter()
                .zip(&answered)
                .map(|(entry, response)| format!("{}\n", json!({"key": entry.key, "response": response})));
            let label = Label {
                id: Some(format!("batch-{id}")),
                mime: Some("application/jsonl".to_owned()),
                ..Label::default()
            };
            let content = Content::of(lines.collect::<String>().as_bytes());
            let file = files::file(&asked.project, &label, "GENERATED", content, world.now());
            let name = file.name.clone();
            world.store().put(file);
            json!({"responsesFile": name})
        }
        None => {
            let responses = entries.iter().zip(answered).map(|(entry, response)| {
                let mut one = json!({"response": response});
                if !entry.metadata.is_null() {
                    one["metadata"] = entry.metadata.clone();
                }
                one
            });
            json!({"inlinedResponses": {"inlinedResponses": responses.collect::<Vec<_>>()}})
        }
    };
    let thing = operation(world, asked, batch, &format!("batches/{id}"), entries.len(), &output, embeds);
    let begun = thing.value.clone();
    world.store().put(thing);
    whole(&begun)
}

fn operation(
    world: &World,
    asked: &Asked,
    batch: &Value,
    name: &str,
    count: usize,
    output: &Value,
    embeds: bool,
) -> Thing {
    let word = if embeds { "EmbedContentBatch" } else { "GenerateContentBatch" };
    let now = moment(world.now());
    let shown = batch.get("displayName").or(batch.get("display_name")).cloned().unwrap_or_default();
    let mut metadata = json!({
        "@type": kind(word),
        "model": format!("models/{}", asked.model),
        "displayName": shown,
        "createTime": now,
        "updateTime": now,
        "name": name,
        "state": "BATCH_STATE_PENDING",
        "batchStats": {"requestCount": count.to_string(), "pendingRequestCount": count.to_string()},
    });
    let open = json!({"name": name, "metadata": metadata});
    metadata["state"] = json!("BATCH_STATE_SUCCEEDED");
    metadata["endTime"] = json!(now);
    metadata["batchStats"] = json!({"requestCount": count.to_string(), "successfulRequestCount": count.to_string()});
    metadata["output"] = output.clone();
    let mut response = output.clone();
    response["@type"] = json!(kind(&format!("{word}Output")));
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

fn answer_one(world: &World, entry: &Entry, model: &str, embeds: bool) -> Value {
    if embeds {
        let values = generate::embedding(&speech::prompt(&entry.request), generate::EMBEDDING_LENGTH);
        return json!({"embedding": {"values": values}});
    }
    let (prompt, tokens) = (speech::prompt(&entry.request), speech::prompt_tokens(&entry.request));
    let speech = Speech::new(&prompt, tokens, 1, world.settings().answer_bytes, &[]);
    generate::content(&speech, Framing::Unary, model, &world.answer_id()).remove(0)
}
