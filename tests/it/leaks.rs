//! No secret leaves: whatever Google says, nothing that comes out of a run holds a key.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use geminate::mock::{self, Refusal, World};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::world::{Gate, MODEL, TOKEN, google, prompt};

/// Fake keys in both forms of Google's, and the other secrets of a run.
const KEYS: [&str; 2] = ["AIzaFakeCanaryFakeCanaryFakeCanaryFake01", "AQ.Fake-Canary_Fake-Canary.Fake-Canary-02"];
const JWT_SECRET: &str = "fake-canary-jwt-secret-of-32-bytes-03";
const ADMIN: &str = "fake-canary-admin-token-04";

/// Everything that came out so far.
#[derive(Default)]
struct Seen(String);

impl Seen {
    async fn answer(&mut self, request: reqwest::RequestBuilder) {
        let answer = request.send().await.unwrap();
        writeln!(self.0, "{} {:?}", answer.status(), answer.headers()).unwrap();
        // A stream that breaks has said all it says.
        let mut answer = answer;
        while let Ok(Some(chunk)) = answer.chunk().await {
            self.0 += &String::from_utf8_lossy(&chunk);
        }
    }

    /// Looks for every secret in every spelling.
    fn holds_nothing(&self, place: &str) {
        for secret in KEYS.into_iter().chain([JWT_SECRET, ADMIN, TOKEN]) {
            let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
            for form in [secret.to_owned(), encoded.to_lowercase(), encoded] {
                let found = self.0.find(&form).map(|at| &self.0[at.saturating_sub(200)..(at + 100).min(self.0.len())]);
                assert_eq!(found, None, "{place} tells {form}");
            }
        }
    }
}

async fn open(protocol: &str) -> (Arc<World>, Gate) {
    let (world, origin) = google(mock::Settings::with_keys(KEYS)).await;
    let keys = KEYS.join(",");
    let gate = Gate::open(&[
        ("GEMINI_API_KEY", &keys),
        ("GEMINI_BASE_URL", &origin),
        ("LOG_LEVEL", "TRACE,h2=TRACE,hyper=TRACE,hyper_util=TRACE,reqwest=TRACE,rustls=TRACE"),
        ("GEMINATE__UPSTREAM__PROTOCOL", protocol),
        ("JWT_SECRET", JWT_SECRET),
        ("ADMIN_TOKEN", ADMIN),
        ("GEMINATE__POOL__MAX_WAIT_MS", "0"),
        ("GEMINATE__RETRY__RETRIES", "1"),
    ])
    .await;
    (world, gate)
}

fn asks(gate: &Gate) -> Vec<reqwest::RequestBuilder> {
    let mut body = prompt("hello");
    body["model"] = json!(MODEL);
    body["messages"] = json!([{"role": "user", "content": "hello"}]);
    body["stream"] = json!(true);
    ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"]
        .map(|verb| format!("/v1beta/models/{MODEL}:{verb}"))
        .into_iter()
        .chain(["/v1/chat/completions".to_owned()])
        .map(|path| gate.ask(http::Method::POST, &path).body(body.to_string()))
        .collect()
}

#[tokio::test]
async fn no_output_of_a_run_holds_a_secret() {
    let echo =
        r#"body={"error":{"code":CODE,"message":"for {key} at /v1?key={key}","status":"X","details":[{"k":"{key}"}]}}"#;
    let html = "header=content-type:text/html body=<a href='/?key={key}'>{key}</a>";
    let mut scripts: Vec<String> = [400, 401, 403, 404, 409, 429, 500, 502, 503, 504]
        .into_iter()
        .flat_map(|code| {
            let own =
                format!("fault=status:{code} header=x-goog-echo:{{key}} {}", echo.replace("CODE", &code.to_string()));
            [own, format!("fault=status:{code} {html}")]
        })
        .collect();
    scripts.extend(
        ["consumer_suspended", "service_disabled", "api_key_invalid", "leaked", "html_blocked"]
            .map(|name| format!("fault={name}")),
    );
    scripts.extend(Refusal::all().map(|refusal| format!("fault=stream_error:{refusal}@1")));
    scripts.extend(["fault=cut:1", "fault=cut:head", "fault=reset:0"].map(str::to_owned));
    scripts.push("fault=delay:1ms header=x-goog-upload-url:https://x.example/?upload_id=1&key={key}".to_owned());
    let (mut world, mut gate) = open("http1").await;
    let mut seen = Seen::default();
    for (n, script) in scripts.iter().enumerate() {
        if n % 12 == 11 {
            look_around(&mut seen, &gate).await;
            (world, gate) = open(if n % 24 == 11 { "http2" } else { "http1" }).await;
        }
        world.clear_scripts();
        assert!(world.script(script.parse().unwrap()), "{script}");
        for request in asks(&gate) {
            seen.answer(request).await;
        }
        seen.holds_nothing(script);
        seen.0.clear();
    }
    look_around(&mut seen, &gate).await;
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
    files(gate.dir.path(), &mut seen);
    assert!(seen.0.contains("pool.json"), "the pool's state was saved");
    seen.0 += &gate.log();
    seen.holds_nothing("the disk or the log");
}

