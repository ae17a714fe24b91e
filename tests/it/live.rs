//! Live sessions: relayed both ways untouched, begun on another key where one refuses, and ended as they should.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use geminate::mock::{Ending, SeenCall, World};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use crate::house::PATIENCE;
use crate::stage::{AT_ONCE, K1, K2, K3, calls_of, play, states};
use crate::world::{Gate, TOKEN, with_keys, with_keys_and};

pub(crate) const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
/// Google's stand-in sends back whatever comes here.
pub(crate) const ECHO: &str = "/ws/echo.v1beta.BidiGenerateContent";
pub(crate) const LIVE: &str = "gemini-3.8-live";

/// A client's end of a session.
pub(crate) struct Session(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Session {
    /// Opens the WebSocket with the operator's token; nothing is sent yet.
    pub(crate) async fn open(gate: &Gate, path: &str) -> Self {
        let mut request = format!("ws://{}{path}", gate.data).into_client_request().unwrap();
        request.headers_mut().insert("x-goog-api-key", HeaderValue::from_static(TOKEN));
        Self(connect_async(request).await.unwrap().0)
    }

    /// A session that has begun.
    pub(crate) async fn begun(gate: &Gate, path: &str) -> Self {
        let mut session = Self::open(gate, path).await;
        session.say(&setup()).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}));
        session
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message as it came.
    async fn next(&mut self) -> Message {
        timeout(PATIENCE, self.0.next()).await.expect("nothing came").expect("it is over").unwrap()
    }

    pub(crate) async fn hear(&mut self) -> Value {
        let message = self.next().await;
        assert!(!message.is_close(), "{message:?}");
        serde_json::from_slice(&message.into_data()).unwrap()
    }

    /// Hears a whole turn of the model's: its text.
    pub(crate) async fn hear_turn(&mut self) -> String {
        let mut text = String::new();
        loop {
            let content = self.hear().await["serverContent"].take();
            text += content["modelTurn"]["parts"][0]["text"].as_str().unwrap_or("");
            if content["turnComplete"] == true {
                return text;
            }
        }
    }

    /// The code and the reason by which the other side ends it; 1006 where it just breaks off.
    pub(crate) async fn ended(&mut self) -> (u16, String) {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("it goes on") {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (1006, String::new()),
            }
        }
    }
}

pub(crate) fn setup() -> Value {
    json!({"setup": {"model": format!("models/{LIVE}"), "generationConfig": {"responseModalities": ["TEXT"]}}})
}

pub(crate) fn turn(text: &str) -> Value {
    json!({"clientContent": {"turns": [{"role": "user", "parts": [{"text": text}]}], "turnComplete": true}})
}

/// The sessions that Google saw, once the last of them has ended.
pub(crate) async fn seen(world: &World, count: usize) -> Vec<SeenCall> {
    let over = |calls: &[SeenCall]| calls.len() == count && calls.iter().all(|call| call.ending != Ending::Open);
    world.until(PATIENCE, over).await.unwrap_or_else(|| panic!("{:#?}", world.calls()))
}

#[tokio::test]
async fn a_session_is_relayed_both_ways_over_a_key_of_the_pool() {
    let (world, gate) = with_keys(&[K1]).await;
    let mut session = Session::begun(&gate, PATH).await;
    session.say(&turn("hello there")).await;
    assert_eq!(session.hear_turn().await, "You said: hello there");
    session.0.close(None).await.unwrap();
    let call = seen(&world, 1).await.remove(0);
    assert_eq!((call.key.as_deref(), call.credentials.len(), call.model.as_str()), (Some(K1), 1, LIVE));
    assert_eq!(call.body, setup().to_string(), "the setup is untouched");
    assert_eq!((call.ending, call.close_heard), (Ending::Complete, Some(1005)));
    assert!(!gate.log().contains(K1));
}

#[tokio::test]
async fn a_key_that_is_refused_after_the_setup_is_replaced_unnoticed() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    play(&world, &[&format!("key={K1} fault=api_key_invalid"), &format!("key={K2} fault=quota_bare")]);
    let mut session = Session::begun(&gate, PATH).await;
    session.say(&turn("hello")).await;
    session.hear_turn().await;
    assert_eq!(calls_of(&world, K3).len(), 1);
    for call in world.calls() {
        assert_eq!(call.body, setup().to_string(), "the setup is replayed as it was");
    }
    assert_eq!(states(&gate).await[0], ("dead".to_owned(), "invalid".to_owned()));
}

