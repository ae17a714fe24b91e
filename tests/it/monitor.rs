//! What operators see: true while a call runs, and true of how it ended, over real connections.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get as on_get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use geminate::affinity::Affinity;
use geminate::alias::Aliases;
use geminate::client::Clients;
use geminate::layer::record;
use geminate::monitor::access::Listener;
use geminate::monitor::{Monitor, router};
use geminate::pool::KeyPool;
use geminate::pool::memory::Clocks;
use geminate::record::{Outcome, Record};
use geminate::scrub::Scrubber;
use geminate::settings::{self, Auth, Clients as Limits};
use geminate::telemetry::{Telemetry, clock};
use serde_json::Value;
use tokio::time::Instant;

use crate::house::{House, Wire, eventually, get, settings};

/// An event stream: one piece, then nothing, or a failure when it is to `break`.
fn events(breaks: bool) -> impl IntoResponse {
    let first = stream::once(async { Ok(Bytes::from("data: 1\r\n\r\n")) });
    let then = async move { if breaks { Err(std::io::Error::other("cut")) } else { std::future::pending().await } };
    ([("content-type", "text/event-stream")], Body::from_stream(first.chain(stream::once(then))))
}

/// Answers of every kind under the record layer, and the monitor beside them.
fn open() -> (House, Arc<Telemetry>) {
    let now = Instant::now();
    let telemetry = Telemetry::new(now);
    let monitor = Monitor {
        telemetry: Arc::clone(&telemetry),
        pool: Arc::new(KeyPool::new(&[], Clocks { now, wall: clock() }).unwrap()),
        clients: Arc::new(Clients::new(&Auth::default(), &Limits::default(), None, true).unwrap()),
        guesses: Arc::default(),
        proxies: Arc::default(),
        readiness: Arc::default(),
        affinity: Arc::new(Affinity::new(&settings::Affinity::default())),
        answers: None,
        aliases: Aliases::default(),
        files: Vec::new(),
        tokens: false,
        enabled: true,
    };
    let scrubber = Arc::new(Scrubber::new(&[]).unwrap());
    let calls = Router::new()
        .route("/stream", on_get(|| async { events(false) }))
        .route("/cut", on_get(|| async { events(true) }))
        .route("/whole", on_get(|| async { "{}" }))
        .route("/nothing", on_get(|| async { StatusCode::NO_CONTENT }))
        .route("/wrong", on_get(|| async { (StatusCode::BAD_REQUEST, "no") }))
        .layer(record::layer(Arc::clone(&telemetry), scrubber, |_: &Record, _| {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }));
    (House::open(settings(), calls.merge(router(Arc::new(monitor), Listener::Data, true))), telemetry)
}

async fn page(house: &House, path: &str) -> Value {
    let mut wire = Wire::to(house.data).await;
    wire.say(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    let heard = wire.hear_out().await;
    serde_json::from_str(heard.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn ended(telemetry: &Telemetry, outcome: Outcome, count: u64) {
    eventually(|| telemetry.counts().outcomes[outcome.name()] == count).await;
}

#[tokio::test]
async fn a_stream_is_listed_while_it_runs_and_gone_with_its_client() {
    let (house, telemetry) = open();
    let mut wire = Wire::to(house.data).await;
    wire.say("GET /stream HTTP/1.1\r\nhost: x\r\nx-request-id: mine-1\r\n\r\n").await;
    let heard = wire.hear("data: 1").await;
    assert!(heard.contains("x-request-id: mine-1"), "{heard}");

    let streams = page(&house, "/monitor/streams").await;
    let stream = &streams["streams"][0];
    assert_eq!((&stream["id"], &stream["bytes"], &stream["chunks"]), (&"mine-1".into(), &11.into(), &1.into()));
    assert!(stream["age_ms"].is_u64() && stream["idle_ms"].is_u64());
    assert_eq!(page(&house, "/monitor/performance").await["streams_open"], 1);

    drop(wire);
    ended(&telemetry, Outcome::ClientGone, 1).await;
    assert_eq!(page(&house, "/monitor/streams").await["open"], 0);
}

#[tokio::test]
async fn answers_that_went_out_whole_are_not_counted_as_left() {
    let (house, telemetry) = open();
    let mut wire = Wire::to(house.data).await;
    for (path, end) in [("/whole", "{}"), ("/nothing", "\r\n\r\n"), ("/wrong", "no")] {
        wire.say(&get(path)).await;
        wire.hear(end).await;
    }
    wire.say("HEAD /whole HTTP/1.1\r\nhost: x\r\n\r\n").await;
    wire.hear("\r\n\r\n").await;
    drop(wire);
    ended(&telemetry, Outcome::Ok, 3).await;
    ended(&telemetry, Outcome::CallerError, 1).await;
    assert_eq!((telemetry.counts().requests, telemetry.in_flight()), (4, 0));
}

#[tokio::test]
async fn a_stream_that_breaks_is_counted_as_broken() {
    let (house, telemetry) = open();
    let mut wire = Wire::to(house.data).await;
    wire.say(&get("/cut")).await;
    wire.hear_out().await;
    ended(&telemetry, Outcome::StreamBroken, 1).await;
    let metrics = page(&house, "/monitor/metrics").await;
    assert_eq!((&metrics["outcomes"]["stream_broken"], &metrics["stream_bytes"]), (&1.into(), &11.into()));
}
