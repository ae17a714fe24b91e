//! `geminate keys explain` and `/monitor/keys?explain=`: who is next, and why nobody else is.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::keys_check::{Ran, keys};
use crate::stage::{AT_ONCE, K1, K2, K3, K4, play, with_config};
use crate::world::{Gate, MODEL, TOKEN, header, with_keys, with_keys_and};

async fn explained(gate: &Gate, model: &str) -> Value {
    gate.monitor(&format!("/monitor/keys?explain={model}")).await
}

fn words<'v>(page: &'v Value, field: &str) -> Vec<&'v Value> {
    page["keys"].as_array().unwrap().iter().map(|key| &key[field]).collect()
}

/// `geminate keys explain` by somebody who has the gate's configuration.
async fn explain(gate: &Gate, all: &[&str], words: &[&str]) -> Ran {
    let (port, list) = (gate.admin.port().to_string(), all.join(","));
    let variables = [("GEMINI_API_KEY", list.as_str()), ("AUTH_TOKEN", TOKEN), ("ADMIN_PORT", &port)];
    keys(gate.dir.path(), &[&["explain"], words].concat(), &variables).await
}

#[tokio::test]
async fn the_key_that_is_explained_as_next_is_the_next_and_shares_stay_exact() {
    let list = format!("{K1}:3,{K2}:2,{K3}:1");
    let (_world, gate) = with_keys_and(&[K1, K2, K3], &[("GEMINI_API_KEY", &list)]).await;
    let mut served = [0; 3];
    for _ in 0..12 {
        let pages = [explained(&gate, MODEL).await, explained(&gate, MODEL).await];
        assert_eq!(pages[0]["next"], pages[1]["next"]);
        let answer = gate.generate("hello").await;
        let id = header(&answer, "x-geminate-key");
        assert_eq!(pages[0]["next"], id.as_str());
        served[id.parse::<usize>().unwrap() - 1] += 1;
        answer.bytes().await.unwrap();
    }
    assert_eq!(served, [6, 4, 2]);
}

#[tokio::test]
async fn each_other_key_has_its_reason_in_json_and_in_words() {
    let config = format!(
        "[[keys]]\nkey = \"{K1}\"\n[[keys]]\nkey = \"{K2}\"\n[[keys]]\nkey = \"{K3}\"\n[[keys]]\nkey = \"{K4}\"\n\
         [[keys]]\nkey = \"fake-key-0005\"\nenabled = false\n[models.aliases]\n\"gpt-x\" = \"{MODEL}\"\n"
    );
    let (world, gate) = with_config(&[K1, K2, K3, K4], &config, &[]).await;
    for (key, fault) in [(K1, "quota_day"), (K2, "api_key_invalid"), (K3, "overloaded")] {
        play(&world, &[&format!("key={key} fault={fault} times=1")]);
    }
    assert_eq!(gate.generate("hello").await.status(), 200);
    let page = explained(&gate, "gpt-x").await;
    assert_eq!((&page["asked"], &page["model"], &page["known"]), (&json!("gpt-x"), &json!(MODEL), &json!(true)));
    assert_eq!(words(&page, "chance"), ["resting", "dead", "avoided", "next", "disabled"]);
    let reasons = [&json!("quota_day"), &json!("invalid"), &Value::Null, &Value::Null, &json!("disabled")];
    assert_eq!(words(&page, "reason"), reasons);
    let first = &page["keys"][0];
    assert!(
        first["until"].is_string() && first["learnt"]["rpd"].is_number() && page["keys"][1]["probe_at"].is_string()
    );

    let port = gate.admin.port().to_string();
    let variables = [("AUTH_TOKEN", TOKEN), ("ADMIN_PORT", port.as_str())];
    let ran = keys(gate.dir.path(), &["explain", "google/gpt-x"], &variables).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.starts_with(&format!("{MODEL} (asked as google/gpt-x): The next request gets key 4.")),
        "{}",
        ran.out
    );
    for told in
        ["the day's quota is spent; back in ", "Google does not know it; it is asked again in ", "failures left"]
    {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
    let ran = keys(gate.dir.path(), &["explain", "gpt-x", "--json"], &variables).await;
    assert_eq!((&ran.json()["source"], words(&ran.json(), "chance")), (&json!("gateway"), words(&page, "chance")));
}

