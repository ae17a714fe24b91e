//! Whatever becomes of a refusal on its way, it is read as far as it came, and no client is left without a word.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::stage::{AT_ONCE, K1, K2, NO_RETRIES, calls_of, key, play, states, told};
use crate::world::{Gate, MODEL, header, prompt, with_keys, with_keys_and};

/// An error that comes in pieces may take no longer.
const SOON: (&str, &str) = ("GEMINATE__UPSTREAM__FIRST_BYTE_TIMEOUT_MS", "500");
/// How an answer ends before its end.
const BREAKS: [&str; 3] = ["cut:3", "reset:3", "stall:3"];

/// A refusal whose last member is so long that it is in that where the answer breaks.
fn refusal(error: &Value, padding: usize) -> String {
    format!("{{\"error\":{error},\"x\":\"{}\"}}", "m".repeat(padding))
}

fn dead() -> Value {
    json!({"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"})
}

fn spent() -> Value {
    let violation = json!({"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "250"});
    let details = json!([{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]);
    json!({"code": 429, "message": "You exceeded your quota.", "status": "RESOURCE_EXHAUSTED", "details": details})
}

fn script(code: u16, faults: &str, body: &str) -> String {
    format!("fault=status:{code}{faults} body={body}")
}

/// The same question on every surface.
async fn on_every_surface(gate: &Gate) -> [Response; 3] {
    let chat = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
    let turn = json!({"model": MODEL, "input": "hello", "store": false});
    [
        gate.generate("hello").await,
        gate.post("/v1/chat/completions", &chat).await,
        gate.post("/v1beta/interactions", &turn).await,
    ]
}

/// A message is said, and as JSON.
async fn says(answer: Response) -> (u16, String) {
    assert!(header(&answer, "content-type").starts_with("application/json"), "{answer:?}");
    let (status, error) = told(answer).await;
    (status, error["error"]["message"].as_str().unwrap_or_else(|| panic!("{error}")).to_owned())
}

#[tokio::test]
async fn a_dead_key_is_seen_though_its_refusal_is_long_or_never_ends() {
    for (faults, padding) in [("", 70_000), ("", 600_000), (",cut:3", 2_000), (",reset:3", 2_000), (",stall:3", 2_000)]
    {
        let (world, gate) = with_keys_and(&[K1, K2], &[SOON]).await;
        play(&world, &[&format!("key={K1} {}", script(400, faults, &refusal(&dead(), padding)))]);
        for _ in 0..2 {
            assert_eq!(gate.generate("hello").await.status(), 200, "{faults} {padding}");
        }
        assert_eq!(states(&gate).await[0], ("dead".to_owned(), "invalid".to_owned()), "{faults} {padding}");
        assert_eq!(calls_of(&world, K1).len(), 1);
    }
}

#[tokio::test]
async fn a_long_refusal_is_read_to_its_quota() {
    for (faults, padding) in [("", 70_000), ("", 600_000), (",cut:3", 4_000)] {
        let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
        play(&world, &[&script(429, faults, &refusal(&spent(), padding))]);
        let answer = gate.generate("hello").await;
        assert!(header(&answer, "retry-after").parse::<u32>().unwrap() > 60, "{faults} {padding}");
        assert_eq!(states(&gate).await, [("cooling".to_owned(), "quota_day".to_owned())], "{faults} {padding}");
    }
}

#[tokio::test]
async fn a_long_error_of_the_caller_s_own_comes_back_to_the_byte() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let body = refusal(&json!({"code": 400, "message": "Invalid value.", "status": "INVALID_ARGUMENT"}), 200_000);
    play(&world, &[&script(400, "", &body)]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (400, "1".to_owned()));
    assert_eq!(answer.text().await.unwrap(), body);
}

#[tokio::test]
async fn an_error_too_long_to_be_kept_is_told_by_what_was_read_of_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let message = format!("Invalid value: {}", "m".repeat(600_000));
    let error = json!({"code": 400, "message": message, "status": "INVALID_ARGUMENT"});
    play(&world, &[&script(400, "", &json!({ "error": error }).to_string())]);
    for answer in on_every_surface(&gate).await {
        assert_eq!(header(&answer, "x-geminate-attempts"), "1");
        let (status, message) = says(answer).await;
        assert_eq!(status, 400);
        assert!(message.starts_with("Invalid value: mmm"), "{message}");
    }
}

#[tokio::test]
async fn an_error_that_breaks_off_is_asked_for_once_more_and_then_told_as_502() {
    for fault in BREAKS {
        let (world, gate) = with_keys_and(&[K1, K2], &[SOON]).await;
        for code in [400, 403, 404, 500] {
            world.reset();
            let error = json!({"code": code, "message": "No.", "status": "UNKNOWN"});
            play(&world, &[&script(code, &format!(",{fault}"), &refusal(&error, 2_000))]);
            let (status, message) = says(gate.generate("hello").await).await;
            assert_eq!((status, world.calls().len()), (502, 2), "{fault} {code}: {message}");
            assert!(message.starts_with("the upstream broke off"), "{message}");
        }
        assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"), "no key is blamed: {fault}");
    }
}

#[tokio::test]
async fn a_429_that_breaks_off_is_one_without_a_reason() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE, NO_RETRIES]).await;
    play(&world, &[&script(429, ",cut:3", &refusal(&json!({"code": 429, "message": "Busy."}), 2_000))]);
    for answer in on_every_surface(&gate).await {
        assert!((1..=7).contains(&header(&answer, "retry-after").parse::<u32>().unwrap()), "{answer:?}");
        assert_eq!(says(answer).await.0, 429);
    }
}

