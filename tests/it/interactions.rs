//! Interactions: turns that Google stores, each in its project, told in the words of their own API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{AT_ONCE, K1, K2, K3, counted, play, told};
use crate::streams::heard;
use crate::world::{Gate, MODEL, header, json_of, with_keys, with_keys_and};

const PATH: &str = "/v1beta/interactions";

fn turn(extra: &Value) -> Value {
    let mut body = json!({"model": MODEL, "input": "hello there"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn streamed() -> Value {
    turn(&json!({"stream": true}))
}

/// The events of a stream that are JSON.
fn events(text: &str) -> Vec<Value> {
    let datas = text.split("\n\n").filter_map(|frame| frame.split_once("data: ")).map(|(_, data)| data);
    datas.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

async fn served(gate: &Gate) -> Value {
    gate.logged(|line| line["message"] == "served").await
}

#[tokio::test]
async fn a_turn_s_tokens_are_counted_once_whole_or_streamed() {
    for version in ["v1", "v1beta", "v1alpha"] {
        for body in [turn(&json!({})), streamed()] {
            let (_world, gate) = with_keys(&[K1]).await;
            let answer = gate.post(&format!("/{version}/interactions"), &body).await;
            assert_eq!(answer.status(), 200);
            let text = answer.text().await.unwrap();
            let told = if body["stream"] == true {
                events(&text).pop().unwrap()["interaction"].clone()
            } else {
                serde_json::from_str(&text).unwrap()
            };
            let line = served(&gate).await;
            assert_eq!((&line["surface"], &line["route"]), (&json!("interactions"), &json!("interactions.create")));
            assert_eq!((&line["outcome"], &line["model"]), (&json!("ok"), &json!(MODEL)));
            assert_eq!(line["prompt_tokens"], told["usage"]["total_input_tokens"]);
            assert_eq!(line["answer_tokens"], told["usage"]["total_output_tokens"]);
            let id = told["id"].as_str().unwrap();
            let look = gate.ask(Method::GET, &format!("/{version}/interactions/{id}")).send().await.unwrap();
            assert_eq!(json_of(look).await["usage"], told["usage"]);
            let look = gate.logged(|line| line["route"] == "other").await;
            assert_eq!(look["prompt_tokens"], 0, "to look at it spends nothing");
        }
    }
}

#[tokio::test]
async fn the_model_s_quota_is_known_here_as_everywhere() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=quota_day")]);
    for _ in 0..2 {
        assert_eq!(gate.generate("hi").await.status(), 200);
    }
    let before = world.calls().len();
    for _ in 0..4 {
        assert_eq!(gate.post(PATH, &turn(&json!({}))).await.status(), 200);
    }
    assert_eq!(world.calls().len(), before + 4, "a key that is out for the model is not asked");
}

#[tokio::test]
async fn a_turn_goes_where_the_one_before_it_is() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    for _ in 0..3 {
        let first = json_of(gate.post(PATH, &turn(&json!({}))).await).await;
        let owner = world.calls().pop().unwrap().key;
        for _ in 0..2 {
            let next = gate.post(PATH, &turn(&json!({"previous_interaction_id": first["id"]}))).await;
            assert_eq!(next.status(), 200);
            assert_eq!(world.calls().pop().unwrap().key, owner);
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_in_an_event_and_goes_on_where_it_is() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    for _ in 0..3 {
        play(&world, &["action=interactions.create fault=cut:3 times=1"]);
        let (text, whole) = heard(gate.post(PATH, &streamed()).await).await;
        let owner = world.calls().pop().unwrap().key;
        assert!(whole && text.ends_with("\n\n") && !text.contains("[DONE]"), "{text}");
        let all = events(&text);
        let (last, seen) = all.split_last().unwrap();
        assert!(text.contains("\n\nevent: error\ndata: {"), "{text}");
        assert_eq!((&last["event_type"], &last["error"]["code"]), (&json!("error"), &json!("service_unavailable")));
        assert!(last["error"]["message"].is_string());
        let id = all[0]["interaction"]["id"].as_str().unwrap();
        let event = seen.last().unwrap()["event_id"].as_str().unwrap();
        let rest = format!("{PATH}/{id}?stream=true&last_event_id={event}");
        let (text, _) = heard(gate.ask(Method::GET, &rest).send().await.unwrap()).await;
        assert_eq!(events(&text).pop().unwrap()["event_type"], "interaction.completed", "{text}");
        assert_eq!(world.calls().pop().unwrap().key, owner, "it lives in one project");
    }
    gate.logged(|line| line["outcome"] == "stream_broken").await;
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_seen_to_be_unfinished() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=unfinished"]);
    let (text, whole) = heard(gate.post(PATH, &streamed()).await).await;
    assert!(whole && !text.contains("interaction.completed"));
    assert_eq!(served(&gate).await["outcome"], "stream_unfinished");
}

#[tokio::test]
async fn an_error_of_google_s_within_a_stream_passes_as_it_is_and_counts() {
    for (fault, outcome) in
        [("interactions_rate_limit_exceeded", "stream_broken"), ("interactions_cancelled", "caller_error")]
    {
        let (world, gate) = with_keys(&[K1, K2]).await;
        play(&world, &[&format!("fault=stream_error:{fault}@3")]);
        let (text, _) = heard(gate.post(PATH, &streamed()).await).await;
        let error = events(&text).pop().unwrap();
        assert_eq!(error["error"]["code"], fault.trim_start_matches("interactions_"), "{text}");
        assert_eq!(served(&gate).await["outcome"], outcome);
        assert_eq!(world.calls().len(), 1, "what began is never asked for again");
    }
}

#[tokio::test]
async fn a_stream_that_begins_with_a_refusal_is_tried_elsewhere() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=stream_error:interactions_quota_exceeded@0 times=1"]);
    let answer = gate.post(PATH, &streamed()).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()), (200, "2"));
    let (text, _) = heard(answer).await;
    assert!(!text.contains("error"), "{text}");
}

#[tokio::test]
async fn a_turn_is_asked_for_again_only_where_nothing_was_stored() {
    for (fault, body, attempts) in [
        ("internal", turn(&json!({})), "1"),
        ("overloaded", turn(&json!({"store": true})), "1"),
        ("cut:head", turn(&json!({})), "1"),
        ("internal", turn(&json!({"store": false})), "2"),
        ("cut:head", turn(&json!({"store": false})), "2"),
        ("internal", json!({"agent": "deep-research-pro", "input": "x", "store": false}), "1"),
        ("quota_day", turn(&json!({})), "2"),
        ("api_key_invalid", turn(&json!({})), "2"),
        ("interactions_payment_required", turn(&json!({})), "2"),
        ("interactions_invalid_request", turn(&json!({"store": false})), "1"),
    ] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        play(&world, &[&format!("fault={fault} times=1")]);
        let answer = gate.post(PATH, &body).await;
        assert_eq!(header(&answer, "x-geminate-attempts"), attempts, "{fault} {body}");
    }
}

