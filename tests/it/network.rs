//! The line to Google breaks at every place it can; what was surely not done is done again, and nothing else is.

use std::time::Duration;

use futures_util::StreamExt;
use geminate::mock::Ending;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::house::{PATIENCE, free_port};
use crate::stage::{K1, K2, K3, calls_of, key, play, states, told};
use crate::world::{Gate, MODEL, TOKEN, header, prompt, with_keys, with_keys_and};

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_tried_again_and_then_told() {
    let origin = format!("http://127.0.0.1:{}", free_port());
    let gate = Gate::open(&[("GEMINI_API_KEY", "fake-key-0001,fake-key-0002"), ("GEMINI_BASE_URL", &origin)]).await;
    // Even a call that creates something: it was never sent.
    let answer = gate.post("/v1beta/batches", &json!({})).await;
    assert_eq!(header(&answer, "x-geminate-attempts"), "4");
    let (status, error) = told(answer).await;
    assert_eq!((status, &error["error"]["status"]), (502, &json!("UNAVAILABLE")));
    assert!(!error.to_string().contains(&origin), "an address is nobody's business");
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"), "the line is not the keys' fault");
}

#[tokio::test]
async fn a_connection_lost_before_the_answer_costs_one_more_call_on_another_key() {
    for fault in ["reset:head", "cut:head"] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        play(&world, &[&format!("fault={fault} times=1")]);
        let answer = gate.generate("hello").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "x-geminate-attempts")),
            (200, "2".to_owned()),
            "{fault}"
        );
        let calls = world.calls();
        assert_ne!(calls[0].key, calls[1].key);
        let place = usize::from(calls[0].key.as_deref() == Some(K2));
        let weight = key(&gate, place).await["effective_weight"].as_f64().unwrap();
        assert!((0.75..0.95).contains(&weight), "a little less trusted: {weight}");
    }
}

#[tokio::test]
async fn a_connection_lost_twice_is_told_as_502() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=reset:head"]);
    let (status, error) = told(gate.generate("hello").await).await;
    assert_eq!((status, &error["error"]["status"], world.calls().len()), (502, &json!("UNAVAILABLE"), 2));
}

#[tokio::test]
async fn an_attempt_that_stays_silent_gives_way_to_another() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("GEMINATE__UPSTREAM__FIRST_BYTE_TIMEOUT_MS", "400")]).await;
    play(&world, &["fault=stall times=1"]);
    let answer = gate.stream("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    assert!(answer.text().await.unwrap().contains("finishReason"));
    play(&world, &["fault=delay:20s"]);
    let (status, error) = told(gate.generate("hello").await).await;
    assert_eq!((status, &error["error"]["status"]), (504, &json!("DEADLINE_EXCEEDED")));
    assert_eq!(world.calls().len(), 4);
}

#[tokio::test]
async fn no_answer_is_waited_for_beyond_the_deadline() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("REQUEST_TIMEOUT", "500")]).await;
    play(&world, &["fault=delay:20s"]);
    let (status, error) = told(gate.generate("hello").await).await;
    assert_eq!((status, &error["error"]["status"]), (504, &json!("DEADLINE_EXCEEDED")));
    assert_eq!(error["error"]["message"], "no answer within 0.5 s", "as it was configured");
    let aborted = |calls: &[geminate::mock::SeenCall]| calls.iter().all(geminate::mock::SeenCall::aborted);
    assert_eq!(world.until(PATIENCE, aborted).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_stays_silent_to_the_end_of_a_call_is_trusted_less() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("REQUEST_TIMEOUT", "500")]).await;
    play(&world, &[&format!("key={K1} fault=delay:20s")]);
    let mut late = 0;
    // Its turn comes within two.
    for _ in 0..2 {
        late += u32::from(gate.generate("hello").await.status() == 504);
    }
    assert_eq!(late, 1);
    let silent = key(&gate, 0).await;
    let weight = silent["effective_weight"].as_f64().unwrap();
    assert!((0.75..0.95).contains(&weight), "{silent}");
    assert_eq!(silent["outcomes"]["interrupted"], 1, "{silent}");
    let error = gate.monitor("/monitor/errors").await["last"][0].take();
    assert_eq!(
        (&error["class"], &error["message"]),
        (&json!("interrupted"), &json!("no answer within 0.5 s")),
        "{error}"
    );
    assert_eq!(key(&gate, 1).await["effective_weight"], 1.0);
}

