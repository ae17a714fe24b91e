//! Live events: whoever looks at the dashboard sees a key's change within a second, and nobody else pays for it.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use crate::admin::{admin, bare, guarded};
use crate::house::PATIENCE;
use crate::stage::{K1, K2, play, with_config};
use crate::world::{header, with_keys_and};

/// The events of one listener.
struct Events {
    answer: reqwest::Response,
    heard: String,
}

impl Events {
    async fn of(gate: &crate::world::Gate) -> Self {
        Self::heard_by(admin(gate, Method::GET, "/api/live")).await
    }

    async fn heard_by(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (200, "text/event-stream"));
        Self { answer, heard: String::new() }
    }

    /// The next event: its name and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.heard.split_once("\n\n") {
                let (name, data) = event.split_once('\n').unwrap();
                let name = name.strip_prefix("event: ").unwrap().to_owned();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                self.heard = rest.into();
                return (name, data);
            }
            let piece = timeout(PATIENCE, self.answer.chunk()).await.expect("no event came").unwrap().unwrap();
            self.heard.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// The first event of this name that fits.
    async fn until(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let (of, data) = self.next().await;
                if of == name && fits(&data) {
                    return data;
                }
            }
        };
        timeout(PATIENCE, look).await.expect("no such event came")
    }
}

#[tokio::test]
async fn a_listener_gets_everything_first_and_then_what_changes() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("ADMIN_TOKEN", crate::admin::ADMIN)]).await;
    let mut events = Events::of(&gate).await;
    let (name, overview) = events.next().await;
    assert_eq!((name.as_str(), &overview["verdict"]["code"]), ("overview", &"all_well".into()));
    let (name, keys) = events.next().await;
    assert_eq!((name.as_str(), keys["keys"].as_array().unwrap().len()), ("keys", 2));
    // The ticker's own first event is whole again; afterwards nothing changes.
    events.until("overview", |_| true).await;
    play(&world, &[&format!("key={K1} fault=api_key_invalid")]);
    for _ in 0..3 {
        gate.generate("hello").await.text().await.unwrap();
    }
    let changed = events.until("keys", |keys| keys["keys"][0]["state"] == "dead").await;
    assert_eq!(changed["keys"][0]["id"], "1");
    assert!(!changed.to_string().contains("fake-key"), "{changed}");
    events.until("overview", |overview| overview["verdict"]["code"] == "keys_out").await;
}

#[tokio::test]
async fn who_has_logged_out_hears_no_more_and_who_came_by_the_token_does() {
    let gate = guarded().await;
    let login = serde_json::json!({ "token": crate::admin::ADMIN }).to_string();
    let login = bare(&gate, Method::POST, "/api/session").header("content-type", "application/json").body(login);
    let set = header(&login.send().await.unwrap(), "set-cookie");
    let in_session = |method, path| bare(&gate, method, path).header("cookie", set.split(';').next().unwrap());
    let mut by_token = Events::of(&gate).await;
    let mut by_session = Events::heard_by(in_session(Method::GET, "/api/live")).await;
    for _ in 0..2 {
        by_session.until("overview", |_| true).await;
    }
    assert_eq!(in_session(Method::DELETE, "/api/session").send().await.unwrap().status(), 204);
    let ends = async { while by_session.answer.chunk().await.unwrap().is_some() {} };
    timeout(PATIENCE, ends).await.expect("it went on to hear");
    for _ in 0..3 {
        by_token.until("overview", |_| true).await;
    }
}

#[tokio::test]
async fn events_tell_of_the_queue_there_is_and_not_of_that_in_which_they_began() {
    let file = |places: u32| format!("[admit]\nconcurrent_max = {places}\n");
    let variables = [("GEMINI_API_KEY", K1), ("ADMIN_TOKEN", crate::admin::ADMIN)];
    let (world, gate) = with_config(&[K1], &file(9), &variables).await;
    let mut events = Events::of(&gate).await;
    for _ in 0..2 {
        events.until("overview", |_| true).await;
    }
    std::fs::write(gate.dir.path().join("config.toml"), file(1)).unwrap();
    gate.signal("HUP");
    gate.logged(|line| line["message"] == "took up a new configuration").await;
    play(&world, &["fault=stall:1 times=1"]);
    let mut first = gate.stream("first").await;
    assert!(first.chunk().await.unwrap().is_some());
    tokio::select! {
        second = gate.generate("second") => panic!("it found a place: {}", second.status()),
        _ = events.until("overview", |overview| overview["now"]["waiting_for_place"] == 1) => {}
    }
}

#[tokio::test]
async fn listeners_are_bounded_and_leave_no_trace() {
    let gate = guarded().await;
    let mut all = Vec::new();
    for _ in 0..32 {
        all.push(Events::of(&gate).await);
    }
    let one_more = admin(&gate, Method::GET, "/api/live").send().await.unwrap();
    assert_eq!((one_more.status().as_u16(), header(&one_more, "retry-after").as_str()), (503, "1"));
    for events in &mut all {
        events.until("overview", |_| true).await;
    }
    all.clear();
    let again = async {
        while admin(&gate, Method::GET, "/api/live").send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the places were not given back");
    let mut events = Events::of(&gate).await;
    events.until("overview", |_| true).await;
    events.until("overview", |_| true).await;
}
