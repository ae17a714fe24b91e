//! Overloads and faults of Google's are given time and another key, within a budget, and never held for a dead key.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::stage::{K1, K2, NO_RETRIES, calls_of, key, play, states, told};
use crate::world::{MODEL, header, prompt, with_keys, with_keys_and};

fn usable() -> (String, String) {
    ("usable".to_owned(), String::new())
}

#[tokio::test]
async fn an_internal_error_is_tried_once_more_on_another_key() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=internal times=1"]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    let calls = world.calls();
    assert_ne!(calls[0].key, calls[1].key);
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(480), "after a pause");
    assert_eq!(states(&gate).await, [usable(), usable()]);
}

#[tokio::test]
async fn the_last_internal_error_is_googles_own() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=internal"]);
    let (status, error) = told(gate.generate("hello").await).await;
    assert_eq!((status, &error["error"]["status"], world.calls().len()), (500, &json!("INTERNAL"), 2));
}

#[tokio::test]
async fn a_prompt_so_long_that_it_is_likely_at_fault_is_not_tried_again() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=internal"]);
    assert_eq!(gate.generate(&"long ".repeat(200_000)).await.status(), 500);
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test]
async fn three_internal_errors_in_a_row_rest_a_key_and_two_do_not() {
    let (world, gate) = with_keys_and(&[K1], &[NO_RETRIES]).await;
    play(&world, &["fault=internal times=2", "times=1 fault=lf", "fault=internal times=3"]);
    for status in [500, 500, 200, 500, 500] {
        assert_eq!(gate.generate("hello").await.status(), status);
        assert_eq!(states(&gate).await, [usable()]);
    }
    assert_eq!(gate.generate("hello").await.status(), 500);
    assert_eq!(states(&gate).await, [("cooling".to_owned(), "failing".to_owned())]);
}

#[tokio::test]
async fn an_overload_is_given_two_seconds_and_then_another_key() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=high_demand times=1"]);
    let began = Instant::now();
    assert_eq!(gate.generate("hello").await.status(), 200);
    let took = began.elapsed();
    assert!((Duration::from_millis(1750)..Duration::from_secs(4)).contains(&took), "{took:?}");
    let calls = world.calls();
    assert_ne!(calls[0].key, calls[1].key);
}

#[tokio::test]
async fn an_overload_is_passed_on_with_a_time_to_retry_and_no_key_is_blamed() {
    let (world, gate) = with_keys_and(&[K1, K2], &[NO_RETRIES]).await;
    play(&world, &["fault=overloaded"]);
    for _ in 0..6 {
        let answer = gate.generate("hello").await;
        assert_eq!(header(&answer, "retry-after"), "10");
        let (status, error) = told(answer).await;
        assert_eq!(
            (status, &error["error"]["message"]),
            (503, &json!("The model is overloaded. Please try again later."))
        );
    }
    assert_eq!(states(&gate).await, [usable(), usable()], "never off, never dead");
    assert_eq!((calls_of(&world, K1).len(), calls_of(&world, K2).len()), (3, 3));
    let weight = key(&gate, 0).await["effective_weight"].as_f64().unwrap();
    assert!((0.09..0.5).contains(&weight), "trusted with less for a minute: {weight}");
    world.clear_scripts();
    assert_eq!(gate.generate("hello").await.status(), 200);
}

#[tokio::test]
async fn an_overload_that_says_when_to_retry_is_taken_at_its_word() {
    let (world, gate) = with_keys_and(&[K1, K2], &[NO_RETRIES]).await;
    let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "32.5s"});
    let error = json!({"code": 503, "message": "Busy.", "status": "UNAVAILABLE", "details": [info]});
    let body = json!({ "error": error });
    for (header_of_google, expected) in [("", "33"), ("header=retry-after:7", "7")] {
        world.clear_scripts();
        play(&world, &[&format!("fault=status:503 {header_of_google} body={body}")]);
        assert_eq!(header(&gate.generate("hello").await, "retry-after"), expected);
    }
}

#[tokio::test]
async fn after_ten_overloads_in_a_row_nobody_waits_for_an_eleventh_try() {
    // A pause of two seconds does not fit into this time, so each of the ten is one call.
    let (world, gate) = with_keys_and(&[K1, K2], &[("REQUEST_TIMEOUT", "1500")]).await;
    play(&world, &["fault=overloaded times=12"]);
    for _ in 0..10 {
        assert_eq!(gate.generate("hello").await.status(), 503);
    }
    let patient = || {
        gate.ask(reqwest::Method::POST, &format!("/v1beta/models/{MODEL}:generateContent"))
            .header("x-server-timeout", "60")
            .body(prompt("hello").to_string())
            .send()
    };
    let began = Instant::now();
    assert_eq!(patient().await.unwrap().status(), 503);
    assert!(began.elapsed() < Duration::from_millis(1500), "the breaker is open");
    assert_eq!(world.calls().len(), 11);
    world.clear_scripts();
    assert_eq!(patient().await.unwrap().status(), 200);
    play(&world, &["fault=overloaded times=1"]);
    assert_eq!(patient().await.unwrap().status(), 200, "a success has closed it: there is a second try");
}

#[tokio::test]
async fn a_page_of_googles_edge_is_tried_once_more_and_told_in_the_apis_shape() {
    for (fault, page) in [("html_502", "502"), ("html_blocked", "429")] {
        let (world, gate) = with_keys(&[K1, K2]).await;
        play(&world, &[&format!("fault={fault}")]);
        let answer = gate.generate("hello").await;
        assert!(header(&answer, "content-type").starts_with("application/json"));
        let (status, error) = told(answer).await;
        assert_eq!((status, &error["error"]["status"], world.calls().len()), (502, &json!("UNAVAILABLE"), 2));
        assert!(error["error"]["message"].as_str().unwrap().contains(page), "{error}");
        assert_eq!(states(&gate).await, [usable(), usable()]);
    }
}

#[tokio::test]
async fn googles_own_deadline_is_passed_on_when_half_of_ours_is_gone() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("REQUEST_TIMEOUT", "3000")]).await;
    play(&world, &["fault=delay:1600ms,deadline_exceeded times=1", "fault=deadline_exceeded"]);
    let (status, error) = told(gate.generate("late").await).await;
    assert_eq!((status, &error["error"]["status"], world.calls().len()), (504, &json!("DEADLINE_EXCEEDED"), 1));
    assert_eq!(gate.generate("early").await.status(), 504);
    assert_eq!(world.calls().len(), 3, "one more try");
    assert_eq!(states(&gate).await, [usable(), usable()]);
}

#[tokio::test]
async fn faults_are_retried_within_a_budget_and_dead_keys_beyond_it() {
    let none = [("GEMINATE__RETRY__BUDGET_PERCENT", "0"), ("GEMINATE__RETRY__BUDGET_FLOOR_PER_S", "0")];
    let (world, gate) = with_keys_and(&[K1, K2], &none).await;
    play(&world, &["fault=internal times=1", &format!("key={K1} fault=api_key_invalid")]);
    assert_eq!(gate.generate("hello").await.status(), 500);
    assert_eq!(world.calls().len(), 1);
    assert_eq!((gate.generate("a").await.status().as_u16(), gate.generate("b").await.status().as_u16()), (200, 200));
    assert_eq!(states(&gate).await[0].0, if calls_of(&world, K1).len() == 2 { "dead" } else { "usable" });
}
