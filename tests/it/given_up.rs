//! What is given up before its first byte was asked all the same: it is counted, and its time is Google's.

use std::time::Duration;

use geminate::mock::{Ending, World};
use reqwest::Method;
use tokio::time::timeout;

use crate::house::PATIENCE;
use crate::live::{PATH, Session, setup};
use crate::stage::{K1, play};
use crate::world::{Gate, MODEL, TOKEN, prompt, with_keys, with_keys_and};

async fn metrics(gate: &Gate) -> String {
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    page.text().await.unwrap()
}

/// Waits until a line of the metrics is there.
pub(crate) async fn until_counted(gate: &Gate, line: &str) {
    let look = async {
        while !metrics(gate).await.contains(line) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, look).await.is_ok(), "no {line} in\n{}", metrics(gate).await);
}

/// Waits until Google sees that the first call's client is gone.
async fn until_gone(world: &World) {
    let gone = |calls: &[geminate::mock::SeenCall]| calls.first().is_some_and(|call| call.ending == Ending::Gone);
    world.until(PATIENCE, gone).await.expect("the call was left running");
}

#[tokio::test]
async fn an_attempt_whose_client_left_before_its_first_byte_is_counted() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=delay:60s"]);
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    let call = gate.ask(Method::POST, &path).header("x-request-id", "left").body(prompt("hi").to_string());
    tokio::select! {
        _ = call.send() => panic!("Google said nothing"),
        calls = world.until(PATIENCE, |calls| calls.len() == 1) => assert!(calls.is_some(), "it was never asked"),
    }
    until_gone(&world).await;
    until_counted(&gate, r#"geminate_attempts_total{key="1",model="other",verdict="abandoned"} 1"#).await;
    let waste = gate.monitor("/api/overview").await["waste"].take();
    assert_eq!((&waste["attempts"], &waste["wasted_attempts"]), (&1.into(), &0.into()), "{waste}");
    let request = gate.monitor("/api/requests/left").await;
    assert_eq!(request["attempts"][0]["verdict"], "abandoned", "{request}");
}

#[tokio::test]
async fn the_time_that_google_stayed_silent_is_none_of_ours() {
    let (world, gate) = with_keys_and(&[K1], &[("REQUEST_TIMEOUT", "800")]).await;
    play(&world, &["fault=delay:60s"]);
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    let call = gate.ask(Method::POST, &path).header("x-request-id", "late").body(prompt("hi").to_string());
    assert_eq!(call.send().await.unwrap().status(), 504);
    gate.logged(|line| line["request_id"] == "late" && line["status"] == 504).await;
    let request = gate.monitor("/api/requests/late").await;
    let time = |name: &str| request[name].as_f64().unwrap();
    assert!(time("upstream_ms") > 600.0 && time("overhead_ms") < 200.0, "{request}");
}

#[tokio::test]
async fn a_session_that_its_client_leaves_before_it_began_is_counted() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=delay:60s"]);
    let mut session = Session::open(&gate, PATH).await;
    session.say(&setup()).await;
    world.until(PATIENCE, |calls| calls.len() == 1).await.expect("it was never asked");
    drop(session);
    until_counted(&gate, r#",verdict="abandoned"} 1"#).await;
}
