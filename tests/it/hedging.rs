//! Where it is switched on, a second attempt is made beside one that is slow, while nobody needs the room it takes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use geminate::mock::{Ending, SeenCall, World};
use serde_json::{Value, json};

use crate::house::PATIENCE;
use crate::stage::{K1, K2, K3, NO_RETRIES, calls_of, play, states, told, with_config};
use crate::world::{Gate, MODEL, TOKEN, header, prompt, with_keys_and};

const ON: (&str, &str) = ("GEMINATE__RETRY__HEDGE", "true");
/// As many answers as are needed to know what is slow.
const ENOUGH: usize = 60;

/// Keys, a gate that hedges, and answers that took some hundred milliseconds: a slow one takes longer.
async fn warm(keys: &[&str], variables: &[(&str, &str)], path: &str, answers: usize) -> (Arc<World>, Gate) {
    let all: Vec<_> = [ON].iter().chain(variables).copied().collect();
    let (world, gate) = with_keys_and(keys, &all).await;
    warm_up(&world, &gate, path, answers).await;
    (world, gate)
}

async fn warm_up(world: &World, gate: &Gate, path: &str, answers: usize) {
    play(world, &["fault=delay:300ms"]);
    let asked = join_all((0..answers).map(|_| async { gate.post(path, &prompt("hello")).await.text().await })).await;
    assert!(asked.iter().all(Result::is_ok));
    world.reset();
}

fn generate() -> String {
    format!("/v1beta/models/{MODEL}:generateContent")
}

fn stream() -> String {
    format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse")
}

async fn hedges(gate: &Gate) -> Value {
    gate.monitor("/monitor/metrics").await["hedges"].take()
}

/// Waits for the end of a call that Google saw.
async fn ended(world: &World, n: usize) -> SeenCall {
    let over = |calls: &[SeenCall]| calls.get(n).is_some_and(|call| call.ending != Ending::Open);
    let calls = world.until(PATIENCE, over).await.expect("it goes on");
    calls[n].clone()
}

/// The id that the gate gave the key of a call: its place.
fn id(call: &SeenCall) -> String {
    let place = [K1, K2, K3].iter().position(|key| call.key.as_deref() == Some(*key)).unwrap();
    (place + 1).to_string()
}

#[tokio::test]
async fn a_slow_attempt_is_overtaken_by_another_project_s_and_cut_off() {
    let (world, gate) = warm(&[K1, K2], &[], &generate(), ENOUGH).await;
    play(&world, &["fault=delay:60s times=1"]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    let (slow, fast) = (ended(&world, 0).await, ended(&world, 1).await);
    assert_eq!((slow.ending, fast.ending), (Ending::Gone, Ending::Complete));
    assert_ne!(slow.project, fast.project);
    assert_eq!(header(&answer, "x-geminate-key"), id(&fast), "the key is the winner's");
    assert_eq!(gate.logged(|line| line["attempts"] == 2).await["key"], id(&fast));
    assert_eq!(hedges(&gate).await, json!({"won": 1, "lost": 0, "failed": 0}));
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("geminate_hedges_total{outcome=\"won\"} 1"));
    let given_up =
        format!("geminate_attempts_total{{key=\"{}\",model=\"{MODEL}\",verdict=\"abandoned\"}} 1", id(&slow));
    assert!(page.contains(&given_up), "no {given_up} in\n{page}");
    let keys = gate.monitor("/monitor/keys").await;
    let loser = keys["keys"].as_array().unwrap().iter().find(|key| key["id"] == id(&slow)).unwrap();
    assert_eq!((&loser["outcomes"]["abandoned"], &loser["state"]), (&json!(1), &json!("usable")), "{loser}");
    assert_eq!((&loser["effective_weight"], &loser["in_flight"]), (&json!(1.0), &json!(0)), "it is not to blame");
}

#[tokio::test]
async fn the_first_attempt_may_still_win() {
    let (world, gate) = warm(&[K1, K2], &[], &generate(), ENOUGH).await;
    play(&world, &["fault=delay:3s times=1", "fault=delay:60s times=1"]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    let (first, second) = (ended(&world, 0).await, ended(&world, 1).await);
    assert_eq!((first.ending, second.ending), (Ending::Complete, Ending::Gone));
    assert_eq!(header(&answer, "x-geminate-key"), id(&first));
    assert_eq!(hedges(&gate).await, json!({"won": 0, "lost": 1, "failed": 0}));
}

#[tokio::test]
async fn where_one_of_both_fails_the_other_is_awaited() {
    for (scripts, outcome, winner) in [
        (["fault=delay:2s,internal times=1", "fault=delay:4s times=1"], json!({"won": 1, "lost": 0, "failed": 0}), 1),
        (["fault=delay:4s times=1", "fault=internal times=1"], json!({"won": 0, "lost": 0, "failed": 1}), 0),
    ] {
        let (world, gate) = warm(&[K1, K2], &[NO_RETRIES], &generate(), ENOUGH).await;
        play(&world, &scripts);
        let answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
        assert_eq!(header(&answer, "x-geminate-key"), id(&ended(&world, winner).await));
        assert_eq!(hedges(&gate).await, outcome);
    }
}

#[tokio::test]
async fn where_both_fail_neither_key_is_asked_again_before_the_third() {
    let (world, gate) = warm(&[K1, K2, K3], &[], &generate(), ENOUGH).await;
    play(&world, &["fault=delay:3s,internal times=2"]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "3".to_owned()));
    let mut asked: Vec<_> = world.calls().into_iter().filter_map(|call| call.key).collect();
    asked.sort();
    assert_eq!(asked, [K1, K2, K3]);
    assert_eq!(hedges(&gate).await, json!({"won": 0, "lost": 0, "failed": 1}));
}

