//! Live sessions that do not begin: handshakes that are none, clients without a right, keys that refuse.

use std::sync::Arc;

use futures_util::FutureExt;
use geminate::mock::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::live::{ECHO, LIVE, PATH, Session, seen, setup, turn};
use crate::stage::{K1, K2, K3, calls_of, play, told};
use crate::world::{Gate, TOKEN, google, with_keys, with_keys_and};

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");
const UPGRADE: (&str, &str) = ("upgrade", "websocket");
const CONNECTION: (&str, &str) = ("connection", "Upgrade");

/// Asks by plain HTTP with these headers: the status and the JSON.
async fn asked(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = gate.ask(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    told(request.send().await.unwrap()).await
}

/// The HTTP answer that refuses a WebSocket.
async fn refused(gate: &Gate, path: &str) -> StatusCode {
    let request = format!("ws://{}{path}", gate.data).into_client_request().unwrap();
    match connect_async(request).await {
        Err(Error::Http(answer)) => StatusCode::from_u16(answer.status().as_u16()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_by_what_is_wrong_with_it() {
    let (world, gate) = with_keys(&[K1]).await;
    for (headers, status, says) in [
        (&[][..], 426, "upgrade to websocket"),
        (&[CONNECTION, ("upgrade", "h2c")], 426, "upgrade to websocket"),
        (&[CONNECTION, UPGRADE, KEY], 400, "Sec-WebSocket-Version"),
        (&[CONNECTION, UPGRADE, VERSION], 400, "Sec-WebSocket-Key"),
        (&[CONNECTION, UPGRADE, VERSION, ("sec-websocket-key", "x")], 400, "Sec-WebSocket-Key"),
        (&[CONNECTION, UPGRADE, ("sec-websocket-version", "8"), KEY], 400, "Sec-WebSocket-Version"),
    ] {
        let (got, json) = asked(&gate, PATH, headers).await;
        assert_eq!((got, json["error"]["code"].as_u64()), (status, Some(status.into())), "{json}");
        assert!(json["error"]["message"].as_str().unwrap().contains(says), "{json}");
    }
    assert_eq!(world.calls().len(), 0);
}

#[tokio::test]
async fn over_http_2_a_session_cannot_begin_and_is_told_so() {
    let (_world, gate) = with_keys(&[K1]).await;
    let http2 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    let request = http2.get(format!("http://{}{PATH}", gate.data)).header("x-goog-api-key", TOKEN);
    let (status, json) = told(request.send().await.unwrap()).await;
    assert_eq!(status, 426);
    assert!(json["error"]["message"].as_str().unwrap().contains("HTTP/1.1"), "{json}");
}

#[tokio::test]
async fn openais_realtime_is_refused_in_openais_words() {
    let (_world, gate) = with_keys(&[K1]).await;
    for path in ["/v1/realtime?model=gpt-x", "/v1beta/openai/realtime", "/v1/realtime/sessions"] {
        let (status, json) = asked(&gate, path, &[CONNECTION, UPGRADE, VERSION, KEY]).await;
        assert_eq!((status, &json["error"]["code"]), (501, &json!("no_realtime")), "{path} {json}");
        assert!(json["error"]["param"].is_null() && json["error"]["type"].is_string(), "{json}");
    }
}

#[tokio::test]
async fn a_client_is_let_in_by_header_or_query_and_a_stranger_is_not() {
    let (world, gate) = with_keys(&[K1]).await;
    for path in [PATH.to_owned(), format!("{PATH}?key=wrong"), format!("{PATH}Constrained?access_token=auth_tokens/x")]
    {
        assert_eq!(refused(&gate, &path).await, 401, "{path}");
    }
    for path in [format!("{PATH}?key={TOKEN}"), format!("/{PATH}?key={TOKEN}&alt=ws")] {
        let request = format!("ws://{}{path}", gate.data).into_client_request().unwrap();
        let mut session = Session(connect_async(request).await.unwrap().0);
        session.say(&setup()).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}));
    }
    let calls = seen(&world, 2).await;
    assert!(calls.iter().all(|call| call.credentials.len() == 1 && call.credentials[0].value == K1));
    assert!(calls[1].path_and_query.ends_with("BidiGenerateContent?alt=ws"), "{}", calls[1].path_and_query);
}

#[tokio::test]
async fn a_session_takes_a_place_and_counts_once_against_its_clients_rate() {
    let (_world, gate) =
        with_keys_and(&[K1], &[("MAX_CONCURRENT_REQUESTS", "1"), ("GEMINATE__ADMIT__QUEUE_MAX", "0")]).await;
    let session = Session::begun(&gate, ECHO).await;
    assert_eq!(gate.generate("hello").await.status(), 503);
    assert_eq!(refused(&gate, &format!("{PATH}?key={TOKEN}")).await, 503);
    drop(session);
    gate.logged(|line| line["message"] == "served" && line["outcome"] == "client_gone").await;
    assert_eq!(gate.generate("hello").await.status(), 200);

    let (_world, gate) = with_keys_and(&[K1], &[("RATE_LIMIT_PER_MINUTE", "2")]).await;
    let mut session = Session::begun(&gate, PATH).await;
    for _ in 0..5 {
        session.say(&turn("hello")).await;
        session.hear_turn().await;
    }
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(refused(&gate, &format!("{PATH}?key={TOKEN}")).await, 429);
}

#[tokio::test]
async fn whatever_refuses_a_key_before_the_session_begins_another_key_mends() {
    for fault in [
        "fault=api_key_invalid",
        "fault=api_key_expired",
        "fault=leaked",
        "fault=consumer_suspended",
        "fault=quota_day",
        "fault=quota_bare",
        "fault=close:1011@0 body=Internal error encountered.",
        "fault=reset:0",
        "fault=cut:0",
        "action=liveHandshake fault=status:503",
        "action=liveHandshake fault=quota_day",
        "action=liveHandshake fault=api_key_invalid",
        "action=liveHandshake fault=reset:head",
    ] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        play(&world, &[&format!("key={K1} {fault}")]);
        let mut session = Session::open(&gate, PATH).await;
        session.say(&setup()).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}), "{fault}");
        assert_eq!((calls_of(&world, K1).len(), calls_of(&world, K2).len()), (1, 1), "{fault}");
        assert!(!gate.log().contains(K1), "{fault}");
    }
}

