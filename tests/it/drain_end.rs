//! The end of a drain: whoever is still served hears that it was geminate who ended it, and may ask again.

use std::time::Duration;

use geminate::mock::Ending;
use geminate::server::Stop;
use http::Version;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::house::{PATIENCE, Wire, eventually};
use crate::sight::Seen;
use crate::stage::{K1, play, states};
use crate::streams::{ARRAY, CHAT, SSE, ending, heard, piece, question};
use crate::world::{Gate, MODEL, TOKEN, header, prompt, with_keys_and};

const SHORT: (&str, &str) = ("GEMINATE__SERVER__DRAIN_TIMEOUT_MS", "400");
const INTERACTIONS: &str = "/v1beta/interactions";

async fn seen(change: impl FnOnce(&mut geminate::settings::Settings)) -> Seen {
    Seen::open(&[K1], |settings| {
        settings.server.drain_timeout_ms = 300;
        change(settings);
    })
    .await
}

fn generate() -> String {
    format!("/v1beta/models/{MODEL}:generateContent")
}

/// A stream by this version of HTTP.
async fn stream(gate: &Gate, path: &str, version: Version) -> Response {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let http = if version == Version::HTTP_2 { http.http2_prior_knowledge() } else { http };
    let request = http.build().unwrap().post(format!("http://{}{path}", gate.data)).bearer_auth(TOKEN);
    let answer = timeout(PATIENCE, request.body(question().to_string()).send()).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    answer
}

#[tokio::test]
async fn what_streams_to_the_end_of_a_drain_is_told_so_as_each_sdk_reads_it() {
    for (path, version) in [(SSE, Version::HTTP_11), (CHAT, Version::HTTP_11), (SSE, Version::HTTP_2)] {
        let (world, mut gate) = with_keys_and(&[K1], &[SHORT]).await;
        play(&world, &["fault=stall:1"]);
        let mut answer = stream(&gate, path, version).await;
        piece(&mut answer).await;
        let began = Instant::now();
        gate.signal("TERM");
        let (text, whole) = heard(answer).await;
        assert!(whole && began.elapsed() >= Duration::from_millis(400), "{text}");
        let last = text.trim_end().rsplit('\n').next().unwrap();
        let error: Value = serde_json::from_str(last.trim_start_matches("data: ")).unwrap_or_else(|_| panic!("{text}"));
        let error = &error["error"];
        assert!(error["message"].as_str().unwrap().contains("shutting down"), "{text}");
        let code = if path == CHAT { json!("draining") } else { json!(503) };
        assert_eq!((&error["code"], last.starts_with("data: ")), (&code, path == CHAT), "{text}");
        let line = gate.logged(|line| line["message"] == "served").await;
        let told = ["outcome", "reason", "status"].map(|field| line[field].clone());
        assert_eq!(told, [json!("refused"), json!("draining"), json!(200)]);
        assert_eq!(ending(&world).await, Ending::Gone);
        assert_eq!(gate.exited().await, Some(0));
        assert!(began.elapsed() < Duration::from_secs(4));
        assert!(!gate.log().contains("connections are cut"), "nobody had to be");
    }
}

#[tokio::test]
async fn an_array_that_the_drain_ends_is_seen_to_be_cut_and_nobody_is_blamed() {
    let seen = seen(|_| {}).await;
    play(&seen.world, &["fault=stall:1"]);
    let mut answer = seen.ask("mine", ARRAY, &question()).await;
    piece(&mut answer).await;
    seen.house.stop(Stop::Terminate);
    assert!(!heard(answer).await.1);
    let request = seen.over("mine").await;
    assert_eq!((&request["outcome"], &request["reason"]), (&json!("refused"), &json!("draining")));
    assert_eq!(request["attempts"][0]["verdict"], "abandoned");
    assert!(seen.telemetry.failures(10).is_empty());
    assert_eq!(seen.house.closed().await, None);
}

