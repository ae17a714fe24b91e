//! `geminate keys check`: every key has its word, its reason and what to do, and no quota is spent for it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use geminate::mock::{Settings, World};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::free_port;
use crate::stage::{AT_ONCE, K1, K2, K3, K4, calls_of, play};
use crate::world::{Gate, MODEL, google, with_keys_and};

const K5: &str = "fake-key-0005";
const K6: &str = "fake-key-0006";

/// What a run of the binary came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }
}

/// `geminate keys ..` in `dir` with these variables alone.
pub(crate) async fn keys(dir: &Path, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geminate"));
    command.arg("keys").args(words).env_clear().envs(variables.iter().copied()).current_dir(dir);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let Output { status, stdout, stderr } = ran;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: status.code(), out: text(stdout), err: text(stderr) };
    assert!(!(ran.out.clone() + &ran.err).contains("fake-key-"), "{}{}", ran.out, ran.err);
    ran
}

/// `geminate keys check --json` over keys that are all of `GEMINI_API_KEY`.
async fn check(world: &(Arc<World>, String), all: &[&str]) -> Ran {
    let dir = TempDir::new().unwrap();
    let list = all.join(",");
    keys(dir.path(), &["check", "--json"], &[("GEMINI_API_KEY", &list), ("GEMINI_BASE_URL", &world.1)]).await
}

fn words<'v>(page: &'v Value, field: &str) -> Vec<&'v Value> {
    page["keys"].as_array().unwrap().iter().map(|key| &key[field]).collect()
}

/// One key of each kind: alive, unknown, suspended, without the API, out of reach, switched off.
async fn motley() -> (Arc<World>, TempDir, String) {
    let (world, origin) = google(Settings::with_keys([K1, K2, K3, K4, K5, K6])).await;
    for (key, fault) in [(K2, "api_key_invalid"), (K3, "consumer_suspended"), (K4, "service_disabled")] {
        play(&world, &[&format!("key={key} fault={fault}")]);
    }
    let dir = TempDir::new().unwrap();
    let far = format!("proxy = \"http://user:fake-key-of-the-proxy@127.0.0.1:{}\"", free_port());
    let tables = [
        (K1, "project = \"main\""),
        (K2, ""),
        (K3, "project = \"main\""),
        (K4, "id = \"new\""),
        (K5, &far),
        (K6, "enabled = false"),
    ];
    let config = tables.map(|(key, more)| format!("[[keys]]\nkey = \"{key}\"\n{more}\n")).concat();
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    (world, dir, origin)
}

#[tokio::test]
async fn every_key_has_its_word_its_reason_and_what_to_do() {
    let (world, dir, origin) = motley().await;
    let ran = keys(dir.path(), &["check", "--json"], &[("GEMINI_BASE_URL", &origin)]).await;
    let page = ran.json();
    assert_eq!(ran.code, Some(1), "some do not serve");
    let verdicts = ["alive", "invalid", "suspended", "service_disabled", "unreachable", "disabled"];
    assert_eq!(words(&page, "verdict"), verdicts);
    assert_eq!(words(&page, "serves"), [true, false, false, false, false, false]);
    assert_eq!((&page["keys_total"], &page["keys_enabled"], &page["keys_serving"]), (&json!(6), &json!(5), &json!(1)));
    let suspended = &page["keys"][2];
    assert_eq!(suspended["said"], "Permission denied: Consumer 'api_key:[key]' has been suspended");
    assert_eq!((&suspended["shares_quota_with"], &suspended["project"]), (&json!(["1"]), &json!("main")));
    let disabled = &page["keys"][3];
    assert!(disabled["to_do"][0].as_str().unwrap().starts_with("Enable the Generative Language API"), "{disabled}");
    assert!(disabled["consumer"].as_str().unwrap().starts_with("projects/"));
    assert!(!ran.out.contains("console.developers"), "no URL that may hold a key");
    assert_eq!(
        (&page["keys"][0]["models_available"], &page["keys"][1]["models_available"]),
        (&json!(20), &Value::Null)
    );
    let calls = world.calls();
    assert_eq!(calls.len(), 4, "one look at each that is enabled and in reach");
    assert!(calls.iter().all(|call| call.action == "models" && call.credentials.len() == 1));
}

