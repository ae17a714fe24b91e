//! Keys are added, changed, tried and removed while it serves; the file tells it, and nothing is half done.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{admin, sent};
use crate::stage::{K1, K2, K3, calls_of, play, told, with_config};
use crate::world::{Gate, header, json_of, with_keys_and};

const ADMIN: (&str, &str) = ("ADMIN_TOKEN", crate::admin::ADMIN);
const TWO: &str = "# ours\n[[keys]]\nkey = \"fake-key-0001\" # the first\nid = \"one\"\nweight = 2 # heavy\n\n[[keys]]\nkey = \"fake-key-0002\"\nid = \"two\"\n";

async fn ask(gate: &Gate, method: Method, path: &str, body: Value) -> (u16, Value) {
    told(sent(gate, method, path, &body.to_string()).send().await.unwrap()).await
}

async fn list(gate: &Gate) -> Value {
    json_of(admin(gate, Method::GET, "/api/keys").send().await.unwrap()).await
}

fn file(gate: &Gate) -> String {
    std::fs::read_to_string(gate.dir.path().join("config.toml")).unwrap()
}

#[tokio::test]
async fn a_key_is_added_changed_and_removed_and_the_file_keeps_its_writers_words() {
    let (world, gate) = with_config(&[K1, K2, K3], TWO, &[ADMIN]).await;
    let (status, row) = ask(&gate, Method::POST, "/api/keys", json!({"key": K3, "weight": 5, "rpm": 7})).await;
    assert_eq!((status, &row["id"], &row["configured_weight"], &row["rpm"]), (201, &json!("3"), &json!(5), &json!(7)));
    assert_eq!((&row["origin"]["kind"], &row["origin"]["editable"]), (&json!("file"), &json!(true)));
    for _ in 0..8 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!([K1, K2, K3].map(|key| calls_of(&world, key).len()), [2, 1, 5]);
    let (status, row) = ask(&gate, Method::PATCH, "/api/keys/one", json!({"weight": 9, "project": "team"})).await;
    assert_eq!((status, &row["configured_weight"], &row["project"]), (200, &json!(9), &json!("team")));
    let (status, _) = ask(&gate, Method::PATCH, "/api/keys/two", json!({"enabled": false})).await;
    assert_eq!((status, list(&gate).await["keys"][1]["state"].as_str().unwrap()), (200, "disabled"));
    assert_eq!(admin(&gate, Method::DELETE, "/api/keys/3").send().await.unwrap().status(), 204);
    let text = file(&gate);
    for kept in ["# ours\n", "# the first\n", "weight = 9 # heavy\n", "enabled = false\n", "project = \"team\"\n"] {
        assert!(text.contains(kept), "not {kept:?} in\n{text}");
    }
    assert!(!text.contains(K3) && list(&gate).await["total"] == 2);
    assert!(!gate.log().contains(K3) && !list(&gate).await.to_string().contains(K1));
}

