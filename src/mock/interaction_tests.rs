//! Interactions, functions and structured answers, tried over real connections.

use serde_json::{Value, json};

use crate::mock::quota::Quota;
use crate::mock::settings::Settings;
use crate::mock::trial::{Trial, parse};

const PATH: &str = "/v1beta/interactions";

async fn two_projects() -> Trial {
    Trial::new(Settings::with_keys(["k1@p", "k2@p", "k3@q"])).await
}

fn turn(input: &str) -> Value {
    json!({"model": "gemini-3.8-flash", "input": input})
}

/// The events of a stream, without its closing one.
fn events(stream: &str) -> Vec<Value> {
    let datas = stream.split("\n\n").filter_map(|frame| frame.split_once("\ndata: ")).map(|(_, data)| data);
    datas.filter(|data| *data != "[DONE]").map(parse).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_turn_builds_on_one_of_its_own_project_and_is_shown_with_its_input() {
    let trial = two_projects().await;
    let first = trial.done("k1", &format!("POST {PATH}"), &turn("hello there")).await;
    assert_eq!((&first["status"], &first["object"]), (&json!("completed"), &json!("interaction")));
    assert_eq!(first["steps"][0]["content"][0]["text"], "You said: hello there");
    let mut second = turn("and now?");
    second["previous_interaction_id"] = first["id"].clone();
    let (status, refused) = trial.call("k3", &format!("POST {PATH}"), &second).await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("not_found")));
    let more = trial.done("k2", &format!("POST {PATH}"), &second).await;
    assert!(more["usage"]["total_input_tokens"].as_u64() > first["usage"]["total_tokens"].as_u64());
    let one = format!("{PATH}/{}", first["id"].as_str().unwrap());
    assert_eq!(trial.done("k1", &format!("GET {one}"), &Value::Null).await["steps"][0]["type"], "user_input");
    assert_eq!(trial.call("k3", &format!("GET {one}"), &Value::Null).await.0, 404);
    assert_eq!(
        trial.call("k1", &format!("POST {one}/cancel"), &Value::Null).await.1["error"]["code"],
        "failed_precondition"
    );
    trial.done("k1", &format!("DELETE {one}"), &Value::Null).await;
    assert_eq!(trial.call("k1", &format!("GET {one}"), &Value::Null).await.0, 404);
    let mut unkept = turn("forget this");
    unkept["store"] = json!(false);
    let id = trial.done("k1", &format!("POST {PATH}"), &unkept).await["id"].as_str().unwrap().to_owned();
    assert_eq!(trial.call("k1", &format!("GET {PATH}/{id}"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_stream_tells_its_steps_and_goes_on_behind_the_last_event_seen() {
    let trial = Trial::new(Settings { chunks: 2, ..Settings::default() }).await;
    let mut body = turn("hello there");
    body["stream"] = json!(true);
    let stream = trial.text(PATH, &body).await;
    assert!(
        stream.starts_with("event: interaction.created\ndata: {") && stream.ends_with("event: done\ndata: [DONE]\n\n")
    );
    let told = events(&stream);
    let steps = ["step.start", "step.delta", "step.delta", "step.stop"];
    let all = [&["interaction.created", "interaction.status_update"][..], &steps, &["interaction.completed"]].concat();
    assert_eq!(kinds(&told), all);
    assert!(told[6]["interaction"]["usage"]["total_output_tokens"].as_u64() > Some(0));
    let id = told[0]["interaction"]["id"].as_str().unwrap();
    let resume = |event: &str| trial.url(&format!("{PATH}/{id}?stream=true&last_event_id={event}&key=k1"));
    let rest = trial.client.get(resume(told[3]["event_id"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(events(&rest.text().await.unwrap()), told[4..]);
    assert_eq!(trial.client.get(resume("nonsense")).send().await.unwrap().status(), 416);
    trial.script("action=interactions.create fault=stream_error:interactions_rate_limit_exceeded@3 times=1");
    let told = events(&trial.text(PATH, &body).await);
    assert_eq!((kinds(&told)[3], &told[3]["error"]["code"]), ("error", &json!("rate_limit_exceeded")));
}

#[tokio::test]
async fn in_the_background_a_turn_is_done_when_it_is_asked_for_or_cancelled() {
    let trial = two_projects().await;
    let mut body = json!({"agent": "deep-research-pro", "input": "think", "background": true});
    let begun = trial.done("k1", &format!("POST {PATH}"), &body).await;
    assert!(begun["status"] == "in_progress" && begun.get("steps").is_none());
    let one = format!("{PATH}/{}", begun["id"].as_str().unwrap());
    assert_eq!(trial.done("k2", &format!("GET {one}"), &Value::Null).await["status"], "completed");
    let begun = trial.done("k1", &format!("POST {PATH}"), &body).await;
    let one = format!("{PATH}/{}", begun["id"].as_str().unwrap());
    assert_eq!(trial.done("k2", &format!("POST {one}/cancel"), &Value::Null).await["status"], "cancelled");
    assert_eq!(trial.done("k2", &format!("GET {one}"), &Value::Null).await["status"], "cancelled");
    body["store"] = json!(false);
    assert_eq!(trial.call("k1", &format!("POST {PATH}"), &body).await.1["error"]["code"], "invalid_request");
}

#[tokio::test]
async fn the_codes_of_its_errors_are_words() {
    let trial = two_projects().await;
    trial.world.set_quota("q", "*", Quota { rpd: Some(1), ..Quota::default() });
    trial.done("k3", &format!("POST {PATH}"), &turn("hi")).await;
    let mut both = turn("hi");
    both["agent"] = json!("deep-research-pro");
    for (key, body, status, code) in [
        ("k1", json!({"input": "hi"}), 400, "invalid_request"),
        ("k1", both, 400, "invalid_request"),
        ("k1", json!({"model": "gemini-3.8-flash", "contents": []}), 400, "parameter_unknown"),
        ("k1", json!({"model": "nonsense", "input": "hi"}), 404, "model_not_found"),
        ("k1", json!({"agent": "nobody", "input": "hi"}), 404, "not_found"),
        ("k3", turn("hi"), 429, "quota_exceeded"),
    ] {
        let (got, error) = trial.call(key, &format!("POST {PATH}"), &body).await;
        assert_eq!((got, &error["error"]["code"]), (status, &json!(code)), "{body}");
    }
}

#[tokio::test]
async fn offered_a_function_the_model_calls_it_on_every_surface() {
    let trial = Trial::new(Settings::default()).await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let parts = json!([{"role": "user", "parts": [{"text": "weather?"}]}]);
    let mut body =
        json!({"contents": parts, "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]});
    let path = "POST /v1beta/models/gemini-2.5-flash:generateContent";
    let said = trial.done("k1", path, &body).await;
    assert_eq!(said["candidates"][0]["content"]["parts"][0]["functionCall"]["args"]["city"], "text");
    let result = json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]});
    body["contents"].as_array_mut().unwrap().push(result);
    let said = trial.done("k1", path, &body).await;
    assert!(said["candidates"][0]["content"]["parts"][0]["text"].is_string());

    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
    let messages = json!([{"role": "user", "content": "weather?"}]);
    let mut body = json!({"model": "gemini-2.5-flash", "messages": messages, "tools": tools});
    let path = "POST /v1beta/openai/chat/completions";
    let choice = trial.done("k1", path, &body).await["choices"][0].clone();
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        (&choice["finish_reason"], &call["function"]["arguments"]),
        (&json!("tool_calls"), &json!("{\"city\":\"text\"}"))
    );
    body["stream"] = json!(true);
    let stream = trial.text("/v1beta/openai/chat/completions", &body).await;
    assert!(stream.contains("\"tool_calls\":[{") && stream.contains("\"finish_reason\":\"tool_calls\""), "{stream}");

    let tools = json!([{"type": "function", "name": "f", "parameters": schema}]);
    let body = json!({"model": "gemini-3.8-flash", "input": "weather?", "tools": tools});
    let said = trial.done("k1", &format!("POST {PATH}"), &body).await;
    assert_eq!((&said["status"], &said["steps"][0]["type"]), (&json!("requires_action"), &json!("function_call")));
}

#[tokio::test]
async fn asked_for_json_the_model_keeps_to_the_schema() {
    let trial = Trial::new(Settings::default()).await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}, "names": {"type": "array", "items": {"type": "string"}}}});
    let config = json!({"responseMimeType": "application/json", "responseSchema": schema});
    let body = json!({"contents": [{"parts": [{"text": "list"}]}], "generationConfig": config});
    let said = trial.done("k1", "POST /v1beta/models/gemini-2.5-flash:generateContent", &body).await;
    let text = said["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(parse(text), json!({"n": 1, "names": ["text"]}));
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let content = json!([{"type": "text", "text": "list"}, {"type": "image_url", "image_url": {"url": "data:,"}}]);
    let messages = json!([{"role": "user", "content": content}]);
    let body = json!({"model": "gemini-2.5-flash", "messages": messages, "response_format": format, "reasoning_effort": "low"});
    let said = trial.done("k1", "POST /v1beta/openai/chat/completions", &body).await;
    assert_eq!(parse(said["choices"][0]["message"]["content"].as_str().unwrap())["n"], 1);
    assert!(said["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64() > Some(0));
}
