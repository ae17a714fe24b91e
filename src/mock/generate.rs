//! Answers of the native API: generated content, counted tokens, embeddings, models.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::mock::reply::pretty;
use crate::mock::route::Framing;
use crate::mock::speech::Speech;

/// One point of blue, as PNG in base64.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
/// Length of an embedding when none is asked for, and the longest there is.
pub(crate) const EMBEDDING_LENGTH: usize = 3072;

/// The frames of a generated answer as JSON; one for a unary answer.
pub(crate) fn content(speech: &Speech, framing: Framing, model: &str, id: &str) -> Vec<Value> {
    if let Some(reason) = &speech.blocked {
        let mut value = envelope(speech, 0, model, id);
        value["promptFeedback"] = json!({"blockReason": reason});
        return vec![value];
    }
    let whole = [speech.text()];
    let pieces = if framing == Framing::Unary { &whole[..] } else { &speech.pieces[..] };
    let last = pieces.len() - 1;
    pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            let so_far = if at == last { speech.pieces.len() } else { at + 1 };
            let mut value = envelope(speech, so_far, model, id);
            let mut candidate = json!({"content": {"role": "model"}, "index": 0});
            let parts = parts(speech, piece, at);
            if !parts.is_empty() {
                candidate["content"]["parts"] = Value::Array(parts);
            }
            if let Some(reason) = speech.finish.as_ref().filter(|_| at == last) {
                candidate["finishReason"] = json!(reason);
            }
            value["candidates"] = json!([candidate]);
            value
        })
        .collect()
}

fn parts(speech: &Speech, piece: &str, at: usize) -> Vec<Value> {
    let mut parts = Vec::new();
    if let Some(thought) = speech.thought.filter(|_| at == 0) {
        parts.push(json!({"text": thought, "thought": true}));
    }
    if let Some(bytes) = speech.huge.filter(|_| at == 0) {
        parts.push(json!({"inlineData": {"mimeType": "image/png", "data": "A".repeat(bytes)}}));
    }
    if speech.picture && at == 0 {
        parts.push(json!({"inlineData": {"mimeType": "image/png", "data": PNG}}));
    }
    if let Some(call) = speech.call.as_ref().filter(|_| at == 0) {
        let signature = speech.signature.as_deref().unwrap_or("bW9jaw==");
        parts.push(json!({"functionCall": {"name": call.name, "args": call.arguments}, "thoughtSignature": signature}));
    }
    if !piece.is_empty() {
        let mut part = json!({"text": piece});
        if let Some(signature) = speech.signature.as_ref().filter(|_| at == 0) {
            part["thoughtSignature"] = json!(signature);
        }
        parts.push(part);
    }
    parts
}

fn envelope(speech: &Speech, pieces: usize, model: &str, id: &str) -> Value {
    let (prompt, thoughts) = (speech.prompt_tokens, speech.thought_tokens());
    let answer = if pieces == 0 { 0 } else { speech.answer_tokens(pieces) };
    let mut usage = json!({
        "promptTokenCount": prompt,
        "totalTokenCount": prompt + answer + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    });
    if speech.cached_tokens > 0 {
        usage["cachedContentTokenCount"] = json!(speech.cached_tokens);
        usage["cacheTokensDetails"] = json!([{"modality": "TEXT", "tokenCount": speech.cached_tokens}]);
    }
    if answer > 0 {
        usage["candidatesTokenCount"] = json!(answer);
    }
    if thoughts > 0 {
        usage["thoughtsTokenCount"] = json!(thoughts);
    }
    json!({"usageMetadata": usage, "modelVersion": model, "responseId": id})
}

