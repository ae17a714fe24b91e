//! OpenAI's SDKs are at home here: their paths, ids and files, and whose project each belongs to.

use std::sync::Arc;

use geminate::mock::World;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::stage::{K1, K2, K3, play};
use crate::world::{Gate, MODEL, TOKEN, header, json_of, with_keys, with_keys_and};

const KEYS: [&str; 3] = [K1, K2, K3];

fn ask(gate: &Gate, method: Method, path: &str) -> reqwest::RequestBuilder {
    gate.http.request(method, format!("http://{}{path}", gate.data)).bearer_auth(TOKEN)
}

async fn told(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{} {}", answer.status(), answer.text().await.unwrap());
    json_of(answer).await
}

/// Sends a form with a file in it.
async fn upload(gate: &Gate, content: &str) -> Response {
    let form = format!(
        "--edge\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--edge\r\ncontent-disposition: \
         form-data; name=\"file\"; filename=\"in.jsonl\"\r\ncontent-type: application/jsonl\r\n\r\n{content}\r\n--edge--\r\n"
    );
    let request = ask(gate, Method::POST, "/v1/files").header("content-type", "multipart/form-data; boundary=edge");
    request.body(form).send().await.unwrap()
}

fn last_key(world: &World) -> String {
    world.calls().pop().unwrap().key.unwrap()
}

/// A file's id and the key of the project that it lives in.
async fn file(world: &Arc<World>, gate: &Gate, content: &str) -> (String, String) {
    let file = json_of(upload(gate, content).await).await;
    (file["id"].as_str().unwrap().to_owned(), last_key(world))
}

#[tokio::test]
async fn a_file_is_found_by_its_id_encoded_or_not_whoever_would_be_next() {
    let (world, gate) = with_keys(&KEYS).await;
    for n in 0..3 {
        let (id, owner) = file(&world, &gate, &format!("line {n}")).await;
        assert!(id.starts_with("files/"), "{id}");
        let encoded = id.replace('/', "%2F");
        for (path, sent) in [
            (format!("/v1/files/{encoded}"), format!("/v1beta/openai/files/{encoded}")),
            (format!("/v1/files/{id}"), format!("/v1beta/openai/files/{id}")),
            (format!("/v1beta/openai/files/{encoded}"), format!("/v1beta/openai/files/{encoded}")),
        ] {
            assert_eq!(told(ask(&gate, Method::GET, &path)).await["id"], id, "{path}");
            let call = world.calls().pop().unwrap();
            assert_eq!((call.path_and_query, call.key.unwrap()), (sent, owner.clone()));
        }
        let content = ask(&gate, Method::GET, &format!("/v1/files/{encoded}/content")).send().await.unwrap();
        assert_eq!(content.text().await.unwrap(), format!("line {n}"));
        assert_eq!(told(ask(&gate, Method::DELETE, &format!("/v1/files/{encoded}"))).await["deleted"], true);
        assert_eq!(last_key(&world), owner);
    }
}

#[tokio::test]
async fn a_batch_goes_where_its_file_is_and_is_looked_up_and_cancelled_there() {
    let (world, gate) = with_keys(&KEYS).await;
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}});
    for _ in 0..3 {
        let (id, owner) = file(&world, &gate, &line.to_string()).await;
        let body = json!({"input_file_id": id, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        let made = told(ask(&gate, Method::POST, "/v1/batches").body(body.to_string())).await;
        assert_eq!(last_key(&world), owner);
        let batch = made["id"].as_str().unwrap().replace('/', "%2f");
        told(ask(&gate, Method::POST, &format!("/v1/batches/{batch}/cancel"))).await;
        assert_eq!(told(ask(&gate, Method::GET, &format!("/v1/batches/{batch}"))).await["object"], "batch");
        let call = world.calls().pop().unwrap();
        assert_eq!((call.path_and_query, call.key.unwrap()), (format!("/v1beta/openai/batches/{batch}"), owner));
    }
}

#[tokio::test]
async fn an_encoded_slash_leads_nowhere_but_into_a_name() {
    let (world, gate) = with_keys(&[K1]).await;
    for path in [
        "/v1/files/..%2fmodels",
        "/v1/files/files%2F..",
        "/v1/files/files%2F..%2F..%2Fmodels",
        "/v1/files/%2Fmodels",
        "/v1/files/secrets%2Fabc",
        "/v1/files%2Fabc",
        "/v1/chat%2Fcompletions",
        "/v1beta/files/files%2Fabc",
    ] {
        let mut wire = crate::house::Wire::to(gate.data).await;
        wire.say(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n")).await;
        let heard = wire.hear("}}").await;
        assert!(heard.starts_with("HTTP/1.1 400"), "{path} {heard}");
    }
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_large_file_streams_through_and_is_known_afterwards() {
    let small = [("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000")];
    let (world, gate) = with_keys_and(&KEYS, &small).await;
    let content = "long ".repeat(400_000);
    let (id, owner) = file(&world, &gate, &content).await;
    let encoded = id.replace('/', "%2F");
    let back = ask(&gate, Method::GET, &format!("/v1/files/{encoded}/content")).send().await.unwrap();
    assert_eq!((back.text().await.unwrap().len(), last_key(&world)), (content.len(), owner));
}

#[tokio::test]
async fn pictures_are_made_again_elsewhere_and_films_are_not() {
    for (path, fault, attempts) in [
        ("/v1/images/generations", "overloaded", "2"),
        ("/v1/videos", "overloaded", "1"),
        ("/v1/videos", "quota_day", "2"),
        ("/v1beta/models/imagen-4:predict", "internal", "2"),
        ("/v1beta/models/veo-3.1:predictLongRunning", "internal", "1"),
    ] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        play(&world, &[&format!("fault={fault} times=1")]);
        let body = json!({"model": "imagen-4", "prompt": "a cat", "instances": [{"prompt": "a cat"}]}).to_string();
        let request =
            if path.starts_with("/v1/") { ask(&gate, Method::POST, path) } else { gate.ask(Method::POST, path) };
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(header(&answer, "x-geminate-attempts"), attempts, "{path} {fault}");
    }
}

#[tokio::test]
async fn tokens_are_counted_when_they_are_spent_and_not_when_they_are_looked_at() {
    let (world, gate) = with_keys(&[K1]).await;
    let batch =
        r#"{"id":"batches/b","object":"batch","usage":{"input_tokens":900,"output_tokens":90,"total_tokens":990}}"#;
    let picture = r#"{"data":[],"usage":{"input_tokens":20,"output_tokens":30,"total_tokens":50}}"#;
    play(
        &world,
        &[
            &format!("path=batches/ fault=status:200 body={batch}"),
            &format!("path=images/ fault=status:200 body={picture}"),
        ],
    );
    told(ask(&gate, Method::GET, "/v1/batches/batches%2Fb")).await;
    told(ask(&gate, Method::POST, "/v1/batches/batches%2Fb/cancel")).await;
    told(ask(&gate, Method::POST, "/v1/images/generations").body(json!({"model": MODEL}).to_string())).await;
    let used = gate.logged(|line| line["message"] == "served" && line["model"] == MODEL).await;
    assert_eq!((&used["prompt_tokens"], &used["answer_tokens"]), (&json!(20), &json!(30)));
    let looks = gate.log();
    assert!(!looks.contains("\"prompt_tokens\":900") && !looks.contains(":990"), "{looks}");
}
