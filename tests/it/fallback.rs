//! Where a model is exhausted or overloaded, the next one of the operator's list serves, and the answer says which one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use geminate::mock::World;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cache::{ON, ask, cold, source};
use crate::house::PATIENCE;
use crate::stage::{AT_ONCE, K1, K2, NO_RETRIES, play, states, told, with_config};
use crate::world::{Gate, MODEL, TOKEN, header, prompt};

const SECOND: &str = "gemini-3.7-flash";
const THIRD: &str = "gemini-3.5-flash";
const LISTS: &str = "[models.aliases]\nfast = \"gemini-3.8-flash\"\n[models.fallback]\n\
    \"gemini-3.8-flash\" = [\"gemini-3.7-flash\", \"gemini-3.5-flash\"]\n";
/// Nobody may ask this model.
const OUT: &str = "model=gemini-3.8-flash fault=quota_day";
const OVERLOADED: &str = "model=gemini-3.8-flash fault=overloaded";

async fn with_lists(keys: &[&str], variables: &[(&str, &str)]) -> (Arc<World>, Gate) {
    let list = keys.iter().map(|key| key.split('@').next().unwrap()).collect::<Vec<_>>().join(",");
    let mut all = vec![("GEMINI_API_KEY", list.as_str())];
    all.extend(variables);
    with_config(keys, LISTS, &all).await
}

/// Which model served in another's place.
fn served_by(answer: &Response) -> String {
    header(answer, "x-geminate-model")
}

/// The models that Google was asked for, in order.
fn asked(world: &World) -> Vec<String> {
    world.calls().into_iter().map(|call| call.model).collect()
}

fn chat(model: &str) -> String {
    format!(
        "{{ \"x\":1.50, \"model\" :\"{model}\", \"messages\":[{{\"role\":\"user\",\"content\":\"\\u00e9 {MODEL}\"}}]\n}}"
    )
}

async fn openai(gate: &Gate, path: &str, body: &str) -> Response {
    let request = gate.http.post(format!("http://{}{path}", gate.data)).bearer_auth(TOKEN);
    request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap()
}

#[tokio::test]
async fn an_exhausted_model_is_stood_in_for_and_the_answer_says_by_which() {
    let (world, gate) = with_lists(&[K1, K2], &[]).await;
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, String::new()), "it serves itself while it can");
    play(&world, &[OUT]);
    for path in ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"] {
        let answer = gate.post(&format!("/v1beta/models/{MODEL}:{path}"), &prompt("hello")).await;
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, SECOND.to_owned()), "{path}");
        answer.bytes().await.unwrap();
        let call = world.calls().pop().unwrap();
        assert_eq!(call.path_and_query, format!("/v1beta/models/{SECOND}:{path}"));
        assert_eq!(call.body, prompt("hello").to_string());
    }
    // Both keys were told once, and never again.
    assert_eq!(asked(&world), [MODEL, MODEL, MODEL, SECOND, SECOND, SECOND]);
    let fast = gate.post("/v1beta/models/fast:generateContent", &prompt("hello")).await;
    assert_eq!(served_by(&fast), SECOND, "an alias has the list of its model");
}

#[tokio::test]
async fn openai_s_and_interactions_bodies_get_the_other_name_and_not_a_byte_else_changes() {
    let (world, gate) = with_lists(&[K1], &[]).await;
    play(&world, &[OUT]);
    for model in [MODEL, "fast", "google/gemini-3.8-flash"] {
        let answer = openai(&gate, "/v1/chat/completions", &chat(model)).await;
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, SECOND.to_owned()), "{model}");
        assert_eq!(String::from_utf8_lossy(&world.calls().pop().unwrap().body), chat(SECOND));
    }
    let answer = openai(&gate, "/v1/chat/completions", &chat("models/gemini-3.8-flash")).await;
    assert_eq!(
        (answer.status().as_u16(), world.calls().pop().unwrap().body),
        (200, chat("models/gemini-3.7-flash").into())
    );
    for store in [true, false] {
        let turn = |model: &str| json!({"input": "hello", "model": model, "store": store});
        let answer = gate.post("/v1beta/interactions", &turn(MODEL)).await;
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, SECOND.to_owned()));
        assert_eq!(world.calls().pop().unwrap().body, turn(SECOND).to_string());
    }
}