#[tokio::test]
async fn a_key_that_had_too_little_of_a_call_s_time_is_not_blamed_for_its_silence() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("REQUEST_TIMEOUT", "4000")]).await;
    play(&world, &["fault=delay:2500ms,api_key_invalid times=1", "fault=delay:20s"]);
    assert_eq!(gate.generate("hello").await.status(), 504);
    let place = usize::from(world.calls()[1].key.as_deref() == Some(K2));
    let silent = key(&gate, place).await;
    assert_eq!((&silent["outcomes"]["deadline"], &silent["effective_weight"]), (&json!(1), &json!(1.0)), "{silent}");
}

#[tokio::test]
async fn a_project_that_stays_silent_does_not_take_the_others_time() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("REQUEST_TIMEOUT", "3000")]).await;
    play(&world, &[&format!("key={K1} fault=delay:60s")]);
    let answer = gate.ask(Method::GET, "/v1beta/files").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-partial").as_str()), (200, "1"));
    play(&world, &["fault=delay:60s"]);
    let before = world.calls().len();
    let answer = gate.ask(Method::GET, "/v1beta/files").send().await.unwrap();
    let attempts = header(&answer, "x-geminate-attempts");
    assert_eq!((answer.status().as_u16(), attempts), (504, (world.calls().len() - before).to_string()));
}

#[tokio::test]
async fn a_creating_call_is_never_sent_twice_unless_google_says_nothing_happened() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    for fault in ["reset:head", "internal", "overloaded", "html_502"] {
        world.reset();
        play(&world, &[&format!("fault={fault}")]);
        let status = gate.post("/v1beta/echo", &json!({})).await.status();
        assert!(status.is_server_error(), "{fault}: {status}");
        assert_eq!(world.calls().len(), 1, "{fault}");
    }
    for fault in ["quota_day", "api_key_invalid"] {
        world.reset();
        play(&world, &[&format!("fault={fault} times=1")]);
        let answer = gate.post("/v1beta/echo", &json!({})).await;
        let attempts = header(&answer, "x-geminate-attempts");
        assert_eq!((answer.status().as_u16(), world.calls().len()), (200, attempts.parse().unwrap()), "{fault}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_its_first_bytes_is_not_begun_again() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=cut:2"]);
    let text = gate.stream("hello").await.text().await.unwrap();
    let last: serde_json::Value = serde_json::from_str(text.rsplit("\r\n").next().unwrap()).unwrap();
    assert_eq!(last["error"]["status"], "UNAVAILABLE", "{text}");
    assert_eq!((text.matches("data: ").count(), world.calls().len()), (2, 1));
    gate.logged(|line| line["outcome"] == "stream_broken").await;
    let place = usize::from(calls_of(&world, K1).is_empty());
    let weight = key(&gate, place).await["effective_weight"].as_f64().unwrap();
    assert!((0.85..1.0).contains(&weight), "{weight}");
}

#[tokio::test]
async fn a_stream_without_a_finish_reason_passes_and_is_counted_for_what_it_is() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=unfinished"]);
    let answer = gate.stream("hello").await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(!text.contains("error") && !text.contains("finishReason"));
    gate.logged(|line| line["outcome"] == "stream_unfinished").await;
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call_upstream_at_once_and_blames_nobody() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=stall:1 times=1", "fault=delay:20s times=1"]);
    let mut stream = gate.stream("hello").await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let gone = |n: usize| {
        move |calls: &[geminate::mock::SeenCall]| calls.get(n).is_some_and(|call| call.ending == Ending::Gone)
    };
    world.until(PATIENCE, gone(0)).await.expect("the stream was left running");
    // And while the upstream has not answered yet.
    let call =
        gate.ask(Method::POST, &format!("/v1beta/models/{MODEL}:generateContent")).body(prompt("hi").to_string());
    assert!(timeout(Duration::from_millis(500), call.send()).await.is_err());
    world.until(PATIENCE, gone(1)).await.expect("the call was left running");
    // One had its head, and the other left before it.
    for status in [200, 499] {
        gate.logged(|line| line["outcome"] == "client_gone" && line["status"] == status).await;
    }
    let requests = gate.monitor("/api/requests?status=499").await["requests"].take();
    assert_eq!((requests.as_array().unwrap().len(), &requests[0]["outcome"]), (1, &"client_gone".into()), "{requests}");
    let metrics = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains(r#"outcome="client_gone",code="4xx""#) && !metrics.contains(r#"code="none""#),
        "{metrics}"
    );
    assert_eq!(key(&gate, 0).await["effective_weight"], 1.0);
    assert_eq!(states(&gate).await[0].0, "usable");
}
