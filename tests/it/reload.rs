//! The configuration changes while it serves: taken up whole, or not at all, and nobody notices but by what it says.

use std::sync::Arc;
use std::time::Duration;

use geminate::mock::{Settings, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::house::PATIENCE;
use crate::stage::{K1, K2, NO_RETRIES, calls_of, until_so_many_wait};
use crate::world::{Gate, google};

struct Stage {
    gate: Gate,
    world: Arc<World>,
    dir: Arc<TempDir>,
}

impl Stage {
    /// With two keys at Google, and this in the file.
    async fn of(text: &str, variables: &[(&str, &str)]) -> Self {
        Self::with(Settings::with_keys([K1, K2]), text, variables).await
    }

    async fn with(settings: Settings, text: &str, variables: &[(&str, &str)]) -> Self {
        let (world, origin) = google(settings).await;
        let dir = Arc::new(TempDir::new().unwrap());
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        let mut all = vec![("GEMINI_BASE_URL", origin.as_str())];
        all.extend(variables);
        Self { gate: Gate::open_in(Arc::clone(&dir), &all).await, world, dir }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("config.toml"), text).unwrap();
    }

    /// Writes the file, asks for it to be read, and waits until it is taken up, or refused.
    async fn reload(&self, text: &str, message: &str) {
        let told = self.gate.log().matches(message).count();
        self.write(text);
        self.gate.signal("HUP");
        let more = async {
            while self.gate.log().matches(message).count() <= told {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, more).await.unwrap_or_else(|_| panic!("not {message:?} in\n{}", self.gate.log()));
    }

    async fn keys(&self) -> Vec<(String, u64)> {
        let keys = self.gate.monitor("/monitor/keys").await["keys"].take();
        let of = |key: &Value| (key["id"].as_str().unwrap().to_owned(), key["configured_weight"].as_u64().unwrap());
        keys.as_array().unwrap().iter().map(of).collect()
    }
}

const TAKEN: &str = "took up a new configuration";
const REFUSED: &str = "the configuration cannot be taken up";

fn key(key: &str, lines: &str) -> String {
    format!("[[keys]]\nkey = \"{key}\"\n{lines}\n")
}

#[tokio::test]
async fn a_written_file_is_taken_up_by_itself() {
    let stage = Stage::of(&key(K1, "id = \"one\""), &[]).await;
    stage.write(&(key(K1, "id = \"one\"\nweight = 3") + &key(K2, "id = \"two\"")));
    stage.gate.logged(|line| line["message"] == TAKEN).await;
    assert_eq!(stage.keys().await, [("one".to_owned(), 3), ("two".to_owned(), 1)]);
    for _ in 0..4 {
        assert_eq!(stage.gate.generate("hello").await.status(), 200);
    }
    assert_eq!((calls_of(&stage.world, K1).len(), calls_of(&stage.world, K2).len()), (3, 1));
    assert!(!stage.gate.log().contains(K2));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_line_and_the_old_one_runs_on() {
    let stage = Stage::of(&key(K1, "id = \"one\""), &[]).await;
    for (text, said) in [
        ("[retry]\nretries = 99\n".to_owned() + &key(K1, ""), "config.toml:2: retry.retries: read 99"),
        ("[[keys]]\nkey = \"fake-key-half".to_owned(), "config.toml:2: this is no TOML"),
        (key(K1, "weight = 0"), "config.toml:3: keys.0.weight: read 0"),
        (key(K1, "wieght = 1"), "did you mean keys.0.weight"),
        (key(K1, "enabled = false"), "no key is enabled"),
        (key(K1, "") + &key(K1, ""), "key 2 is key 1 again"),
        (String::new(), "no key is configured"),
    ] {
        stage.reload(&text, REFUSED).await;
        assert!(stage.gate.log().contains(said), "not {said:?} in\n{}", stage.gate.log());
        assert_eq!(stage.keys().await, [("one".to_owned(), 1)]);
        assert_eq!(stage.gate.generate("hello").await.status(), 200);
    }
    assert!(!stage.gate.log().contains("fake-key-half") && !stage.gate.log().contains(K1));
}

#[tokio::test]
async fn a_directory_in_the_place_of_dot_env_stops_nothing_and_is_told() {
    let stage = Stage::of(&key(K1, "id = \"one\""), &[]).await;
    let path = stage.dir.path().join(".env");
    std::fs::create_dir(&path).unwrap();
    stage.reload(&key(K2, "id = \"two\""), ".env: it cannot be read: Is a directory").await;
    assert_eq!(stage.keys().await, [("one".to_owned(), 1)]);
    assert_eq!(stage.gate.generate("hello").await.status(), 200);
    std::fs::remove_dir(&path).unwrap();
    stage.reload(&key(K2, "id = \"two\""), TAKEN).await;
    assert_eq!(stage.keys().await, [("two".to_owned(), 1)]);
}

#[tokio::test]
async fn a_stream_under_way_ends_as_it_began_though_its_key_is_gone() {
    let text = key(K1, "id = \"one\"") + &key(K2, "id = \"two\"\nenabled = false");
    let pace = Settings { chunks: 20, chunk_interval: Duration::from_millis(150), ..Settings::with_keys([K1, K2]) };
    let stage = Stage::with(pace, &text, &[]).await;
    let mut stream = stage.gate.stream("hello").await;
    let first = stream.chunk().await.unwrap().unwrap();
    stage.reload(&key(K2, "id = \"two\""), TAKEN).await;
    assert_eq!(stage.keys().await, [("two".to_owned(), 1)]);
    let mut whole = first.to_vec();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        whole.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(whole).unwrap().contains("STOP"));
    let next = stage.gate.generate("hello").await;
    assert_eq!((next.status().as_u16(), next.headers()["x-geminate-key"].to_str().unwrap()), (200, "two"));
}

#[tokio::test]
async fn who_waits_for_a_key_is_served_by_one_that_comes() {
    let stage =
        Stage::of(&key(K1, "id = \"one\"\nrpm = 1"), &[NO_RETRIES, ("GEMINATE__POOL__MAX_WAIT_MS", "120000")]).await;
    assert_eq!(stage.gate.generate("first").await.status(), 200);
    let waiting = stage.gate.generate("second");
    let change = async {
        until_so_many_wait(&stage.gate, 1).await;
        stage.reload(&(key(K1, "id = \"one\"\nrpm = 1") + &key(K2, "id = \"two\"")), TAKEN).await;
    };
    let (answer, ()) = timeout(3 * PATIENCE, async { tokio::join!(waiting, change) }).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-geminate-key"].to_str().unwrap()), (200, "two"));
}

#[tokio::test]
async fn settings_of_every_layer_follow_and_those_of_the_listeners_wait() {
    let stage = Stage::of(&key(K1, ""), &[]).await;
    let text = "[server]\nconnections_max = 99\n[models.aliases]\nfast = \"gemini-3.8-flash\"\n[clients]\nrate_limit_per_minute = 2\n";
    stage.reload(&(text.to_owned() + &key(K1, "")), TAKEN).await;
    stage.gate.logged(|line| line["field"] == "server.connections_max").await;
    let path = "/v1beta/models/fast:generateContent";
    let body = json!({"contents": [{"parts": [{"text": "hello"}]}]});
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(stage.gate.post(path, &body).await.status().as_u16());
    }
    assert_eq!(codes, [200, 200, 429]);
}

