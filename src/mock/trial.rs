//! A mocked API on a port of its own, and a client to try it with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::mock::serve;
use crate::mock::settings::Settings;
use crate::mock::world::World;

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Trial {
    pub(crate) world: Arc<World>,
    pub(crate) address: SocketAddr,
    pub(crate) client: reqwest::Client,
    pub(crate) serving: JoinSet<()>,
}

impl Trial {
    pub(crate) async fn new(settings: Settings) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(World::new(settings));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&world)));
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { world, address, client, serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).header("x-goog-api-key", key).body(body.to_string())
    }

    pub(crate) async fn ask(&self, path: &str, body: &Value) -> reqwest::Response {
        self.post(path, "k1", body).send().await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str, body: &Value) -> String {
        self.ask(path, body).await.text().await.unwrap()
    }

    pub(crate) fn script(&self, text: &str) {
        self.world.script(text.parse().unwrap());
    }

    /// A call with a key, and its status and JSON; null for a body that is none.
    pub(crate) async fn call(&self, key: &str, line: &str, body: &Value) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = self.client.request(method, self.url(path)).header("x-goog-api-key", key);
        let answer = request.header("content-length", body.len()).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// The same where it is to succeed.
    pub(crate) async fn done(&self, key: &str, line: &str, body: &Value) -> Value {
        let (status, value) = self.call(key, line, body).await;
        assert_eq!(status, 200, "{line}: {value}");
        value
    }

    /// A small file of the key's project; gives its name.
    pub(crate) async fn file(&self, key: &str, bytes: &str) -> String {
        let sent = self.client.post(self.url("/upload/v1beta/files")).header("x-goog-api-key", key);
        let sent = sent.header("x-goog-upload-protocol", "raw").header("content-type", "text/plain");
        let answer = sent.body(bytes.to_owned()).send().await.unwrap();
        parse(&answer.text().await.unwrap())["file"]["name"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
