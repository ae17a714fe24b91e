//! Who waits for a key is served in turn, client by client, and told the truth when it waits in vain.

use std::sync::Arc;
use std::time::Duration;

use geminate::mock::{Settings, World};
use jiff::{Timestamp, ToSpan};
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::house::PATIENCE;
use crate::memory::remember;
use crate::stage::{K1, NO_RETRIES, play, reasons, until_so_many_wait};
use crate::world::{Gate, MODEL, google, header, json_of, prompt};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PATIENT: (&str, &str) = ("GEMINATE__POOL__MAX_WAIT_MS", "60000");

/// A gate with one key, which rests for the model.
struct Stage {
    gate: Gate,
    world: Arc<World>,
    /// Requests that were sent and what came of them.
    asked: JoinSet<(String, reqwest::Response)>,
}

impl Stage {
    async fn resting(seconds: i64, variables: &[(&str, &str)]) -> Self {
        let until = Timestamp::now() + seconds.seconds();
        let rest = json!({"model": MODEL, "project": false, "reason": "quota_minute", "until": until.to_string()});
        Self::of(&json!({"models": [rest]}), "", variables).await
    }

    /// With what is remembered of the key, and these lines of its configuration.
    async fn of(known: &Value, lines: &str, variables: &[(&str, &str)]) -> Self {
        let (world, origin) = google(Settings::with_keys([K1])).await;
        let dir = Arc::new(TempDir::new().unwrap());
        remember(dir.path(), K1, known);
        std::fs::write(dir.path().join("config.toml"), format!("[[keys]]\nkey = \"{K1}\"\n{lines}")).unwrap();
        let mut all = vec![("GEMINI_BASE_URL", origin.as_str()), ("JWT_SECRET", SECRET), PATIENT];
        all.extend(variables);
        Self { gate: Gate::open_in(dir, &all).await, world, asked: JoinSet::new() }
    }

    /// Sends a request of a client in the background.
    fn send(&mut self, client: &str, text: &str) {
        let claims = json!({"sub": client, "exp": get_current_timestamp() + 600});
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        let url = format!("http://{}/v1beta/models/{MODEL}:generateContent", self.gate.data);
        let request = self.gate.http.post(url).bearer_auth(token).body(prompt(text).to_string());
        let text = text.to_owned();
        self.asked.spawn(async move { (text, request.send().await.unwrap()) });
    }

    /// The same, and waits until it is one of `count` that wait.
    async fn line_up(&mut self, client: &str, text: &str, count: usize) {
        self.send(client, text);
        until_so_many_wait(&self.gate, count).await;
    }

    /// The next answer that comes, whoever asked.
    async fn answered(&mut self) -> (String, reqwest::Response) {
        let next = tokio::time::timeout(3 * PATIENCE, self.asked.join_next()).await;
        next.expect("no answer came").expect("nobody asked").unwrap()
    }
}

fn text_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["contents"][0]["parts"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_greedy_client_delays_a_quiet_one_by_one_request() {
    // Long enough for all to line up on a machine that has much else to do.
    let mut stage = Stage::resting(12, &[NO_RETRIES]).await;
    // An overload does not end the trial: Google sees one request after the other.
    play(&stage.world, &["fault=overloaded"]);
    for n in 0..6 {
        stage.line_up("greedy", &format!("greedy {n}"), n + 1).await;
    }
    stage.line_up("quiet", "quiet", 7).await;
    let model = stage.gate.monitor("/monitor/keys").await["models"][0].take();
    assert_eq!((&model["waiting"], &model["waiting_clients"]), (&json!(7), &json!(2)));
    for _ in 0..7 {
        assert_eq!(stage.answered().await.1.status(), 503);
    }
    let seen: Vec<String> = stage.world.calls().iter().map(|call| text_of(&call.body)).collect();
    let greedy = |n: usize| format!("greedy {n}");
    assert_eq!(seen[..4], [greedy(0), "quiet".to_owned(), greedy(1), greedy(2)]);
    assert_eq!(seen[4..], [greedy(3), greedy(4), greedy(5)]);
}

#[tokio::test]
async fn when_the_line_is_full_the_longest_of_it_makes_room() {
    let mut stage = Stage::resting(40, &[("GEMINATE__POOL__QUEUE_MAX", "2")]).await;
    let began = Instant::now();
    stage.line_up("greedy", "first", 1).await;
    stage.line_up("greedy", "second", 2).await;
    for (client, text, refused) in [("greedy", "third", "third"), ("quiet", "hello", "second"), ("quiet", "two", "two")]
    {
        stage.send(client, text);
        let (told, answer) = stage.answered().await;
        assert_eq!((told.as_str(), answer.status().as_u16()), (refused, 429));
        let left = 40_u64.saturating_sub(began.elapsed().as_secs());
        let wait: u64 = header(&answer, "retry-after").parse().unwrap();
        assert!((left - 2..=left + 1).contains(&wait), "{wait} s are told, {left} s are left");
        assert_eq!(json_of(answer).await["error"]["details"][0]["reason"], "LINE_FULL");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "at once, not after a wait");
    assert!(stage.world.calls().is_empty());
}

#[tokio::test]
async fn whoever_waits_for_a_key_that_dies_is_told_at_once() {
    let mut stage = Stage::resting(40, &[]).await;
    let began = Instant::now();
    for n in 0..3 {
        stage.line_up(["alice", "bob", "alice"][n], "hello", n + 1).await;
    }
    play(&stage.world, &["fault=api_key_invalid"]);
    let other = stage.gate.post("/v1beta/models/gemini-3.5-flash:generateContent", &prompt("hello")).await;
    assert_eq!(other.status(), 503);
    for _ in 0..3 {
        let (_, answer) = stage.answered().await;
        assert_eq!(answer.status(), 503);
        assert_eq!(reasons(&json_of(answer).await), &json!({"invalid": "1"}));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "at once, not when the rest is over");
    assert_eq!(stage.world.calls().len(), 1);
}

#[tokio::test]
async fn who_would_come_too_late_behind_the_others_is_told_its_own_time_at_once() {
    let mut stage = Stage::of(&json!({}), "rpm = 2\n", &[("GEMINATE__POOL__MAX_WAIT_MS", "90000")]).await;
    let began = Instant::now();
    for text in ["one", "two"] {
        stage.send("greedy", text);
        assert_eq!(stage.answered().await.1.status(), 200);
    }
    stage.line_up("greedy", "three", 1).await;
    stage.line_up("greedy", "four", 2).await;
    for (client, text) in [("greedy", "five"), ("greedy", "six")] {
        stage.send(client, text);
        let (told, answer) = stage.answered().await;
        assert_eq!((told.as_str(), answer.status().as_u16()), (text, 429));
        let left = 121_u64.saturating_sub(began.elapsed().as_secs());
        let wait: u64 = header(&answer, "retry-after").parse().unwrap();
        assert!((left - 3..=left + 2).contains(&wait), "{wait} s are told, in two minutes of two there is room");
        assert_eq!(reasons(&json_of(answer).await), &json!({"budget": "1"}));
    }
    stage.send("quiet", "hello");
    until_so_many_wait(&stage.gate, 3).await;
    assert!(began.elapsed() < Duration::from_secs(30), "a client with fewer in line comes before them");
}
