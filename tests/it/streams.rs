//! A stream is Google's, byte for byte and as it comes; and its client's going away is Google's to know at once.

use std::sync::Arc;

use geminate::mock::{self, Ending, World};
use reqwest::Response;
use serde_json::{Value, json};

use crate::house::PATIENCE;
use crate::world::{Gate, MODEL, TOKEN, google, header, prompt, with_keys, with_keys_and};

const KEY: &str = "fake-key-0001";
pub(crate) const SSE: &str = "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse";
pub(crate) const ARRAY: &str = "/v1beta/models/gemini-3.8-flash:streamGenerateContent";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A body that asks for a stream on either surface.
pub(crate) fn question() -> Value {
    let mut body = prompt("hello");
    body["model"] = json!(MODEL);
    body["messages"] = json!([{"role": "user", "content": "hello"}]);
    body["stream"] = json!(true);
    body
}

/// Everything that came, and whether it ended in order.
pub(crate) async fn heard(mut answer: Response) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, answer.chunk()).await.expect("the stream fell silent") {
            Ok(Some(chunk)) => text.extend_from_slice(&chunk),
            Ok(None) => return (String::from_utf8(text).unwrap(), true),
            Err(_) => return (String::from_utf8(text).unwrap(), false),
        }
    }
}

/// The next piece.
pub(crate) async fn piece(answer: &mut Response) -> String {
    let chunk = tokio::time::timeout(PATIENCE, answer.chunk()).await.expect("nothing came").unwrap();
    String::from_utf8(chunk.expect("it ended").to_vec()).unwrap()
}

/// The same question to another Google just like this one, which tells what must come.
pub(crate) async fn directly(script: &str, path: &str) -> String {
    let (world, origin) = google(mock::Settings::with_keys([KEY])).await;
    play(&world, script);
    let path = path.replace("/v1/chat", "/v1beta/openai/chat");
    let credential = if path.contains("openai") { "authorization" } else { "x-goog-api-key" };
    let value = if path.contains("openai") { format!("Bearer {KEY}") } else { KEY.to_owned() };
    let request = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let request = request.post(format!("{origin}{path}")).header(credential, value);
    let (text, whole) = heard(request.body(question().to_string()).send().await.unwrap()).await;
    assert!(whole && !text.is_empty());
    same_time(&text)
}

