//! A call that one project alone may serve is told of that project, whatever the others could do.

use http::Method;
use serde_json::json;

use crate::sender::{begun, step};
use crate::stage::{K1, K2, calls_of, play, reasons, told};
use crate::world::{MODEL, header, prompt, with_keys, with_keys_and};

#[tokio::test]
async fn a_part_that_its_key_cannot_take_is_told_why_and_when_it_can() {
    for (fault, status, reason, wait) in [
        ("quota_day", 429, json!({"quota_day": "1"}), 2..=90_010),
        ("quota_minute:30s", 429, json!({"quota_minute": "1"}), 30..=33),
        ("payment_required", 429, json!({"billing": "1"}), 3_599..=3_602),
        ("api_key_invalid", 503, json!({"invalid": "1"}), 600..=600),
    ] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        let url = begun(&gate).await;
        play(&world, &[&format!("action=upload.chunk fault={fault}")]);
        let answer = step(&gate, &url, "upload, finalize", 0).body("text").send().await.unwrap();
        let until: u32 = header(&answer, "retry-after").parse().unwrap();
        assert!(wait.contains(&until), "{fault} {until}");
        let (code, refusal) = told(answer).await;
        assert_eq!((code, reasons(&refusal)), (status, &reason), "{refusal}");
        assert_eq!(calls_of(&world, K1).len(), 2, "nobody else is asked for it");
    }
}

#[tokio::test]
async fn a_part_that_its_key_s_setup_forbids_is_refused_in_google_s_words() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let url = begun(&gate).await;
    play(&world, &["action=upload.chunk fault=service_disabled"]);
    let (status, refusal) = told(step(&gate, &url, "upload, finalize", 0).body("text").send().await.unwrap()).await;
    assert_eq!((status, &refusal["error"]["details"][0]["reason"]), (403, &json!("SERVICE_DISABLED")));
}

#[tokio::test]
async fn what_is_not_kept_for_a_second_try_is_told_when_its_project_returns() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000")]).await;
    let cache =
        json!({"model": format!("models/{MODEL}"), "contents": [{"role": "user", "parts": [{"text": "long"}]}]});
    let (_, made) = told(gate.post("/v1beta/cachedContents", &cache).await).await;
    let path = format!("/v1beta/{}", made["name"].as_str().unwrap());
    play(&world, &["fault=quota_minute:30s"]);
    let long = json!({"ttl": "60s", "displayName": "x".repeat(2000)}).to_string();
    for _ in 0..2 {
        let answer = gate.ask(Method::PATCH, &path).body(long.clone()).send().await.unwrap();
        assert!((29..=33).contains(&header(&answer, "retry-after").parse::<u32>().unwrap()));
        let (status, refusal) = told(answer).await;
        assert_eq!((status, reasons(&refusal)), (429, &json!({"quota_minute": "1"})), "{refusal}");
        assert!(refusal["error"]["message"].as_str().unwrap().contains(made["name"].as_str().unwrap()), "{refusal}");
    }
    assert_eq!(world.calls().len(), 2, "what rests is not asked");
}

#[tokio::test]
async fn what_another_key_could_do_next_time_is_told_by_the_reason_s_own_name_and_status() {
    for (fault, status, reason) in [
        ("quota_minute:30s", 429, json!({"quota_minute": "1"})),
        ("payment_required", 429, json!({"billing": "1"})),
        ("api_key_invalid", 503, json!({"invalid": "1"})),
    ] {
        let (world, gate) = with_keys_and(&[K1, K2], &[("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000")]).await;
        play(&world, &[&format!("fault={fault} times=1")]);
        let answer = gate.post(&format!("/v1beta/models/{MODEL}:generateContent"), &prompt(&"x".repeat(2000))).await;
        assert_eq!(header(&answer, "retry-after"), "1");
        let (code, refusal) = told(answer).await;
        assert_eq!((code, reasons(&refusal)), (status, &reason), "{refusal}");
        assert_eq!(gate.generate(&"x".repeat(2000)).await.status(), 200);
    }
}
