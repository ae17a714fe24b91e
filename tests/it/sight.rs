//! What an operator sees of single calls: how each went, attempt by attempt; and that one can be ended from outside.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use geminate::affinity::Affinity;
use geminate::client::Clients;
use geminate::gateway::{self, Shared};
use geminate::mock::{Ending, World};
use geminate::pool::KeyPool;
use geminate::pool::key::{Ceilings, KeySpec};
use geminate::pool::memory::Clocks;
use geminate::relay::Eyes;
use geminate::scrub::Scrubber;
use geminate::secret::Secret;
use geminate::settings::Settings;
use geminate::tasks::Tasks;
use geminate::telemetry::{Filter, Request, Telemetry, clock, statuses};
use geminate::upstream::{Egresses, Upstream};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::house::{House, eventually, settings};
use crate::stage::{K1, K2, K3, play};
use crate::streams::{ARRAY, CHAT, SSE, ending, heard, piece, question};
use crate::world::{MODEL, google, header, prompt};

/// A gate in this process, so that what it knows can be looked at.
pub(crate) struct Seen {
    pub(crate) world: Arc<World>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) house: House,
    http: reqwest::Client,
}

impl Seen {
    /// With these keys, and the settings as changed.
    pub(crate) async fn open(keys: &[&str], change: impl FnOnce(&mut Settings)) -> Self {
        // Another test may have one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (world, origin) = google(geminate::mock::Settings::with_keys(keys.iter().copied())).await;
        let mut all = Settings::default();
        all.upstream.base_url = serde_json::from_value(json!(origin)).unwrap();
        change(&mut all);
        let secrets: Vec<Secret> = keys.iter().map(|key| Secret::new((*key).to_owned())).collect();
        let specs: Vec<KeySpec> = secrets.iter().enumerate().map(|(n, secret)| spec(n, secret)).collect();
        let clocks = Clocks { now: Instant::now(), wall: clock() };
        let pool = Arc::new(KeyPool::new(&specs, clocks).unwrap());
        let clients = Arc::new(Clients::new(&all.auth, &all.clients, None, true).unwrap());
        let telemetry = Telemetry::new(clocks.now);
        let eyes = Eyes {
            telemetry: Arc::clone(&telemetry),
            affinity: Arc::new(Affinity::new(&all.affinity)),
            scrubber: Arc::new(Scrubber::new(&secrets).unwrap()),
        };
        let upstream = Upstream::new(&all.upstream, &Egresses::default(), &[]).unwrap();
        let shared = Shared::new(Arc::new(all), pool, clients, eyes, &Tasks::new());
        let router = Router::new().fallback_service(gateway::stack(&shared, upstream));
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let drain_timeout_ms = shared.settings.server.drain_timeout_ms;
        let server = geminate::settings::Server { drain_timeout_ms, ..settings() };
        let house = House::seen(server, router, Arc::clone(&telemetry));
        Self { world, telemetry, house, http }
    }

    /// A question, by this id.
    pub(crate) async fn ask(&self, id: &str, path: &str, body: &Value) -> reqwest::Response {
        let request = self.http.post(format!("http://{}{path}", self.house.data)).header("x-request-id", id);
        request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
    }

    pub(crate) fn find(&self, id: &str) -> Option<Request> {
        self.telemetry.find(id, Instant::now())
    }

    /// The call with this id, once it is over.
    pub(crate) async fn over(&self, id: &str) -> Value {
        eventually(|| self.find(id).is_some_and(|request| request.outcome.is_some())).await;
        serde_json::to_value(self.find(id).unwrap()).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "each filter is made for one look")]
    fn recent(&self, filter: Filter) -> Vec<String> {
        let recent = self.telemetry.recent(&filter, Instant::now());
        recent.requests.into_iter().map(|request| request.id.into()).collect()
    }
}

fn spec(n: usize, secret: &Secret) -> KeySpec {
    KeySpec {
        id: (n + 1).to_string().into(),
        secret: secret.clone(),
        weight: 1,
        project: None,
        egress: 0,
        ceilings: Ceilings::default(),
        enabled: true,
    }
}

fn generate() -> String {
    format!("/v1beta/models/{MODEL}:generateContent")
}