#[tokio::test]
async fn without_a_key_that_can_serve_the_close_says_why_and_until_when() {
    let (world, gate) = with_keys_and(&[K1, K2], &[AT_ONCE]).await;
    play(&world, &["fault=quota_bare"]);
    let mut session = Session::open(&gate, PATH).await;
    session.say(&setup()).await;
    let (code, reason) = session.ended().await;
    assert_eq!(code, 1013, "{reason}");
    assert!(reason.contains("2 quota_bare") && reason.contains("retry in"), "{reason}");
    let line = gate.logged(|line| line["message"] == "served").await;
    assert_eq!((&line["status"], &line["outcome"], &line["model"]), (&json!(429), &json!("refused"), &json!(LIVE)));
}

#[tokio::test]
async fn frames_pass_untouched_whatever_they_are_and_however_large() {
    let (_world, gate) = with_keys(&[K1]).await;
    let mut session = Session::begun(&gate, ECHO).await;
    let large = "\u{e9}x".repeat(1 << 20);
    for message in [
        Message::text("{\"a\":  1}\u{1f600}"),
        Message::text(""),
        Message::binary(vec![0, 255, 1, 254]),
        Message::text(large.as_str()),
        Message::binary(vec![7; 5 << 20]),
        Message::text("last"),
    ] {
        session.0.send(message.clone()).await.unwrap();
        let heard = session.next().await;
        assert!(heard == message, "{} bytes came back as {}", message.len(), heard.len());
    }
}

#[tokio::test]
async fn a_close_of_googles_is_kept_with_its_code_and_reason() {
    for (code, after) in [(1000, 1), (1008, 1), (1011, 2), (4321, 3)] {
        let (world, gate) = with_keys(&[K1]).await;
        play(&world, &[&format!("fault=close:{code}@{after} body=its own words")]);
        let mut session = Session::begun(&gate, PATH).await;
        session.say(&turn("hello")).await;
        assert_eq!(session.ended().await, (code, "its own words".to_owned()));
        assert_eq!(world.calls().len(), 1, "never taken to another key");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_session_upstream_at_once() {
    let (world, gate) = with_keys(&[K1]).await;
    let session = Session::begun(&gate, PATH).await;
    drop(session);
    let call = seen(&world, 1).await.remove(0);
    assert!(call.ended_at.unwrap() - call.at < Duration::from_secs(5));
    let line = gate.logged(|line| line["message"] == "served").await;
    assert_eq!((&line["route"], &line["outcome"]), (&json!("live"), &json!("client_gone")));
    assert_eq!(states(&gate).await[0].0, "usable", "the key is not to blame");
}

#[tokio::test]
async fn what_google_does_not_take_the_client_keeps() {
    const MESSAGE_BYTES: usize = 256 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    let google = async {
        let mut google = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        google.next().await.unwrap().unwrap();
        google.send(Message::text("{\"setupComplete\": {}}")).await.unwrap();
        google
    };
    let (mut session, mut google) = tokio::join!(Session::begun(&gate, PATH), google);
    let (before, mut held) = (gate.peak_kib(), 0);
    // More than all sockets between hold. Google reads only where the client cannot go on, and until it can.
    for _ in 0..400 {
        let mut sent = session.0.send(Message::binary(vec![7; MESSAGE_BYTES]));
        if timeout(Duration::from_millis(20), &mut sent).await.is_ok() {
            continue;
        }
        held += 1;
        let reads = async { while google.next().await.unwrap().unwrap().len() == MESSAGE_BYTES {} };
        tokio::select! {
            sent = timeout(PATIENCE, sent) => sent.expect("it is stuck").unwrap(),
            () = reads => panic!("another message"),
        }
    }
    let grown = gate.peak_kib() - before;
    assert!(held > 0 && grown < 16 << 10, "held back {held} times, grown by {grown} KiB");
}

#[tokio::test]
async fn a_session_s_wait_for_a_place_is_counted_once() {
    let (world, gate) = with_keys_and(&[K1], &[("MAX_CONCURRENT_REQUESTS", "1")]).await;
    play(&world, &["fault=stall:1/2s times=1"]);
    let before = gate.stream("hello").await;
    let mut session = Session::begun(&gate, PATH).await;
    before.text().await.unwrap();
    session.0.close(None).await.unwrap();
    let line = gate.logged(|line| line["route"] == "live").await;
    let request = gate.monitor(&format!("/api/requests/{}", line["request_id"].as_str().unwrap())).await;
    let time = |name: &str| request[name].as_f64().unwrap();
    assert!(time("waited_ms") > 1_000.0 && time("waited_ms") <= time("total_ms"), "{request}");
}
