//! The mocked API, tried over real connections.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::mock::trial::{SOON, Trial, parse};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const SSE: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const CHAT: &str = "/v1beta/openai/chat/completions";

fn hello() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "one two three four"}]}]})
}

fn chat() -> Value {
    let messages = json!([{"role": "user", "content": "one two three four"}]);
    let options = json!({"include_usage": true});
    json!({"model": "gemini-2.5-flash", "messages": messages, "stream": true, "stream_options": options})
}

#[tokio::test]
async fn a_prompt_is_answered_in_every_framing() {
    let trial = Trial::new(Settings::default()).await;
    let whole = parse(&trial.text(GENERATE, &hello()).await);
    assert_eq!(whole["candidates"][0]["content"]["parts"][0]["text"], "You said: one two three four");
    let stream = trial.text(SSE, &hello()).await;
    let frames: Vec<_> = stream.split("\r\n\r\n").filter(|it| !it.is_empty()).collect();
    assert_eq!(frames.len(), 4);
    assert!(frames.iter().all(|frame| frame.starts_with("data: {")));
    assert_eq!(parse(&frames[3][6..])["usageMetadata"], whole["usageMetadata"]);
    assert_eq!(parse(&trial.text(ARRAY, &hello()).await).as_array().unwrap().len(), 4);
    let stream = trial.text(CHAT, &chat()).await;
    assert!(stream.ends_with("data: [DONE]\n\n"));
    assert_eq!(stream.matches("data: {").count(), 5);
}

#[tokio::test]
async fn models_counts_and_embeddings_answer_in_googles_shapes() {
    let trial = Trial::new(Settings::default()).await;
    let get = async |path: &str| {
        let sent = trial.client.get(trial.url(path)).header("x-goog-api-key", "k1").send().await.unwrap();
        parse(&sent.text().await.unwrap())
    };
    let page = get("/v1beta/models?pageSize=3").await;
    assert_eq!(page["models"].as_array().unwrap().len(), 3);
    assert!(page["nextPageToken"].is_string());
    assert_eq!(get("/v1/models/gemini-2.5-pro").await["name"], "models/gemini-2.5-pro");
    assert_eq!(get("/v1beta/models/nonsense").await["error"]["code"], 404);
    let list = get("/v1beta/openai/models").await;
    assert_eq!(list["object"], "list");
    let encoded = list["data"][0]["id"].as_str().unwrap().replace('/', "%2F");
    assert_eq!(get(&format!("/v1beta/openai/models/{encoded}")).await, list["data"][0]);
    assert_eq!(get("/v1beta/nothing").await["error"]["status"], "NOT_FOUND");
    let counted = parse(&trial.text("/v1beta/models/gemini-2.5-flash:countTokens", &hello()).await);
    assert_eq!(counted["totalTokens"], 5);
    let request = json!({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8});
    let batch = json!({"requests": [request, request]});
    let embedded = parse(&trial.text("/v1beta/models/gemini-embedding-001:batchEmbedContents", &batch).await);
    assert_eq!(embedded["embeddings"][1]["values"].as_array().unwrap().len(), 8);
    let input = json!({"model": "gemini-embedding-001", "input": ["a"], "encoding_format": "base64", "dimensions": 3});
    let embedded = parse(&trial.text("/v1beta/openai/embeddings", &input).await);
    assert_eq!(embedded["data"][0]["embedding"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn credentials_are_judged_as_google_judges_them() {
    let trial = Trial::new(Settings::with_keys(["k1", "k2"])).await;
    let status = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), parse(&answer.text().await.unwrap()))
    };
    let url = trial.url("/v1beta/models");
    assert_eq!(status(trial.client.get(&url)).await.0, 403);
    assert_eq!(status(trial.client.get(format!("{url}?key=k1"))).await.0, 200);
    let (code, body) = status(trial.client.get(&url).bearer_auth("k1")).await;
    assert_eq!((code, &body["error"]["details"][0]["reason"]), (401, &json!("ACCESS_TOKEN_TYPE_UNSUPPORTED")));
    let (code, body) = status(trial.client.get(format!("{url}?key=k1")).header("x-goog-api-key", "k1")).await;
    assert_eq!(code, 400);
    assert!(body["error"]["message"].as_str().unwrap().starts_with("Multiple authentication credentials"));
    let openai = trial.url("/v1beta/openai/models");
    assert_eq!(status(trial.client.get(&openai).bearer_auth("k1")).await.0, 200);
    let (code, body) = status(trial.client.get(&openai).bearer_auth("k9")).await;
    assert_eq!((code, &body[0]["error"]["details"][0]["reason"]), (400, &json!("API_KEY_INVALID")));
    let calls = trial.world.calls();
    assert_eq!(calls.iter().map(|call| call.credentials.len()).collect::<Vec<_>>(), [0, 1, 1, 2, 1, 1]);
}

