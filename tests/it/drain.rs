//! The drain: nobody new comes in, nobody inside is thrown out before the time, and it ends.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get as on_get;
use bytes::Bytes;
use futures_util::stream;
use geminate::readiness::Readiness;
use geminate::server::Stop;
use geminate::settings;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::house::{House, PATIENCE, Wire, free_port, get, settings};
use crate::streams::{heard, piece, play};
use crate::world::with_keys;

/// `/stream` sends a piece for each permit and ends with `end` at the third.
fn app(pieces: &Arc<Semaphore>) -> Router {
    let pieces = Arc::clone(pieces);
    let stream = move || {
        let pieces = Arc::clone(&pieces);
        let body = stream::unfold(0, move |n| {
            let pieces = Arc::clone(&pieces);
            async move {
                pieces.acquire().await.unwrap().forget();
                let piece = if n == 2 { "end" } else { "piece" };
                (n < 3).then(|| (Ok::<_, std::io::Error>(Bytes::from(piece)), n + 1))
            }
        });
        async { Body::from_stream(body) }
    };
    Router::new().route("/stream", on_get(stream)).route("/", on_get(|| async { "hello" }))
}

async fn streaming(settings: settings::Server) -> (House, Wire, Arc<Semaphore>) {
    let pieces = Arc::new(Semaphore::new(1));
    let house = House::open(settings, app(&pieces));
    let mut wire = Wire::to(house.data).await;
    wire.say(&get("/stream")).await;
    wire.hear("piece").await;
    (house, wire, pieces)
}

async fn refused(house: &House) {
    house.until(Readiness::draining).await;
    let began = Instant::now();
    while TcpStream::connect(house.data).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "the listener is still there");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stream_ends_in_peace_while_new_connections_are_refused() {
    let (house, mut wire, pieces) = streaming(settings()).await;
    let mut idle = Wire::to(house.data).await;
    idle.say(&get("/")).await;
    idle.hear("hello").await;
    assert!(house.readiness.ready());

    house.stop(Stop::Terminate);
    refused(&house).await;
    assert!(!house.readiness.ready());
    idle.hear_out().await;
    let mut admin = Wire::to(house.admin).await;
    admin.say(&get("/")).await;
    admin.hear("hello").await;

    pieces.add_permits(3);
    let rest = wire.hear_out().await;
    assert!(rest.contains("end") && rest.ends_with("0\r\n\r\n"), "{rest:?}");
    assert_eq!(house.closed().await, None);
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_when_the_time_is_over() {
    let (house, mut wire, _pieces) = streaming(settings::Server { drain_timeout_ms: 300, ..settings() }).await;
    let began = Instant::now();
    house.stop(Stop::Terminate);
    let rest = wire.hear_out().await;
    assert!(!rest.ends_with("0\r\n\r\n"), "a cut must not look like an end: {rest:?}");
    assert_eq!(house.closed().await, None);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (house, _wire, _pieces) = streaming(settings()).await;
    house.stop(Stop::Terminate);
    house.until(Readiness::draining).await;
    house.stop(Stop::Interrupt);
    let began = Instant::now();
    assert_eq!(house.closed().await, Some(Stop::Interrupt));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!((Stop::Interrupt.exit_code(), Stop::Terminate.exit_code()), (130, 143));
}

#[tokio::test]
async fn tasks_are_told_and_waited_for() {
    let house = House::open(settings(), Router::new());
    let (tasks, saved) = (house.tasks.clone(), Arc::new(Semaphore::new(0)));
    let save = Arc::clone(&saved);
    house
        .tasks
        .spawn(async move {
            tasks.stopping().await;
            sleep(Duration::from_millis(100)).await;
            save.add_permits(1);
        })
        .unwrap();
    house.stop(Stop::Interrupt);
    assert_eq!(house.closed().await, None);
    assert_eq!(saved.available_permits(), 1);
}

/// The process, ready, with systemd's end of its socket.
struct Process {
    child: Child,
    systemd: UnixDatagram,
    _scratch: tempfile::TempDir,
}

impl Process {
    fn start(port: u16, google: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let socket = scratch.path().join("notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_geminate"))
            .current_dir(&scratch)
            .env_clear()
            .envs([("GEMINI_API_KEY", "AIzaSyTestTestTest1"), ("GEMINI_BASE_URL", google), ("LOG_LEVEL", "OFF")])
            .envs([("PORT", port.to_string().as_str()), ("ADMIN_PORT", "0")])
            .env("NOTIFY_SOCKET", &socket)
            .spawn()
            .unwrap();
        let process = Self { child, systemd, _scratch: scratch };
        assert_eq!(process.heard(), "READY=1");
        process
    }

    fn heard(&self) -> String {
        let mut text = [0; 64];
        let read = self.systemd.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..read]).trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

#[test]
fn the_process_tells_systemd_and_ends_with_zero_after_sigterm() {
    let mut process = Process::start(0, "http://127.0.0.1:9");
    process.signal("-TERM");
    assert_eq!(process.heard(), "STOPPING=1");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_process_told_twice_leaves_its_requests_and_says_by_what() {
    // A Google that takes a request and never answers.
    let google = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free_port();
    let mut process = Process::start(port, &format!("http://{}", google.local_addr().unwrap()));
    let mut wire = Wire::to(([127, 0, 0, 1], port).into()).await;
    wire.say(&get("/v1beta/models")).await;
    let (_held, _) = google.accept().await.unwrap();
    process.signal("-TERM");
    assert_eq!(process.heard(), "STOPPING=1");
    assert_eq!(process.child.try_wait().unwrap(), None, "a request is under way");
    process.signal("-INT");
    assert_eq!(process.child.wait().unwrap().code(), Some(130));
}

#[tokio::test]
async fn the_process_lets_a_stream_end_and_nobody_in() {
    let (world, mut gate) = with_keys(&["fake-key-0001"]).await;
    play(&world, "fault=stall:1/1s times=1");
    let mut stream = gate.stream("hello").await;
    piece(&mut stream).await;
    gate.signal("TERM");
    let refused = async {
        while TcpStream::connect(gate.data).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("new connections are still accepted");
    let ready = gate.http.get(format!("http://{}/readyz", gate.admin)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let (rest, whole) = heard(stream).await;
    assert!(whole && rest.contains("STOP"), "{rest}");
    assert_eq!(gate.exited().await, Some(0));
}