#[tokio::test]
async fn the_table_is_aligned_and_plain_where_nobody_looks_from_a_terminal() {
    let (_world, dir, origin) = motley().await;
    let ran = keys(dir.path(), &["check"], &[("GEMINI_BASE_URL", &origin)]).await;
    assert!(ran.code == Some(1) && !ran.out.contains('\u{1b}'), "{}", ran.out);
    let lines: Vec<&str> = ran.out.lines().collect();
    let at = lines[0].find("REASON").unwrap();
    let reason = |id: &str| {
        let line = lines.iter().find(|line| line.starts_with(&format!("{id} "))).unwrap();
        assert_eq!(line.chars().nth(at - 1), Some(' '), "{}", ran.out);
        line[at..].to_owned()
    };
    assert!(reason("2").starts_with("Google does not know it: API key not valid"), "{}", ran.out);
    assert!(reason("new").starts_with("the Gemini API is not switched on"), "{}", ran.out);
    assert!(reason("5").starts_with("no answer came: no connection"), "{}", ran.out);
    assert!(ran.out.contains("to do: Appeal") && ran.out.contains("shares its project's quota with 3"), "{}", ran.out);
    assert!(ran.out.contains("1 of 5 enabled keys can serve, 1 disabled."), "{}", ran.out);
}

#[tokio::test]
async fn the_exit_code_tells_how_many_serve() {
    let world = google(Settings::with_keys([K1, K2])).await;
    assert_eq!(check(&world, &[K1, K2]).await.code, Some(0));
    assert_eq!(check(&world, &[K1, K3]).await.code, Some(1));
    assert_eq!(check(&world, &[K3]).await.code, Some(2));
    let none = check(&world, &[]).await;
    assert_eq!((none.code, none.out.as_str()), (Some(64), ""));
    assert!(none.err.starts_with("GEMINI_API_KEY: no key is configured"), "{}", none.err);
}

#[tokio::test]
async fn a_key_refused_in_one_form_is_offered_once_in_the_other() {
    let world = google(Settings::with_keys([K1, K2])).await;
    play(&world.0, &[&format!("key={K1} fault=unauthenticated"), &format!("key={K2} fault=unauthenticated times=1")]);
    // The mock lets no key in by Bearer on this route, which is a refusal of the form once more.
    let page = check(&world, &[K1, K2]).await.json();
    assert_eq!(words(&page, "verdict"), ["invalid", "invalid"]);
    assert_eq!((calls_of(&world.0, K1).len(), calls_of(&world.0, K2).len()), (2, 2));
    assert!(world.0.calls().iter().all(|call| call.credentials.len() == 1));
}