#[tokio::test]
async fn quotas_are_kept_for_each_project_and_model() {
    let quota = Quota { rpm: Some(1), ..Quota::default() };
    let trial = Trial::new(Settings { quota, ..Settings::with_keys(["k1@p", "k2@p", "k3"]) }).await;
    let status = async |key: &str, path: &str| trial.post(path, key, &hello()).send().await.unwrap().status().as_u16();
    assert_eq!(status("k1", GENERATE).await, 200);
    assert_eq!(status("k2", GENERATE).await, 429);
    assert_eq!(status("k3", GENERATE).await, 200);
    assert_eq!(status("k2", "/v1beta/models/gemini-2.5-pro:generateContent").await, 200);
    assert_eq!(status("k1", "/v1beta/models/gemini-2.5-flash:countTokens").await, 200);
    let body = parse(&trial.text(ARRAY, &hello()).await);
    assert_eq!(body[0]["error"]["status"], "RESOURCE_EXHAUSTED");
}

#[tokio::test]
async fn a_script_can_refuse_and_be_bent_itself() {
    let trial = Trial::new(Settings::default()).await;
    trial.script("key=k1 fault=consumer_suspended times=1");
    trial.script("fault=status:418 header=x-leak:{key} body=the key is {key}");
    let refused = trial.ask(GENERATE, &hello()).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("api_key:k1"));
    let custom = trial.ask(GENERATE, &hello()).await;
    assert_eq!((custom.status().as_u16(), custom.headers()["x-leak"].as_bytes()), (418, &b"k1"[..]));
    assert_eq!(custom.text().await.unwrap(), "the key is k1");
}

#[tokio::test]
async fn an_error_in_a_stream_takes_the_form_of_its_framing() {
    let trial = Trial::new(Settings::default()).await;
    trial.script("fault=stream_error:overloaded@2");
    let stream = trial.text(SSE, &hello()).await;
    assert_eq!(stream.matches("data: ").count(), 2);
    assert!(stream.contains("\r\n\r\n{\n  \"error\": {\n"));
    let array = parse(&trial.text(ARRAY, &hello()).await);
    assert_eq!((array.as_array().unwrap().len(), &array[2]["error"]["code"]), (3, &json!(503)));
    let stream = trial.text(CHAT, &chat()).await;
    assert!(stream.contains("data: {\"error\":") && !stream.contains("[DONE]"));
}

#[tokio::test]
async fn a_cut_or_reset_gives_its_frames_and_no_end() {
    let trial = Trial::new(Settings::default()).await;
    for fault in ["cut:2", "reset:2"] {
        trial.script(&format!("fault={fault} times=1"));
        let mut answer = trial.ask(SSE, &hello()).await;
        let mut seen = Vec::new();
        let error = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
                Ok(None) => panic!("{fault}: the answer ended well"),
                Err(error) => break error,
            }
        };
        assert_eq!(String::from_utf8_lossy(&seen).matches("\r\n\r\n").count(), 2, "{fault}: {error}");
        assert_eq!(trial.world.calls().last().unwrap().ending, Ending::Broken);
    }
    trial.script("fault=cut:1 times=1");
    assert!(trial.ask(GENERATE, &hello()).await.text().await.is_err());
}

