//! A world of a test's own: Google mocked in this process, and the real binary in front of it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use geminate::mock::{self, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::house::PATIENCE;

/// The operator's token of every gate.
pub(crate) const TOKEN: &str = "fake-token-operator";
pub(crate) const MODEL: &str = "gemini-3.8-flash";

/// A mocked Google on a free port. It ends with the test's runtime.
pub(crate) async fn google(settings: mock::Settings) -> (Arc<World>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let world = Arc::new(World::new(settings));
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(mock::serve(listener, Arc::clone(&world)));
    (world, origin)
}

/// Google with these keys (`KEY[@PROJECT]`), and a gate that holds them in this order with equal weights.
pub(crate) async fn with_keys(keys: &[&str]) -> (Arc<World>, Gate) {
    with_keys_and(keys, &[]).await
}

/// The same with more variables.
pub(crate) async fn with_keys_and(keys: &[&str], variables: &[(&str, &str)]) -> (Arc<World>, Gate) {
    let (world, origin) = google(mock::Settings::with_keys(keys.iter().copied())).await;
    let bare: Vec<&str> = keys.iter().map(|key| key.split('@').next().unwrap()).collect();
    let list = bare.join(",");
    let mut all = vec![("GEMINI_API_KEY", list.as_str()), ("GEMINI_BASE_URL", &origin)];
    all.extend(variables);
    (world, Gate::open(&all).await)
}

/// The binary at work. Killed when dropped.
pub(crate) struct Gate {
    child: Child,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) dir: Arc<TempDir>,
    lines: Arc<Mutex<Vec<String>>>,
    pub(crate) http: reqwest::Client,
}

impl Gate {
    /// Starts it with `variables` alone, in a directory of its own, and waits until it listens.
    pub(crate) async fn open(variables: &[(&str, &str)]) -> Self {
        Self::open_in(Arc::new(TempDir::new().unwrap()), variables).await
    }

    /// The same in a directory that an earlier one left.
    pub(crate) async fn open_in(dir: Arc<TempDir>, variables: &[(&str, &str)]) -> Self {
        // Another test may have one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut child = Command::new(env!("CARGO_BIN_EXE_geminate"))
            .env_clear()
            .envs([("PORT", "0"), ("ADMIN_PORT", "0"), ("AUTH_TOKEN", TOKEN), ("LOG_FORMAT", "json")])
            .envs(variables.iter().copied())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (err, heard) = (child.stderr.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gate = Self { child, data: nowhere, admin: nowhere, dir, lines, http };
        let line = gate.logged(|line| line["message"] == "listening").await;
        gate.data = line["data"].as_str().unwrap().parse().unwrap();
        gate.admin = line["admin"].as_str().unwrap().parse().unwrap();
        gate
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits for a line of the log.
    pub(crate) async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let lines = self.lines.lock().unwrap().clone();
                let found = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).find(|line| wanted(line));
                match found {
                    Some(line) => return line,
                    None => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("no such line in:\n{}", self.log()))
    }

    /// A request to the data listener with the operator's token.
    pub(crate) fn ask(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.data)).header("x-goog-api-key", TOKEN)
    }

    /// `generateContent` of [`MODEL`].
    pub(crate) async fn generate(&self, text: &str) -> reqwest::Response {
        self.post(&format!("/v1beta/models/{MODEL}:generateContent"), &prompt(text)).await
    }

    /// `streamGenerateContent?alt=sse` of [`MODEL`].
    pub(crate) async fn stream(&self, text: &str) -> reqwest::Response {
        self.post(&format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"), &prompt(text)).await
    }

    /// A JSON body to the data listener.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let request = self.ask(reqwest::Method::POST, path).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    /// JSON of the admin listener, with the operator's token.
    pub(crate) async fn monitor(&self, path: &str) -> Value {
        let request = self.http.get(format!("http://{}{path}", self.admin)).bearer_auth(TOKEN);
        json_of(request.send().await.unwrap()).await
    }

    /// The most memory it ever held, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `SIGTERM`, or another signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits for its end: the exit code.
    pub(crate) async fn exited(&mut self) -> Option<i32> {
        let wait = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("it did not end")
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A prompt.
pub(crate) fn prompt(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

/// The JSON of an answer.
pub(crate) async fn json_of(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// A number in a header of an answer.
pub(crate) fn header(answer: &reqwest::Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}