#[tokio::test]
async fn a_request_that_was_tried_again_shows_its_timeline() {
    let seen = Seen::open(&[K1, K2], |_| {}).await;
    play(&seen.world, &[&format!("key={K1} fault=delay:80ms,overloaded"), &format!("key={K2} fault=delay:20ms")]);
    assert_eq!(seen.ask("tried", &generate(), &prompt("hello")).await.status(), 200);
    let request = seen.over("tried").await;
    let [first, second] = request["attempts"].as_array().unwrap().as_slice() else { panic!("{request:#}") };
    assert_eq!((&first["key"], &first["verdict"], &first["status"]), (&json!("1"), &json!("overloaded"), &json!(503)));
    assert_eq!((&second["key"], &second["verdict"], &request["key"]), (&json!("2"), &json!("success"), &json!("2")));
    assert!(first["took_ms"].as_f64().unwrap() >= 80.0, "{request:#}");
    assert!(first["message"].as_str().unwrap().contains("overloaded"), "{request:#}");
    assert_eq!(first["did"], "switched_key");
    let gap = second["began_ms"].as_f64().unwrap() - first["began_ms"].as_f64().unwrap();
    let (took, paused) = (first["took_ms"].as_f64().unwrap(), second["paused_ms"].as_f64().unwrap());
    assert!(paused > 0.0 && gap + 0.2 >= took + paused, "{request:#}");
    assert_eq!(
        (&second["waited_ms"], &request["attempts_made"], &request["outcome"]),
        (&json!(0.0), &json!(2), &json!("ok"))
    );
    assert!(request["total_ms"].as_f64().unwrap() >= gap + second["took_ms"].as_f64().unwrap() - 0.2, "{request:#}");
    let last = &seen.telemetry.failures(10)[0];
    assert_eq!((last.class, last.did, &*last.request_id), ("overloaded", Some("switched_key"), "tried"));
}

#[tokio::test]
async fn a_request_that_nobody_could_serve_says_so_of_each_attempt() {
    let seen = Seen::open(&[K1, K2], |settings| settings.pool.max_wait_ms = 0).await;
    play(&seen.world, &["fault=quota_day"]);
    assert_eq!(seen.ask("out", &generate(), &prompt("hello")).await.status(), 429);
    let request = seen.over("out").await;
    assert_eq!((&request["outcome"], &request["reason"]), (&json!("refused"), &json!("exhausted")));
    let did: Vec<&str> =
        request["attempts"].as_array().unwrap().iter().map(|one| one["did"].as_str().unwrap()).collect();
    assert_eq!(did, ["switched_key", "gave_up"]);
}

#[tokio::test]
async fn a_running_call_is_found_and_has_no_outcome_yet() {
    let seen = Seen::open(&[K1], |_| {}).await;
    play(&seen.world, &["fault=stall:1"]);
    let mut answer = seen.ask("running", SSE, &question()).await;
    piece(&mut answer).await;
    let request = serde_json::to_value(seen.find("running").unwrap()).unwrap();
    assert_eq!(
        (&request["outcome"], &request["status"], &request["streaming"]),
        (&Value::Null, &json!(200), &json!(true))
    );
    assert_eq!(request["attempts"][0]["verdict"], Value::Null);
    assert!(seen.find("nobody").is_none());
    drop(answer);
    let request = seen.over("running").await;
    assert_eq!((&request["outcome"], &request["attempts"][0]["verdict"]), (&json!("client_gone"), &json!("abandoned")));
}

#[tokio::test]
async fn recent_requests_are_filtered_and_paged() {
    let seen = Seen::open(&[K1, K2, K3], |_| {}).await;
    for n in 0..5 {
        seen.ask(&format!("good-{n}"), &generate(), &prompt("hello")).await;
    }
    play(&seen.world, &[&format!("key={K2} fault=overloaded"), "model=other fault=invalid_argument"]);
    seen.ask("bad", "/v1beta/models/other:generateContent", &prompt("hello")).await;
    for n in 0..3 {
        seen.ask(&format!("turn-{n}"), &generate(), &prompt("hello")).await;
    }
    eventually(|| seen.recent(Filter::default()).len() == 9).await;
    let all = seen.recent(Filter::default());
    assert_eq!((&*all[0], &*all[8]), ("turn-2", "good-0"));
    assert_eq!(seen.recent(Filter { model: Some("other".into()), ..Filter::default() }), ["bad"]);
    assert_eq!(seen.recent(Filter { status: statuses("4xx"), ..Filter::default() }), ["bad"]);
    assert_eq!(seen.recent(Filter { outcome: Some("caller_error".into()), ..Filter::default() }), ["bad"]);
    assert_eq!(seen.recent(Filter { client: Some("nobody".into()), ..Filter::default() }), [""; 0]);
    let of_second = seen.recent(Filter { key: Some("2".into()), ..Filter::default() });
    assert!(of_second.iter().any(|id| id.starts_with("turn")), "its failed attempt counts: {of_second:?}");
    let page = Filter { limit: 4, ..Filter::default() };
    let first = seen.recent(page.clone());
    let second = seen.recent(Filter { before: first.last().cloned(), ..page.clone() });
    assert_eq!([first, second].concat(), all[..8]);
    let time = seen.find("good-2").unwrap().at.to_string();
    assert_eq!(seen.recent(Filter { before: Some(time), ..page.clone() }), ["good-1", "good-0"]);
    assert_eq!(seen.recent(Filter { before: Some("rubbish".into()), ..page }), [""; 0]);
}