#[tokio::test]
async fn a_listener_that_is_open_to_others_is_never_left_without_a_guard() {
    let admin = ("ADMIN_TOKEN", "fake-token-admin");
    let guarded = "[auth]\ntokens = [\"fake-token-file\"]\n".to_owned() + &key(K1, "");
    let stage = Stage::of(&guarded, &[("HOST", "0.0.0.0"), ("AUTH_TOKEN", ""), admin]).await;
    stage.reload(&key(K1, ""), REFUSED).await;
    assert!(stage.gate.log().contains("can be reached from other machines"));
    assert_eq!(stage.gate.generate("hello").await.status(), 401);
}

#[tokio::test]
async fn a_thousand_keys_are_taken_up_under_load_and_nobody_fails() {
    let list = |weight: usize| -> String {
        let one = |n: usize| {
            key(&format!("fake-key-{n:04}-of-many"), &format!("id = \"k{n}\"\nweight = {}", 1 + (n + weight) % 9))
        };
        (0..1_000).map(one).collect()
    };
    let keys: Vec<String> = (0..1_000).map(|n| format!("fake-key-{n:04}-of-many")).collect();
    let (world, origin) = google(Settings::with_keys(keys.iter().map(String::as_str))).await;
    let dir = Arc::new(TempDir::new().unwrap());
    std::fs::write(dir.path().join("config.toml"), list(0)).unwrap();
    let gate = Gate::open_in(Arc::clone(&dir), &[("GEMINI_BASE_URL", origin.as_str())]).await;
    let stage = Stage { gate, world, dir };
    let load = async {
        let mut served = 0;
        while stage.gate.log().matches(TAKEN).count() < 3 {
            let answers = futures_util::future::join_all((0..8).map(|_| stage.gate.generate("hello"))).await;
            assert!(answers.iter().all(|answer| answer.status() == 200));
            served += answers.len();
        }
        served
    };
    let change = async {
        for turn in 1..=3 {
            stage.reload(&list(turn), TAKEN).await;
        }
    };
    let (served, ()) = timeout(6 * PATIENCE, async { tokio::join!(load, change) }).await.unwrap();
    assert!(served > 0 && stage.world.calls().len() == served);
}