#[tokio::test]
async fn geminate_s_own_refusals_are_in_the_words_of_this_api() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    let wrong = gate.http.post(format!("http://{}{PATH}", gate.data)).header("x-goog-api-key", "wrong");
    let (status, refusal) = told(wrong.body("{}").send().await.unwrap()).await;
    assert_eq!((status, &refusal["error"]["code"]), (401, &json!("authentication")));
    assert_eq!(refusal["error"].as_object().unwrap().len(), 2, "{refusal}");
    play(&world, &["fault=quota_day"]);
    let answer = gate.post(PATH, &turn(&json!({}))).await;
    assert!(!header(&answer, "retry-after").is_empty());
    let (status, refusal) = told(answer).await;
    assert_eq!((status, &refusal["error"]["code"]), (429, &json!("quota_exceeded")), "{refusal}");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("quota_day"));
}

#[tokio::test]
async fn what_is_yet_to_be_invented_passes_and_is_counted_where_it_tells_its_tokens() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    let told = r#"{"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":22},"x":{"usageMetadata":{"promptTokenCount":99}}}"#;
    play(&world, &[&format!("path=:undreamtOf fault=status:200 body={told}")]);
    let answer = gate.post(&format!("/v1beta/models/{MODEL}:undreamtOf"), &json!({})).await;
    assert_eq!(answer.text().await.unwrap(), told);
    let line = served(&gate).await;
    assert_eq!(
        (&line["model"], &line["prompt_tokens"], &line["answer_tokens"]),
        (&json!(MODEL), &json!(11), &json!(22))
    );

    let request = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let batch = json!({"batch": {"inputConfig": {"requests": {"requests": [{"request": request}]}}}});
    for _ in 0..3 {
        let made = json_of(gate.post(&format!("/v1beta/models/{MODEL}:batchGenerateContent"), &batch).await).await;
        let owner = world.calls().pop().unwrap().key;
        let look = gate.ask(Method::GET, &format!("/v1beta/{}", made["name"].as_str().unwrap())).send().await.unwrap();
        assert!(look.text().await.unwrap().contains("promptTokenCount"), "the batch's answers are in it");
        assert_eq!(world.calls().pop().unwrap().key, owner);
    }
    let look = gate.logged(|line| line["message"] == "served" && line["method"] == "GET").await;
    assert_eq!((&look["outcome"], &look["prompt_tokens"]), (&json!("ok"), &json!(0)), "they were not spent by a look");
}

#[tokio::test]
async fn a_caller_s_own_error_comes_back_as_google_worded_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let (status, error) = told(gate.post(PATH, &json!({"model": MODEL, "contents": []})).await).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("parameter_unknown")));
    let missing = gate.ask(Method::DELETE, &format!("{PATH}/v1_nothing")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(world.calls()[0].body, json!({"model": MODEL, "contents": []}).to_string());
}

#[tokio::test]
async fn a_stream_that_ends_by_a_word_of_the_caller_s_is_counted_alike_in_every_list() {
    let (world, gate) = with_keys(&[K1]).await;
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["event_type"].as_str().unwrap());
    let begun = event(&json!({"event_type": "interaction.start", "interaction": {"id": "v1_a"}}));
    let ended = event(&json!({"event_type": "error", "error": {"code": "safety", "message": "no"}}));
    play(&world, &[&format!("fault=status:200 header=content-type:text/event-stream body={begun}{ended}")]);
    let (text, whole) = heard(gate.post(PATH, &streamed()).await).await;
    assert!(whole && text.ends_with(ended.trim_end()), "{text}");
    assert_eq!(served(&gate).await["outcome"], "caller_error");
    assert_eq!((counted(&gate, "caller").await, counted(&gate, "success").await), (1, 0));
    assert_eq!(gate.monitor("/monitor/keys").await["keys"][0]["outcomes"], json!({"caller": 1}));
}
