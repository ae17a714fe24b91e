//! Windows: what an HTTP/2 client is given and does not take holds nothing for long, and harms nobody else.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get as on_get;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use geminate::mock;
use geminate::settings;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::house::{House, PATIENCE, settings};
use crate::stage::{K1, key};
use crate::world::{Gate, MODEL, TOKEN, google, prompt};

/// For which a client may take nothing.
const WRITE: Duration = Duration::from_secs(1);
/// Longer than any patience of the house.
const LONG: Duration = Duration::from_secs(3);

fn app() -> Router {
    let drops = || stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[0; 1_000])));
    let slow = || {
        stream::unfold(0, |n| async move {
            sleep(if n == 1 { LONG } else { Duration::ZERO }).await;
            (n < 2).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"drop")), n + 1))
        })
    };
    Router::new()
        .route("/hello", on_get(|| async { "hello" }))
        .route("/whole", on_get(|| async { Body::from(vec![0; 1 << 20]) }))
        .route("/drops", on_get(move || async move { Body::from_stream(drops()) }))
        .route("/slow", on_get(move || async move { Body::from_stream(slow()) }))
}

fn house() -> House {
    let write_timeout_ms = u64::try_from(WRITE.as_millis()).unwrap();
    House::open(settings::Server { write_timeout_ms, idle_timeout_ms: 1_000, ..settings() }, app())
}

/// An HTTP/2 client that answers pings, and gives each stream a window of so many bytes.
struct Client {
    send: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Client {
    async fn to(address: std::net::SocketAddr, window: u32) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).initial_stream_window_size(window);
        let (send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        // How it ends does not matter.
        #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
        let connection = tokio::spawn(async { drop(connection.await) });
        Self { send, connection }
    }

    async fn get(&mut self, path: &str) -> Incoming {
        let request = http::Request::get(format!("http://x{path}")).body(Full::default()).unwrap();
        self.send.send_request(request).await.unwrap().into_body()
    }

    async fn closed(self) {
        timeout(PATIENCE, self.connection).await.expect("it was not closed").unwrap();
    }
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_closed_whatever_it_asked_for() {
    let house = house();
    let asked = [("/hello", 0), ("/whole", 0), ("/whole", 9_000), ("/drops", 0), ("/drops", 9_000)];
    let each = asked.map(async |(path, window)| {
        let mut client = Client::to(house.data, window).await;
        let began = Instant::now();
        let _answer = client.get(path).await;
        client.closed().await;
        assert!(began.elapsed() >= WRITE, "{path} {window}: {:?}", began.elapsed());
    });
    join_all(each).await;
    house.until(|readiness| readiness.open() == 0).await;
}

#[tokio::test]
async fn an_answer_whose_source_is_silent_is_waited_for() {
    let house = house();
    let mut client = Client::to(house.data, 9_000).await;
    let whole = client.get("/slow").await.collect().await.unwrap().to_bytes();
    assert_eq!(whole, "dropdrop");
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let house = house();
    for path in ["/whole", "/drops"] {
        let mut client = Client::to(house.data, 16 * 1024).await;
        let (mut answer, began, mut had) = (client.get(path).await, Instant::now(), 0);
        while let Some(frame) = timeout(PATIENCE, answer.frame()).await.expect("nothing came") {
            had += frame.unwrap().into_data().unwrap().len();
            if had >= 1 << 20 {
                break;
            }
            sleep(Duration::from_millis(if began.elapsed() < LONG { 60 } else { 0 })).await;
        }
        assert!(had >= 1 << 20 && began.elapsed() >= LONG, "{path}: {had} in {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn one_stream_that_is_not_taken_lets_the_others_end() {
    let house = house();
    let mut client = Client::to(house.data, 9_000).await;
    let _stuck = client.get("/drops").await;
    let whole = client.get("/slow").await.collect().await.unwrap().to_bytes();
    assert_eq!(whole, "dropdrop");
    client.closed().await;
    house.until(|readiness| readiness.open() == 0).await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_gives_its_key_back() {
    let pace =
        mock::Settings { chunks: 1_000, chunk_interval: Duration::from_millis(5), ..mock::Settings::with_keys([K1]) };
    let (_world, origin) = google(pace).await;
    let write = ("GEMINATE__SERVER__WRITE_TIMEOUT_MS", "2000");
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin), write]).await;
    let mut client = Client::to(gate.data, 500).await;
    let request = http::Request::post(format!("http://x/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"));
    let request = request.header("x-goog-api-key", TOKEN).header("content-type", "application/json");
    let body = Bytes::from(prompt("hello").to_string()).into();
    let answer = client.send.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), &key(&gate, 0).await["in_flight"]), (200, &1.into()));
    client.closed().await;
    let free = async {
        while key(&gate, 0).await["in_flight"] != 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, free).await.expect("the key is still held");
}
