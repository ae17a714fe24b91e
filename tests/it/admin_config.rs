//! The configuration is looked at without its secrets, changed whole, and brought back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{admin, sent};
use crate::stage::{K1, K2, told, with_config};
use crate::world::{Gate, header, json_of};

const ADMIN: (&str, &str) = ("ADMIN_TOKEN", crate::admin::ADMIN);
const TEXT: &str = "[retry]\nretries = 2\n[[keys]]\nkey = \"fake-key-0001\"\nid = \"one\"\n";

async fn look(gate: &Gate) -> (String, Value) {
    let answer = admin(gate, Method::GET, "/api/config").send().await.unwrap();
    (header(&answer, "etag"), json_of(answer).await)
}

async fn put(gate: &Gate, path: &str, etag: &str, body: Value) -> (u16, Value) {
    let method = if path.starts_with("/api/config?") || path == "/api/config" { Method::PUT } else { Method::POST };
    let request = sent(gate, method, path, &body.to_string()).header("if-match", etag);
    told(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_text_with_numbers_for_secrets_is_put_back_with_its_secrets_and_taken_up() {
    let (_, gate) = with_config(&[K1, K2], TEXT, &[ADMIN]).await;
    let (etag, sheet) = look(&gate).await;
    let shown = sheet["toml"].as_str().unwrap();
    assert!(shown.contains("key = \"[secret 1]\"") && !sheet.to_string().contains(K1), "{sheet}");
    assert_eq!((&sheet["effective"]["retry"]["retries"], &sheet["exists"]), (&json!(2), &json!(true)));
    let shadow = json!({"field": "auth.admin_token", "variable": "ADMIN_TOKEN"});
    assert!(sheet["environment"].as_array().unwrap().contains(&shadow), "{sheet}");
    let text = shown.replace("retries = 2", "retries = 5") + "\n[[keys]]\nkey = \"fake-key-0002\"\nid = \"two\"\n";
    let (status, plan) = put(&gate, "/api/config?dry_run=true", &etag, json!({ "toml": text })).await;
    let fields: Vec<&str> = plan["changes"].as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (200, vec!["keys.two", "retry.retries"]), "{plan}");
    assert_eq!(look(&gate).await.0, etag, "a dry run changes nothing");
    let (status, taken) = put(&gate, "/api/config", &etag, json!({"toml": text, "comment": "more tries"})).await;
    assert_eq!((status, &taken["version"]), (200, &plan["version"]), "{taken}");
    let written = std::fs::read_to_string(gate.dir.path().join("config.toml")).unwrap();
    assert!(written.contains(K1) && written.contains("retries = 5") && !written.contains("[secret"));
    assert_eq!(look(&gate).await.1["effective"]["retry"]["retries"], 5);
    assert!(!taken.to_string().contains(K2));
    assert_eq!(gate.generate("hello").await.status(), 200);
}

#[tokio::test]
async fn history_tells_who_changed_what_and_brings_it_back() {
    let (_, gate) = with_config(&[K1], TEXT, &[ADMIN]).await;
    let (first, sheet) = look(&gate).await;
    let text = sheet["toml"].as_str().unwrap().replace("retries = 2", "retries = 4");
    let (_, taken) = put(&gate, "/api/config", &first, json!({"toml": text, "comment": "because"})).await;
    let history = json_of(admin(&gate, Method::GET, "/api/config/history").send().await.unwrap()).await;
    let newest = &history["entries"][0];
    assert_eq!((&newest["author"], &newest["comment"]), (&json!("api"), &json!("because")));
    assert!(newest["diff"].as_str().unwrap().contains("-retries = 2\n+retries = 4\n"), "{newest}");
    assert!(!history.to_string().contains(K1));
    let second = format!("\"{}\"", taken["version"].as_str().unwrap());
    let back = json!({"version": first.trim_matches('"')});
    let (status, taken) = put(&gate, "/api/config/rollback", &second, back).await;
    assert_eq!((status, &taken["changes"][0]["to"]), (200, &json!(2)), "{taken}");
    let (etag, sheet) = look(&gate).await;
    assert_eq!((etag, &sheet["effective"]["retry"]["retries"]), (first.clone(), &json!(2)));
    let missing = put(&gate, "/api/config/rollback", &first, json!({"version": "0123456789abcdef"})).await;
    assert_eq!(missing.0, 404);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_line_and_field_and_the_running_one_is_unharmed() {
    let (_, gate) = with_config(&[K1], TEXT, &[ADMIN]).await;
    let (etag, sheet) = look(&gate).await;
    let shown = sheet["toml"].as_str().unwrap();
    for (text, field, line) in [
        (shown.replace("retries = 2", "retries = 99"), "retry.retries", 2),
        (shown.replace("retries = 2", "retires = 2"), "config.toml:2", 2),
        (shown.replace("[secret 1]", "[secret 8]"), "config.toml:4", 4),
        (shown.replace("id = \"one\"", "id = \"[secret 1]\""), "keys.0.id", 5),
        ("[retry\n".to_owned(), "config.toml:1", 1),
    ] {
        let (status, problem) = put(&gate, "/api/config", &etag, json!({ "toml": text })).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
        assert_eq!(problem["errors"][0]["line"], line, "{problem}");
    }
    let (status, _) = put(&gate, "/api/config", "\"0000000000000000\"", json!({ "toml": shown })).await;
    assert_eq!(status, 412);
    let bare = sent(&gate, Method::PUT, "/api/config", &json!({ "toml": shown }).to_string());
    assert_eq!(bare.send().await.unwrap().status(), 428);
    let cut = sent(&gate, Method::PUT, "/api/config", "{\"toml\": \"").header("if-match", &etag);
    assert_eq!(cut.send().await.unwrap().status(), 400);
    assert_eq!(look(&gate).await.0, etag);
    assert_eq!(gate.generate("hello").await.status(), 200);
}

#[tokio::test]
async fn a_file_that_was_broken_by_hand_is_never_written_over() {
    let (_, gate) = with_config(&[K1], TEXT, &[ADMIN]).await;
    let (etag, sheet) = look(&gate).await;
    std::fs::write(gate.dir.path().join("config.toml"), "half a fi").unwrap();
    let text = sheet["toml"].as_str().unwrap().replace("retries = 2", "retries = 4");
    let (status, problem) = put(&gate, "/api/config", &etag, json!({ "toml": text })).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(std::fs::read_to_string(gate.dir.path().join("config.toml")).unwrap(), "half a fi");
    let reload = told(admin(&gate, Method::POST, "/api/reload").send().await.unwrap()).await;
    assert_eq!(reload.0, 422, "{}", reload.1);
    std::fs::write(gate.dir.path().join("config.toml"), TEXT.replace("retries = 2", "retries = 6")).unwrap();
    let (status, taken) = told(admin(&gate, Method::POST, "/api/reload").send().await.unwrap()).await;
    // It may have been taken up by itself meanwhile.
    assert_eq!((status, look(&gate).await.1["effective"]["retry"]["retries"].as_u64()), (200, Some(6)), "{taken}");
}