#[tokio::test]
async fn a_fault_of_the_callers_own_comes_back_as_google_said_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=invalid_argument times=1"]);
    let mut session = Session::open(&gate, PATH).await;
    session.say(&setup()).await;
    assert_eq!(session.ended().await.0, 1007);
    let mut session = Session::open(&gate, PATH).await;
    session.say(&turn("no setup")).await;
    let (code, reason) = session.ended().await;
    assert_eq!((code, reason.as_str()), (1007, "setup must be the first message and only the first"));
    assert_eq!(world.calls().len(), 2, "one attempt each");
}

#[tokio::test]
async fn what_the_client_says_before_the_session_has_begun_waits_for_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=delay:300ms,close:1011@0 body=quota")]);
    let mut session = Session::open(&gate, PATH).await;
    session.say(&setup()).await;
    for text in ["one", "two", "three"] {
        session.say(&turn(text)).await;
    }
    assert_eq!(session.hear().await, json!({"setupComplete": {}}));
    for text in ["one", "two", "three"] {
        assert_eq!(session.hear_turn().await, format!("You said: {text}"));
    }
    let first = calls_of(&world, K1).remove(0);
    assert_eq!(first.body, setup().to_string(), "nothing but the setup went to the key that refused");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_session_begins_leaves_no_trace_upstream() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=stall:0/forever"]);
    let mut session = Session::open(&gate, PATH).await;
    session.say(&setup()).await;
    for text in ["what it says", "before it leaves"] {
        session.say(&turn(text)).await;
    }
    let arrived = world.until(crate::house::PATIENCE, |calls| calls.len() == 1 && !calls[0].body.is_empty()).await;
    assert!(arrived.is_some());
    drop(session);
    seen(&world, 1).await;
    assert_eq!(gate.logged(|line| line["message"] == "served").await["outcome"], "client_gone");
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_session_where_nobody_needs_a_credential() {
    let (world, gate) = with_keys_and(&[K1], &[("AUTH_TOKEN", "")]).await;
    let asked = async |origin: Option<String>| {
        let mut request = format!("ws://{}{PATH}", gate.data).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        connect_async(request).await
    };
    for origin in ["https://evil.example", "http://127.0.0.1:1", "null"] {
        let Err(Error::Http(answer)) = asked(Some(origin.to_owned())).await else { panic!("{origin} was let in") };
        let json: Value = serde_json::from_slice(answer.body().as_deref().unwrap()).unwrap();
        assert_eq!((answer.status().as_u16(), &json["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
        assert!(json["error"]["message"].as_str().unwrap().contains("AUTH_TOKEN"), "{json}");
    }
    assert_eq!(world.calls().len(), 0);
    for origin in [None, Some(format!("http://{}", gate.data))] {
        let mut session = Session(asked(origin).await.unwrap().0);
        session.say(&setup()).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}));
    }
}

