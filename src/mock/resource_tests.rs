//! What projects own, tried over real connections.

use std::time::Duration;

use serde_json::{Value, json};

use crate::mock::settings::Settings;
use crate::mock::trial::Trial;

const MODEL: &str = "/v1beta/models/gemini-2.5-flash";

async fn two_projects() -> Trial {
    Trial::new(Settings::with_keys(["k1@p", "k2@p", "k3@q"])).await
}

fn prompt_with(part: &Value) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "read this"}, part]}]})
}

#[tokio::test]
async fn a_file_is_there_for_every_key_of_its_project_and_for_no_other() {
    let trial = two_projects().await;
    let name = trial.file("k1", "hello").await;
    let id = name.trim_start_matches("files/");
    assert_eq!(trial.done("k2", &format!("GET /v1beta/{name}"), &Value::Null).await["state"], "ACTIVE");
    let words = format!("You do not have permission to access the File {id} or it may not exist.");
    for line in ["GET", "DELETE"] {
        let (status, body) = trial.call("k3", &format!("{line} /v1beta/{name}"), &Value::Null).await;
        assert_eq!((status, &body["error"]["message"]), (403, &json!(words)));
        assert_eq!(body["error"]["status"], "PERMISSION_DENIED");
    }
    assert_eq!(trial.done("k3", "GET /v1beta/files", &Value::Null).await, json!({}));
    assert_eq!(trial.done("k2", "GET /v1/files", &Value::Null).await["files"][0]["name"], json!(name));
    let path = trial.url(&format!("/v1beta/{name}:download?alt=media"));
    let bytes = trial.client.get(path).header("x-goog-api-key", "k2").send().await.unwrap();
    assert_eq!((bytes.headers()["content-type"].as_bytes(), bytes.content_length()), (&b"text/plain"[..], Some(5)));
    assert_eq!(bytes.text().await.unwrap(), "hello");
    trial.done("k1", &format!("DELETE /v1beta/{name}"), &Value::Null).await;
    assert_eq!(trial.call("k1", &format!("GET /v1beta/{name}"), &Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_file_is_over_after_two_days() {
    let trial = two_projects().await;
    let name = trial.file("k1", "hello").await;
    let line = format!("GET /v1beta/{name}");
    let end: jiff::Timestamp =
        trial.done("k1", &line, &Value::Null).await["expirationTime"].as_str().unwrap().parse().unwrap();
    trial.world.set_time(end - Duration::from_mins(1));
    assert_eq!(trial.call("k1", &line, &Value::Null).await.0, 200);
    trial.world.set_time(end);
    assert_eq!(trial.call("k1", &line, &Value::Null).await.0, 403);
}

#[tokio::test]
async fn lists_come_in_pages_whose_tokens_no_other_project_may_use() {
    let trial = two_projects().await;
    for n in 0..5 {
        trial.file("k1", &n.to_string()).await;
        trial.file("k3", &n.to_string()).await;
    }
    let (mut seen, mut query) = (0, "pageSize=2".to_owned());
    loop {
        let page = trial.done("k1", &format!("GET /v1beta/files?{query}"), &Value::Null).await;
        seen += page["files"].as_array().unwrap().len();
        let Some(token) = page["nextPageToken"].as_str() else { break };
        query = format!("pageSize=2&pageToken={token}");
        assert_eq!(trial.call("k3", &format!("GET /v1beta/files?{query}"), &Value::Null).await.0, 400);
    }
    assert_eq!(seen, 5);
}

#[tokio::test]
async fn a_cache_is_made_used_prolonged_and_counted() {
    let trial = two_projects().await;
    let mut body = prompt_with(&json!({"text": "a long text that is worth a cache"}));
    body["model"] = json!("models/gemini-2.5-flash");
    body["ttl"] = json!("300s");
    let made = trial.done("k1", "POST /v1beta/cachedContents", &body).await;
    assert!(made.get("contents").is_none() && made["usageMetadata"]["totalTokenCount"].as_u64() > Some(5));
    let name = made["name"].as_str().unwrap();
    let line = format!("PATCH /v1beta/{name}?updateMask=ttl");
    let later = trial.done("k2", &line, &json!({"ttl": "7200s"})).await;
    assert!(later["expireTime"].as_str() > made["expireTime"].as_str());
    let mut ask = prompt_with(&json!({"text": "well?"}));
    ask["cachedContent"] = json!(name);
    let usage = trial.done("k1", &format!("POST {MODEL}:generateContent"), &ask).await["usageMetadata"].clone();
    assert_eq!(usage["cachedContentTokenCount"], made["usageMetadata"]["totalTokenCount"]);
    assert!(usage["promptTokenCount"].as_u64() > usage["cachedContentTokenCount"].as_u64());
    let (status, refused) = trial.call("k3", &format!("POST {MODEL}:generateContent"), &ask).await;
    assert_eq!((status, &refused["error"]["message"]), (403, &json!("CachedContent not found (or permission denied)")));
    for wrong in [json!({"ttl": "soon"}), json!({"expireTime": "never"})] {
        assert_eq!(trial.call("k1", &line, &wrong).await.0, 400);
    }
}

#[tokio::test]
async fn a_prompt_that_names_what_another_project_owns_is_refused_before_it_costs_anything() {
    let trial = two_projects().await;
    let file = trial.file("k1", "hello").await;
    let store = trial.done("k1", "POST /v1beta/fileSearchStores", &json!({"displayName": "s"})).await;
    let uri = format!("https://generativelanguage.googleapis.com/v1beta/{file}");
    let mut search = prompt_with(&json!({"text": "find"}));
    search["tools"] = json!([{"fileSearch": {"fileSearchStoreNames": [store["name"]]}}]);
    for (body, status) in [
        (prompt_with(&json!({"fileData": {"fileUri": uri}})), 403),
        (prompt_with(&json!({"file_data": {"file_uri": file}})), 403),
        (search, 404),
    ] {
        for action in ["generateContent", "streamGenerateContent?alt=sse", "countTokens"] {
            let line = format!("POST {MODEL}:{action}");
            assert_eq!(trial.call("k3", &line, &body).await.0, status, "{line} {body}");
            assert_eq!(trial.call("k2", &line, &body).await.0, 200, "{line} {body}");
        }
    }
    let elsewhere = prompt_with(&json!({"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}}));
    assert_eq!(trial.call("k3", &format!("POST {MODEL}:generateContent"), &elsewhere).await.0, 200);
    let spent = trial.world.view();
    let spent = spent["usages"].as_array().unwrap().iter();
    let mut spent: Vec<u64> = spent.map(|usage| usage["day_requests"].as_u64().unwrap()).collect();
    spent.sort_unstable();
    assert_eq!(spent, [1, 6]);
}

#[tokio::test]
async fn a_batch_is_taken_then_done_and_its_projects_alone() {
    let trial = two_projects().await;
    let requests = json!([{"request": prompt_with(&json!({"text": "one"})), "metadata": {"key": "a"}}]);
    let batch = json!({"batch": {"displayName": "b", "inputConfig": {"requests": {"requests": requests}}}});
    let begun = trial.done("k1", &format!("POST {MODEL}:batchGenerateContent"), &batch).await;
    assert_eq!(begun["metadata"]["state"], "BATCH_STATE_PENDING");
    let name = begun["name"].as_str().unwrap();
    let (status, body) = trial.call("k3", &format!("GET /v1beta/{name}"), &Value::Null).await;
    assert_eq!((status, &body["error"]["message"]), (404, &json!("Requested entity was not found.")));
    assert_eq!(trial.done("k2", "GET /v1beta/batches", &Value::Null).await["operations"][0]["name"], json!(name));
    let done = trial.done("k2", &format!("GET /v1beta/{name}"), &Value::Null).await;
    assert_eq!((&done["done"], &done["metadata"]["state"]), (&json!(true), &json!("BATCH_STATE_SUCCEEDED")));
    let response = &done["response"]["inlinedResponses"]["inlinedResponses"][0];
    assert_eq!(response["response"]["candidates"][0]["content"]["parts"][0]["text"], "You said: read this one");
    assert_eq!(response["metadata"]["key"], "a");
    let begun = trial.done("k1", &format!("POST {MODEL}:batchGenerateContent"), &batch).await;
    let name = begun["name"].as_str().unwrap();
    trial.done("k1", &format!("POST /v1beta/{name}:cancel"), &Value::Null).await;
    let ended = trial.done("k1", &format!("GET /v1beta/{name}"), &Value::Null).await;
    assert_eq!(ended["metadata"]["state"], "BATCH_STATE_CANCELLED");
    trial.done("k1", &format!("DELETE /v1beta/{name}"), &Value::Null).await;
    assert_eq!(trial.call("k1", &format!("GET /v1beta/{name}"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_batch_of_a_file_ends_in_a_file() {
    let trial = two_projects().await;
    let line = json!({"key": "a", "request": {"contents": [{"parts": [{"text": "one"}]}]}});
    let file = trial.file("k1", &format!("{line}\n{line}\n")).await;
    let batch = json!({"batch": {"displayName": "b", "input_config": {"file_name": file}}});
    let action = format!("POST {MODEL}:batchGenerateContent");
    assert_eq!(trial.call("k3", &action, &batch).await.0, 403);
    let begun = trial.done("k1", &action, &batch).await;
    let done = trial.done("k1", &format!("GET /v1beta/{}", begun["name"].as_str().unwrap()), &Value::Null).await;
    let output = done["metadata"]["output"]["responsesFile"].as_str().unwrap();
    let path = trial.url(&format!("/v1beta/{output}:download?alt=media"));
    let text = trial.client.get(path).header("x-goog-api-key", "k1").send().await.unwrap().text().await.unwrap();
    assert_eq!(text.matches("\"key\":\"a\"").count(), 2, "{text}");
}

#[tokio::test]
async fn a_store_takes_files_as_documents_and_goes_with_them() {
    let trial = two_projects().await;
    let store = trial.done("k1", "POST /v1beta/fileSearchStores", &json!({"displayName": "s"})).await;
    let store = store["name"].as_str().unwrap();
    let file = trial.file("k1", "hello").await;
    let import = json!({"fileName": file});
    assert_eq!(trial.call("k3", &format!("POST /v1beta/{store}:importFile"), &import).await.0, 403);
    let begun = trial.done("k1", &format!("POST /v1beta/{store}:importFile"), &import).await;
    assert!(
        begun["name"].as_str().unwrap().starts_with(&format!("{store}/operations/")) && begun.get("done").is_none()
    );
    let done = trial.done("k2", &format!("GET /v1beta/{}", begun["name"].as_str().unwrap()), &Value::Null).await;
    let document = done["response"]["documentName"].as_str().unwrap();
    assert_eq!(trial.done("k2", &format!("GET /v1beta/{document}"), &Value::Null).await["sizeBytes"], "5");
    assert_eq!(trial.call("k3", &format!("GET /v1beta/{store}/documents"), &Value::Null).await.0, 404);
    assert_eq!(trial.call("k1", &format!("DELETE /v1beta/{store}"), &Value::Null).await.0, 400);
    trial.done("k1", &format!("DELETE /v1beta/{store}?force=true"), &Value::Null).await;
    assert_eq!(trial.call("k1", &format!("GET /v1beta/{document}"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_film_is_an_operation_that_ends_in_a_file() {
    let trial = two_projects().await;
    let body = json!({"instances": [{"prompt": "a cat"}], "parameters": {"sampleCount": 2}});
    let pictures = trial.done("k1", "POST /v1beta/models/imagen-4:predict", &body).await;
    assert_eq!(pictures["predictions"].as_array().unwrap().len(), 2);
    let begun = trial.done("k1", "POST /v1beta/models/veo-3.1:predictLongRunning", &body).await;
    let line = format!("GET /v1beta/{}", begun["name"].as_str().unwrap());
    assert!(line.contains("/models/veo-3.1/operations/"));
    assert_eq!(trial.call("k3", &line, &Value::Null).await.0, 404);
    let done = trial.done("k2", &line, &Value::Null).await;
    let uri = done["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"].as_str().unwrap();
    let path = uri.trim_start_matches("https://generativelanguage.googleapis.com");
    let film = trial.client.get(trial.url(path)).header("x-goog-api-key", "k1").send().await.unwrap();
    assert_eq!(film.headers()["content-type"], "video/mp4");
    assert_eq!(film.url().as_str(), trial.url(&format!("/download{path}")), "it lies elsewhere");
}

#[tokio::test]
async fn the_rest_of_the_family_is_made_changed_and_taken_away() {
    let trial = two_projects().await;
    for (collection, body) in [
        ("corpora", json!({"displayName": "c"})),
        ("agents", json!({"id": "mine", "base_agent": "b"})),
        ("environments", json!({})),
        ("triggers", json!({"name": "t"})),
        ("webhooks", json!({"uri": "https://example.test/hook", "subscribed_events": ["batch.succeeded"]})),
    ] {
        let made = trial.done("k1", &format!("POST /v1beta/{collection}"), &body).await;
        let id = made["id"].as_str().or(made["name"].as_str().and_then(|name| name.split('/').nth(1))).unwrap();
        let one = format!("/v1beta/{collection}/{id}");
        assert_eq!(trial.call("k3", &format!("GET {one}"), &Value::Null).await.0, 404);
        let changed = trial.done("k2", &format!("PATCH {one}"), &json!({"description": "new"})).await;
        assert_eq!(changed["description"], "new");
        let list = trial.done("k2", &format!("GET /v1beta/{collection}"), &Value::Null).await;
        assert_eq!(list[collection].as_array().unwrap().len(), 1);
        trial.done("k1", &format!("DELETE {one}"), &Value::Null).await;
        assert_eq!(trial.call("k1", &format!("GET {one}"), &Value::Null).await.0, 404);
    }
    let token = trial.done("k1", "POST /v1alpha/auth_tokens", &json!({"uses": 1})).await;
    assert!(token["name"].as_str().unwrap().len() > 40);
    let tuned = trial.done("k1", "POST /v1beta/tunedModels?tunedModelId=t", &json!({"displayName": "t"})).await;
    let line = format!("GET /v1beta/{}", tuned["name"].as_str().unwrap());
    assert_eq!(trial.done("k2", &line, &Value::Null).await["done"], true);
    assert_eq!(trial.done("k2", "GET /v1beta/tunedModels/t", &Value::Null).await["state"], "ACTIVE");
}

#[tokio::test]
async fn a_script_can_bend_what_is_done_to_resources() {
    let trial = two_projects().await;
    trial.script("action=files.get fault=internal times=1");
    trial.script("action=cachedContents.* project=q fault=consumer_suspended times=1");
    let name = trial.file("k1", "hello").await;
    let line = format!("GET /v1beta/{name}");
    assert_eq!(trial.call("k1", &line, &Value::Null).await.0, 500);
    assert_eq!(trial.call("k1", &line, &Value::Null).await.0, 200);
    assert_eq!(trial.call("k3", "GET /v1beta/cachedContents", &Value::Null).await.0, 403);
    let actions: Vec<_> = trial.world.calls().into_iter().map(|call| call.action).collect();
    assert_eq!(actions, ["upload.raw", "files.get", "files.get", "cachedContents.list"]);
}

#[tokio::test]
async fn the_same_files_and_batches_are_there_in_openai_s_shapes() {
    let trial = two_projects().await;
    let request = json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "one"}]});
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": request});
    let form = "--xx\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--xx\r\n\
                content-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n";
    let sent = trial.client.post(trial.url("/v1beta/openai/files")).bearer_auth("k1");
    let sent =
        sent.header("content-type", "multipart/form-data; boundary=xx").body(format!("{form}{line}\r\n--xx--\r\n"));
    let file: Value = serde_json::from_str(&sent.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!((&file["object"], &file["filename"]), (&json!("file"), &json!("in.jsonl")));
    let id = file["id"].as_str().unwrap();
    assert_eq!(trial.done("k2", &format!("GET /v1beta/{id}"), &Value::Null).await["displayName"], "in.jsonl");
    let encoded = id.replace('/', "%2F");
    let (status, refused) = trial.call("k3", &format!("GET /v1beta/openai/files/{encoded}"), &Value::Null).await;
    assert_eq!((status, &refused[0]["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
    let batch = json!({"input_file_id": id, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    assert_eq!(trial.call("k3", "POST /v1beta/openai/batches", &batch).await.0, 403);
    let begun = trial.done("k1", "POST /v1beta/openai/batches", &batch).await;
    assert_eq!((&begun["status"], &begun["input_file_id"]), (&json!("in_progress"), &json!(id)));
    let one = format!("/v1beta/openai/batches/{}", begun["id"].as_str().unwrap().replace('/', "%2F"));
    assert_eq!(trial.call("k3", &format!("GET {one}"), &Value::Null).await.0, 404);
    let done = trial.done("k2", &format!("GET {one}"), &Value::Null).await;
    assert_eq!((&done["status"], &done["request_counts"]["completed"]), (&json!("completed"), &json!(1)));
    let output = done["output_file_id"].as_str().unwrap().replace('/', "%2F");
    let text = trial.done("k1", &format!("GET /v1beta/openai/files/{output}/content"), &Value::Null).await;
    assert_eq!(text["response"]["body"]["choices"][0]["message"]["content"], "You said: one");
    let page = trial.done("k1", "GET /v1beta/openai/files?limit=1", &Value::Null).await;
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&done["output_file_id"], &json!(true)));
    let after = page["last_id"].as_str().unwrap();
    assert_eq!(
        trial.done("k1", &format!("GET /v1beta/openai/files?after={after}"), &Value::Null).await["data"][0]["id"],
        id
    );
    assert_eq!(trial.call("k3", &format!("GET /v1beta/openai/files?after={after}"), &Value::Null).await.0, 400);
    let begun = trial.done("k1", "POST /v1beta/openai/batches", &batch).await;
    let one = format!("/v1beta/openai/batches/{}", begun["id"].as_str().unwrap());
    assert_eq!(trial.done("k1", &format!("POST {one}/cancel"), &Value::Null).await["status"], "cancelled");
    assert_eq!(
        trial.done("k1", &format!("DELETE /v1beta/openai/files/{encoded}"), &Value::Null).await["deleted"],
        true
    );
}

#[tokio::test]
async fn pictures_and_films_come_in_openai_s_shapes() {
    let trial = two_projects().await;
    let body = json!({"model": "imagen-4", "prompt": "a cat", "n": 2});
    let pictures = trial.done("k1", "POST /v1beta/openai/images/generations", &body).await;
    assert!(pictures["data"][1]["b64_json"].as_str().unwrap().starts_with("iVBOR"));
    let body = json!({"model": "veo-3.1", "prompt": "a cat"});
    let begun = trial.done("k1", "POST /v1beta/openai/videos", &body).await;
    let one = format!("GET /v1beta/openai/videos/{}", begun["id"].as_str().unwrap());
    assert_eq!(trial.done("k2", &one, &Value::Null).await["status"], "completed");
    assert_eq!(trial.call("k3", &one, &Value::Null).await.0, 404);
}

#[tokio::test]
async fn no_body_is_a_message_with_nothing_in_it() {
    let trial = two_projects().await;
    let store = trial.done("k1", "POST /v1beta/fileSearchStores", &Value::Null).await;
    assert!(store["name"].as_str().unwrap().starts_with("fileSearchStores/"), "{store}");
    let (status, refusal) = trial.call("k1", &format!("POST {MODEL}:generateContent"), &Value::Null).await;
    assert!(status == 400 && refusal["error"]["message"].as_str().unwrap().contains("contents"), "{refusal}");
    let bad = json!({"model": "gemini-2.5-flash", "messages": "bad"});
    for body in [Value::Null, bad] {
        assert_eq!(trial.call("k1", "POST /v1beta/openai/chat/completions", &body).await.0, 400);
    }
}
