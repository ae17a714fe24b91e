//! No request fails while a key can serve it.

use crate::world::{MODEL, header, json_of, prompt, with_keys};

#[tokio::test]
async fn a_dead_key_and_a_spent_one_are_never_noticed() {
    let (world, gate) = with_keys(&["fake-key-0001", "fake-key-0002", "fake-key-0003"]).await;
    assert!(world.script("key=fake-key-0001 fault=api_key_invalid".parse().unwrap()));
    assert!(world.script("key=fake-key-0002 fault=quota_day".parse().unwrap()));
    for _ in 0..10 {
        let answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-key")), (200, "3".to_owned()));
    }
    let calls = world.calls();
    assert_eq!(calls.len(), 12, "each bad key was asked once");
    assert!(calls.iter().all(|call| call.credentials.len() == 1), "one credential a call");
}

#[tokio::test]
async fn an_answer_in_full_is_a_success_and_its_tokens_are_counted() {
    let (_world, gate) = with_keys(&["fake-key-0001"]).await;
    let answer = gate.generate("hello").await;
    assert!(json_of(answer).await["usageMetadata"]["totalTokenCount"].is_u64());
    let line = gate.logged(|line| line["route"] == "generateContent").await;
    assert_eq!((line["outcome"].as_str(), line["model"].as_str()), (Some("ok"), Some(MODEL)));
    assert!(line["prompt_tokens"].as_u64() > Some(0));
    let keys = gate.monitor("/monitor/keys").await;
    assert_eq!(keys["keys"][0]["outcomes"]["success"], 1);
}

#[tokio::test]
async fn a_spent_quota_of_generations_leaves_counting_and_models_alone() {
    let (world, gate) = with_keys(&["fake-key-0001"]).await;
    assert!(world.script("action=generateContent fault=quota_day".parse().unwrap()));
    assert_eq!(gate.generate("hello").await.status(), 429);
    let count = gate.post(&format!("/v1beta/models/{MODEL}:countTokens"), &prompt("hello")).await;
    assert_eq!(count.status(), 200);
    let model = gate.ask(reqwest::Method::GET, &format!("/v1beta/models/{MODEL}")).send().await.unwrap();
    assert_eq!(model.status(), 200);
}

#[tokio::test]
async fn what_a_refusal_tells_of_a_limit_is_kept_and_shown() {
    let (world, gate) = with_keys(&["fake-key-0001", "fake-key-0002"]).await;
    assert!(world.script("key=fake-key-0001 fault=quota_day".parse().unwrap()));
    assert_eq!(gate.generate("hello").await.status(), 200);
    let keys = gate.monitor("/monitor/keys").await;
    let learnt = &keys["keys"][0]["learnt"][0];
    assert_eq!((learnt["model"].as_str(), learnt["rpd"].as_u64()), (Some(MODEL), Some(250)));
    assert_eq!(keys["keys"][1]["learnt"].as_array().map(Vec::len), Some(0));
}