#[tokio::test]
async fn a_stream_is_hedged_until_its_first_chunk_and_not_after_it() {
    let (world, gate) = warm(&[K1, K2], &[], &stream(), ENOUGH).await;
    play(&world, &["fault=stall:0 times=1", "times=1 fault=lf", "fault=stall:1/2s"]);
    let answer = gate.stream("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    assert!(answer.text().await.unwrap().contains("STOP"));
    assert_eq!(ended(&world, 0).await.ending, Ending::Gone);
    let answer = gate.stream("hello").await;
    assert!(answer.text().await.unwrap().contains("STOP"));
    assert_eq!((world.calls().len(), hedges(&gate).await), (3, json!({"won": 1, "lost": 0, "failed": 0})));
}

#[tokio::test]
async fn a_client_that_leaves_ends_both() {
    let (world, gate) = warm(&[K1, K2], &[], &generate(), ENOUGH).await;
    play(&world, &["fault=delay:60s"]);
    tokio::select! {
        _ = gate.generate("hello") => panic!("Google said nothing"),
        calls = world.until(PATIENCE, |calls| calls.len() == 2) => assert!(calls.is_some(), "no hedge"),
    }
    assert_eq!((ended(&world, 0).await.ending, ended(&world, 1).await.ending), (Ending::Gone, Ending::Gone));
    let counted = async {
        while hedges(&gate).await["lost"] != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("it was not counted");
}

/// A slow call that nothing is done about.
async fn stays_alone(world: &World, gate: &Gate, path: &str, body: &Value) {
    play(world, &["fault=delay:2s times=1"]);
    let before = world.calls().len();
    let answer = gate.post(path, body).await;
    assert_eq!((answer.status().as_u16(), world.calls().len()), (200, before + 1), "{path}");
    assert_eq!(hedges(gate).await, json!({"won": 0, "lost": 0, "failed": 0}), "{path}");
}

#[tokio::test]
async fn what_may_not_be_doubled_is_not() {
    let (world, gate) = warm(&[K1, K2], &[], &generate(), ENOUGH).await;
    let batch = json!({"batch": {"inputConfig": {"requests": {"requests": [{"request": prompt("hi")}]}}}});
    stays_alone(&world, &gate, &format!("/v1beta/models/{MODEL}:batchGenerateContent"), &batch).await;
    let cache =
        json!({"model": format!("models/{MODEL}"), "contents": [{"role": "user", "parts": [{"text": "long"}]}]});
    let cache = told(gate.post("/v1beta/cachedContents", &cache).await).await.1;
    let mut bound = prompt("hello");
    bound["cachedContent"] = cache["name"].clone();
    stays_alone(&world, &gate, &generate(), &bound).await;
    let other = "/v1beta/models/gemini-3.7-flash:generateContent";
    stays_alone(&world, &gate, other, &prompt("of a model of which nobody knows what is slow")).await;
}

#[tokio::test]
async fn there_is_no_hedge_without_room_without_a_budget_or_without_the_switch() {
    let (world, gate) = warm(&[K1], &[], &generate(), ENOUGH).await;
    stays_alone(&world, &gate, &generate(), &prompt("one project")).await;

    let (world, gate) = warm(&[K1, K2], &[], &generate(), ENOUGH).await;
    play(&world, &[&format!("key={K2} fault=quota_minute:30s times=1")]);
    for _ in 0..2 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(calls_of(&world, K2).len(), 1);
    stays_alone(&world, &gate, &generate(), &prompt("the other one rests")).await;

    let none = [("GEMINATE__RETRY__BUDGET_PERCENT", "0"), ("GEMINATE__RETRY__BUDGET_FLOOR_PER_S", "0")];
    let (world, gate) = warm(&[K1, K2], &none, &generate(), ENOUGH).await;
    stays_alone(&world, &gate, &generate(), &prompt("no budget")).await;

    let (world, gate) = warm(&[K1, K2], &[], &generate(), 10).await;
    stays_alone(&world, &gate, &generate(), &prompt("too few answers")).await;

    let (world, gate) = warm(&[K1, K2], &[("GEMINATE__RETRY__HEDGE", "false")], &generate(), ENOUGH).await;
    stays_alone(&world, &gate, &generate(), &prompt("switched off")).await;
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
}

#[tokio::test]
async fn no_limit_that_is_half_used_pays_for_a_hedge() {
    for (rpm, won) in [(1_000, 1), (40, 0)] {
        let keys = [K1, K2].map(|key| format!("[[keys]]\nkey = \"{key}\"\nrpm = {rpm}\n")).concat();
        let (world, gate) = with_config(&[K1, K2], &keys, &[ON]).await;
        warm_up(&world, &gate, &generate(), ENOUGH).await;
        play(&world, &["fault=delay:2s times=1"]);
        assert_eq!(gate.generate("hello").await.status(), 200);
        assert_eq!(hedges(&gate).await, json!({"won": won, "lost": 0, "failed": 0}), "30 of {rpm} a minute are used");
    }
}

#[tokio::test]
async fn hedges_are_a_share_of_the_traffic() {
    let floor = [("GEMINATE__RETRY__BUDGET_PERCENT", "0"), ("GEMINATE__RETRY__BUDGET_FLOOR_PER_S", "1")];
    let (world, gate) = warm(&[K1, K2], &floor, &generate(), ENOUGH).await;
    play(&world, &["fault=delay:2s"]);
    let answers = join_all((0..40).map(|_| gate.generate("hello"))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let extra = world.calls().len() - 40;
    assert!((1..=20).contains(&extra), "{extra} hedges of 40 calls within a few seconds, at one a second");
}