#[tokio::test]
async fn operators_see_who_served_in_whose_place() {
    let (world, gate) = with_lists(&[K1], &[]).await;
    play(&world, &[OUT]);
    for _ in 0..2 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    let line = gate.logged(|line| line["message"] == "served").await;
    assert_eq!((&line["model"], &line["fallback"]), (&json!(MODEL), &json!(SECOND)));
    let metrics = gate.monitor("/monitor/metrics").await;
    assert_eq!(metrics["fallbacks"], json!({MODEL: {SECOND: 2}}), "{metrics}");
    assert_eq!((&metrics["models"][SECOND]["ok"], &metrics["models"][MODEL]["ok"]), (&json!(2), &Value::Null));
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let page = page.text().await.unwrap();
    let counted = format!("geminate_fallbacks_total{{from=\"{MODEL}\",to=\"{SECOND}\"}} 2");
    assert!(page.contains(&counted), "{page}");
    assert!(page.contains(&format!("geminate_attempts_total{{key=\"1\",model=\"{SECOND}\",verdict=\"success\"}} 2")));
}

#[tokio::test]
async fn an_overload_is_tried_on_one_other_key_and_then_on_another_model() {
    let (world, gate) = with_lists(&[K1, K2], &[]).await;
    play(&world, &[OVERLOADED, &format!("model={SECOND} fault=overloaded")]);
    let began = Instant::now();
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, THIRD.to_owned()));
    assert_eq!(header(&answer, "x-geminate-attempts"), "5");
    assert_eq!(asked(&world), [MODEL, MODEL, SECOND, SECOND, THIRD]);
    assert!(began.elapsed() < Duration::from_secs(4), "an overload is not waited for while another model is left");
}

#[tokio::test]
async fn a_model_that_is_overloaded_time_after_time_is_passed_over_for_a_while() {
    let (world, gate) = with_lists(&[K1], &[NO_RETRIES]).await;
    play(&world, &[OVERLOADED]);
    for _ in 0..5 {
        assert_eq!(served_by(&gate.generate("hello").await), SECOND);
    }
    assert_eq!(
        asked(&world),
        [MODEL, SECOND, MODEL, SECOND, MODEL, SECOND, SECOND, SECOND],
        "each try costs of its quota"
    );
    world.clear_scripts();
    let serves_again = async {
        while !served_by(&gate.generate("hello").await).is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, serves_again).await.expect("it is never asked again");
    assert!(served_by(&gate.generate("hello").await).is_empty());
}

#[tokio::test]
async fn a_model_that_is_come_back_to_has_no_more_attempts_than_one_without_a_list() {
    for (keys, again) in [(&[K1, K2][..], 2), (&[K1], 0)] {
        let (world, gate) = with_lists(keys, &[]).await;
        play(&world, &["fault=overloaded"]);
        let answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (503, String::new()));
        let mut each = vec![MODEL, MODEL, SECOND, SECOND, THIRD, THIRD];
        each.extend(vec![MODEL; again]);
        assert_eq!(asked(&world), each);
    }
}

#[tokio::test]
async fn nobody_waits_in_line_while_another_model_is_left() {
    let (world, gate) = with_lists(&[K1], &[]).await;
    play(&world, &[&format!("model={MODEL} fault=quota_minute:2s times=1")]);
    let began = Instant::now();
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, SECOND.to_owned()));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn when_all_are_out_the_one_that_returns_in_time_is_waited_for() {
    for (first, served) in [("quota_minute:2s", ""), ("quota_day", SECOND)] {
        let (world, gate) = with_lists(&[K1], &[]).await;
        let others = format!("model={SECOND} fault=quota_minute:2s times=1");
        let scripts =
            [&format!("model={MODEL} fault={first} times=1"), &others, &format!("model={THIRD} fault=quota_day")];
        play(&world, &scripts.map(String::as_str));
        let answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, served.to_owned()), "{first}");
        assert_eq!(world.calls().len(), 4, "each was asked once before any was waited for");
    }
}

