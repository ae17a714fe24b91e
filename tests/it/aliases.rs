//! A model may be called by an alias or with another program's prefix; all that counts and costs goes by Google's name.

use std::sync::Arc;

use geminate::mock::World;
use reqwest::Method;
use serde_json::json;

use crate::stage::{K1, K2, play, with_config};
use crate::world::{Gate, MODEL, TOKEN, json_of, prompt, with_keys_and};

const ALIASES: &str = "[models.aliases]\n\"gpt-4.1\" = \"gemini-3.8-flash\"\n\"Vector\" = \"gemini-embedding-2\"\n";

async fn with_aliases(keys: &[&str]) -> (Arc<World>, Gate) {
    with_config(keys, ALIASES, &[("GEMINI_API_KEY", &keys.join(","))]).await
}

/// Asks by OpenAI's credential; the status.
async fn openai(gate: &Gate, path: &str, body: &str) -> u16 {
    let request = gate.http.post(format!("http://{}{path}", gate.data)).bearer_auth(TOKEN);
    request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn in_openai_s_body_the_name_is_put_in_place_and_not_a_byte_else_is_touched() {
    let (world, gate) = with_aliases(&[K1]).await;
    let body = |model: &str| {
        format!(
            "{{ \"x\":1.50, \"model\" :{model}, \"messages\":[{{\"role\":\"user\",\"content\":\"gpt-4.1 \\u00e9\"}}]\n}}"
        )
    };
    for (written, sent) in [
        ("\"gpt-4.1\"", "\"gemini-3.8-flash\""),
        ("\"gpt\\u002d4.1\"", "\"gemini-3.8-flash\""),
        ("\"models/gpt-4.1\"", "\"models/gemini-3.8-flash\""),
        ("\"google/gpt-4.1\"", "\"gemini-3.8-flash\""),
        ("\"google/gemini-3.8-flash\"", "\"gemini-3.8-flash\""),
        ("\"gemini/gemini-3.8-flash\"", "\"gemini-3.8-flash\""),
        ("\"models\\/gemini-3.8-flash\"", "\"models\\/gemini-3.8-flash\""),
        ("\"gemini-3.8-flash\"", "\"gemini-3.8-flash\""),
    ] {
        assert_eq!(openai(&gate, "/v1/chat/completions", &body(written)).await, 200, "{written}");
        assert_eq!(String::from_utf8_lossy(&world.calls().pop().unwrap().body), body(sent));
    }
    assert_eq!(openai(&gate, "/v1/embeddings", r#"{"model":"Vector","input":"a"}"#).await, 200);
    assert_eq!(world.calls().pop().unwrap().body, r#"{"model":"gemini-embedding-2","input":"a"}"#);
}

#[tokio::test]
async fn in_google_s_paths_and_in_what_their_bodies_repeat_it_is_put_in_place_too() {
    let (world, gate) = with_aliases(&[K1]).await;
    for (path, sent) in [
        ("/v1beta/models/gpt-4.1:generateContent", "/v1beta/models/gemini-3.8-flash:generateContent"),
        (
            "/v1/models/gpt-4.1:streamGenerateContent?alt=sse",
            "/v1/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
        ),
        ("/v1beta/models/google/gemini-3.8-flash:countTokens", "/v1beta/models/gemini-3.8-flash:countTokens"),
    ] {
        assert_eq!(gate.post(path, &prompt("hi")).await.status(), 200, "{path}");
        assert_eq!(world.calls().pop().unwrap().path_and_query, sent);
    }
    let one = |model: &str| json!({"model": model, "content": {"parts": [{"text": "models/Vector"}]}});
    let answer =
        gate.post("/v1beta/models/Vector:batchEmbedContents", &json!({"requests": [one("models/Vector")]})).await;
    assert_eq!(answer.status(), 200);
    let sent = json!({"requests": [one("models/gemini-embedding-2")]}).to_string();
    assert_eq!(world.calls().pop().unwrap().body, sent);
    let cache =
        json!({"model": "models/gpt-4.1", "contents": [{"role": "user", "parts": [{"text": "x".repeat(9000)}]}]});
    gate.post("/v1beta/cachedContents", &cache).await;
    assert!(world.calls().pop().unwrap().body.windows(16).any(|part| part == b"gemini-3.8-flash"));
}

#[tokio::test]
async fn a_model_is_looked_up_by_its_alias_on_both_surfaces_and_the_list_is_google_s() {
    let (world, gate) = with_aliases(&[K1]).await;
    let native = json_of(gate.ask(Method::GET, "/v1beta/models/gpt-4.1").send().await.unwrap()).await;
    assert_eq!(native["name"], format!("models/{MODEL}"));
    for path in ["/v1/models/gpt-4.1", "/v1/models/models/gpt-4.1", "/v1beta/openai/models/google/gpt-4.1"] {
        let answer = gate.http.get(format!("http://{}{path}", gate.data)).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(json_of(answer).await["id"], format!("models/{MODEL}"), "{path}");
    }
    let encoded = format!("http://{}/v1/models/models%2Fgpt-4.1", gate.data);
    gate.http.get(encoded).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(world.calls().pop().unwrap().path_and_query, format!("/v1beta/openai/models/models%2F{MODEL}"));
    let list = json_of(gate.ask(Method::GET, "/v1beta/models").send().await.unwrap()).await;
    assert!(list["models"].is_array() && !list.to_string().contains("gpt-4.1"));
}

#[tokio::test]
async fn what_one_name_has_spent_the_other_one_has_not_left() {
    let (world, gate) = with_aliases(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=quota_day")]);
    for _ in 0..2 {
        assert_eq!(
            openai(&gate, "/v1/chat/completions", r#"{"model":"gpt-4.1","messages":[{"role":"user","content":"a"}]}"#)
                .await,
            200
        );
    }
    let before = world.calls().len();
    for _ in 0..4 {
        assert_eq!(gate.generate("hi").await.status(), 200);
    }
    assert_eq!(world.calls().len(), before + 4, "the key that is out for the model is not asked by its own name");
    let line = gate.logged(|line| line["route"] == "chat.completions").await;
    assert_eq!(line["model"], MODEL, "the log goes by Google's name");
    let metrics = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(MODEL) && !metrics.contains("gpt-4.1"), "{metrics}");
}

#[tokio::test]
async fn a_body_too_large_to_keep_passes_with_the_name_it_has() {
    let small = [("GEMINATE__RETRY__REPLAY_BYTES_MAX", "100"), ("GEMINATE__MODELS__ALIASES__GPT-4O", MODEL)];
    let (world, gate) = with_keys_and(&[K1], &small).await;
    let large = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(500));
    assert_eq!(openai(&gate, "/v1/chat/completions", &large).await, 404, "Google knows no such model");
    assert_eq!(world.calls().pop().unwrap().body, large);
    let short = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(openai(&gate, "/v1/chat/completions", short).await, 200, "an alias can be a variable");
}
