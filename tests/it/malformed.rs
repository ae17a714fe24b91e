//! What cannot be read is refused as everything is: in the shape of its surface, counted, and never at an answer's cost.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get as on_get;
use geminate::server::Stop;
use http::header::{CONNECTION, UPGRADE};
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::house::{House, Wire, eventually, get, settings};
use crate::sight::Seen;
use crate::stage::{K1, play};
use crate::streams::CHAT;
use crate::world::{MODEL, TOKEN, with_keys};

const NATIVE: &str = "/v1beta/models";
/// What hyper says by itself.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Every form of a head that cannot be taken, asking for `path`; and the status that it gets.
fn heads(path: &str) -> Vec<(String, u16)> {
    let head = |headers: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    vec![
        (head("no header\r\n"), 400),
        (head("na me: x\r\n"), 400),
        (head("x: a\0b\r\n"), 400),
        (head("content-length: x\r\n"), 400),
        (head("content-length: 3\r\ncontent-length: 4\r\n"), 400),
        (head("content-length: 99999999999999999999999\r\n"), 400),
        (head("transfer-encoding: gzip\r\n"), 400),
        (head("").replace("HTTP/1.1", "HTTP/9.9"), 400),
        (head("").replace("HTTP/1.1", "FTP/1.1"), 400),
        (head("").replace(" HTTP/1.1", "\0 HTTP/1.1"), 400),
        (head("transfer-encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"), 400),
        (head(&"x: y\r\n".repeat(101)), 431),
        (head(&format!("x: {}\r\n", "y".repeat(70_000))), 431),
        (head(&format!("x: {}\r\n", "y".repeat(500_000))), 431),
        (head("").replace(" HTTP", &format!("?{} HTTP", "y".repeat(66_000))), 414),
    ]
}

