//! Nothing a client makes up leads where it must not, and nothing it sends ends more than its own request.

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::io::AsyncWriteExt;

use crate::house::Wire;
use crate::streams::play;
use crate::world::{Gate, TOKEN, header, with_keys};

const KEY: &str = "fake-key-0001";

/// What comes back when `head` and `rest` are all that is sent.
async fn said(gate: &Gate, line: &str, headers: &str) -> String {
    let mut wire = Wire::to(gate.data).await;
    let bytes = format!("{line}\r\nx-goog-api-key: {TOKEN}\r\nconnection: close\r\n{headers}\r\n");
    // It may be refused before all of it was written.
    let _ = wire.0.write_all(bytes.as_bytes()).await;
    wire.hear_out().await
}

fn status(heard: &str) -> u16 {
    heard.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{heard:?}"))
}

#[tokio::test]
async fn what_speaks_for_somebody_else_or_for_one_hop_never_goes_up() {
    let (world, gate) = with_keys(&[KEY]).await;
    let headers = [
        "host: evil.example",
        "cookie: session=1",
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-host: evil.example",
        "x-real-ip: 10.0.0.1",
        "forwarded: for=10.0.0.1",
        "via: 1.1 proxy",
        "x-goog-user-project: somebody-elses",
        "x-goog-iam-authorization-token: other",
        "x-http-method-override: GET",
        "connection: x-goog-hop, keep-alive",
        "x-goog-hop: 1",
        "keep-alive: timeout=5",
        "proxy-authorization: Basic eDp5",
        "proxy-connection: keep-alive",
        "te: trailers",
        "upgrade: h2c",
        "accept-encoding: gzip",
        "x-geminate-anything: 1",
        "x-goog-api-client: genai-test/1",
        "x-server-timeout: 30",
        "content-type: application/json",
    ];
    let heard = said(&gate, "GET /v1beta/echo HTTP/1.1", &(headers.join("\r\n") + "\r\n")).await;
    assert_eq!(status(&heard), 200);
    let call = world.calls().pop().unwrap();
    let mut names: Vec<_> = call.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "content-type", "host", "x-goog-api-client", "x-goog-api-key", "x-server-timeout"]);
    assert!(call.headers["host"].to_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn google_s_cookies_and_hops_never_come_down() {
    let (world, gate) = with_keys(&[KEY]).await;
    for fault in ["cut:9", "status:200"] {
        for (name, value) in [
            ("set-cookie", "a=b"),
            ("alt-svc", "h3"),
            ("server", "x"),
            ("location", "https://x.example"),
            ("x-goog-meant", "yes"),
        ] {
            world.clear_scripts();
            play(&world, &format!("fault={fault} header={name}:{value}"));
            let request = gate.ask(http::Method::GET, "/v1beta/models");
            // One of them breaks after its head.
            let answer = request.send().await.unwrap();
            assert_eq!(header(&answer, name) == value, name == "x-goog-meant", "{name}");
        }
    }
}

#[tokio::test]
async fn whatever_credentials_come_one_goes_up() {
    let (world, gate) = with_keys(&[KEY]).await;
    let more = format!("authorization: Bearer {TOKEN}\r\nx-api-key: {TOKEN}\r\nx-goog-api-key: another\r\n");
    for query in [
        String::new(),
        format!("?key={TOKEN}"),
        format!("?a=1&key={TOKEN}&key=other&b=2"),
        format!("?k%65y={TOKEN}"),
        "?access_token=foreign&oauth_token=foreign".to_owned(),
        "?acce%73s_token=foreign".to_owned(),
    ] {
        for path in ["/v1beta/echo", "/v1beta/openai/models", "/v1/models/gemini-3.8-flash:echo"] {
            said(&gate, &format!("GET {path}{query} HTTP/1.1\r\nhost: x"), &more).await;
            let call = world.calls().pop().unwrap();
            let values: Vec<_> = call.credentials.iter().map(|credential| credential.value.as_str()).collect();
            assert_eq!(values, [KEY], "{path}{query}: {}", call.path_and_query);
            assert!(!call.path_and_query.contains("foreign") && !call.path_and_query.contains(TOKEN));
        }
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_api() {
    let (world, gate) = with_keys(&[KEY]).await;
    for path in [
        "/v1beta/../monitor/keys",
        "/v1beta/./models",
        "/v1beta/%2e%2e/models",
        "/v1beta/.%2E/models",
        "/v1beta/models/..%2f..%2fecho",
        "/v1beta/models%2Fecho",
        "/v1beta//echo",
        "///v1beta/echo",
        "//evil.example/echo",
        "/v1beta/echo\\..\\x",
        "/v1beta/echo%5c..",
        "/v1beta/echo%00",
        "/v1beta/echo%0d%0ax",
        "/v1beta/..",
        "/%761beta/echo",
        "/v2/echo",
        "/v1beta",
        "/",
        "/metrics",
        "/api/keys",
        "/debug/pprof",
        "/healthz/../v1beta/echo",
        "@evil.example/v1beta/echo",
        "*",
    ] {
        let heard = said(&gate, &format!("GET {path} HTTP/1.1\r\nhost: x"), "").await;
        assert!([400, 404].contains(&status(&heard)), "{path}: {heard}");
    }
    let long = format!("/v1beta/echo?{}", "a".repeat(9000));
    assert_eq!(status(&said(&gate, &format!("GET {long} HTTP/1.1\r\nhost: x"), "").await), 414);
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn an_absolute_target_names_a_path_and_never_a_host() {
    let (world, gate) = with_keys(&[KEY]).await;
    for origin in ["http://evil.example", "http://user:word@evil.example:81", "https://evil.example"] {
        let heard = said(&gate, &format!("GET {origin}/v1beta/echo HTTP/1.1\r\nhost: evil.example"), "").await;
        assert_eq!(status(&heard), 200, "{heard}");
        let call = world.calls().pop().unwrap();
        assert_eq!(call.path_and_query, "/v1beta/echo");
        assert!(call.headers["host"].to_str().unwrap().starts_with("127.0.0.1:"));
    }
    let heard = said(&gate, "CONNECT evil.example:443 HTTP/1.1\r\nhost: x", "").await;
    assert!([400, 404, 405].contains(&status(&heard)), "{heard}");
    assert_eq!(world.calls().len(), 3);
}

#[tokio::test]
async fn a_body_framed_in_two_ways_is_refused() {
    let (world, gate) = with_keys(&[KEY]).await;
    for framing in [
        "content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "content-length: 5, 6\r\n\r\nhello!",
        "content-length: +5\r\n\r\nhello",
        "content-length: -1\r\n\r\nhello",
        "content-length: 0x5\r\n\r\nhello",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding: gzip\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "content-length: 5\r\n folded: x\r\n\r\nhello",
    ] {
        let heard = said(&gate, "POST /v1beta/echo HTTP/1.1\r\nhost: x", framing).await;
        assert_eq!(status(&heard), 400, "{framing:?}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "nothing after it is taken for a request: {heard}");
    }
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_head_that_names_no_host_or_several_is_refused_in_its_surfaces_shape() {
    let (world, gate) = with_keys(&[KEY]).await;
    let chunks = "transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (head, rest) in [
        ("HTTP/1.1", ""),
        ("HTTP/1.1\r\nhost: x\r\nhost: x", ""),
        ("HTTP/1.1\r\nhost: x\r\nhost: evil.example", ""),
        ("HTTP/1.1\r\nhost: x/y", ""),
        ("HTTP/1.1\r\nhost: x", chunks),
    ] {
        for (path, shape) in
            [("/v1beta/echo", r#""reason":"FRAMING""#), ("/v1/chat/completions", r#""code":"framing""#)]
        {
            let heard = said(&gate, &format!("POST {path} {head}"), rest).await;
            assert!(status(&heard) == 400 && heard.contains(shape), "{head:?} {rest:?}: {heard}");
            assert!(heard.contains("connection: close"), "{heard}");
        }
    }
    assert!(world.calls().is_empty());
    gate.logged(|line| line["reason"] == "framing" && line["surface"] == "openai").await;
    for (head, rest) in [
        ("HTTP/1.0", ""),
        ("HTTP/1.1\r\nhost:", ""),
        ("HTTP/1.1\r\nhost: [::1]:8080", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let heard = said(&gate, &format!("POST /v1beta/echo {head}"), rest).await;
        assert_eq!(status(&heard), 200, "{head:?}: {heard}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_counts_for_nothing_and_the_connection_ends() {
    let (world, gate) = with_keys(&[KEY]).await;
    for both in ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"] {
        let mut wire = Wire::to(gate.data).await;
        let token = format!("x-goog-api-key: {TOKEN}\r\n");
        let smuggled = format!("GET /v1beta/echo/smuggled HTTP/1.1\r\nhost: x\r\n{token}\r\n");
        wire.say(&format!("POST /v1beta/echo HTTP/1.1\r\nhost: x\r\n{token}{both}\r\n\r\n0\r\n\r\n{smuggled}")).await;
        let heard = wire.hear_out().await;
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
    }
    assert!(world.calls().iter().all(|call| call.path_and_query == "/v1beta/echo" && call.body.is_empty()));
}

#[tokio::test]
async fn a_head_too_large_is_refused_and_the_rest_go_on() {
    let (world, gate) = with_keys(&[KEY]).await;
    let many = "x-one-more: 1\r\n".repeat(5000);
    let large = format!("x-large: {}\r\n", "a".repeat(200 << 10));
    for bomb in [many, large] {
        let heard = said(&gate, "GET /v1beta/echo HTTP/1.1\r\nhost: x", &bomb).await;
        // What is still unread when it closes may take the answer with it.
        assert!(heard.is_empty() || status(&heard) == 431, "{heard}");
    }
    let heard = said(&gate, "GET /v1beta/echo HTTP/1.1\r\nhost: x", &"x-a: b\r\n".repeat(150)).await;
    assert_eq!(status(&heard), 431);
    assert!(world.calls().is_empty());
    assert_eq!(gate.generate("hello").await.status(), 200);
}

/// Bytes without sense, others with every `seed`.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let chance = RandomState::new();
    (0..len as u64)
        .map(|n| {
            let mut hasher = chance.build_hasher();
            hasher.write_u64(seed ^ n << 20);
            hasher.finish().to_le_bytes()[0]
        })
        .collect()
}

#[tokio::test]
async fn nothing_panics_on_garbage() {
    let (_world, gate) = with_keys(&[KEY]).await;
    let head = format!("POST /v1beta/models/m:generateContent HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
    let beginnings = [
        String::new(),
        "GET /".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("{head}content-length: 200\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n"),
        format!("{head}content-length: 1\r\ncontent-encoding: gzip\r\n\r\n"),
        format!("{head}x-server-timeout: "),
        format!("{head}authorization: Bearer "),
    ];
    for round in 0..200_u64 {
        let mut wire = Wire::to(gate.data).await;
        let mut bytes = beginnings[usize::try_from(round).unwrap() % beginnings.len()].clone().into_bytes();
        bytes.extend(noise(round, 300));
        let _ = wire.0.write_all(&bytes).await;
        let _ = wire.0.shutdown().await;
        if round % 3 > 0 {
            wire.hear_out().await;
        }
    }
    for body in ["{", "[]", "null", "\u{0}", "{\"contents\":", &"[".repeat(100_000), "{\"model\":{\"a\":1}}"] {
        for path in ["/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", "/v1/chat/completions"] {
            let request = gate.ask(http::Method::POST, path).body((*body).to_owned());
            let status = request.send().await.unwrap().status();
            assert!(status == 400 || path.contains("chat") && status == 404, "{path} {status}");
        }
    }
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}