#[tokio::test]
async fn a_stream_that_is_cancelled_is_aborted_at_once_and_says_so_as_each_sdk_reads_it() {
    for path in [SSE, CHAT] {
        let seen = Seen::open(&[K1], |_| {}).await;
        play(&seen.world, &["fault=stall:1"]);
        let mut answer = seen.ask("mine", path, &question()).await;
        piece(&mut answer).await;
        assert!(seen.telemetry.cancel("mine"));
        // A second time does no harm, whether it still runs or not.
        seen.telemetry.cancel("mine");
        let (text, whole) = heard(answer).await;
        let last = text.trim_end().rsplit('\n').next().unwrap();
        let error: Value =
            serde_json::from_str(last.trim_start_matches("data: ")).unwrap_or_else(|_| panic!("{text:?}"));
        assert!(whole && error["error"]["message"].as_str().unwrap().contains("operator cancelled"), "{path}: {text}");
        let code = if path == CHAT { json!("cancelled") } else { json!(499) };
        assert_eq!((error["error"]["code"].clone(), last.starts_with("data: ")), (code, path == CHAT), "{text}");
        assert_eq!(ending(&seen.world).await, Ending::Gone);
        let request = seen.over("mine").await;
        assert_eq!(
            (&request["outcome"], &request["attempts"][0]["verdict"]),
            (&json!("cancelled"), &json!("abandoned"))
        );
        assert!(!seen.telemetry.cancel("mine"), "it is over");
        assert_eq!(seen.ask("next", &generate(), &prompt("hello")).await.status(), 200, "the key is not to blame");
    }
}

#[tokio::test]
async fn an_array_that_is_cancelled_is_seen_to_be_cut() {
    let seen = Seen::open(&[K1], |_| {}).await;
    play(&seen.world, &["fault=stall:1"]);
    let mut answer = seen.ask("mine", ARRAY, &question()).await;
    piece(&mut answer).await;
    assert!(seen.telemetry.cancel("mine"));
    assert!(!heard(answer).await.1);
    assert_eq!(ending(&seen.world).await, Ending::Gone);
    assert_eq!(seen.over("mine").await["outcome"], "cancelled");
}

#[tokio::test]
async fn a_call_without_an_answer_is_cancelled_wherever_it_is() {
    let seen = Seen::open(&[K1], |settings| {
        settings.admit.concurrent_max = 2;
        settings.retry.retries = 0;
        settings.pool.max_wait_ms = 120_000;
    })
    .await;
    play(&seen.world, &["fault=quota_minute:40s times=1"]);
    let (path, body) = (generate(), prompt("hello"));
    let refused = || seen.find("a").is_some_and(|call| call.attempts.iter().any(|one| one.verdict.is_some()));
    let a = seen.ask("a", &path, &body);
    let b = async {
        eventually(refused).await;
        seen.ask("b", &path, &body).await
    };
    let c = async {
        eventually(|| seen.find("b").is_some()).await;
        seen.ask("c", &path, &body).await
    };
    let cancel = async {
        // The first two have the places and wait for the key, which has had one of them refused; the third waits for a place.
        eventually(|| seen.find("c").is_some()).await;
        for id in ["c", "b", "a"] {
            assert!(seen.telemetry.cancel(id), "{id}");
        }
    };
    let (a, b, c, ()) = tokio::join!(a, b, c, cancel);
    for (id, answer) in [("a", a), ("b", b), ("c", c)] {
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after").as_str()), (499, ""), "{id}");
        assert!(answer.text().await.unwrap().contains("the operator cancelled this request"));
        assert_eq!(seen.over(id).await["outcome"], "cancelled");
    }
    assert_eq!(seen.telemetry.counts().outcomes["cancelled"], 3);
    assert_eq!((seen.world.calls().len(), seen.telemetry.in_flight()), (1, 0), "none of them was sent again");
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_is_cancelled_and_others_that_share_it_are_served() {
    let seen = Seen::open(&[K1], |settings| settings.cache.enabled = true).await;
    play(&seen.world, &["fault=delay:600ms"]);
    let path = format!("/v1beta/models/{MODEL}:countTokens");
    let body = prompt("hello");
    let cancel = async {
        eventually(|| seen.find("first").is_some() && seen.find("second").is_some() && !seen.world.calls().is_empty())
            .await;
        assert!(seen.telemetry.cancel("first"));
    };
    let first = seen.ask("first", &path, &body);
    let second = async {
        eventually(|| seen.find("first").is_some_and(|request| !request.attempts.is_empty())).await;
        seen.ask("second", &path, &body).await
    };
    let (first, second, ()) = tokio::join!(first, second, cancel);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (499, 200));
    assert_eq!(seen.world.calls().len(), 1);
}

#[tokio::test]
async fn what_is_kept_of_thousands_of_requests_is_bounded() {
    let telemetry = Telemetry::new(Instant::now());
    let long = "x".repeat(2_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..10_000_u64 {
                    let now = Instant::now() + Duration::from_millis(n);
                    let id = http::HeaderValue::from_static("r");
                    let record = telemetry.open(geminate::record::Record::new(id, http::Method::POST, now));
                    record.model(&long);
                    record.head(200, false);
                    telemetry.finish(&record, now);
                }
            });
        }
    });
    let kept = telemetry.recent(&Filter { limit: usize::MAX, ..Filter::default() }, Instant::now());
    assert!((100..=4096).contains(&kept.total), "{}", kept.total);
    let models: usize = kept.requests.iter().map(|request| request.model.as_ref().map_or(0, |model| model.len())).sum();
    assert!(models < 8 << 20, "{models}");
}
