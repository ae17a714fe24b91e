//! A conversation goes on where its thoughts were signed, when another project refuses them.

use std::sync::Arc;

use geminate::mock::World;
use serde_json::{Value, json};

use crate::stage::{AT_ONCE, K1, K2, K3, play, states};
use crate::world::{Gate, MODEL, header, json_of, with_keys, with_keys_and};

const CHAT: &str = "/v1beta/openai/chat/completions";

fn method(name: &str) -> String {
    format!("/v1beta/models/{MODEL}:{name}")
}

/// A turn of Gemini's that brings `signature` back, written as an SDK writes it.
fn history(signature: &str) -> Value {
    let signature = signature.replace('+', "-").replace('/', "_");
    json!({"contents": [
        {"role": "user", "parts": [{"text": "hello"}]},
        {"role": "model", "parts": [{"text": "well", "thoughtSignature": signature}]},
        {"role": "user", "parts": [{"text": "go on"}]},
    ]})
}

/// The value after the key of a signature in an answer of any surface and framing.
fn signature(answer: &str) -> String {
    let at = answer.find("ignature\"").unwrap_or_else(|| panic!("{answer}")) + 9;
    answer[at..].split('"').nth(1).unwrap().to_owned()
}

fn signed(world: &World) {
    play(world, &["fault=signed"]);
}

/// The first answer, made by the first key: its signature.
async fn first(gate: &Gate, path: &str, body: &Value) -> String {
    let answer = gate.post(path, body).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-key").as_str()), (200, "1"));
    signature(&answer.text().await.unwrap())
}

/// Goes on when it is the second key's turn: the first one answers, and nobody is to blame.
async fn goes_on_with_the_first(world: &World, gate: &Gate, path: &str, body: &Value) {
    let answer = gate.post(path, body).await;
    let (key, attempts) = (header(&answer, "x-geminate-key"), header(&answer, "x-geminate-attempts"));
    assert_eq!((answer.status().as_u16(), key.as_str(), attempts.as_str()), (200, "1", "2"), "{path}");
    assert!(answer.text().await.unwrap().contains("STOP") || path == CHAT);
    let asked: Vec<_> = world.calls().into_iter().filter_map(|call| Some((call.key?, call.status))).collect();
    let expected = [(K1, 200), (K2, 400), (K1, 200)].map(|(key, status)| (key.to_owned(), status));
    assert_eq!(asked, expected, "{path}");
    assert!(states(gate).await.iter().all(|(state, _)| state == "usable"), "{:?}", states(gate).await);
}

#[tokio::test]
async fn a_signature_of_one_key_is_answered_by_it_whoever_was_asked_first() {
    let plain = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    for (made, continued) in [
        ("generateContent", "generateContent"),
        ("streamGenerateContent?alt=sse", "streamGenerateContent?alt=sse"),
        ("streamGenerateContent", "generateContent"),
    ] {
        for split in ["fault=signed", "fault=signed,split:50"] {
            let (world, gate) = with_keys(&[K1, K2]).await;
            play(&world, &[split]);
            let signature = first(&gate, &method(made), &plain).await;
            goes_on_with_the_first(&world, &gate, &method(continued), &history(&signature)).await;
        }
    }
}

#[tokio::test]
async fn openais_tool_calls_bring_their_signature_to_its_maker() {
    for stream in [false, true] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        signed(&world);
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        let question = json!({"role": "user", "content": "weather?"});
        let body = json!({"model": MODEL, "stream": stream, "tools": tools, "messages": [question]});
        let signature = first(&gate, CHAT, &body).await;
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": signature}}});
        let messages = json!([question, {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "rain"}]);
        let body = json!({"model": MODEL, "stream": stream, "tools": tools, "messages": messages});
        goes_on_with_the_first(&world, &gate, CHAT, &body).await;
    }
}

async fn refused_as_google_does(world: &Arc<World>, gate: &Gate, body: &Value, attempts: &str) {
    let answer = gate.post(&method("generateContent"), body).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()), (400, attempts));
    let error = json!({"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"});
    assert_eq!(json_of(answer).await, json!({ "error": error }));
    assert_eq!(world.calls().last().unwrap().status, 400);
}

#[tokio::test]
async fn a_signature_that_nobody_knows_is_refused_as_google_refuses_it() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    signed(&world);
    for signature in ["bW9jaw==".to_owned(), "Qm9ndXM+".repeat(100)] {
        refused_as_google_does(&world, &gate, &history(&signature), "1").await;
    }
    assert_eq!(world.calls().len(), 2);
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
}

#[tokio::test]
async fn where_the_maker_rests_the_first_refusal_is_the_answer() {
    let (world, gate) = with_keys_and(&[K1, K2], &[AT_ONCE]).await;
    signed(&world);
    let plain = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    let signature = first(&gate, &method("generateContent"), &plain).await;
    world.clear_scripts();
    play(&world, &[&format!("key={K1} fault=quota_day"), "fault=signed"]);
    // The maker is asked, and rests from then on.
    let answer = gate.post(&method("generateContent"), &history(&signature)).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()), (400, "2"));
    refused_as_google_does(&world, &gate, &history(&signature), "1").await;
}