#[tokio::test]
async fn a_key_that_is_let_in_by_the_other_form_is_alive() {
    let by_bearer = |headers: http::HeaderMap| async move {
        let (name, bearer) = (headers.contains_key("x-goog-api-key"), headers.get("authorization"));
        match bearer {
            Some(value) if !name && value == &format!("Bearer {K1}") => (http::StatusCode::OK, r#"{"models":[]}"#),
            _ => (http::StatusCode::UNAUTHORIZED, "{}"),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/v1beta/models", axum::routing::get(by_bearer));
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    let dir = TempDir::new().unwrap();
    let ran = keys(dir.path(), &["check", "--json"], &[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    assert_eq!((ran.code, words(&ran.json(), "verdict")), (Some(0), vec![&json!("alive")]));
}

#[tokio::test]
async fn all_pages_are_read_and_uneven_access_is_told() {
    let models: Vec<String> = (0..1_100).map(|n| format!("gemini-{n:04}")).collect();
    let world = google(Settings { models, ..Settings::with_keys([K1, K2]) }).await;
    let few = json!({"models": [{"name": "models/gemini-0007"}, {"name": "models/\u{1b}[31mred"}]});
    play(&world.0, &[&format!("key={K2} fault=status:200 body={few}")]);
    let page = check(&world, &[K1, K2]).await.json();
    assert_eq!(words(&page, "models_available"), [1_100, 1]);
    assert_eq!(page["models"].as_array().unwrap().len(), 1_100);
    assert_eq!(page["keys"][1]["models_lacking"].as_array().unwrap().len(), 1_099);
    assert_eq!(page["keys"][0]["models_lacking"], json!([]));
}

#[tokio::test]
async fn keys_that_google_names_alike_share_a_quota() {
    let keys = ["fake-key-0001@one", "fake-key-0002@two", "fake-key-0003@one"];
    let world = google(Settings::with_keys(keys)).await;
    play(&world.0, &["fault=service_disabled"]);
    let page = check(&world, &[K1, K2, K3]).await.json();
    assert_eq!(words(&page, "shares_quota_with"), [&json!(["3"]), &json!([]), &json!(["1"])]);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_no_longer_than_a_probe() {
    let world = google(Settings::with_keys([K1, K2, K3])).await;
    play(&world.0, &[&format!("key={K1} fault=stall"), &format!("key={K2} fault=cut:head")]);
    play(&world.0, &[&format!("key={K3} fault=status:200 body=<html>sign in</html>")]);
    let dir = TempDir::new().unwrap();
    let list = [K1, K2, K3].join(",");
    let patience = ("GEMINATE__POOL__PROBE_TIMEOUT_MS", "300");
    let variables = [("GEMINI_API_KEY", list.as_str()), ("GEMINI_BASE_URL", &world.1), patience];
    let ran = keys(dir.path(), &["check", "--json"], &variables).await;
    assert_eq!(
        (ran.code, words(&ran.json(), "verdict")),
        (Some(2), vec![&json!("unreachable"), &json!("unreachable"), &json!("unclear")])
    );
}

#[tokio::test]
async fn a_standard_key_is_told_to_go() {
    let standard = format!("AIza{}", "Fake".repeat(9));
    let world = google(Settings::with_keys([standard.as_str(), "AQ.FakeFakeFakeFakeFakeFake"])).await;
    let ran = check(&world, &[&standard, "AQ.FakeFakeFakeFakeFakeFake"]).await;
    let page = ran.json();
    assert_eq!(words(&page, "kind"), ["standard", "auth"]);
    assert!(page["keys"][0]["to_do"][0].as_str().unwrap().contains("September 2026"));
    assert!(page["keys"][1]["to_do"].as_array().unwrap().is_empty());
    assert!(!ran.out.contains("AIzaFake") && !ran.out.contains("AQ.Fake"));
}

#[tokio::test]
async fn what_the_gateway_remembers_stands_beside_it_and_stays_as_it_is() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[AT_ONCE]).await;
    play(&world, &[&format!("key={K1} model={MODEL} fault=quota_day"), &format!("key={K2} fault=leaked times=1")]);
    assert_eq!(gate.generate("hello").await.status(), 200);
    let file = gate.dir.path().join("data/pool.json");
    let saved = || std::fs::read_to_string(&file).unwrap_or_default();
    crate::house::eventually(|| saved().contains("quota_day") && saved().contains("banned")).await;
    let dir = Arc::clone(&gate.dir);
    drop::<Gate>(gate);
    let before = saved();
    let origin = format!("http://{}", address_of(&world).await);
    let list = [K1, K2, K3].join(",");
    let variables = [("GEMINI_API_KEY", list.as_str()), ("GEMINI_BASE_URL", &origin)];
    let ran = keys(dir.path(), &["check", "--json"], &variables).await;
    let page = ran.json();
    assert_eq!(
        (ran.code, words(&page, "verdict")),
        (Some(1), vec![&json!("resting"), &json!("buried"), &json!("alive")])
    );
    let first = &page["keys"][0];
    let rest = &first["resting"][0];
    assert_eq!((&rest["model"], &rest["reason"], &first["serves"]), (&json!(MODEL), &json!("quota_day"), &json!(true)));
    assert!(rest["until"].is_string() && first["learnt"][0]["rpd"].is_number(), "{first}");
    assert_eq!(first["tier"], "free");
    assert_eq!(saved(), before, "the memory is only looked at");
    std::fs::write(&file, "{rubbish").unwrap();
    let ran = keys(dir.path(), &["check"], &variables).await;
    assert!(
        ran.code == Some(0) && ran.out.contains("the memory of the keys in DATA_DIR cannot be read"),
        "{}",
        ran.out
    );
    assert_eq!(saved(), "{rubbish", "nor is it set aside by somebody who looks");
}

/// The mock of this test on a second port: the same world.
async fn address_of(world: &Arc<World>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(geminate::mock::serve(listener, Arc::clone(world)));
    address
}
