//! The body of a request: who sends one takes only what it costs, and who does not take it whole is told in a way it hears.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::house::{PATIENCE, Wire};
use crate::stage::{K1, K2, play};
use crate::world::{Gate, MODEL, TOKEN, header, with_keys_and};

const MIB: usize = 1 << 20;

/// The head of a generation with a body of so many bytes.
fn head(length: usize, token: &str) -> String {
    format!(
        "POST /v1beta/models/{MODEL}:generateContent HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {token}\r\n\
         content-length: {length}\r\n\r\n"
    )
}

async fn under_way(gate: &Gate, count: u64) {
    let look = async {
        while gate.monitor("/monitor/performance").await["in_flight"] != count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("so many never were under way");
}

#[tokio::test]
async fn a_body_that_is_only_announced_takes_no_memory_from_the_others() {
    let alias = [("GEMINATE__MODELS__ALIASES__GPT-4O", MODEL)];
    let (world, gate) = with_keys_and(&[K1, K2], &alias).await;
    let mut idle = Vec::new();
    // Together they announce all that bodies may take.
    for announced in [100, 100, 100, 100, 100, 12] {
        let mut wire = Wire::to(gate.data).await;
        wire.say(&(head(announced * MIB, TOKEN) + "{")).await;
        idle.push(wire);
    }
    under_way(&gate, 6).await;
    for text in ["hello".to_owned(), "x".repeat(2 * MIB)] {
        play(&world, &["fault=cut:head times=1"]);
        let answer = gate.generate(&text).await;
        let attempts = header(&answer, "x-geminate-attempts");
        assert_eq!((answer.status().as_u16(), attempts), (200, "2".to_owned()), "{} bytes are kept", text.len());
    }
    let chat = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]});
    assert_eq!(gate.post("/v1/chat/completions", &chat).await.status(), 200);
    assert_eq!(world.calls().last().unwrap().model, MODEL);
}

#[tokio::test]
async fn large_bodies_that_fill_the_memory_leave_room_for_the_small() {
    let memory = [("GEMINATE__RETRY__REPLAY_BYTES_TOTAL", "4194304")];
    let (world, gate) = with_keys_and(&[K1, K2], &memory).await;
    let attempts = async |text: &str| {
        play(&world, &["action=generateContent fault=cut:head times=1"]);
        header(&gate.generate(text).await, "x-geminate-attempts")
    };
    let mut open = Vec::new();
    let full = async {
        // What comes of the others is read by and by, or goes on because there is no room for it.
        while attempts(&"x".repeat(MIB)).await != "1" {
            let mut wire = Wire::to(gate.data).await;
            let other = head(MIB + MIB / 4, TOKEN).replace("generateContent", "countTokens");
            wire.say(&(other + &"x".repeat(MIB + MIB / 8))).await;
            open.push(wire);
        }
    };
    timeout(3 * PATIENCE, full).await.expect("there was always room");
    for _ in 0..3 {
        assert_eq!(attempts(&"x".repeat(200 << 10)).await, "2");
    }
}

#[tokio::test]
async fn who_sends_all_before_it_reads_hears_why_it_is_refused() {
    let (_world, gate) = with_keys_and(&[K1], &[("GEMINATE__SERVER__BODY_BYTES_MAX", "16777216")]).await;
    let gone = format!(
        "POST /upload/v1beta/files?upload_id=gone HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        8 * MIB
    );
    for (head, length, status) in [
        (head(8 * MIB, "fake-token-wrong"), 8 * MIB, 401),
        (head(24 * MIB, TOKEN), 24 * MIB, 413),
        (gone, 8 * MIB, 404),
    ] {
        let mut wire = Wire::to(gate.data).await;
        wire.say(&head).await;
        // The answer is there long before all was sent.
        for piece in vec![b'x'; length].chunks(MIB) {
            timeout(PATIENCE, wire.0.write_all(piece)).await.expect("nobody reads it").expect("it was cut");
        }
        if status == 404 {
            wire.say("\r\n0\r\n\r\n").await;
        }
        let mut heard = Vec::new();
        let end = timeout(PATIENCE, wire.0.read_to_end(&mut heard)).await.expect("it was not closed");
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.starts_with(&format!("HTTP/1.1 {status}")) && heard.ends_with('}'), "{end:?} {heard}");
        end.unwrap();
    }
}

