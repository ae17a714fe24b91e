//! The body of a request: who sends one takes only what it costs, and who does not take it whole is told in a way it hears.

use std::time::Duration;

use serde_json::json;
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
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::to(gate.data).await;
        wire.say(&(head(2 * MIB, TOKEN) + &"x".repeat(MIB + MIB / 8))).await;
        open.push(wire);
    }
    under_way(&gate, 3).await;
    let attempts = async |text: &str| {
        play(&world, &["fault=cut:head times=1"]);
        header(&gate.generate(text).await, "x-geminate-attempts")
    };
    // What came of the others is read by and by.
    let full = async { while attempts(&"x".repeat(MIB)).await != "1" {} };
    timeout(PATIENCE, full).await.expect("there was always room");
    for _ in 0..3 {
        assert_eq!(attempts(&"x".repeat(200 << 10)).await, "2");
    }
}