#[tokio::test]
async fn what_is_wrong_names_its_field_and_changes_nothing() {
    let (_, gate) = with_config(&[K1, K2], TWO, &[ADMIN]).await;
    let before = file(&gate);
    for (method, path, body, status, field) in [
        (Method::PATCH, "/api/keys/one", json!({"weight": 0}), 422, "weight"),
        (Method::PATCH, "/api/keys/one", json!({"weight": 1001}), 422, "weight"),
        (Method::PATCH, "/api/keys/one", json!({"colour": 1}), 422, "colour"),
        (Method::PATCH, "/api/keys/one", json!({"id": "a b"}), 422, "id"),
        (Method::PATCH, "/api/keys/nobody", json!({"weight": 1}), 404, ""),
        (Method::PATCH, "/api/keys", json!({"weights": {"one": 3, "two": 0}}), 422, "weights.two"),
        (Method::PATCH, "/api/keys", json!({"weights": {"one": 3, "none": 4}}), 404, ""),
        (Method::POST, "/api/keys", json!({"key": K1}), 409, ""),
        (Method::POST, "/api/keys", json!({"key": K3, "id": "two"}), 409, ""),
        (Method::POST, "/api/keys", json!({"key": "fake key"}), 422, "key"),
        (Method::POST, "/api/keys", json!({"key": K3, "proxy": "ftp://x"}), 422, ""),
        (Method::POST, "/api/keys", json!({}), 422, "key"),
    ] {
        let (got, problem) = ask(&gate, method, path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {problem}");
        if !field.is_empty() {
            assert_eq!(problem["errors"][0]["field"], field, "{path} {body}: {problem}");
        }
        assert!(!problem.to_string().contains("fake"), "{problem}");
    }
    let (status, problem) = ask(&gate, Method::PATCH, "/api/keys/one", json!({"enabled": false})).await;
    assert_eq!(status, 200, "{problem}");
    let last = ask(&gate, Method::PATCH, "/api/keys/two", json!({"enabled": false})).await;
    assert_eq!(last.0, 422, "the last one stays: {}", last.1);
    assert_eq!(file(&gate).replace("enabled = false\n", ""), before);
    assert_eq!(gate.generate("hello").await.status(), 200);
}

#[tokio::test]
async fn two_writers_at_once_lose_no_change() {
    let (_, gate) = with_config(&[K1, K2], TWO, &[ADMIN]).await;
    let etag = header(&admin(&gate, Method::GET, "/api/keys").send().await.unwrap(), "etag");
    let write = |weight: u32| {
        let body = json!({ "weight": weight }).to_string();
        sent(&gate, Method::PATCH, "/api/keys/one", &body).header("if-match", &etag).send()
    };
    let (one, two) = tokio::join!(write(7), write(8));
    let mut codes = [one.unwrap().status().as_u16(), two.unwrap().status().as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [200, 412]);
    assert!(matches!(list(&gate).await["keys"][0]["configured_weight"].as_u64(), Some(7 | 8)));
}

#[tokio::test]
async fn a_key_of_the_environment_is_adjusted_only_when_that_is_asked_for_and_stays_so() {
    let (world, mut gate) = with_keys_and(&[K1, K2], &[ADMIN]).await;
    let (status, problem) = ask(&gate, Method::PATCH, "/api/keys/2", json!({"weight": 3})).await;
    assert_eq!((status, problem["detail"].as_str().unwrap().contains("GEMINI_API_KEY")), (409, true));
    let body = json!({"weights": {"2": 3}, "over_environment": true});
    let (status, keys) = ask(&gate, Method::PATCH, "/api/keys", body).await;
    assert_eq!((status, &keys["keys"][1]["origin"]["kind"]), (200, &json!("environment")), "{keys}");
    assert!(keys["keys"][1]["origin"]["adjusted"].as_str().unwrap().starts_with("config.toml:"));
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!((calls_of(&world, K1).len(), calls_of(&world, K2).len()), (1, 3));
    assert_eq!(admin(&gate, Method::DELETE, "/api/keys/2").send().await.unwrap().status(), 409);
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
    assert!(!file(&gate).contains(K2), "the key itself stays where it is");
}

#[tokio::test]
async fn a_dead_key_that_is_tried_and_lives_serves_again_and_a_reset_ends_its_rests() {
    let (world, gate) = with_config(&[K1, K2], TWO, &[ADMIN]).await;
    play(&world, &["key=fake-key-0001 times=1 fault=api_key_invalid"]);
    for _ in 0..3 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(list(&gate).await["keys"][0]["state"], "dead");
    let tested = ask(&gate, Method::POST, "/api/keys/one/test", json!({})).await;
    assert_eq!((tested.0, &tested.1["verdict"], &tested.1["status"]), (200, &json!("success"), &json!(200)));
    assert!(tested.1["models"].as_u64().unwrap() > 0);
    assert_eq!(list(&gate).await["keys"][0]["state"], "usable");
    play(&world, &["key=fake-key-0001 times=1 fault=consumer_suspended"]);
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(list(&gate).await["keys"][0]["reason"], "banned");
    for (answer, verdict) in [
        ("fault=status:400 body=not now", "edge"),
        ("fault=status:200 body=log in to this network", "edge"),
        ("fault=cut:0", "interrupted"),
    ] {
        play(&world, &[&format!("action=models times=1 {answer}")]);
        let tested = ask(&gate, Method::POST, "/api/keys/one/test", json!({})).await.1;
        assert_eq!(tested["verdict"], verdict, "{tested}");
        assert_eq!(list(&gate).await["keys"][0]["reason"], "banned");
    }
    assert_eq!(ask(&gate, Method::POST, "/api/keys/one/test", json!({})).await.1["verdict"], "success");
    assert_eq!(list(&gate).await["keys"][0]["state"], "usable", "also one that was dead for good");
    play(&world, &["key=fake-key-0002 times=1 fault=quota_day"]);
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(list(&gate).await["keys"][1]["state"], "cooling");
    let (status, row) = ask(&gate, Method::POST, "/api/keys/two/reset", json!({})).await;
    assert_eq!((status, row["state"].as_str().unwrap()), (200, "usable"));
    let nobody = ask(&gate, Method::POST, "/api/keys/none/test", json!({})).await;
    assert_eq!(nobody.0, 404);
}
