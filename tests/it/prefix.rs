//! Conversations that share a long prefix stay where Google has them cached, and shares stay within the weights.

use serde_json::{Value, json};

use crate::stage::{K1, K2, K3};
use crate::world::{Gate, MODEL, json_of, with_keys_and};

const TOGETHER: (&str, &str) = ("GEMINATE__POOL__PREFIX_AFFINITY", "true");

/// A long text that no other topic has.
fn text(topic: usize) -> String {
    (0..1_500).fold(String::new(), |text, n| text + &format!("{topic}.{n} "))
}

async fn cached(gate: &Gate, contents: &Value, system: &str) -> u64 {
    let body = json!({"contents": contents, "systemInstruction": {"parts": [{"text": system}]}});
    let answer = json_of(gate.post(&format!("/v1beta/models/{MODEL}:generateContent"), &body).await).await;
    answer["usageMetadata"]["cachedContentTokenCount"].as_u64().unwrap_or(0)
}

/// Cached tokens of conversations that take turns, and of questions about one document.
async fn talk(gate: &Gate) -> u64 {
    let mut sum = 0;
    let mut histories: Vec<Vec<Value>> = vec![Vec::new(); 13];
    for turn in 0..8 {
        for (topic, history) in histories.iter_mut().enumerate() {
            let said = if turn == 0 { text(topic) } else { format!("and then, {turn}?") };
            history.push(json!({"role": "user", "parts": [{"text": said}]}));
            sum += cached(gate, &json!(history), "be kind").await;
        }
    }
    for question in 0..20 {
        let turn = json!([{"role": "user", "parts": [{"text": format!("{} What of {question}?", text(99))}]}]);
        sum += cached(gate, &turn, "be kind").await;
    }
    sum
}

async fn attempts(gate: &Gate) -> Vec<u64> {
    let keys = gate.monitor("/monitor/keys").await;
    keys["keys"].as_array().unwrap().iter().map(|key| key["attempts"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn conversations_have_nearly_all_the_cached_tokens_that_one_key_would_have() {
    let (_alone, one) = with_keys_and(&[K1], &[]).await;
    let (_apart, spread) = with_keys_and(&[K1, K2, K3], &[]).await;
    let (_together, kept) = with_keys_and(&[K1, K2, K3], &[TOGETHER]).await;
    let (most, without, with) = (talk(&one).await, talk(&spread).await, talk(&kept).await);
    assert!(with * 10 >= most * 9, "{with} of {most}");
    assert!(without * 10 < most * 9, "{without} of {most} without it: the test shows nothing");
    let shares = attempts(&kept).await;
    assert!(shares.iter().all(|count| (30..=48).contains(count)), "{shares:?}");
    let metrics = kept.monitor("/monitor/metrics").await;
    let prefixes = &metrics["prefix_affinity"];
    assert!(prefixes["kept"].as_u64().unwrap() > 80, "{prefixes}");
    assert_eq!(prefixes["cached_tokens"].as_u64(), Some(with));
}

#[tokio::test]
async fn what_all_share_is_spread_by_the_weights() {
    let (_world, gate) = with_keys_and(&[K1, K2, K3], &[TOGETHER]).await;
    let system = text(1);
    for question in 0..120 {
        let turn = json!([{"role": "user", "parts": [{"text": format!("what of {question}?")}]}]);
        cached(&gate, &turn, &system).await;
    }
    let shares = attempts(&gate).await;
    assert!(shares.iter().all(|count| (34..=47).contains(count)), "{shares:?}");
}
