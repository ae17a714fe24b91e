//! What a client makes to name it together is made in one project.

use std::sync::Arc;

use geminate::mock::World;
use serde_json::{Value, json};
use tokio::join;

use crate::house::PATIENCE;
use crate::sender::file;
use crate::stage::{K1, K2, K3, calls_of, play, told};
use crate::world::{Gate, MODEL, TOKEN, json_of, prompt, with_keys, with_keys_and};

const GENERATE: &str = "/v1beta/models/gemini-3.8-flash:generateContent";
const TURNS: &str = "/v1beta/interactions";

/// Three keys, the next of which is another one's turn after each call that is free to go anywhere.
async fn three() -> (Arc<World>, Gate) {
    with_keys(&[K1, K2, K3]).await
}

/// A call that must succeed: what it made.
async fn made(gate: &Gate, path: &str, body: &Value) -> Value {
    let (status, made) = told(gate.post(path, body).await).await;
    assert_eq!(status, 200, "{path}: {made}");
    made
}

async fn store(gate: &Gate) -> String {
    made(gate, "/v1beta/fileSearchStores", &json!({"displayName": "s"})).await["name"].as_str().unwrap().to_owned()
}

async fn cache(gate: &Gate) -> String {
    let body = json!({"model": format!("models/{MODEL}"), "contents": [{"role": "user", "parts": [{"text": "long"}]}]});
    made(gate, "/v1beta/cachedContents", &body).await["name"].as_str().unwrap().to_owned()
}

async fn upload(gate: &Gate) -> String {
    file(&format!("http://{}", gate.data), ("x-goog-api-key", TOKEN), "text").await
}

fn uri(name: &str) -> String {
    format!("https://generativelanguage.googleapis.com/v1beta/{name}")
}

#[tokio::test]
async fn a_store_and_the_files_for_it_have_one_owner_in_whichever_order_they_are_made() {
    for stores_first in [true, false] {
        let (_world, gate) = three().await;
        for _ in 0..3 {
            let (mut name, mut other) = (String::new(), String::new());
            for store_now in [stores_first, !stores_first] {
                if store_now {
                    name = store(&gate).await;
                } else {
                    other = upload(&gate).await;
                }
                // Whoever comes between must not move what belongs together.
                assert_eq!(gate.generate("free").await.status(), 200);
            }
            made(&gate, &format!("/v1beta/{name}:importFile"), &json!({"fileName": other})).await;
        }
    }
}

#[tokio::test]
async fn two_stores_stand_in_one_prompt_and_so_do_a_cache_and_a_later_file() {
    let (_world, gate) = three().await;
    for _ in 0..3 {
        let stores = [store(&gate).await, store(&gate).await];
        let mut body = prompt("q");
        body["tools"] = json!([{"fileSearch": {"fileSearchStoreNames": stores}}]);
        made(&gate, GENERATE, &body).await;
        let (cache, file) = (cache(&gate).await, upload(&gate).await);
        let part = json!({"fileData": {"mimeType": "text/plain", "fileUri": uri(&file)}});
        let body = json!({"cachedContent": cache, "contents": [{"role": "user", "parts": [part]}]});
        made(&gate, GENERATE, &body).await;
    }
}

#[tokio::test]
async fn what_is_made_at_the_same_time_is_made_together() {
    let (world, gate) = three().await;
    play(&world, &["action=fileSearchStores.create fault=delay:500ms times=1"]);
    let late = async {
        world.until(PATIENCE, |calls| !calls.is_empty()).await.expect("the store's call");
        upload(&gate).await
    };
    let (name, other) = join!(store(&gate), late);
    made(&gate, &format!("/v1beta/{name}:importFile"), &json!({"fileName": other})).await;
}

#[tokio::test]
async fn what_openai_s_clients_upload_sticks_like_all_else() {
    let (world, gate) = three().await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
                --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{}\r\n--b--\r\n";
    for _ in 0..3 {
        let request = gate.http.post(format!("http://{}/v1/files", gate.data)).bearer_auth(TOKEN);
        let request = request.header("content-type", "multipart/form-data; boundary=b").body(form);
        assert_eq!(request.send().await.unwrap().status(), 200);
        store(&gate).await;
    }
    let used = [K1, K2, K3].map(|key| calls_of(&world, key).len());
    assert!(used.contains(&6), "{used:?}");
}

#[tokio::test]
async fn a_store_is_made_elsewhere_when_the_client_s_project_cannot_and_stays_there() {
    let (world, gate) = three().await;
    store(&gate).await;
    let first = world.calls()[0].credentials[0].value.clone();
    play(&world, &[&format!("key={first} fault=api_key_invalid")]);
    let (one, other) = (store(&gate).await, store(&gate).await);
    let mut body = prompt("q");
    body["tools"] = json!([{"fileSearch": {"fileSearchStoreNames": [one, other]}}]);
    made(&gate, GENERATE, &body).await;
}

#[tokio::test]
async fn nothing_sticks_where_sticking_is_off_and_what_is_free_never_does() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[("GEMINATE__AFFINITY__UPLOADS_STICK_MS", "0")]).await;
    for _ in 0..3 {
        store(&gate).await;
    }
    assert_eq!([K1, K2, K3].map(|key| calls_of(&world, key).len()), [1, 1, 1]);
    let (world, gate) = three().await;
    upload(&gate).await;
    world.reset();
    for _ in 0..9 {
        gate.generate("free").await;
    }
    for _ in 0..3 {
        made(&gate, TURNS, &json!({"model": MODEL, "input": "hi", "store": false})).await;
    }
    assert_eq!([K1, K2, K3].map(|key| calls_of(&world, key).len()), [4, 4, 4]);
}

/// A turn that names a file after the conversation's first one.
async fn with_file(gate: &Gate, first: &Value, file: &str) -> (u16, Value) {
    let document = json!({"type": "document", "uri": uri(file), "mime_type": "text/plain"});
    let body = json!({"model": MODEL, "previous_interaction_id": first["id"], "input": [document]});
    told(gate.post(TURNS, &body).await).await
}

#[tokio::test]
async fn a_conversation_takes_a_file_in_its_second_turn() {
    let (_world, gate) = three().await;
    for _ in 0..4 {
        let first = made(&gate, TURNS, &json!({"model": MODEL, "input": "hi"})).await;
        let file = upload(&gate).await;
        let (status, turn) = with_file(&gate, &first, &file).await;
        assert_eq!(status, 200, "{turn}");
    }
}

#[tokio::test]
async fn many_conversations_go_by_the_weights_whatever_their_client_made() {
    let (world, gate) = three().await;
    upload(&gate).await;
    world.reset();
    for _ in 0..60 {
        let answer = gate.post(TURNS, &json!({"model": MODEL, "input": "hi"})).await;
        assert_eq!(answer.status(), 200);
        json_of(answer).await;
    }
    let used = [K1, K2, K3].map(|key| calls_of(&world, key).len());
    let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
    assert!(most - least <= 32, "what goes beyond a quiet minute's goes by the weights: {used:?}");
}
