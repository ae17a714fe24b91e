//! What was learnt of a key survives a restart, and a disk that fails costs no request.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use geminate::mock::{self, World};
use geminate::secret::Digest;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::house::{PATIENCE, eventually};
use crate::stage::{AT_ONCE, K1, K2, K3, K4, play, reasons, states, told};
use crate::world::{Gate, MODEL, google};

const KEYS: &str = "fake-key-0001,fake-key-0002,fake-key-0003,fake-key-0004";

async fn world() -> (Arc<World>, String) {
    google(mock::Settings::with_keys([K1, K2, K3, K4])).await
}

async fn open(dir: &Arc<TempDir>, origin: &str, more: &[(&str, &str)]) -> Gate {
    let mut variables = vec![("GEMINI_API_KEY", KEYS), ("GEMINI_BASE_URL", origin)];
    variables.extend(more);
    Gate::open_in(Arc::clone(dir), &variables).await
}

/// What a file says of one key.
pub(crate) fn remember(dir: &Path, key: &str, known: &Value) {
    fs::create_dir_all(dir.join("data")).unwrap();
    let keys = json!({"keys": {Digest::of(key.as_bytes()).to_string(): known}});
    fs::write(dir.join("data/pool.json"), keys.to_string()).unwrap();
}

#[tokio::test]
async fn rests_and_deaths_survive_a_restart() {
    let (world, origin) = world().await;
    let dir = Arc::new(TempDir::new().unwrap());
    for (key, fault) in [(K1, "api_key_invalid"), (K2, "leaked"), (K3, "quota_day"), (K4, "payment_required")] {
        play(&world, &[&format!("key={key} fault={fault}")]);
    }
    let mut gate = open(&dir, &origin, &[]).await;
    let (status, before) = told(gate.generate("hello").await).await;
    let known = states(&gate).await;
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));

    let gate = open(&dir, &origin, &[]).await;
    assert_eq!(states(&gate).await, known);
    let (again, after) = told(gate.generate("hello").await).await;
    assert_eq!((status, reasons(&before)), (again, reasons(&after)));
    assert_eq!(world.calls().len(), 4, "no key was asked again");
}

#[tokio::test]
async fn a_kill_loses_no_more_than_the_last_second() {
    let (world, origin) = world().await;
    let dir = Arc::new(TempDir::new().unwrap());
    play(&world, &[&format!("key={K1} fault=leaked")]);
    let gate = open(&dir, &origin, &[]).await;
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    let file = dir.path().join("data/pool.json");
    eventually(|| file.exists()).await;
    drop(gate);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(K1), "a key is not on disk");
    let gate = open(&dir, &origin, &[]).await;
    assert_eq!(states(&gate).await[0], ("dead".to_owned(), "banned".to_owned()));
}

#[tokio::test]
async fn the_first_in_line_tries_the_key_before_the_others_are_sent() {
    let (world, origin) = world().await;
    let dir = Arc::new(TempDir::new().unwrap());
    let until = Timestamp::now() + 3.seconds();
    let rest = json!({"model": MODEL, "project": false, "reason": "quota_minute", "until": until.to_string()});
    remember(dir.path(), K1, &json!({"models": [rest]}));
    let gate = Gate::open_in(Arc::clone(&dir), &[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    play(&world, &["fault=delay:300ms times=1"]);
    let in_line = async |count: u64| {
        while gate.monitor("/monitor/keys").await["waiting"] != count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let asked = timeout(PATIENCE, async {
        tokio::join!(
            gate.generate("first"),
            async {
                in_line(1).await;
                gate.generate("second").await
            },
            async {
                in_line(2).await;
                gate.generate("third").await
            },
            async {
                in_line(3).await;
                world.calls().len()
            },
        )
    });
    let (a, b, c, early) = asked.await.unwrap();
    assert_eq!([a, b, c].map(|answer| answer.status().as_u16()), [200_u16; 3]);
    assert_eq!(early, 0, "nobody was sent while the key rested");
    let calls = world.calls();
    // The two behind it are sent by two threads at nearly the same time, so their order here says nothing.
    assert!(String::from_utf8_lossy(&calls[0].body).contains("first"));
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(290), "one tries whether the key serves again");
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside_with_a_warning() {
    let (_world, origin) = world().await;
    let dir = Arc::new(TempDir::new().unwrap());
    fs::create_dir_all(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/pool.json"), "{\"keys\":{\"x\":7").unwrap();
    let gate = open(&dir, &origin, &[]).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    gate.logged(|line| line["level"] == "WARN" && line["set_aside"] == true).await;
    assert!(dir.path().join("data/pool.corrupt").exists());
}

#[tokio::test]
async fn keys_and_times_that_are_past_are_not_remembered() {
    let (_world, origin) = world().await;
    let dir = Arc::new(TempDir::new().unwrap());
    let past = (Timestamp::now() - 1.hour()).to_string();
    let rest = json!({"model": MODEL, "project": true, "reason": "quota_day", "until": past});
    remember(dir.path(), K1, &json!({"off": ["blocked", past], "project_off": ["spend", past], "models": [rest]}));
    let gate = open(&dir, &origin, &[AT_ONCE]).await;
    assert_eq!(states(&gate).await[0], ("usable".to_owned(), String::new()));
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_does_not_stop_the_service() {
    let (world, origin) = world().await;
    let dir = Arc::new(TempDir::new().unwrap());
    play(&world, &[&format!("key={K1} fault=leaked")]);
    // A file where the directory should be: root may write where permissions forbid it.
    fs::write(dir.path().join("data"), "").unwrap();
    let mut gate = open(&dir, &origin, &[]).await;
    for _ in 0..5 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    gate.logged(|line| line["message"].as_str().is_some_and(|text| text.starts_with("DATA_DIR cannot be written")))
        .await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    timeout(PATIENCE, async {
        loop {
            let health = gate.http.get(format!("http://{}/monitor/health", gate.admin)).send().await.unwrap();
            assert_eq!(health.status(), 200);
            if health.text().await.unwrap().contains(r#""status":"degraded""#) {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("health says nothing of it");
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
}
