//! What is kept is given again: to the same client, for the same question, as it was; and nothing else is kept.

use std::sync::Arc;

use geminate::mock::World;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::PATIENCE;
use crate::stage::{K1, K2, play};
use crate::world::{Gate, MODEL, TOKEN, header, json_of, prompt, with_keys, with_keys_and};

pub(crate) const ON: (&str, &str) = ("ENABLE_CACHING", "true");
const COUNT: &str = "/v1beta/models/gemini-3.8-flash:countTokens";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A prompt at temperature 0.
pub(crate) fn cold(text: &str) -> Value {
    warm(text, 0.0)
}

fn warm(text: &str, temperature: f64) -> Value {
    let mut body = prompt(text);
    body["generationConfig"] = json!({"temperature": temperature});
    body
}

fn chat(temperature: f64) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "temperature": temperature})
}

fn generate() -> String {
    format!("/v1beta/models/{MODEL}:generateContent")
}

pub(crate) fn source(answer: &Response) -> String {
    header(answer, "x-geminate-cache")
}

/// Asks with more headers.
pub(crate) async fn ask(gate: &Gate, path: &str, body: &Value, headers: &[(&str, &str)]) -> Response {
    let request = gate.ask(Method::POST, path).header("content-type", "application/json").body(body.to_string());
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

/// Asks `generateContent`; where the answer came from.
async fn generated(gate: &Gate, body: &Value, headers: &[(&str, &str)]) -> String {
    let answer = ask(gate, &generate(), body, headers).await;
    let source = source(&answer);
    answer.bytes().await.unwrap();
    source
}

async fn caching() -> (Arc<World>, Gate) {
    with_keys_and(&[K1, K2], &[ON]).await
}

#[tokio::test]
async fn an_answer_is_given_again_as_it_was_without_a_call() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:0ms header=x-goog-said:once times=1"]);
    let first = ask(&gate, &generate(), &cold("hello"), &[]).await;
    assert_eq!((source(&first), header(&first, "age")), ("miss".to_owned(), "0".to_owned()));
    let again = ask(&gate, &generate(), &cold("hello"), &[]).await;
    assert_eq!((source(&again), header(&again, "x-geminate-attempts")), ("hit".to_owned(), "0".to_owned()));
    for name in ["content-type", "vary", "x-goog-said", "content-length"] {
        assert_eq!(header(&again, name), header(&first, name), "{name}");
    }
    assert_ne!(header(&again, "x-request-id"), header(&first, "x-request-id"));
    assert!(header(&again, "server-timing").is_empty() && header(&again, "x-geminate-key").is_empty());
    // Each answer of the mock has an id of its own.
    assert_eq!(again.bytes().await.unwrap(), first.bytes().await.unwrap());
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test]
async fn what_cannot_differ_is_kept_on_both_surfaces_and_a_stream_never() {
    let (world, gate) = caching().await;
    let content = json!({"content": {"parts": [{"text": "hello"}]}});
    let model = "/v1beta/models/gemini-embedding-001";
    let cases = [
        (Method::POST, COUNT.to_owned(), prompt("hello"), true),
        (Method::POST, format!("{model}:embedContent"), content.clone(), true),
        (Method::POST, format!("{model}:batchEmbedContents"), json!({"requests": [content]}), true),
        (Method::POST, "/v1/embeddings".to_owned(), json!({"model": "gemini-embedding-001", "input": "hello"}), true),
        (Method::GET, "/v1beta/models".to_owned(), Value::Null, true),
        (Method::GET, format!("/v1beta/models/{MODEL}"), Value::Null, true),
        (Method::GET, "/v1beta/openai/models".to_owned(), Value::Null, true),
        (Method::POST, generate(), warm("hello", 0.0), true),
        (Method::POST, generate(), warm("hello", 1.0), false),
        (Method::POST, generate(), prompt("hello"), false),
        (Method::POST, "/v1/chat/completions".to_owned(), chat(0.0), true),
        (Method::POST, "/v1/chat/completions".to_owned(), chat(0.7), false),
        (Method::POST, format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"), cold("hello"), false),
        (Method::GET, "/v1beta/echo".to_owned(), Value::Null, false),
    ];
    for (method, path, body, kept) in cases {
        let before = world.calls().len();
        let mut said = Vec::new();
        for _ in 0..2 {
            let request = gate.ask(method.clone(), &path).header("content-type", "application/json");
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let answer = request.body(body).send().await.unwrap();
            said.push(source(&answer));
            answer.bytes().await.unwrap();
        }
        let expected = if kept { ["miss", "hit"] } else { ["", ""] };
        assert_eq!(
            (said, world.calls().len() - before),
            (expected.map(str::to_owned).into(), if kept { 1 } else { 2 }),
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_the_word_nothing_is_kept() {
    let (world, gate) = with_keys(&[K1]).await;
    for _ in 0..2 {
        assert_eq!(generated(&gate, &cold("hello"), &[("x-geminate-cache", "allow")]).await, "");
    }
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn a_caller_may_ask_for_what_chance_forbids_and_google_does_not_hear_of_it() {
    let (world, gate) = caching().await;
    for expected in ["miss", "hit"] {
        assert_eq!(generated(&gate, &warm("hello", 1.0), &[("x-geminate-cache", "allow")]).await, expected);
    }
    // Who does not ask for it gets a new one.
    assert_eq!(generated(&gate, &warm("hello", 1.0), &[]).await, "");
    assert!(world.calls().iter().all(|call| !call.headers.contains_key("x-geminate-cache")));
    let file = json!({"contents": [{"parts": [{"fileData": {"fileUri": "files/of-one-project"}}]}]});
    assert_eq!(generated(&gate, &file, &[("x-geminate-cache", "allow")]).await, "");
}

#[tokio::test]
async fn a_question_is_the_same_to_the_byte_but_for_the_order_of_its_parameters() {
    let (world, gate) = caching().await;
    for (path, body, expected) in [
        (format!("{COUNT}?a=1&b=2"), "{\"contents\": []}", "miss"),
        (format!("{COUNT}?b=2&key={TOKEN}&a=1"), "{\"contents\": []}", "hit"),
        (format!("{COUNT}?a=1&b=2"), "{\"contents\":  []}", "miss"),
        (format!("{COUNT}?a=1&b=3"), "{\"contents\": []}", "miss"),
        (COUNT.replace("v1beta", "v1"), "{\"contents\": []}", "miss"),
    ] {
        let request = gate.ask(Method::POST, &path).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), source(&answer).as_str()), (200, expected), "{path} {body}");
    }
    assert_eq!(world.calls().len(), 4);
}

#[tokio::test]
async fn no_client_gets_what_another_asked_for() {
    let (world, gate) = with_keys_and(&[K1], &[ON, ("JWT_SECRET", SECRET), ("AUTH_TOKEN", "fake-one,fake-two")]).await;
    let token = |sub: &str| {
        let claims = json!({"sub": sub, "exp": get_current_timestamp() + 600});
        encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    };
    let (alice, bob) = (token("alice"), token("bob"));
    for (token, expected) in
        [("fake-one", "miss"), ("fake-two", "hit"), (&alice, "miss"), (&bob, "miss"), (&alice, "hit"), (&bob, "hit")]
    {
        let request = gate.http.post(format!("http://{}{}", gate.data, generate())).bearer_auth(token);
        assert_eq!(source(&request.body(cold("hello").to_string()).send().await.unwrap()), expected, "{token}");
    }
    assert_eq!(world.calls().len(), 3);
}

#[tokio::test]
async fn cache_control_is_obeyed() {
    let (world, gate) = caching().await;
    let with = async |control| generated(&gate, &cold("hello"), &[("cache-control", control)]).await;
    assert_eq!(with("no-store").await, "");
    assert_eq!(with("max-age=60").await, "miss", "no-store was kept");
    assert_eq!(with("no-store").await, "");
    assert_eq!(with("max-age=60").await, "hit");
    let calls = world.calls().len();
    let answer = ask(&gate, &generate(), &cold("hello"), &[("cache-control", "no-cache")]).await;
    assert_eq!((source(&answer), world.calls().len()), ("miss".to_owned(), calls + 1));
    // What came fresh stands for what was kept.
    let again = ask(&gate, &generate(), &cold("hello"), &[]).await;
    assert_eq!((source(&again), again.bytes().await.unwrap()), ("hit".to_owned(), answer.bytes().await.unwrap()));
    assert_eq!(with("max-age=0").await, "miss");
}

#[tokio::test]
async fn age_tells_the_seconds_and_max_age_bounds_them() {
    let (_world, gate) = caching().await;
    assert_eq!(generated(&gate, &cold("hello"), &[]).await, "miss");
    let aged = async {
        loop {
            let answer = ask(&gate, &generate(), &cold("hello"), &[]).await;
            if header(&answer, "age").parse::<u64>().unwrap() >= 1 {
                return source(&answer);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(timeout(PATIENCE, aged).await.unwrap(), "hit");
    assert_eq!(generated(&gate, &cold("hello"), &[("cache-control", "max-age=1")]).await, "miss");
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_only() {
    let (_world, gate) = with_keys_and(&[K1], &[ON, ("GEMINATE__CACHE__TTL_MS", "300")]).await;
    assert_eq!(generated(&gate, &cold("hello"), &[]).await, "miss");
    let expired = async { while generated(&gate, &cold("hello"), &[]).await == "hit" {} };
    timeout(PATIENCE, expired).await.expect("it was kept on");
}

#[tokio::test]
async fn what_failed_was_blocked_or_cut_short_is_never_kept() {
    let (world, gate) = with_keys_and(&[K1], &[ON, crate::stage::NO_RETRIES]).await;
    for (n, fault) in [
        "invalid_argument",
        "internal",
        "blocked:SAFETY",
        "finish:SAFETY",
        "finish:RECITATION",
        "finish:MAX_TOKENS",
        "empty",
        "thoughts",
        "cut:1",
    ]
    .into_iter()
    .enumerate()
    {
        play(&world, &[&format!("fault={fault} times=1")]);
        let body = cold(&n.to_string());
        let bad = ask(&gate, &generate(), &body, &[]).await;
        let _broken_off = bad.bytes().await;
        assert_eq!(generated(&gate, &body, &[]).await, "miss", "{fault} was kept");
        assert_eq!(generated(&gate, &body, &[]).await, "hit", "{fault}");
    }
}

#[tokio::test]
async fn a_callers_error_says_it_was_looked_up_and_is_asked_anew() {
    let (world, gate) = caching().await;
    play(&world, &["fault=invalid_argument times=2"]);
    for _ in 0..2 {
        let answer = ask(&gate, &generate(), &cold("hello"), &[]).await;
        assert_eq!((answer.status().as_u16(), source(&answer).as_str()), (400, "miss"));
        assert_eq!(json_of(answer).await["error"]["status"], "INVALID_ARGUMENT");
    }
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn a_hit_is_counted_as_served_and_as_no_tokens() {
    let (_world, gate) = caching().await;
    assert_eq!(generated(&gate, &cold("hello"), &[]).await, "miss");
    let before = gate.monitor("/monitor/metrics").await;
    assert_eq!(generated(&gate, &cold("hello"), &[]).await, "hit");
    gate.logged(|line| line["cache"] == "hit").await;
    let after = gate.monitor("/monitor/metrics").await;
    assert_eq!(after["outcomes"]["ok"], 2);
    assert!(before["tokens"]["prompt_tokens"].as_u64().unwrap() > 0);
    assert_eq!(after["tokens"], before["tokens"]);
    let cache = &after["cache"];
    assert_eq!((&cache["hits"], &cache["misses"], &cache["shared"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!((&cache["enabled"], &cache["hit_ratio"], &cache["entries"]), (&json!(true), &json!(0.5), &json!(1)));
    assert!(cache["bytes"].as_u64().unwrap() > 500);
    let text = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let text = text.text().await.unwrap();
    for line in [
        "geminate_cache_requests_total{result=\"hit\"} 1",
        "geminate_cache_requests_total{result=\"miss\"} 1",
        "geminate_cache_entries 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("geminate_cache_bytes ")));
}

#[tokio::test]
async fn a_hit_spends_the_clients_rate() {
    let (_world, gate) = with_keys_and(&[K1], &[ON, ("RATE_LIMIT_PER_MINUTE", "3")]).await;
    for expected in ["miss", "hit", "hit"] {
        assert_eq!(generated(&gate, &cold("hello"), &[]).await, expected);
    }
    assert_eq!(ask(&gate, &generate(), &cold("hello"), &[]).await.status(), 429);
}

#[tokio::test]
async fn a_hit_needs_no_living_key() {
    let (world, gate) = with_keys_and(&[K1], &[ON]).await;
    assert_eq!(generated(&gate, &cold("hello"), &[]).await, "miss");
    play(&world, &["fault=api_key_invalid"]);
    assert_eq!(ask(&gate, &generate(), &cold("other"), &[]).await.status(), 503);
    assert_eq!(generated(&gate, &cold("hello"), &[]).await, "hit");
}

#[tokio::test]
async fn the_memory_for_answers_has_its_bound() {
    let bounds = [ON, ("GEMINATE__CACHE__BYTES_MAX", "1048576"), ("GEMINATE__CACHE__ANSWER_BYTES_MAX", "524288")];
    let (world, gate) = with_keys_and(&[K1], &bounds).await;
    play(&world, &["fault=huge:200000"]);
    for n in 0..12 {
        assert_eq!(generated(&gate, &cold(&n.to_string()), &[]).await, "miss");
        let cache = gate.monitor("/monitor/metrics").await["cache"].take();
        assert!(cache["bytes"].as_u64().unwrap() <= 1_048_576, "{cache}");
        assert!(cache["entries"].as_u64().unwrap() >= 1, "{cache}");
    }
}
