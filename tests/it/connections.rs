//! Connections: what a client may do, and how long it may do nothing.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get as on_get, post};
use geminate::settings;
use tokio::time::{Instant, sleep};

use crate::house::{House, PATIENCE, Wire, eventually, free_port, get, settings};

fn app() -> Router {
    Router::new()
        .route("/", on_get(|| async { "hello" }))
        .route("/slow", on_get(|| async { sleep(Duration::from_millis(400)).await }))
        .route("/length", post(|body: String| async move { body.len().to_string() }))
        .route("/refuse", post(|| async { "no" }))
        .route("/worker", on_get(|| async { std::thread::current().name().unwrap_or("").to_owned() }))
        .route("/flood", on_get(|| async { Body::from(vec![0; 64 << 20]) }))
        .layer(axum::extract::DefaultBodyLimit::disable())
}

fn impatient() -> settings::Server {
    settings::Server { header_read_timeout_ms: 200, idle_timeout_ms: 800, ..settings() }
}

#[tokio::test]
async fn both_versions_of_http_are_served() {
    let house = House::open(settings(), app());
    geminate_tls();
    for client in [reqwest::Client::builder(), reqwest::Client::builder().http2_prior_knowledge()] {
        let client = client.no_proxy().tls_certs_only([]).build().unwrap();
        for address in [house.data, house.admin] {
            let answer = client.get(format!("http://{address}/")).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "hello");
        }
    }
}

fn geminate_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_head_is_closed() {
    let house = House::open(impatient(), app());
    for beginning in
        ["", "G", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let (mut wire, began) = (Wire::to(house.data).await, Instant::now());
        wire.say(beginning).await;
        wire.hear_out().await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(150) && took < Duration::from_secs(3), "{beginning:?} {took:?}");
    }
    house.until(|readiness| readiness.open() == 0).await;
}

#[tokio::test]
async fn dripping_a_head_does_not_hold_a_connection() {
    let house = House::open(impatient(), app());
    let mut wire = Wire::to(house.data).await;
    wire.say(&get("/")).await;
    wire.hear("hello").await;
    let began = Instant::now();
    wire.say("GET / HTTP/1.1\r\n").await;
    for _ in 0..20 {
        sleep(Duration::from_millis(50)).await;
        if tokio::io::AsyncWriteExt::write_all(&mut wire.0, b"x: y\r\n").await.is_err() {
            break;
        }
    }
    wire.hear_out().await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_kept_connection_lives_for_the_idle_time_and_a_request_for_its_own() {
    let house = House::open(impatient(), app());
    let mut wire = Wire::to(house.data).await;
    wire.say(&get("/")).await;
    wire.hear("hello").await;
    // Longer than a head may take: nothing has begun.
    sleep(Duration::from_millis(500)).await;
    wire.say(&get("/slow")).await;
    wire.hear("content-length: 0").await;
    let began = Instant::now();
    wire.hear_out().await;
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let house = House::open(impatient(), app());
    let stream = tokio::net::TcpStream::connect(house.data).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    let request = http::Request::get("http://x/").body(Body::empty()).unwrap();
    let began = Instant::now();
    let served = async { drop(send.send_request(request).await.unwrap()) };
    let (ended, ()) = tokio::join!(tokio::time::timeout(PATIENCE, connection), served);
    ended.expect("it was not closed").unwrap();
    assert!(began.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_closed() {
    let house = House::open(settings::Server { write_timeout_ms: 300, ..settings() }, app());
    let mut wire = Wire::to(house.data).await;
    wire.say(&get("/flood")).await;
    house.until(|readiness| readiness.accepted() == 1).await;
    house.until(|readiness| readiness.open() == 0).await;
}

#[tokio::test]
async fn a_full_house_lets_the_next_one_wait() {
    let house = House::open(settings::Server { connections_max: 1, ..settings() }, app());
    let mut first = Wire::to(house.data).await;
    first.say(&get("/")).await;
    first.hear("hello").await;
    let mut second = Wire::to(house.data).await;
    second.say(&get("/")).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!((house.readiness.accepted(), house.readiness.open()), (1, 1));
    drop(first);
    second.hear("hello").await;
    assert_eq!(house.readiness.accepted(), 2);
}

#[tokio::test]
async fn connections_spread_evenly_over_the_workers() {
    let house = House::open(settings::Server { workers: 3, ..settings() }, app());
    let (mut wires, mut names) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let mut wire = Wire::to(house.data).await;
        wire.say(&get("/worker")).await;
        let heard = wire.hear("worker-").await;
        names.push(heard[heard.len() - 8..].to_owned());
        wires.push(wire);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
    drop(wires);
    eventually(|| house.readiness.open() == 0).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_hurts_nobody() {
    let house = House::open(settings(), app());
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    for (request, status) in [
        ("GARBAGE\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        ("GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        ("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", "400"),
        ("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "400"),
        (&long, "431"),
        (&many, "431"),
    ] {
        let mut wire = Wire::to(house.data).await;
        wire.say(request).await;
        let heard = wire.hear_out().await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60} {heard:.60}");
    }
    let mut wire = Wire::to(house.data).await;
    wire.say(&get("/")).await;
    wire.hear("hello").await;
}

#[tokio::test]
async fn a_body_is_sent_after_100_continue() {
    let house = House::open(settings(), app());
    let mut wire = Wire::to(house.data).await;
    wire.say("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await;
    wire.hear("100 Continue").await;
    wire.say("12345").await;
    assert!(wire.hear("\r\n\r\n5").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_is_closed_after_a_refusal_that_left_the_body_unread() {
    let house = House::open(settings(), app());
    let mut wire = Wire::to(house.data).await;
    wire.say("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nbeginning").await;
    let heard = wire.hear_out().await;
    assert!(heard.contains("no"), "{heard}");
}

#[tokio::test]
async fn running_out_of_files_passes() {
    let (scratch, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut child = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 48; exec \"$0\"", env!("CARGO_BIN_EXE_geminate")])
        .current_dir(&scratch)
        .env_clear()
        .envs([("GEMINI_API_KEY", "AIzaSyTestTestTest1"), ("PORT", &port.to_string()), ("ADMIN_PORT", "0")])
        .envs([("GEMINATE__SERVER__WORKERS", "1"), ("LOG_LEVEL", "OFF")])
        .spawn()
        .unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    eventually(|| std::net::TcpStream::connect(address).is_ok()).await;
    let mut many = Vec::new();
    for _ in 0..80 {
        many.push(Wire::to(address).await);
    }
    sleep(Duration::from_millis(200)).await;
    drop(many);
    let mut wire = Wire::to(address).await;
    wire.say(&get("/healthz")).await;
    assert!(wire.hear("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    assert_eq!(child.try_wait().unwrap(), None, "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
}