#[tokio::test]
async fn a_call_without_an_answer_hears_at_the_end_of_a_drain_that_it_may_ask_again() {
    let seen = seen(|settings| settings.admit.concurrent_max = 3).await;
    play(&seen.world, &["fault=delay:60s"]);
    let openai = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
    let interaction = json!({"model": MODEL, "input": "hello"});
    let (path, native) = (generate(), prompt("hello"));
    let asked = async {
        tokio::join!(
            seen.ask("gemini", &path, &native),
            seen.ask("openai", CHAT, &openai),
            seen.ask("interactions", INTERACTIONS, &interaction),
            async {
                eventually(|| seen.world.calls().len() == 3).await;
                seen.ask("queued", &path, &native).await
            }
        )
    };
    let stop = async {
        eventually(|| seen.find("queued").is_some()).await;
        seen.house.stop(Stop::Terminate);
    };
    let ((gemini, openai, interactions, queued), ()) = tokio::join!(asked, stop);
    for (id, answer, code) in [
        ("gemini", gemini, json!(503)),
        ("openai", openai, json!("draining")),
        ("interactions", interactions, json!("service_unavailable")),
        ("queued", queued, json!(503)),
    ] {
        let told = ["retry-after", "connection", "x-request-id"].map(|name| header(&answer, name));
        assert_eq!((answer.status().as_u16(), told), (503, ["1", "close", id].map(str::to_owned)));
        let error: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(error["error"]["code"], code);
        let request = seen.over(id).await;
        assert_eq!((&request["outcome"], &request["reason"]), (&json!("refused"), &json!("draining")), "{id}");
    }
    assert_eq!(seen.telemetry.counts().refusals.get("draining"), Some(&4));
    assert!(seen.telemetry.failures(10).is_empty(), "no key is to blame");
    assert_eq!(seen.house.closed().await, None);
}

#[tokio::test]
async fn a_call_in_line_for_a_key_and_an_upload_that_still_comes_hear_it_too() {
    let seen = seen(|settings| settings.pool.max_wait_ms = 120_000).await;
    play(&seen.world, &["fault=quota_minute:40s times=1"]);
    let (path, body) = (generate(), prompt("hello"));
    let in_line = seen.ask("line", &path, &body);
    let uploading = async {
        eventually(|| seen.find("line").is_some_and(|call| call.attempts.iter().any(|one| one.verdict.is_some())))
            .await;
        let mut wire = Wire::to(seen.house.data).await;
        wire.say(
            "POST /upload/v1beta/files HTTP/1.1\r\nhost: x\r\nx-request-id: upload\r\ncontent-length: 99\r\n\r\nbegun",
        )
        .await;
        eventually(|| seen.find("upload").is_some()).await;
        seen.house.stop(Stop::Terminate);
        wire.hear_out().await
    };
    let (answer, upload) = tokio::join!(in_line, uploading);
    assert_eq!(answer.status(), 503);
    assert!(upload.starts_with("HTTP/1.1 503 ") && upload.contains("\"DRAINING\""), "{upload}");
    for id in ["line", "upload"] {
        assert_eq!(seen.over(id).await["reason"], "draining", "{id}");
    }
    assert_eq!(seen.house.closed().await, None);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_a_moment_later_and_is_not_said_to_have_gone() {
    let seen = seen(|_| {}).await;
    play(&seen.world, &["fault=huge:64000000"]);
    let mut wire = Wire::to(seen.house.data).await;
    let body = question().to_string();
    let head =
        format!("POST {SSE} HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\ncontent-length: {}\r\n\r\n", body.len());
    wire.say(&(head + &body)).await;
    eventually(|| seen.find("mine").is_some_and(|request| request.bytes > 0)).await;
    let began = Instant::now();
    seen.house.stop(Stop::Terminate);
    let request = seen.over("mine").await;
    assert_eq!((&request["outcome"], &request["reason"]), (&json!("refused"), &json!("draining")), "{request:#}");
    assert_eq!(seen.house.closed().await, None);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_drain_without_time_ends_streams_at_once_and_still_says_why() {
    let (world, mut gate) = with_keys_and(&[K1], &[("GEMINATE__SERVER__DRAIN_TIMEOUT_MS", "0")]).await;
    play(&world, &["fault=stall:1"]);
    let mut answer = stream(&gate, SSE, Version::HTTP_11).await;
    piece(&mut answer).await;
    assert_eq!(states(&gate).await[0].0, "usable");
    let began = Instant::now();
    gate.signal("TERM");
    let (text, whole) = heard(answer).await;
    assert!(whole && text.contains("shutting down"), "{text}");
    assert_eq!(gate.exited().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(3));
}