#[tokio::test]
async fn no_close_tells_a_key() {
    let (world, gate) = with_keys(&[K1]).await;
    for after in [0, 2] {
        play(&world, &[&format!("times=1 fault=close:1008@{after} body=no such thing as {K1} here")]);
        let mut session = Session::open(&gate, PATH).await;
        session.say(&setup()).await;
        session.say(&turn("hello")).await;
        assert_eq!(session.ended().await, (1008, "no such thing as [key] here".to_owned()));
    }
    assert!(!gate.log().contains(K1));
}

/// A setup that asks for handles, and goes on with one.
fn resuming(handle: Option<&str>) -> Value {
    let resumption = handle.map_or(json!({}), |handle| json!({"handle": handle}));
    json!({"setup": {"model": format!("models/{LIVE}"), "sessionResumption": resumption}})
}

#[tokio::test]
async fn a_session_goes_on_in_its_project_even_after_a_restart() {
    let (world, origin) = google(Settings::with_keys([K1, K2, K3])).await;
    let (keys, turned) = (format!("{K1},{K2},{K3}"), format!("{K3},{K2},{K1}"));
    let dir = Arc::new(TempDir::new().unwrap());
    let pool = |keys| [("GEMINI_API_KEY", keys), ("GEMINI_BASE_URL", origin.as_str())];
    let mut gate = Gate::open_in(Arc::clone(&dir), &pool(&keys)).await;
    let mut handles = Vec::new();
    for _ in 0..6 {
        let mut session = Session::open(&gate, PATH).await;
        session.say(&resuming(None)).await;
        session.hear().await;
        let update = session.hear().await["sessionResumptionUpdate"].take();
        handles.push(update["newHandle"].as_str().unwrap().to_owned());
    }
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
    let gate = Gate::open_in(dir, &pool(&turned)).await;
    for handle in &handles {
        let mut session = Session::open(&gate, PATH).await;
        session.say(&resuming(Some(handle))).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}));
    }
    let keys: Vec<_> = world.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(keys[..6], keys[6..], "each in its owner's project, and nobody else was asked");
}

#[tokio::test]
async fn a_session_nobody_is_known_to_own_is_asked_for_in_each_project() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    let mut session = Session::open(&gate, PATH).await;
    session.say(&resuming(Some("unheard-of"))).await;
    assert_eq!(session.ended().await.0, 1008);
    assert_eq!([K1, K2, K3].map(|key| calls_of(&world, key).len()), [1, 1, 1]);
}

#[tokio::test]
async fn an_ephemeral_token_opens_its_session_without_a_key() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let made = gate.post("/v1alpha/auth_tokens", &json!({"uses": 1})).await;
    let (status, made) = told(made).await;
    assert_eq!(status, 200, "{made}");
    let token = made["name"].as_str().unwrap();
    let path = PATH.replace("v1beta", "v1alpha") + "Constrained";
    let by_query = format!("ws://{}{path}?access_token={token}", gate.data).into_client_request().unwrap();
    let mut by_header = format!("ws://{}{path}", gate.data).into_client_request().unwrap();
    by_header.headers_mut().insert("authorization", format!("Token {token}").parse().unwrap());
    for request in [by_query, by_header] {
        let mut session = Session(connect_async(request).boxed().await.unwrap().0);
        session.say(&setup()).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}));
    }
    for call in &seen(&world, 3).await[1..] {
        let credentials: Vec<&str> = call.credentials.iter().map(|credential| credential.value.as_str()).collect();
        assert_eq!(credentials, [token], "exactly one credential, and no key");
    }
    let line = gate.logged(|line| line["route"] == "live").await;
    assert_eq!((&line["client"], &line["key"]), (&json!("operator"), &json!("token")));
}
