//! How many may come in: each client's rate, and the places, which are held to the last byte.

use std::fs;
use std::sync::Arc;

use futures_util::future::join_all;
use geminate::mock::World;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;
use tempfile::TempDir;

use crate::house::{PATIENCE, Wire};
use crate::streams::{heard, piece, play};
use crate::world::{Gate, MODEL, TOKEN, google, header, json_of, prompt, with_keys_and};

const KEY: &str = "fake-key-0001";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn token(sub: &str) -> String {
    let claims = json!({"sub": sub, "exp": get_current_timestamp() + 600});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn as_client(gate: &Gate, token: &str) -> reqwest::Response {
    let url = format!("http://{}/v1beta/models/{MODEL}:generateContent", gate.data);
    gate.http.post(url).bearer_auth(token).body(prompt("hello").to_string()).send().await.unwrap()
}

#[tokio::test]
async fn each_client_has_a_rate_of_its_own_and_some_another() {
    let (world, origin) = google(geminate::mock::Settings::with_keys([KEY])).await;
    let dir = Arc::new(TempDir::new().unwrap());
    fs::write(dir.path().join("config.toml"), "[clients.carol]\nrate_limit_per_minute = 4\n").unwrap();
    let variables = [
        ("GEMINI_API_KEY", KEY),
        ("GEMINI_BASE_URL", &origin),
        ("JWT_SECRET", SECRET),
        ("RATE_LIMIT_PER_MINUTE", "2"),
        ("GEMINATE_CONFIG", "config.toml"),
    ];
    let gate = Gate::open_in(dir, &variables).await;
    for (client, allowed) in [("alice", 2), ("bob", 2), ("carol", 4)] {
        let token = token(client);
        for n in 0..allowed {
            let answer = as_client(&gate, &token).await;
            assert_eq!(answer.status(), 200, "{client} {n}");
            assert_eq!(header(&answer, "x-geminate-key"), "", "for the operator alone");
        }
        let answer = as_client(&gate, &token).await;
        assert_eq!(answer.status(), 429, "{client}");
        assert!((1..=30).contains(&header(&answer, "retry-after").parse::<u64>().unwrap()));
        let error = json_of(answer).await["error"].clone();
        assert_eq!(
            (&error["status"], &error["details"][0]["reason"]),
            (&json!("RESOURCE_EXHAUSTED"), &json!("RATE_LIMITED"))
        );
    }
    assert_eq!(world.calls().len(), 8, "a refusal costs Google's quota nothing");
}

/// A gate with one place, taken by a stream that stands still.
async fn full(variables: &[(&str, &str)]) -> (Arc<World>, Gate, reqwest::Response) {
    let mut all = vec![("MAX_CONCURRENT_REQUESTS", "1")];
    all.extend(variables);
    let (world, gate) = with_keys_and(&[KEY], &all).await;
    play(&world, "fault=stall:1 times=1");
    let mut stream = gate.stream("first").await;
    piece(&mut stream).await;
    (world, gate, stream)
}

async fn under_way(gate: &Gate, count: u64) {
    let look = async {
        while gate.monitor("/monitor/performance").await["in_flight"] != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("so many never were under way");
}

/// Sends a call and leaves it open.
async fn sent(gate: &Gate, text: &str) -> Wire {
    let mut wire = Wire::to(gate.data).await;
    let body = prompt(text).to_string();
    let head = format!("POST /v1beta/models/{MODEL}:generateContent HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}");
    wire.say(&format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    wire
}

#[tokio::test]
async fn a_stream_holds_its_place_to_the_last_byte_and_the_queue_has_an_end() {
    let (world, gate, stream) = full(&[("GEMINATE__ADMIT__QUEUE_MAX", "1")]).await;
    let (one, other) = (gate.generate("one"), gate.generate("other"));
    let refused = async {
        // One of both waits, the other is refused: then the place comes free.
        tokio::pin!(one, other);
        let (refused, waiting) = futures_util::future::select(one, other).await.factor_first();
        assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (503, "1".to_owned()));
        assert_eq!(json_of(refused).await["error"]["status"], "UNAVAILABLE");
        assert_eq!(world.calls().len(), 1);
        drop(stream);
        assert_eq!(waiting.await.status(), 200);
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn who_waits_too_long_for_a_place_is_told_to_come_again() {
    for limit in ["GEMINATE__ADMIT__QUEUE_WAIT_MS", "REQUEST_TIMEOUT"] {
        let (_world, gate, _stream) = full(&[(limit, "500")]).await;
        let began = tokio::time::Instant::now();
        let answer = gate.post("/v1/chat/completions", &json!({"model": MODEL})).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (503, "1".to_owned()));
        assert_eq!(json_of(answer).await["error"]["code"], "busy");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{limit}");
    }
}

#[tokio::test]
async fn places_are_given_in_order_of_arrival() {
    let (world, gate, stream) = full(&[]).await;
    let mut waiting = Vec::new();
    for n in 0..5 {
        waiting.push(sent(&gate, &format!("call {n}")).await);
        under_way(&gate, n + 2).await;
    }
    drop(stream);
    join_all(waiting.iter_mut().map(|wire| wire.hear("HTTP/1.1 200"))).await;
    let order: Vec<_> =
        world.calls()[1..].iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    assert!(order.iter().enumerate().all(|(n, body)| body.contains(&format!("call {n}"))), "{order:?}");
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_leaves_room_in_it() {
    let (world, gate, stream) = full(&[("GEMINATE__ADMIT__QUEUE_MAX", "1")]).await;
    let gone = sent(&gate, "gone").await;
    under_way(&gate, 2).await;
    drop(gone);
    under_way(&gate, 1).await;
    let mut waiting = sent(&gate, "waiting").await;
    under_way(&gate, 2).await;
    drop(stream);
    waiting.hear("HTTP/1.1 200").await;
    assert!(world.calls().iter().all(|call| !String::from_utf8_lossy(&call.body).contains("gone")));
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn an_answer_that_ended_gives_its_place_back_however_it_ended() {
    let (world, gate) =
        with_keys_and(&[KEY], &[("MAX_CONCURRENT_REQUESTS", "1"), ("GEMINATE__ADMIT__QUEUE_MAX", "0")]).await;
    for fault in ["", "fault=cut:1 times=1", "fault=invalid_argument times=1", "fault=unfinished times=1"] {
        play(&world, fault);
        heard(gate.stream("hello").await).await;
        under_way(&gate, 0).await;
    }
    let head = gate.ask(http::Method::HEAD, "/v1beta/echo").send().await.unwrap();
    assert_eq!(head.status(), 200);
    under_way(&gate, 0).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
}