/// Writes frames as their framing wants; an error at the end is written as Google writes one into a running stream.
pub(crate) fn frames(framing: Framing, values: &[Value], error: Option<&Value>, lf: bool) -> Vec<Bytes> {
    match framing {
        Framing::Unary => values.iter().take(1).map(pretty).collect(),
        Framing::Sse => {
            let end = if lf { "\n\n" } else { "\r\n\r\n" };
            let data = values.iter().map(|value| Bytes::from(format!("data: {value}{end}")));
            data.chain(error.map(pretty)).collect()
        }
        Framing::Array => {
            let all: Vec<&Value> = values.iter().chain(error).collect();
            let last = all.len().saturating_sub(1);
            let line = if lf { "\n" } else { "\r\n" };
            all.iter()
                .enumerate()
                .map(|(at, value)| {
                    let before = if at == 0 { "[".to_owned() } else { format!(",{line}") };
                    let after = if at == last { "]" } else { "" };
                    Bytes::from(format!("{before}{value:#}{line}{after}"))
                })
                .collect()
        }
        Framing::Openai => {
            let data = values.iter().chain(error).map(|value| Bytes::from(format!("data: {value}\n\n")));
            let done = error.is_none().then(|| Bytes::from_static(b"data: [DONE]\n\n"));
            data.chain(done).collect()
        }
    }
}

/// The answer of `countTokens`.
pub(crate) fn count(tokens: u64) -> Value {
    json!({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]})
}

/// The embedding of a text: the same for the same text, of length 1 as a vector.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "noise, not arithmetic")]
pub(crate) fn embedding(text: &str, length: usize) -> Vec<f32> {
    let mut bits = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let raw: Vec<f64> = (0..length.clamp(1, EMBEDDING_LENGTH))
        .map(|_| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (bits >> 33) as f64 / f64::from(u32::MAX >> 1) - 0.5
        })
        .collect();
    let norm = raw.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.iter().map(|value| (value / norm) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frames: &[Bytes]) -> String {
        frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
    }

    #[test]
    fn a_stream_counts_up_and_finishes_in_its_last_frame() {
        let speech = Speech::new("one two three four", 5, 3, 0, &[]);
        let values = content(&speech, Framing::Sse, "m", "id");
        assert_eq!(values.len(), 3);
        assert!(values[0]["candidates"][0].get("finishReason").is_none());
        assert_eq!(values[2]["candidates"][0]["finishReason"], "STOP");
        let counts: Vec<_> = values.iter().map(|it| it["usageMetadata"]["totalTokenCount"].as_u64()).collect();
        assert!(counts.is_sorted() && counts[0] < counts[2]);
        let whole = content(&speech, Framing::Unary, "m", "id");
        assert_eq!(whole[0]["usageMetadata"], values[2]["usageMetadata"]);
    }

    #[test]
    fn a_picture_comes_where_one_is_asked_for() {
        let body = json!({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}});
        let speech = Speech::of(&body, "a cat", 2, 3, 0, &[]);
        let values = content(&speech, Framing::Sse, "m", "id");
        let first = values.iter().map(|it| &it["candidates"][0]["content"]["parts"][0]);
        let pictures: Vec<_> = first.map(|part| part["inlineData"].is_object()).collect();
        assert_eq!(pictures, [true, false, false]);
        assert!(values[0]["usageMetadata"]["candidatesTokenCount"].as_u64() > Some(258));
    }

    #[test]
    fn an_array_is_valid_json_with_and_without_an_error() {
        let values = content(&Speech::new("hi", 1, 3, 0, &[]), Framing::Array, "m", "id");
        let error = json!({"error": {"code": 503}});
        for (values, error, length) in [(&values[..], None, 3), (&values[..1], Some(&error), 2), (&[], Some(&error), 1)]
        {
            let written = text(&frames(Framing::Array, values, error, false));
            assert_eq!(serde_json::from_str::<Vec<Value>>(&written).unwrap().len(), length);
        }
    }

    #[test]
    fn an_error_in_a_stream_has_no_prefix() {
        let written = text(&frames(Framing::Sse, &[json!({"a": 1})], Some(&json!({"error": {}})), false));
        assert_eq!(written, "data: {\"a\":1}\r\n\r\n{\n  \"error\": {}\n}\n");
    }

    #[test]
    fn embeddings_are_stable_and_of_unit_length() {
        let one = embedding("a", 8);
        assert_eq!(one, embedding("a", 8));
        assert_ne!(one, embedding("b", 8));
        assert!((one.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-4);
    }
}
