//! The operator's word ends what no request waits for any more: sessions, streams in a drain; and what all of it cost.

use geminate::mock::Ending;
use geminate::server::Stop;
use geminate::telemetry::Span;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::house::eventually;
use crate::live::{PATH, Session, setup};
use crate::sight::Seen;
use crate::stage::{K1, K2, play};
use crate::streams::{SSE, ending, heard, piece, question};
use crate::world::{MODEL, prompt};

async fn session(seen: &Seen) -> Session {
    let mut request = format!("ws://{}{PATH}", seen.house.data).into_client_request().unwrap();
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("talk"));
    Session(connect_async(request).await.unwrap().0)
}

#[tokio::test]
async fn a_session_that_is_cancelled_is_closed_on_both_sides_with_the_reason() {
    let seen = Seen::open(&[K1], |_| {}).await;
    let mut session = session(&seen).await;
    session.say(&setup()).await;
    session.hear().await;
    assert!(seen.telemetry.cancel("talk"));
    assert_eq!(session.ended().await, (1001, "the operator cancelled this request".to_owned()));
    let request = seen.over("talk").await;
    assert_eq!(
        (&request["outcome"], &request["route"], &request["status"]),
        (&json!("cancelled"), &json!("live"), &json!(101))
    );
    assert_ne!(ending(&seen.world).await, Ending::Open);
    assert_eq!(seen.telemetry.in_flight(), 0);
}

#[tokio::test]
async fn a_session_that_has_not_begun_is_cancelled_too() {
    let seen = Seen::open(&[K1], |_| {}).await;
    let mut session = session(&seen).await;
    eventually(|| seen.find("talk").is_some_and(|request| request.status == Some(101))).await;
    assert!(seen.telemetry.cancel("talk"));
    assert_eq!(session.ended().await.0, 1001);
    let request = seen.over("talk").await;
    assert_eq!((&request["outcome"], &request["status"]), (&json!("cancelled"), &json!(499)));
    assert!(seen.world.calls().is_empty());
}

#[tokio::test]
async fn a_stream_is_cancelled_during_the_drain_which_then_has_nothing_to_wait_for() {
    let seen = Seen::open(&[K1], |_| {}).await;
    play(&seen.world, &["fault=stall:1"]);
    let mut answer = seen.ask("mine", SSE, &question()).await;
    piece(&mut answer).await;
    seen.house.stop(Stop::Terminate);
    seen.house.until(geminate::readiness::Readiness::draining).await;
    assert!(seen.telemetry.cancel("mine"));
    assert!(heard(answer).await.0.contains("operator cancelled"));
    assert_eq!(seen.over("mine").await["outcome"], "cancelled");
    assert_eq!(seen.house.closed().await, None);
}

#[tokio::test]
async fn what_went_wrong_is_told_by_minutes_and_what_it_cost_is_counted() {
    let seen = Seen::open(&[K1, K2], |_| {}).await;
    play(&seen.world, &[&format!("key={K1} fault=overloaded times=1")]);
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    assert_eq!(seen.ask("one", &path, &prompt("hello")).await.status(), 200);
    seen.over("one").await;
    seen.world.reset();
    play(&seen.world, &["fault=cut:2"]);
    heard(seen.ask("two", SSE, &question()).await).await;
    seen.over("two").await;
    let errors = serde_json::to_value(seen.telemetry.error_series()).unwrap();
    let sum = |counts: &Value| counts.as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!((sum(&errors["classes"]["overloaded"]), sum(&errors["classes"]["broken"])), (1, 1), "{errors:#}");
    let waste = seen.telemetry.waste();
    assert_eq!((waste.attempts, waste.wasted_attempts, waste.wasted_share), (3, 2, Some(0.6667)));
    assert_eq!(seen.telemetry.failures(1)[0].did, Some("passed_on"));
    let series = seen.telemetry.series(Span::Hour, Instant::now());
    assert_eq!((series.points.at.len(), series.points.p95_ms.len()), (360, 360));
}