/// Without the second in which it was made.
fn same_time(text: &str) -> String {
    let mut parts = text.split("\"created\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "\"created\":" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

pub(crate) fn play(world: &World, script: &str) {
    assert!(script.is_empty() || world.script(script.parse().unwrap()));
}

/// How the only call ended, once it has.
pub(crate) async fn ending(world: &World) -> Ending {
    let over = |calls: &[mock::SeenCall]| calls.iter().any(|call| call.ending != Ending::Open);
    world.until(PATIENCE, over).await.expect("the upstream call goes on")[0].ending
}

#[tokio::test]
async fn no_byte_of_a_stream_is_changed() {
    for script in [
        "",
        "fault=lf",
        "fault=split:1",
        "fault=split:7/1ms",
        "fault=merge:3",
        "fault=merge:2,split:100",
        "fault=huge:3000000",
        "fault=thoughts",
        "fault=blocked:SAFETY",
        "fault=finish:MAX_TOKENS",
        "fault=unfinished",
        "fault=empty",
    ] {
        let (world, gate) = with_keys(&[KEY]).await;
        play(&world, script);
        for path in [SSE, ARRAY, CHAT] {
            let expected = directly(script, path).await;
            let answer = gate.post(path, &question()).await;
            assert_eq!(answer.status(), 200);
            let (text, whole) = heard(answer).await;
            let text = text.replace(&answer_id(&text), &answer_id(&expected));
            assert!(whole && same_time(&text) == expected, "{script} {path}");
        }
    }
}

/// The id Google gave the answer.
fn answer_id(text: &str) -> String {
    let at = text.find("mock0").unwrap();
    text[at..at + "mock".len() + 12].to_owned()
}

#[tokio::test]
async fn a_stream_tells_every_proxy_to_let_it_flow() {
    let (_world, gate) = with_keys(&[KEY]).await;
    for path in [SSE, CHAT] {
        let answer = gate.post(path, &question()).await;
        assert_eq!(header(&answer, "content-type"), "text/event-stream");
        assert_eq!(header(&answer, "x-accel-buffering"), "no");
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        assert!(!header(&answer, "x-request-id").is_empty());
    }
}

#[tokio::test]
async fn each_piece_comes_while_the_next_is_still_on_its_way() {
    for path in [SSE, ARRAY, CHAT] {
        for stalled in ["fault=stall:1", "fault=stall:2"] {
            let (world, gate) = with_keys(&[KEY]).await;
            play(&world, stalled);
            let mut answer = gate.post(path, &question()).await;
            assert!(piece(&mut answer).await.contains("mock0"), "{path}");
            assert_eq!(world.calls()[0].ending, Ending::Open, "{path}: Google is still silent");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_ends_the_call_at_google() {
    for path in [SSE, ARRAY, CHAT] {
        let (world, gate) = with_keys(&[KEY]).await;
        play(&world, "fault=stall:1");
        let mut answer = gate.post(path, &question()).await;
        piece(&mut answer).await;
        drop(answer);
        assert_eq!(ending(&world).await, Ending::Gone, "{path}");
        gate.logged(|line| line["outcome"] == "client_gone").await;
        let keys = gate.monitor("/monitor/keys").await;
        assert_eq!(keys["keys"][0]["in_flight"], 0);
        assert_eq!(keys["keys"][0]["outcomes"]["success"], Value::Null, "{keys}");
    }
}

async fn leaves_before_the_first_byte(world: Arc<World>, gate: &Gate, version: http::Version) {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let http = if version == http::Version::HTTP_2 { http.http2_prior_knowledge() } else { http };
    let request = http.build().unwrap().post(format!("http://{}{SSE}", gate.data)).header("x-goog-api-key", TOKEN);
    let asked = tokio::time::timeout(PATIENCE, request.body(question().to_string()).send());
    tokio::select! {
        _ = asked => panic!("Google said nothing"),
        calls = world.until(PATIENCE, |calls| !calls.is_empty()) => assert!(calls.is_some()),
    }
    assert_eq!(ending(&world).await, Ending::Gone, "{version:?}");
    gate.logged(|line| line["outcome"] == "client_gone").await;
    assert_eq!(world.calls().len(), 1, "nobody is left to retry for");
}

#[tokio::test]
async fn a_client_that_leaves_while_google_is_silent_ends_the_call_at_google() {
    for silence in ["fault=delay:60s", "fault=stall:0"] {
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let (world, gate) = with_keys(&[KEY, "fake-key-0002"]).await;
            play(&world, silence);
            leaves_before_the_first_byte(world, &gate, version).await;
        }
    }
}

#[tokio::test]
async fn an_empty_answer_is_asked_for_once_more_where_that_is_wished() {
    for path in [SSE, ARRAY, "/v1beta/models/gemini-3.8-flash:generateContent"] {
        let (world, gate) = with_keys_and(&[KEY, "fake-key-0002"], &[("EMPTY_RETRIES", "1")]).await;
        play(&world, "fault=empty times=1");
        let answer = gate.post(path, &prompt("hello")).await;
        assert_eq!(header(&answer, "x-geminate-attempts"), "2", "{path}");
        let (text, whole) = heard(answer).await;
        assert!(whole && text.contains("\"text\""), "{path}: {text}");
        let keys = gate.monitor("/monitor/keys").await;
        assert_eq!(
            (&keys["keys"][0]["state"], &keys["keys"][1]["state"]),
            (&json!("usable"), &json!("usable")),
            "{keys}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_stays_empty_comes_as_it_is() {
    let (world, gate) = with_keys_and(&[KEY, "fake-key-0002"], &[("EMPTY_RETRIES", "1")]).await;
    play(&world, "fault=empty");
    let answer = gate.stream("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "text/event-stream".to_owned()));
    let (text, whole) = heard(answer).await;
    assert!(whole && text.starts_with("data: {") && text.ends_with("\r\n\r\n"), "{text}");
    assert_eq!(world.calls().len(), 2);
}