#[tokio::test]
async fn when_all_fail_the_client_hears_the_refusal_of_the_model_it_asked_for() {
    let (world, gate) = with_lists(&[K1], &[AT_ONCE]).await;
    play(
        &world,
        &[OUT, &format!("model={SECOND} fault=invalid_argument"), &format!("model={THIRD} fault=quota_minute:9s")],
    );
    let answer = gate.generate("hello").await;
    let wait = header(&answer, "retry-after");
    assert!(
        (8..=13).contains(&wait.parse::<u32>().unwrap()),
        "the minute's, as the other model ends before the day: {wait}"
    );
    assert!(served_by(&answer).is_empty());
    let (status, refusal) = told(answer).await;
    assert_eq!(refusal["error"]["details"][1]["retryDelay"], format!("{wait}s"), "{refusal}");
    assert_eq!((status, &refusal["error"]["details"][0]["metadata"]), (429, &json!({"quota_day": "1"})), "{refusal}");
    let line = gate.logged(|line| line["message"] == "served").await;
    assert_eq!((&line["model"], line.get("fallback")), (&json!(MODEL), None));
    gate.logged(|line| line["to"] == SECOND && line["status"] == 400).await;
    assert_eq!(gate.monitor("/monitor/metrics").await["fallbacks"], json!({}));
}

#[tokio::test]
async fn whichever_model_returns_first_the_client_is_told_to_come_back_then() {
    for (own, second, third, expected) in [
        ("quota_minute:9s", "quota_day", "quota_minute:40s", 8..=13),
        ("limit_zero", "quota_minute:40s", "quota_minute:20s", 18..=24),
        ("quota_day", "quota_minute:30s", "overloaded", 8..=11),
    ] {
        let (world, gate) = with_lists(&[K1], &[AT_ONCE, NO_RETRIES]).await;
        let scripts =
            [(MODEL, own), (SECOND, second), (THIRD, third)].map(|(m, fault)| format!("model={m} fault={fault}"));
        play(&world, &scripts.each_ref().map(String::as_str));
        let answer = gate.generate("hello").await;
        let wait = header(&answer, "retry-after").parse::<u32>().unwrap();
        assert_eq!((answer.status().as_u16(), expected.contains(&wait)), (429, true), "{own} {wait}");
    }
}

#[tokio::test]
async fn one_deadline_spans_all_models() {
    let (world, gate) = with_lists(&[K1], &[("REQUEST_TIMEOUT", "2000")]).await;
    play(&world, &[OUT, &format!("model={SECOND} fault=delay:60s")]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), served_by(&answer)), (504, String::new()));
    assert_eq!(asked(&world), [MODEL, SECOND]);
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_wrong_with_every_model() {
    for fault in ["invalid_argument", "model_not_found", "internal", "permission_denied"] {
        let (world, gate) = with_lists(&[K1], &[]).await;
        play(&world, &[&format!("fault={fault}")]);
        assert!(gate.generate("hello").await.status().as_u16() >= 400, "{fault}");
        assert!(asked(&world).iter().all(|model| model == MODEL), "{fault}");
    }
}

#[tokio::test]
async fn a_count_of_tokens_and_a_body_that_is_not_kept_stay_with_their_model() {
    let (world, gate) = with_lists(&[K1], &[AT_ONCE, ("GEMINATE__RETRY__REPLAY_BYTES_MAX", "100")]).await;
    play(&world, &[OUT]);
    let count = gate.post(&format!("/v1beta/models/{MODEL}:countTokens"), &prompt("hello")).await;
    assert_eq!((count.status().as_u16(), served_by(&count)), (429, String::new()));
    let large = gate.generate(&"x".repeat(500)).await;
    assert_eq!((large.status().as_u16(), served_by(&large)), (429, String::new()));
    assert!(asked(&world).iter().all(|model| model == MODEL));
}