#[tokio::test]
async fn who_stops_sending_after_a_refusal_is_let_go_of() {
    let (_world, gate) = with_keys_and(&[K1], &[]).await;
    let mut wire = Wire::to(gate.data).await;
    wire.say(&(head(8 * MIB, "fake-token-wrong") + "beginning")).await;
    assert!(wire.hear_out().await.starts_with("HTTP/1.1 401"));
}

/// Bodies of which little is kept, so that most are passed on as they come.
const STREAMED: (&str, &str) = ("GEMINATE__RETRY__REPLAY_BYTES_MAX", "10");

#[tokio::test]
async fn a_client_that_leaves_in_its_body_is_gone_and_was_not_refused() {
    for streamed in [&[][..], &[STREAMED]] {
        let (_world, gate) = with_keys_and(&[K1], streamed).await;
        for reset in [false, true] {
            let mut wire = Wire::to(gate.data).await;
            wire.say(&(head(MIB, TOKEN) + &"x".repeat(1_000))).await;
            under_way(&gate, 1).await;
            if reset {
                wire.0.set_zero_linger().unwrap();
            }
            drop(wire);
            under_way(&gate, 0).await;
        }
        let metrics = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let gone = metrics.lines().filter(|line| line.starts_with("geminate_requests_total"));
        let gone: Vec<_> = gone.filter(|line| line.contains("generate")).collect();
        assert!(gone.len() == 1 && gone[0].contains("client_gone") && gone[0].ends_with(" 2"), "{gone:?}");
        gate.logged(|line| line["outcome"] == "client_gone" && line["status"] == 499).await;
        let keys = gate.monitor("/monitor/keys").await;
        assert_eq!((&keys["keys"][0]["state"], keys["keys"][0]["last_error"].is_null()), (&json!("usable"), true));
    }
}

#[tokio::test]
async fn a_body_in_chunks_that_are_none_is_refused() {
    for streamed in [&[][..], &[STREAMED]] {
        let (_world, gate) = with_keys_and(&[K1], streamed).await;
        let mut wire = Wire::to(gate.data).await;
        let chunked = head(0, TOKEN).replace("content-length: 0", "transfer-encoding: chunked");
        wire.say(&format!("{chunked}14\r\n{}\r\nno chunk\r\n", "x".repeat(20))).await;
        let heard = wire.hear_out().await;
        assert!(heard.starts_with("HTTP/1.1 400") && heard.contains("BODY_BROKEN"), "{heard}");
    }
}

#[tokio::test]
async fn a_client_that_stalls_is_told_that_it_was_late_itself() {
    for limit in ["REQUEST_TIMEOUT", "GEMINATE__UPSTREAM__FIRST_BYTE_TIMEOUT_MS"] {
        let (_world, gate) = with_keys_and(&[K1], &[(limit, "300"), STREAMED]).await;
        let mut wire = Wire::to(gate.data).await;
        wire.say(&(head(MIB, TOKEN) + &"x".repeat(1_000))).await;
        let heard = wire.hear_out().await;
        assert!(heard.starts_with("HTTP/1.1 408") && heard.contains("BODY_TIMEOUT"), "{limit}: {heard}");
        let line = gate.logged(|line| line["message"] == "served").await;
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("refused"), &json!("body_timeout")), "{line}");
        let keys = gate.monitor("/monitor/keys").await;
        assert!(keys["keys"][0]["last_error"].is_null(), "{keys}");
    }
}
