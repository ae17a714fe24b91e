//! A house of a test's own: a server on free ports with a stack that the test brings.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use geminate::readiness::Readiness;
use geminate::server::{Server, Stop};
use geminate::settings;
use geminate::tasks::Tasks;
use geminate::telemetry::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct House {
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) tasks: Tasks,
    stops: Option<tokio::sync::mpsc::Sender<Stop>>,
    life: Option<JoinHandle<Option<Stop>>>,
}

impl House {
    /// Opens a house whose workers and admin listener serve `router`.
    pub(crate) fn open(settings: settings::Server, router: Router) -> Self {
        Self::seen(settings, router, Telemetry::new(Instant::now()))
    }

    /// The same, with the `telemetry` of what the router records.
    pub(crate) fn seen(mut settings: settings::Server, router: Router, telemetry: Arc<Telemetry>) -> Self {
        (settings.port, settings.admin_port) = (0, 0);
        let (readiness, tasks) = (Arc::new(Readiness::default()), Tasks::new());
        let (stops, mut stopping) = tokio::sync::mpsc::channel(4);
        let (addresses, bound) = mpsc::channel();
        let (ready, of_server) = (Arc::clone(&readiness), tasks.clone());
        let life = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(settings, ready, of_server).unwrap();
                addresses.send((server.data_address().unwrap(), server.admin_address().unwrap())).unwrap();
                let admin = router.clone();
                let stopping = futures_util::stream::poll_fn(move |cx| stopping.poll_recv(cx));
                server.run(move |_| Ok(router.clone()), admin, stopping, telemetry).await.unwrap()
            })
        });
        let (data, admin) = bound.recv().unwrap();
        Self { data, admin, readiness, tasks, stops: Some(stops), life: Some(life) }
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self, stop: Stop) {
        self.stops.as_ref().unwrap().try_send(stop).unwrap();
    }

    /// Waits for its end: what cut it, if anything.
    pub(crate) async fn closed(mut self) -> Option<Stop> {
        let life = self.life.take().unwrap();
        tokio::task::spawn_blocking(move || life.join().unwrap()).await.unwrap()
    }

    /// Waits until `true`.
    pub(crate) async fn until(&self, what: impl Fn(&Readiness) -> bool) {
        eventually(|| what(&self.readiness)).await;
    }
}

/// Waits until `true`.
pub(crate) async fn eventually(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it did not come to pass");
}

/// A connection spoken to in bytes.
pub(crate) struct Wire(pub(crate) TcpStream);

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap())
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `end` came.
    pub(crate) async fn hear(&mut self, end: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(end) {
            let mut piece = [0; 1024];
            let read = timeout(PATIENCE, self.0.read(&mut piece)).await.expect("nothing came").unwrap();
            assert_ne!(read, 0, "closed after {heard:?}");
            heard.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        heard
    }

    /// Reads until the other side closes.
    pub(crate) async fn hear_out(&mut self) -> String {
        let mut heard = Vec::new();
        // A reset is an end as well.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut heard)).await.expect("it was not closed");
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// `GET path` with a connection that is kept.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// The defaults with two workers and short waits.
pub(crate) fn settings() -> settings::Server {
    settings::Server { workers: 2, ..settings::Server::default() }
}

/// A port that nobody has just now, for a process of its own.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
