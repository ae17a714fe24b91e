//! Answers of Google's OpenAI-compatible endpoint.

use serde_json::{Value, json};

use crate::mock::base64;
use crate::mock::generate;
use crate::mock::speech::Speech;
use crate::mock::tools::FunctionCall;

/// A whole chat completion.
pub(crate) fn completion(speech: &Speech, model: &str, id: &str, created: i64) -> Value {
    let mut message = json!({"role": "assistant"});
    let text = text_of(speech, &speech.text(), 0);
    if !text.is_empty() {
        message["content"] = json!(text);
    }
    if let Some(call) = &speech.call {
        message["content"] = Value::Null;
        message["tool_calls"] = json!([tool_call(speech, call, id)]);
    }
    json!({
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish(speech)}],
        "usage": usage(speech),
    })
}

/// The chunks of a streamed one, without `[DONE]`.
pub(crate) fn chunks(speech: &Speech, model: &str, id: &str, created: i64, include_usage: bool) -> Vec<Value> {
    let chunk = |choices: Value| {
        let object = "chat.completion.chunk";
        json!({"id": id, "object": object, "created": created, "model": model, "choices": choices})
    };
    let last = speech.pieces.len() - 1;
    let mut chunks: Vec<Value> = speech
        .pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            let mut delta = json!({"role": "assistant"});
            let text = text_of(speech, piece, at);
            if !text.is_empty() {
                delta["content"] = json!(text);
            }
            if let Some(call) = speech.call.as_ref().filter(|_| at == 0) {
                let mut call = tool_call(speech, call, id);
                call["index"] = json!(0);
                delta["tool_calls"] = json!([call]);
            }
            let mut choice = json!({"index": 0, "delta": delta});
            if at == last {
                choice["finish_reason"] = json!(finish(speech));
            }
            chunk(json!([choice]))
        })
        .collect();
    if include_usage {
        let mut closing = chunk(json!([]));
        closing["usage"] = usage(speech);
        chunks.push(closing);
    }
    chunks
}

fn tool_call(speech: &Speech, call: &FunctionCall, id: &str) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
    let mut call = json!({"id": format!("function-call-{id}"), "type": "function", "function": function});
    if let Some(signature) = &speech.signature {
        call["extra_content"] = json!({"google": {"thought_signature": signature}});
    }
    call
}

fn text_of(speech: &Speech, piece: &str, at: usize) -> String {
    let huge = speech.huge.filter(|_| at == 0).map_or_else(String::new, |bytes| "A".repeat(bytes));
    huge + piece
}

fn finish(speech: &Speech) -> Option<&'static str> {
    if speech.blocked.is_some() {
        return Some("content_filter");
    }
    speech.finish.as_deref().map(|reason| match reason {
        "STOP" if speech.call.is_some() => "tool_calls",
        "STOP" => "stop",
        "MAX_TOKENS" => "length",
        _ => "content_filter",
    })
}

fn usage(speech: &Speech) -> Value {
    let prompt = speech.prompt_tokens;
    let answer = if speech.blocked.is_some() { 0 } else { speech.answer_tokens(speech.pieces.len()) };
    let mut usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer + speech.thought_tokens(),
    });
    if speech.thought_tokens() > 0 {
        usage["completion_tokens_details"] = json!({"reasoning_tokens": speech.thought_tokens()});
    }
    if speech.cached_tokens > 0 {
        usage["prompt_tokens_details"] = json!({"cached_tokens": speech.cached_tokens});
    }
    usage
}

/// Embeddings of one text or several, as floats or as base64 of little-endian floats.
pub(crate) fn embeddings(body: &Value, model: &str, tokens: u64) -> Value {
    let length = body["dimensions"].as_u64().and_then(|length| usize::try_from(length).ok());
    let length = length.unwrap_or(generate::EMBEDDING_LENGTH);
    let texts: Vec<&str> = match &body["input"] {
        Value::Array(all) => all.iter().map(|text| text.as_str().unwrap_or("")).collect(),
        one => vec![one.as_str().unwrap_or("")],
    };
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let values = generate::embedding(text, length);
            let embedding = if body["encoding_format"] == "base64" {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                json!(base64::encode(&bytes))
            } else {
                json!(values)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    json!({"object": "list", "data": data, "model": model, "usage": usage})
}

/// A model as `OpenAI` describes one.
pub(crate) fn model(name: &str) -> Value {
    json!({"id": format!("models/{name}"), "object": "model", "owned_by": "google", "display_name": name})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_comes_in_a_stream_only_when_asked_for() {
        let speech = Speech::new("hi there", 2, 2, 0, &[]);
        let plain = chunks(&speech, "m", "id", 1, false);
        assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
        assert_eq!(plain[1]["choices"][0]["finish_reason"], "stop");
        let asked = chunks(&speech, "m", "id", 1, true);
        assert_eq!(asked.last().unwrap()["usage"]["prompt_tokens"], 2);
    }
}