/// The refusal in an answer: its head and its body.
fn refusal(answer: &str, status: u16) -> (&str, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let lines = [format!("content-length: {}", body.len()), "connection: close".to_owned()];
    assert!(lines.iter().all(|line| head.matches(line).count() == 1) && head.contains("\r\ndate: "), "{head}");
    (head, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
}

async fn refused(address: std::net::SocketAddr, request: &str) -> String {
    let mut wire = Wire::to(address).await;
    // It may be refused before it is said.
    let _ = wire.0.write_all(request.as_bytes()).await;
    wire.hear_out().await
}

#[tokio::test]
async fn a_head_that_cannot_be_taken_is_refused_in_the_shape_of_its_surface() {
    let seen = Seen::open(&[K1], |_| {}).await;
    let mut count = 0;
    for path in [NATIVE, CHAT, "/v1beta/interactions"] {
        for (request, status) in heads(path) {
            let answer = refused(seen.house.data, &request).await;
            let (head, body) = refusal(&answer, status);
            let code = match (path, status) {
                (NATIVE, status) => json!(status),
                (CHAT, 400) => json!("malformed"),
                (CHAT, 431) => json!("head_too_large"),
                (CHAT, _) => json!("unroutable"),
                _ => json!("invalid_request"),
            };
            assert_eq!(body["error"]["code"], code, "{request:.60}");
            let id = head.split("x-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let call = seen.over(id).await;
            assert_eq!((&call["outcome"], &call["status"]), (&json!("refused"), &json!(status)));
            count += 1;
        }
    }
    let counts = seen.telemetry.counts();
    assert_eq!((counts.outcomes["refused"], counts.refusals.values().sum()), (count, count));
    assert!(counts.refusals["malformed"] == 33 && counts.refusals["head_too_large"] == 9, "{:?}", counts.refusals);
}

#[tokio::test]
async fn the_operator_s_listener_refuses_in_its_own_shape() {
    let (_world, gate) = with_keys(&[K1]).await;
    for (request, status) in heads("/api/keys") {
        let answer = refused(gate.admin, &request).await;
        let (head, body) = refusal(&answer, status);
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!((&body["status"], &body["type"]), (&json!(status), &json!("about:blank")));
    }
}

#[tokio::test]
async fn what_is_no_request_at_all_is_refused_and_logged_without_a_word_of_it() {
    let (_world, gate) = with_keys(&[K1]).await;
    for request in [
        "GARBAGE\r\n\r\n",
        "\u{1}\u{2}\r\n\r\n",
        "AIzaFakeFakeFakeFakeFakeFakeFakeFake\r\n\r\n",
        "G\u{e4}T / HTTP/1.1\r\n\r\n",
    ] {
        let answer = refused(gate.data, request).await;
        let (head, body) = refusal(&answer, 400);
        assert_eq!(body["error"]["status"], "INVALID_ARGUMENT");
        let id = head.split("x-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
        let line = gate.logged(|line| line["request_id"] == id).await;
        assert_eq!(
            (&line["reason"], &line["method"], &line["status"]),
            (&json!("malformed"), &json!("-"), &json!(400))
        );
    }
    assert!(!gate.log().contains("AIzaFake"));
    let answer = refused(gate.data, "HEAD /v1beta/models HTTP/1.1\r\nno header\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"), "a HEAD has no body: {answer}");
}

#[tokio::test]
async fn a_malformed_request_behind_good_ones_is_refused_and_they_are_served() {
    let house = House::open(settings(), Router::new().route("/", on_get(|| async { "hello" })));
    let bad = heads(CHAT).remove(0).0;
    let good = get("/");
    for apart in [true, false] {
        let mut wire = Wire::to(house.data).await;
        let first = if apart {
            for _ in 0..3 {
                wire.say(&good).await;
                wire.hear("hello").await;
            }
            wire.say(&bad).await;
            String::new()
        } else {
            wire.say(&(good.clone() + &good + &bad)).await;
            wire.hear("HTTP/1.1 400 ").await
        };
        let answer = first + &wire.hear_out().await;
        let at = answer.find("HTTP/1.1 400 ").unwrap();
        assert_eq!(answer[..at].matches("HTTP/1.1 200 OK").count(), if apart { 0 } else { 2 });
        assert!(apart || answer[..at].ends_with("hello"), "{answer}");
        let code = refusal(&answer[at..], 400).1["error"]["code"].clone();
        // What came with another request is answered as that: here by Google's shape.
        assert_eq!(code, if apart { json!("malformed") } else { json!(400) });
    }
}

/// A house that answers what looks like a refusal of hyper's, and what an upgrade leads to.
fn lookalikes() -> Router {
    let upgraded = |mut request: Request| async move {
        let on = hyper::upgrade::on(&mut request);
        #[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
        tokio::spawn(async move {
            let mut raw = TokioIo::new(on.await.unwrap());
            raw.write_all(BARE.as_bytes()).await.unwrap();
            raw.shutdown().await.unwrap();
        });
        let switch = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        switch.header(CONNECTION, "upgrade").header(UPGRADE, "raw").body(Body::empty()).unwrap()
    };
    Router::new()
        .route("/bare", on_get(|| async { (StatusCode::BAD_REQUEST, [(CONNECTION, "close")]) }))
        .route("/quote", on_get(|| async { BARE }))
        .route("/raw", on_get(upgraded))
}

#[tokio::test]
async fn no_byte_of_an_answer_is_taken_for_a_refusal() {
    let house = House::open(settings(), lookalikes());
    let mut wire = Wire::to(house.data).await;
    for _ in 0..2 {
        wire.say(&get("/quote")).await;
        let answer = wire.hear(BARE).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(BARE), "{answer}");
    }
    wire.say(&get("/bare")).await;
    let answer = wire.hear_out().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    let mut wire = Wire::to(house.data).await;
    wire.say("GET /raw HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n").await;
    let answer = wire.hear_out().await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with(&format!("\r\n\r\n{BARE}")), "{answer}");
    house.stop(Stop::Terminate);
    assert_eq!(house.closed().await, None);
}

#[tokio::test]
async fn a_refused_client_that_says_more_reads_why_and_is_not_waited_for_long() {
    let house = House::open(settings(), Router::new());
    let mut wire = Wire::to(house.data).await;
    wire.say("POST /v1beta/files HTTP/1.1\r\nno header\r\n\r\n").await;
    for _ in 0..64 {
        let _ = wire.0.write_all(&[b'x'; 16 << 10]).await;
    }
    refusal(&wire.hear_out().await, 400);
    // It keeps its own side open.
    eventually(|| house.readiness.open() == 0).await;
}

#[tokio::test]
async fn a_body_whose_chunks_are_malformed_is_refused_as_well() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &[]);
    let native = format!("/v1beta/models/{MODEL}:generateContent");
    for path in [native.as_str(), CHAT, "/upload/v1beta/files"] {
        for chunks in ["zz\r\n", "5\r\nhello!!\r\n0\r\n\r\n", "-1\r\n", "fffffffffffffffff\r\n", "3;x\r\nabcdef"] {
            let mut wire = Wire::to(gate.data).await;
            wire.say(&format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")).await;
            wire.0.shutdown().await.unwrap();
            let answer = wire.hear_out().await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path} {chunks:?} {answer:?}"));
            assert!(head.starts_with("HTTP/1.1 400 "), "{path} {chunks:?} {answer}");
            let body: Value = serde_json::from_str(body).unwrap();
            let code = if path == CHAT { json!("body_broken") } else { json!(400) };
            assert_eq!(body["error"]["code"], code, "{answer}");
        }
    }
}
