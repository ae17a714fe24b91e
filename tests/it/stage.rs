//! What the tests of outcomes share: scripts played to a world, questions to it, and gates with a file of settings.

use std::sync::Arc;

use geminate::mock::{SeenCall, Settings, World};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Gate, TOKEN, google, json_of};

pub(crate) const K1: &str = "fake-key-0001";
pub(crate) const K2: &str = "fake-key-0002";
pub(crate) const K3: &str = "fake-key-0003";
pub(crate) const K4: &str = "fake-key-0004";

/// Nobody waits for a key: who cannot be served is told at once.
pub(crate) const AT_ONCE: (&str, &str) = ("GEMINATE__POOL__MAX_WAIT_MS", "0");
/// No second attempt after a failure that another key is not known to mend.
pub(crate) const NO_RETRIES: (&str, &str) = ("GEMINATE__RETRY__RETRIES", "0");

/// Plays scripts, as their text form says.
pub(crate) fn play(world: &World, scripts: &[&str]) {
    for script in scripts {
        assert!(world.script(script.parse().unwrap()));
    }
}

/// The calls with this key, whether Google knew it or not.
pub(crate) fn calls_of(world: &World, key: &str) -> Vec<SeenCall> {
    world.calls().into_iter().filter(|call| call.credentials.iter().any(|c| c.value == key)).collect()
}

/// Google with `keys`, and a gate with this `config.toml`; what stands for Google's origin is already set.
pub(crate) async fn with_config(keys: &[&str], config: &str, variables: &[(&str, &str)]) -> (Arc<World>, Gate) {
    let (world, origin) = google(Settings::with_keys(keys.iter().copied())).await;
    let dir = Arc::new(TempDir::new().unwrap());
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    let mut all = vec![("GEMINI_BASE_URL", origin.as_str())];
    all.extend(variables);
    (world, Gate::open_in(dir, &all).await)
}

/// One key as `/monitor/keys` shows it, by its place.
pub(crate) async fn key(gate: &Gate, place: usize) -> Value {
    gate.monitor("/monitor/keys").await["keys"][place].take()
}

/// The state and the reason of every key.
pub(crate) async fn states(gate: &Gate) -> Vec<(String, String)> {
    let keys = gate.monitor("/monitor/keys").await;
    let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
    keys["keys"].as_array().unwrap().iter().map(|key| (word(&key["state"]), word(&key["reason"]))).collect()
}

/// How many attempts Prometheus is told came to this, whatever their models.
pub(crate) async fn counted(gate: &Gate, verdict: &str) -> u64 {
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let page = page.text().await.unwrap();
    let lines = page.lines().filter(|line| line.starts_with("geminate_attempts_total{"));
    let lines = lines.filter(|line| line.contains(&format!("verdict=\"{verdict}\"")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// In how many seconds a key returns.
pub(crate) fn returns_in(key: &Value) -> f64 {
    let at: Timestamp = key["returns_at"].as_str().unwrap().parse().unwrap();
    at.duration_since(Timestamp::now()).as_secs_f64()
}

/// An answer's status and JSON.
pub(crate) async fn told(answer: reqwest::Response) -> (u16, Value) {
    (answer.status().as_u16(), json_of(answer).await)
}

/// How many keys are out for what, as a refusal of geminate's own says.
pub(crate) fn reasons(refusal: &Value) -> &Value {
    &refusal["error"]["details"][0]["metadata"]
}

/// Waits until a request waits for a key.
pub(crate) async fn until_waiting(gate: &Gate) {
    until_so_many_wait(gate, 1).await;
}

/// Waits until so many requests wait for a key.
pub(crate) async fn until_so_many_wait(gate: &Gate, count: usize) {
    let look = async {
        while gate.monitor("/monitor/metrics").await["pool_waiting"] != count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::house::PATIENCE, look).await.expect("so many never waited");
}