#[tokio::test]
async fn a_model_that_nobody_knows_is_explained_and_leaves_no_trace() {
    let (_world, gate) = with_keys(&[K1, K2]).await;
    let page = explained(&gate, "gemini-made-up").await;
    assert_eq!((&page["known"], &page["next"]), (&json!(false), &json!("1")));
    let ran = explain(&gate, &[K1, K2], &["models/gemini-made-up"]).await;
    assert!(ran.code == Some(0) && ran.out.contains("Nothing is known of this model yet"), "{}", ran.out);
    assert_eq!(gate.monitor("/monitor/keys").await["models"], json!([]));
}

#[tokio::test]
async fn what_is_no_name_of_a_model_is_refused() {
    let (_world, gate) = with_keys(&[K1]).await;
    let long = "m".repeat(129);
    for wrong in ["", "a%20b", "..", "a%2Fb", "%ff", &long] {
        let url = format!("http://{}/monitor/keys?explain={wrong}", gate.admin);
        let answer = gate.http.get(url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    let open = gate.http.get(format!("http://{}/monitor/keys?explain={MODEL}", gate.admin)).send().await.unwrap();
    assert_eq!(open.status(), 401, "it asks for a token as the page does");
    assert_eq!(explain(&gate, &[K1], &["a b"]).await.code, Some(2));
    let port = gate.admin.port().to_string();
    let wrong = [("GEMINI_API_KEY", K1), ("AUTH_TOKEN", "a-guess"), ("ADMIN_PORT", port.as_str())];
    let page = keys(gate.dir.path(), &["explain", MODEL, "--json"], &wrong).await.json();
    assert_eq!(page["source"], "memory");
    assert!(page["notes"][0].as_str().unwrap().contains("answers 401"), "{page}");
}

#[tokio::test]
async fn when_no_gateway_answers_its_memory_does_and_is_not_changed() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[AT_ONCE]).await;
    play(&world, &[&format!("key={K1} fault=quota_day times=1"), &format!("key={K2} fault=leaked times=1")]);
    assert_eq!(gate.generate("hello").await.status(), 200);
    let file = gate.dir.path().join("data/pool.json");
    let saved = || std::fs::read_to_string(&file).unwrap_or_default();
    crate::house::eventually(|| saved().contains("quota_day") && saved().contains("banned")).await;
    let (dir, port) = (Arc::clone(&gate.dir), gate.admin.port().to_string());
    drop::<Gate>(gate);
    let before = saved();
    let list = [K1, K2, K3].join(",");
    let variables = [("GEMINI_API_KEY", list.as_str()), ("ADMIN_PORT", &port)];
    let ran = keys(dir.path(), &["explain", MODEL, "--json"], &variables).await;
    let page = ran.json();
    assert_eq!((ran.code, &page["source"], &page["next"]), (Some(0), &json!("memory"), &json!("3")));
    assert_eq!(words(&page, "chance"), ["resting", "dead", "next"]);
    assert!(page["notes"][0].as_str().unwrap().contains("was not heard (no answer at 127.0.0.1:"), "{page}");
    let ran = keys(dir.path(), &["explain", MODEL], &[variables[0], ("ADMIN_PORT", "0")]).await;
    assert!(ran.out.starts_with("The running gateway was not heard"), "{}", ran.out);
    assert_eq!(saved(), before);
}

#[tokio::test]
async fn without_a_key_that_could_be_chosen_the_code_says_so() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    play(&world, &["fault=quota_minute:30s"]);
    assert_eq!(gate.generate("hello").await.status(), 429);
    let ran = explain(&gate, &[K1], &[MODEL]).await;
    assert!(
        ran.code == Some(1) && ran.out.contains("No key would be chosen now; the first returns in "),
        "{}",
        ran.out
    );
}
