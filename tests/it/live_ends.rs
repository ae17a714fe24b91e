//! How Live sessions end: by silence, by age, by a drain, by what is no message; and what stays behind.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::house::PATIENCE;
use crate::live::{ECHO, LIVE, PATH, Session, seen, setup, turn};
use crate::stage::{K1, play};
use crate::world::{Gate, TOKEN, with_keys, with_keys_and};

/// A text frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if let Ok(len @ ..=125) = u8::try_from(payload.len()) {
        frame.push(0x80 | len);
    } else {
        frame.push(0x80 | 127);
        frame.extend((payload.len() as u64).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A session spoken to in bytes, begun.
async fn raw(gate: &Gate) -> TcpStream {
    let mut wire = TcpStream::connect(gate.data).await.unwrap();
    let head = format!(
        "GET {ECHO} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    wire.write_all(head.as_bytes()).await.unwrap();
    hear(&mut wire, b"\r\n\r\n").await;
    wire.write_all(&frame(0x81, setup().to_string().as_bytes())).await.unwrap();
    hear(&mut wire, b"{}\n}\n").await;
    wire
}

async fn hear(wire: &mut TcpStream, end: &[u8]) {
    let mut heard = Vec::new();
    while !heard.ends_with(end) {
        heard.push(timeout(PATIENCE, wire.read_u8()).await.expect("nothing came").unwrap());
    }
}

/// The code of the close frame that comes next.
async fn closed(wire: &mut TcpStream) -> u16 {
    let mut head = [0; 4];
    timeout(PATIENCE, wire.read_exact(&mut head)).await.expect("nothing came").unwrap();
    assert_eq!(head[0], 0x88, "a close frame: {head:x?}");
    u16::from_be_bytes([head[2], head[3]])
}

#[tokio::test]
async fn what_is_no_message_closes_the_session_by_its_code_and_ends_it_upstream() {
    for (bytes, code) in [
        (frame(0x81, &[0xff, 0xfe]), 1007),
        (frame(0x83, b"a reserved opcode"), 1002),
        (frame(0xc1, b"a reserved bit"), 1002),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
        (vec![0x81, 1, b'x'], 1002),
        (frame(0x81, &vec![b'x'; 70_000]), 1009),
    ] {
        let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__LIVE__MESSAGE_BYTES_MAX", "65536")]).await;
        let mut wire = raw(&gate).await;
        wire.write_all(&bytes).await.unwrap();
        assert_eq!(closed(&mut wire).await, code, "{:x?}", &bytes[..4.min(bytes.len())]);
        seen(&world, 1).await;
        let line = gate.logged(|line| line["message"] == "served").await;
        assert_eq!(line["outcome"], "caller_error");
    }
}

#[tokio::test]
async fn silence_ends_a_session_and_talk_does_not() {
    let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__LIVE__IDLE_TIMEOUT_MS", "600")]).await;
    let (mut session, began) = (Session::begun(&gate, ECHO).await, Instant::now());
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        session.say(&json!({"a": 1})).await;
        session.hear().await;
    }
    assert!(began.elapsed() > Duration::from_millis(1200));
    let (code, reason) = session.ended().await;
    assert_eq!((code, reason.contains("idle_timeout_ms")), (1001, true), "{reason}");
    seen(&world, 1).await;
}

#[tokio::test]
async fn a_session_lasts_no_longer_than_the_operator_allows() {
    let (_world, gate) = with_keys_and(&[K1], &[("GEMINATE__LIVE__SESSION_MAX_MS", "300")]).await;
    let (code, reason) = Session::begun(&gate, PATH).await.ended().await;
    assert_eq!((code, reason.contains("session_max_ms")), (1001, true), "{reason}");
}

#[tokio::test]
async fn a_client_that_sends_no_setup_is_closed_in_time() {
    let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__LIVE__SETUP_TIMEOUT_MS", "200")]).await;
    let (code, reason) = Session::open(&gate, PATH).await.ended().await;
    assert_eq!((code, reason.contains("setup_timeout_ms")), (1008, true), "{reason}");
    assert_eq!(world.calls().len(), 0, "no key was bothered");
}

#[tokio::test]
async fn limits_of_requests_spare_a_session() {
    let limits = [("REQUEST_TIMEOUT", "300"), ("STREAM_IDLE_TIMEOUT", "300")];
    let (_world, gate) = with_keys_and(&[K1], &limits).await;
    let mut session = Session::begun(&gate, ECHO).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    session.say(&json!({"still": "here"})).await;
    assert_eq!(session.hear().await, json!({"still": "here"}));
}

#[tokio::test]
async fn a_drain_tells_the_client_to_leave_and_waits_for_it() {
    let (world, mut gate) = with_keys(&[K1]).await;
    let mut session = Session::begun(&gate, PATH).await;
    gate.signal("TERM");
    let notice = session.hear().await;
    let left: u64 = notice["goAway"]["timeLeft"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!((20..=30).contains(&left), "{notice}");
    session.say(&turn("still talking")).await;
    session.hear_turn().await;
    session.0.close(Some(CloseFrame { code: 1000.into(), reason: "bye".into() })).await.unwrap();
    assert_eq!(gate.exited().await, Some(0));
    assert_eq!(seen(&world, 1).await[0].close_heard, Some(1000), "Google hears the client's own close");
}

#[tokio::test]
async fn who_stays_to_the_end_of_a_drain_is_closed_as_by_a_restart() {
    let (_world, mut gate) = with_keys_and(&[K1], &[("GEMINATE__SERVER__DRAIN_TIMEOUT_MS", "1500")]).await;
    let mut session = Session::begun(&gate, PATH).await;
    let began = Instant::now();
    gate.signal("TERM");
    assert_eq!(session.ended().await.0, 1012);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(gate.exited().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_second_signal_ends_sessions_at_once() {
    let (_world, mut gate) = with_keys(&[K1]).await;
    let mut session = Session::begun(&gate, PATH).await;
    gate.signal("TERM");
    assert!(session.hear().await["goAway"].is_object());
    let began = Instant::now();
    gate.signal("INT");
    assert_eq!(gate.exited().await, Some(130));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(session.ended().await.0, 1006);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_told_as_such_and_never_replaced() {
    for fault in ["reset:3", "cut:2"] {
        let (world, gate) = with_keys(&[K1]).await;
        play(&world, &[&format!("fault={fault}")]);
        let mut session = Session::begun(&gate, PATH).await;
        session.say(&turn("hello")).await;
        let (code, reason) = session.ended().await;
        assert_eq!((code, reason.contains("broke off")), (1011, true), "{fault} {reason}");
        assert_eq!(world.calls().len(), 1);
        assert_eq!(gate.logged(|line| line["message"] == "served").await["outcome"], "stream_broken");
    }
}

#[tokio::test]
async fn a_session_is_seen_while_it_lasts_and_accounted_when_it_ends() {
    let (_world, gate) = with_keys(&[K1]).await;
    let mut session = Session::begun(&gate, PATH).await;
    let streams = gate.monitor("/monitor/streams").await;
    let stream = &streams["streams"][0];
    assert_eq!((&stream["route"], &stream["model"]), (&json!("live"), &json!(LIVE)), "{streams}");
    assert_eq!((&stream["surface"], &stream["key"]), (&json!("gemini"), &json!("1")), "{streams}");
    let (mut prompt, mut answer) = (0, 0);
    for text in ["one", "two and more"] {
        session.say(&turn(text)).await;
        loop {
            let message = session.hear().await;
            if message["serverContent"]["turnComplete"] == true {
                prompt += message["usageMetadata"]["promptTokenCount"].as_u64().unwrap();
                answer += message["usageMetadata"]["responseTokenCount"].as_u64().unwrap();
                break;
            }
        }
    }
    session.0.send(Message::Close(None)).await.unwrap();
    let line = gate.logged(|line| line["message"] == "served").await;
    assert_eq!((&line["outcome"], &line["status"], &line["attempts"]), (&json!("ok"), &json!(101), &json!(1)));
    assert_eq!((line["prompt_tokens"].as_u64(), line["answer_tokens"].as_u64()), (Some(prompt), Some(answer)));
    assert_eq!(gate.monitor("/monitor/streams").await["open"], 0);
}