#[tokio::test]
async fn a_key_that_a_client_types_as_a_model_or_an_id_is_shown_to_nobody() {
    let settings = mock::Settings { models: KEYS.map(str::to_owned).into(), ..mock::Settings::with_keys(KEYS) };
    let (_world, origin) = google(settings).await;
    let keys = KEYS.join(",");
    let variables = [
        ("GEMINI_API_KEY", keys.as_str()),
        ("GEMINI_BASE_URL", &origin),
        ("ADMIN_TOKEN", ADMIN),
        ("LOG_LEVEL", "DEBUG"),
    ];
    let gate = Gate::open(&variables).await;
    let mut chat = prompt("hello");
    chat["messages"] = json!([{"role": "user", "content": "hello"}]);
    let mut seen = Seen::default();
    for key in KEYS {
        chat["model"] = json!(key);
        let in_path = gate.ask(http::Method::POST, &format!("/v1beta/models/{key}:generateContent"));
        let in_body = gate.ask(http::Method::POST, "/v1/chat/completions");
        for request in [in_path, in_body] {
            let answer = request.header("x-request-id", key).body(chat.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            writeln!(seen.0, "{:?}", answer.headers()).unwrap();
            // What is not told to the operator is told of him who asked for it.
            answer.bytes().await.unwrap();
        }
    }
    gate.logged(|line| line["model"] == "[key]" && line["outcome"] == "ok" && line["route"] == "chat.completions")
        .await;
    for page in ["/api/requests", "/api/errors", "/api/overview"] {
        seen.answer(gate.http.get(format!("http://{}{page}", gate.admin)).bearer_auth(ADMIN)).await;
    }
    assert!(seen.0.contains(r#""model":"[key]""#), "{}", seen.0);
    look_around(&mut seen, &gate).await;
    gate.signal("TERM");
    let mut gate = gate;
    assert_eq!(gate.exited().await, Some(0));
    files(gate.dir.path(), &mut seen);
    seen.0 += &gate.log();
    seen.holds_nothing("the disk or the log");
}

/// Every page an operator sees, and the log.
async fn look_around(seen: &mut Seen, gate: &Gate) {
    for path in [
        "/monitor/full",
        "/monitor/keys",
        "/monitor/errors",
        "/monitor/metrics",
        "/metrics",
        "/",
        "/api/keys",
        "/healthz",
    ] {
        for address in [gate.admin, gate.data] {
            seen.answer(gate.http.get(format!("http://{address}{path}")).bearer_auth(ADMIN)).await;
        }
    }
    assert!(seen.0.contains("in_flight") && seen.0.contains("geminate_requests_total"), "{}", seen.0);
    seen.0 += &gate.log();
    seen.holds_nothing("the monitor or the log");
    seen.0.clear();
}

/// Adds every file below `dir`.
fn files(dir: &Path, seen: &mut Seen) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), seen);
        } else {
            let text = fs::read(entry.path()).unwrap();
            writeln!(seen.0, "{}\n{}", entry.path().display(), String::from_utf8_lossy(&text)).unwrap();
        }
    }
}

#[test]
fn a_look_at_the_configuration_shows_no_secret_right_or_wrong() {
    let keys = KEYS.join(",");
    let twice = format!("{},{}", KEYS[0], KEYS[0]);
    let weighed = format!("{}:0", KEYS[1]);
    for (keys, more) in [
        (&keys, ("PORT", "8081")),
        (&keys, ("PORT", "many")),
        (&twice, ("PORT", "0")),
        (&weighed, ("PORT", "0")),
        (
            &keys,
            (
                "GEMINI_BASE_URL",
                "http://user:fake-canary-admin-token-04@x.example/?key=AIzaFakeCanaryFakeCanaryFakeCanaryFake01",
            ),
        ),
        (&keys, ("HTTPS_PROXY", "http://user:fake-canary-admin-token-04@127.0.0.1:9")),
        (&keys, ("GEMINATE__AUTH__JWT__SECRTE", JWT_SECRET)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_geminate"))
            .arg("check")
            .env_clear()
            .envs([
                ("GEMINI_API_KEY", keys.as_str()),
                ("AUTH_TOKEN", TOKEN),
                ("ADMIN_TOKEN", ADMIN),
                ("JWT_SECRET", JWT_SECRET),
                more,
            ])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let seen =
            Seen(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)));
        assert!(!seen.0.is_empty());
        seen.holds_nothing(&format!("check with {more:?}"));
    }
}