#[tokio::test]
async fn an_error_that_breaks_off_once_is_not_noticed() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("times=1 {}", script(403, ",cut:3", &refusal(&json!({"code": 403}), 2_000)))]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    let calls = world.calls();
    assert_ne!(calls[0].key, calls[1].key);
}

#[tokio::test]
async fn no_error_comes_without_a_word() {
    let (world, gate) = with_keys_and(&[K1, K2], &[NO_RETRIES]).await;
    for code in [400, 404, 409, 418, 500, 503, 520] {
        world.reset();
        play(&world, &[&format!("fault=status:{code}")]);
        for answer in on_every_surface(&gate).await {
            let (status, message) = says(answer).await;
            assert_eq!((status, message.is_empty()), (code, false));
        }
    }
}

#[tokio::test]
async fn an_error_in_plain_text_is_one_that_openai_s_sdks_can_read() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=status:404 header=content-type:text/plain body=no such thing"]);
    let [native, chat, _] = on_every_surface(&gate).await;
    assert_eq!(
        (header(&native, "content-type"), native.text().await.unwrap()),
        ("text/plain".into(), "no such thing".into())
    );
    assert!(header(&chat, "content-type").starts_with("application/json"));
    let (status, error) = told(chat).await;
    let error = &error["error"];
    assert_eq!((status, &error["message"], &error["type"]), (404, &json!("no such thing"), &json!("not_found_error")));
}

#[tokio::test]
async fn a_page_that_blames_the_request_is_told_at_once_and_with_its_status() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    for code in [400, 404, 405, 411, 413] {
        world.reset();
        let page = format!("<!DOCTYPE html><html><title>Error {code} (X)!!1</title>");
        play(&world, &[&format!("fault=status:{code} header=content-type:text/html body={page}")]);
        for answer in on_every_surface(&gate).await {
            assert_eq!(header(&answer, "x-geminate-attempts"), "1", "{code}");
            let told = format!("Google's edge answered {code} instead of the API: Error {code} (X)!!1");
            assert_eq!(says(answer).await, (code, told));
        }
    }
    assert_eq!(world.calls().len(), 3);
    assert_eq!(key(&gate, 0).await["effective_weight"], 1.0);
    for code in [403, 429, 500, 502] {
        world.reset();
        play(&world, &[&format!("fault=status:{code} header=content-type:text/html body=<html>")]);
        assert_eq!((says(gate.generate("hello").await).await.0, world.calls().len()), (502, 2), "{code}");
    }
}

#[tokio::test]
async fn an_address_that_google_does_not_know_is_the_caller_s_own() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let answer = gate.ask(Method::GET, "/v1beta/no/such:thing").send().await.unwrap();
    assert_eq!((says(answer).await.0, world.calls().len()), (404, 1));
}

/// A Google that answers everything with these bytes. It ends with the test's runtime.
async fn answering(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move {
        while let Ok((mut line, _)) = listener.accept().await {
            let mut asked = Vec::new();
            // The body ends with this, and nothing else does.
            while !asked.ends_with(b"}]}") {
                let mut piece = [0; 1024];
                match line.read(&mut piece).await {
                    Ok(len) if len > 0 => asked.extend_from_slice(&piece[..len]),
                    _ => break,
                }
            }
            let _ = line.write_all(head.as_bytes()).await;
        }
    });
    origin
}

#[tokio::test]
async fn a_status_that_is_no_answer_is_told_as_502() {
    for head in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 600 X\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}",
        "HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n",
    ] {
        let origin = answering(head).await;
        let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
        let answer = gate.post(&format!("/v1beta/models/{MODEL}:generateContent"), &prompt("hello")).await;
        assert_eq!(header(&answer, "x-geminate-attempts"), "2", "{head}");
        let (status, message) = says(answer).await;
        assert_eq!(status, 502, "{head}: {message}");
    }
}

#[tokio::test]
async fn a_key_in_the_place_of_a_project_is_kept_by_nobody() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED",
        "metadata": {"consumer": "projects/{key}"}});
    let error = json!({"code": 403, "message": "for {key}", "status": "PERMISSION_DENIED", "details": [info]});
    play(&world, &[&script(403, "", &json!({ "error": error }).to_string())]);
    assert_eq!(gate.generate("hello").await.status(), 403);
    let seen = [gate.monitor("/monitor/keys").await, gate.monitor("/monitor/errors").await];
    let seen = format!("{seen:?} {}", gate.log());
    assert!(seen.contains("blocked") && !seen.contains(K1) && !seen.contains(K2), "{seen}");
}