#[tokio::test]
async fn before_the_head_a_line_is_closed_or_reset() {
    let trial = Trial::new(Settings::default()).await;
    for (fault, reset) in [("cut:head", false), ("reset:head", true)] {
        trial.script(&format!("fault={fault} times=1"));
        let mut stream = TcpStream::connect(trial.address).await.unwrap();
        let request = "GET /v1beta/models HTTP/1.1\r\nhost: mock\r\nx-goog-api-key: k1\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        match stream.read(&mut [0; 16]).await {
            Ok(read) => assert_eq!((read, reset), (0, false)),
            Err(error) => assert_eq!((error.kind(), reset), (ErrorKind::ConnectionReset, true)),
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_is_seen() {
    let trial = Trial::new(Settings::default()).await;
    trial.script("fault=stall:1 times=1");
    trial.script("fault=delay:1h times=1");
    let mut answer = trial.ask(SSE, &hello()).await;
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    let request = trial.post(SSE, "k1", &hello()).timeout(Duration::from_millis(50)).send().await;
    assert!(request.is_err());
    let gone = |calls: &[SeenCall]| calls.len() == 2 && calls.iter().all(SeenCall::aborted);
    let calls = trial.world.until(SOON, gone).await.unwrap();
    assert!(calls[0].bytes_sent > 0 && calls[0].writes == 1);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_a_caller_gone_while_its_connection_lives() {
    let trial = Trial::new(Settings::default()).await;
    trial.script("fault=stall:1 times=1");
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().tls_certs_only([]).build().unwrap();
    let ask = || client.post(trial.url(SSE)).header("x-goog-api-key", "k1").body(hello().to_string()).send();
    let mut answer = ask().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    assert!(trial.world.until(SOON, |calls| calls[0].aborted()).await.is_some());
    assert_eq!(ask().await.unwrap().status(), 200);
    assert_eq!(trial.world.connections(), (1, 1));
}

#[tokio::test]
async fn pieces_arrive_as_pieces_and_join_to_the_same_stream() {
    let trial = Trial::new(Settings::default()).await;
    let plain = trial.text(SSE, &hello()).await.len();
    trial.script("fault=split:7/1ms times=1");
    let mut answer = trial.ask(SSE, &hello()).await;
    let (mut chunks, mut bytes) = (0, 0);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        chunks += 1;
        bytes += chunk.len();
    }
    assert_eq!(bytes, plain);
    assert!(chunks > 50, "{chunks}");
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_connections_counted() {
    let trial = Trial::new(Settings::default()).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().tls_certs_only([]).build().unwrap();
    for _ in 0..2 {
        let answer = client.get(trial.url("/v1beta/models?key=k1")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    }
    let last = trial.world.calls().pop().unwrap();
    assert_eq!((last.connection, last.version), (1, http::Version::HTTP_2));
    assert_eq!(trial.world.connections(), (1, 1));
}

#[tokio::test]
async fn an_unknown_path_echoes_without_credentials() {
    let trial = Trial::new(Settings::default()).await;
    let answer = trial.post("/v1beta/any/echo?x=1", "AIzaFakeFake1234", &json!({"a": 1})).send().await.unwrap();
    let body = answer.text().await.unwrap();
    assert!(!body.contains("AIzaFake"));
    assert_eq!((&parse(&body)["path"], &parse(&body)["body"]["a"]), (&json!("/v1beta/any/echo?x=1"), &json!(1)));
    let calls = trial.client.get(trial.url("/mock/calls")).send().await.unwrap().text().await.unwrap();
    assert!(!calls.contains("AIzaFake"));
    assert_eq!(parse(&calls)["calls"][0]["credentials"][0]["tail"], "....1234");
}

#[tokio::test]
async fn a_server_timeout_of_the_callers_is_kept() {
    let trial = Trial::new(Settings { latency: Duration::from_mins(1), ..Settings::default() }).await;
    let answer = trial.post(GENERATE, "k1", &hello()).header("x-server-timeout", "0.01").send().await.unwrap();
    assert_eq!(answer.status(), 504);
}

#[tokio::test]
async fn a_world_that_is_no_longer_served_lets_go_of_its_connections() {
    let trial = Trial::new(Settings::default()).await;
    trial.script("fault=stall:1");
    let mut answer = trial.ask(SSE, &hello()).await;
    assert!(answer.chunk().await.unwrap().is_some());
    let Trial { world, mut serving, .. } = trial;
    serving.shutdown().await;
    assert!(answer.chunk().await.is_err());
    assert!(world.until(SOON, |calls| calls[0].ending != Ending::Open).await.is_some());
}

#[tokio::test]
async fn a_quota_is_raised_lowered_renamed_and_reshaped_while_the_world_runs() {
    let quota = Quota { rpm: Some(1), ..Quota::default() };
    let trial = Trial::new(Settings { quota, shape: Shape::Sliding, ..Settings::default() }).await;
    let rule = async |rule: Value| trial.done("k1", "POST /mock/quota", &rule).await;
    let refusal = async || {
        let mut answers = 0;
        loop {
            let (status, body) = trial.call("k1", &format!("POST {GENERATE}"), &hello()).await;
            if status == 429 {
                let details = &body["error"]["details"];
                let violation = &details[0]["violations"][0];
                let delay = details[2]["retryDelay"].as_str().unwrap().trim_end_matches('s').parse::<u64>().unwrap();
                return (answers, violation["quotaId"].as_str().unwrap().to_owned(), delay);
            }
            answers += 1;
        }
    };
    let id = |tier: &str| format!("GenerateRequestsPerMinutePerProjectPerModel{tier}");
    let (answers, name, delay) = refusal().await;
    assert_eq!((answers, name), (1, id("-FreeTier")));
    assert!((55..60).contains(&delay), "the first use comes back a minute after it: {delay}");
    rule(json!({"model": "gemini-*", "quota": {"rpm": 4}, "tier": "paid2"})).await;
    let (answers, name, _) = refusal().await;
    assert_eq!((answers, name), (3, id("-PaidTier2")), "what was spent stays spent");
    rule(json!({"model": "gemini-*", "quota": {"rpm": 2}})).await;
    let (answers, name, _) = refusal().await;
    assert_eq!((answers, name), (0, id("-PaidTier2")), "a tier that no rule names again stays");
    rule(json!({"model": "gemini-*", "shape": "bucket"})).await;
    let (answers, _, delay) = refusal().await;
    assert_eq!(answers, 2, "another shape begins anew");
    assert!((20..30).contains(&delay), "until one request's worth is back: {delay}");
}

#[tokio::test]
async fn a_beginning_that_a_project_sent_before_is_cached_for_it_alone() {
    let trial = Trial::new(Settings::with_keys(["k1@p", "k2@p", "k3@q"])).await;
    let body = |last: &str| {
        json!({
            "systemInstruction": {"parts": [{"text": "Be brief. ".repeat(800)}]},
            "contents": [{"role": "user", "parts": [{"text": last}]}],
        })
    };
    let cached = async |key: &str, last: &str| {
        let answer = trial.done(key, &format!("POST {GENERATE}"), &body(last)).await;
        let usage = &answer["usageMetadata"];
        assert!(usage["promptTokenCount"].as_u64().unwrap() >= 2_000);
        usage["cachedContentTokenCount"].as_u64().unwrap_or(0)
    };
    assert_eq!((cached("k1", "one").await, cached("k2", "two").await, cached("k3", "two").await), (0, 1_792, 0));
    trial.done("k1", "POST /mock/reset", &Value::Null).await;
    assert_eq!(cached("k1", "one").await, 0);
    let plain = Trial::new(Settings { implicit_caching: false, ..Settings::default() }).await;
    for _ in 0..2 {
        let answer = plain.done("k1", &format!("POST {GENERATE}"), &body("one")).await;
        assert!(answer["usageMetadata"].get("cachedContentTokenCount").is_none());
    }
}