#[tokio::test]
async fn what_is_bound_stays_bound_to_its_cache_s_model_and_to_its_file_s_project() {
    let (world, gate) = with_lists(&[K1, K2], &[AT_ONCE]).await;
    let cache = json!({"model": format!("models/{MODEL}"), "contents": [{"parts": [{"text": "x".repeat(9_000)}]}]});
    let cache = told(gate.post("/v1beta/cachedContents", &cache).await).await.1;
    let upload = gate.ask(Method::POST, "/upload/v1beta/files").header("x-goog-upload-protocol", "raw");
    let file = told(upload.header("content-type", "text/plain").body("hello").send().await.unwrap()).await.1;
    let owner = world.calls().pop().unwrap().project;
    play(&world, &[OUT]);
    let mut cached = prompt("hello");
    cached["cachedContent"] = cache["name"].clone();
    let answer = gate.post(&format!("/v1beta/models/{MODEL}:generateContent"), &cached).await;
    assert_eq!((answer.status().as_u16(), served_by(&answer)), (429, String::new()));
    let filed = json!({"contents": [{"parts": [{"fileData": {"fileUri": file["file"]["uri"]}}]}]});
    for _ in 0..3 {
        let answer = gate.post(&format!("/v1beta/models/{MODEL}:generateContent"), &filed).await;
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, SECOND.to_owned()));
        assert_eq!(world.calls().pop().unwrap().project, owner);
    }
}

#[tokio::test]
async fn what_makes_something_goes_elsewhere_only_where_nothing_can_have_come_of_it() {
    let path = format!("/v1beta/models/{MODEL}:batchGenerateContent");
    let batch =
        json!({"batch": {"displayName": "a", "inputConfig": {"requests": {"requests": [{"request": prompt("hi")}]}}}});
    let (world, gate) = with_lists(&[K1], &[AT_ONCE]).await;
    play(&world, &[&format!("{OVERLOADED} times=1"), OUT, &format!("model={SECOND} fault=internal")]);
    assert_eq!(gate.post(&path, &batch).await.status(), 503);
    assert_eq!(asked(&world), [MODEL]);
    let answer = gate.post(&path, &batch).await;
    assert_eq!((answer.status().as_u16(), asked(&world)), (500, vec![MODEL.into(), MODEL.into(), SECOND.into()]));
    world.clear_scripts();
    let answer = gate.post(&path, &batch).await;
    assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, SECOND.to_owned()));
}

#[tokio::test]
async fn another_model_s_answer_is_not_kept_for_the_one_that_was_asked() {
    let (world, gate) = with_lists(&[K1], &[ON]).await;
    play(
        &world,
        &[&format!("model={MODEL} fault=quota_minute:2s times=1"), &format!("model={SECOND} fault=delay:500ms")],
    );
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    let body = cold("hello");
    let (one, other) = join(ask(&gate, &path, &body, &[]), ask(&gate, &path, &body, &[])).await;
    let mut sources = [source(&one), source(&other)];
    sources.sort();
    assert_eq!(sources, ["miss", "shared"]);
    assert_eq!([served_by(&one), served_by(&other)], [SECOND, SECOND], "who shares an answer learns whose it is");
    let again = ask(&gate, &path, &body, &[]).await;
    assert_eq!((source(&again), served_by(&again)), ("miss".to_owned(), SECOND.to_owned()));
    let second = ask(&gate, &format!("/v1beta/models/{SECOND}:generateContent"), &body, &[]).await;
    assert_eq!((source(&second), served_by(&second)), ("miss".to_owned(), String::new()));
    assert_eq!(states(&gate).await.len(), 1);
}
