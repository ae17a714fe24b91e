//! The room for operators: what `/monitor/*`, `/metrics`, `/healthz` and `/readyz` answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderName, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::affinity::Affinity;
use crate::alias::Aliases;
use crate::client::{Clients, Presented};
use crate::endpoint::parameters;
use crate::layer::remember::Answers;
use crate::pool::KeyPool;
use crate::pool::memory::Clocks;
use crate::pool::view::PoolView;
use crate::readiness::Readiness;
use crate::state::StateFile;
use crate::telemetry::{Telemetry, clock};

use self::access::{Listener, Ruling, rule};
use self::keys::Keys;
use self::metrics::Metrics;
use self::performance::Report;
use self::streams::Streams;

pub mod access;
mod front;
mod prometheus;
mod keys;
mod metrics;
mod streams;
mod errors;
mod performance;

pub(crate) use self::errors::Errors;
pub use self::front::Front;

/// Entries of a list, unless `?limit=` asks for another number.
const LISTED: usize = 1_000;
/// Entries of a list in `/monitor/full`.
const LISTED_IN_FULL: usize = 100;
/// The most that `?limit=` may ask for.
const LISTED_MAX: usize = 10_000;

/// What the room looks at. Made once, shared by all listeners and threads.
#[derive(Debug)]
pub struct Monitor {
    /// The calls.
    pub telemetry: Arc<Telemetry>,
    /// The keys.
    pub pool: Arc<KeyPool>,
    /// Whoever may look.
    pub clients: Arc<Clients>,
    /// The listeners.
    pub readiness: Arc<Readiness>,
    /// Who owns what.
    pub affinity: Arc<Affinity>,
    /// The answers that are kept, where any are.
    pub answers: Option<Arc<Answers>>,
    /// What models may be called.
    pub aliases: Aliases,
    /// What survives a restart.
    pub files: Vec<StateFile>,
    /// Whether an operator's or an admin's token is set.
    pub tokens: bool,
    /// Whether `/monitor/*` and `/metrics` exist.
    pub enabled: bool,
}

/// Marks a request whose caller was let in before it came here: by an operator's session.
#[derive(Clone, Copy, Debug)]
pub struct Vouched;

/// A listener's door to the room.
#[derive(Clone, Debug)]
struct Door {
    monitor: Arc<Monitor>,
    listener: Listener,
    loopback: bool,
}

/// The routes of a listener; `loopback` says that only this machine reaches it. Every other path is the caller's.
pub fn router(monitor: Arc<Monitor>, listener: Listener, loopback: bool) -> Router {
    let mut routes = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    if monitor.enabled {
        routes = routes
            .route("/monitor/health", get(health))
            .route("/monitor/metrics", get(metrics_json))
            .route("/monitor/keys", get(keys_json))
            .route("/monitor/streams", get(streams_json))
            .route("/monitor/errors", get(errors_json))
            .route("/monitor/performance", get(performance_json))
            .route("/monitor/full", get(full));
        if rule("/metrics", listener, loopback, monitor.tokens) != Ruling::Absent {
            routes = routes.route("/metrics", get(metrics_text));
        }
    }
    let door = Door { monitor, listener, loopback };
    routes.route_layer(from_fn_with_state(door.clone(), guard)).with_state(door)
}

impl Door {
    /// Whether the caller may see what `path` shows.
    fn opens(&self, path: &str, request: &Request) -> bool {
        match rule(path, self.listener, self.loopback, self.monitor.tokens) {
            Ruling::Open => true,
            Ruling::Token if request.extensions().get::<Vouched>().is_some() => true,
            Ruling::Token => {
                let presented = Presented::take(&mut request.headers().clone(), request.uri());
                self.monitor.clients.may_monitor(&presented)
            }
            Ruling::Absent => false,
        }
    }
}

async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    if door.opens(request.uri().path(), &request) {
        return next.run(request).await;
    }
    let message = "this needs the admin token, or the operator's where no admin token is set";
    let error = json!({ "error": { "code": 401, "message": message, "status": "UNAUTHENTICATED" } });
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], Json(error)).into_response()
}

async fn healthz() -> impl IntoResponse {
    fresh(StatusCode::OK, json!({ "status": "ok" }))
}

async fn readyz(State(door): State<Door>) -> impl IntoResponse {
    let readiness = &door.monitor.readiness;
    let status = match (readiness.ready(), readiness.draining()) {
        (true, _) => return fresh(StatusCode::OK, json!({ "status": "ready" })),
        (_, true) => "draining",
        _ => "starting",
    };
    fresh(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": status }))
}

async fn health(State(door): State<Door>, request: Request) -> impl IntoResponse {
    let monitor = &door.monitor;
    let (code, status) = monitor.status();
    // Whoever may not see the other pages gets the word alone, and costs no look at every key.
    if door.opens("/monitor/", &request) {
        fresh(code, monitor.health(&monitor.view()))
    } else {
        fresh(code, json!({ "status": status }))
    }
}

async fn metrics_json(State(door): State<Door>, uri: Uri) -> Response {
    if parameters(uri.query()).any(|parameter| parameter == "format=prometheus") {
        return metrics_text(State(door)).await.into_response();
    }
    fresh(StatusCode::OK, door.monitor.metrics(&door.monitor.view())).into_response()
}

async fn metrics_text(State(door): State<Door>) -> impl IntoResponse {
    let monitor = &door.monitor;
    let (telemetry, readiness, answers) = (&monitor.telemetry, &monitor.readiness, monitor.answers.as_deref());
    let text = metrics::text(telemetry, readiness, &monitor.view(), &monitor.affinity, answers);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")], text)
}

async fn keys_json(State(door): State<Door>, uri: Uri) -> Response {
    let Some(asked) = parameters(uri.query()).find_map(|parameter| parameter.strip_prefix("explain=")) else {
        return fresh(StatusCode::OK, Keys::of(door.monitor.view(), limit(&uri))).into_response();
    };
    let monitor = &door.monitor;
    if let Some(explanation) = keys::explained(&monitor.pool, &monitor.aliases, asked, limit(&uri), clocks()) {
        return fresh(StatusCode::OK, explanation).into_response();
    }
    let message = "explain= takes a model's name: at most 128 letters, digits, `.`, `_` and `-`";
    let error = json!({ "error": { "code": 400, "message": message, "status": "INVALID_ARGUMENT" } });
    fresh(StatusCode::BAD_REQUEST, error).into_response()
}

async fn streams_json(State(door): State<Door>, uri: Uri) -> impl IntoResponse {
    fresh(StatusCode::OK, Streams::now(&door.monitor.telemetry, limit(&uri), Instant::now()))
}

async fn errors_json(State(door): State<Door>, uri: Uri) -> impl IntoResponse {
    let telemetry = &door.monitor.telemetry;
    fresh(StatusCode::OK, Errors::now(telemetry, &telemetry.counts(), limit(&uri)))
}

async fn performance_json(State(door): State<Door>) -> impl IntoResponse {
    let monitor = &door.monitor;
    fresh(StatusCode::OK, Report::now(&monitor.telemetry, monitor.readiness.open(), Instant::now()))
}

async fn full(State(door): State<Door>) -> impl IntoResponse {
    let (monitor, now) = (&door.monitor, Instant::now());
    let view = monitor.view();
    let counts = monitor.telemetry.counts();
    let page = json!({
        "health": monitor.health(&view),
        "metrics": monitor.metrics(&view),
        "performance": Report::now(&monitor.telemetry, monitor.readiness.open(), now),
        "streams": Streams::now(&monitor.telemetry, LISTED_IN_FULL, now),
        "errors": Errors::now(&monitor.telemetry, &counts, LISTED_IN_FULL),
        "keys": Keys::of(view, LISTED_IN_FULL),
    });
    fresh(StatusCode::OK, page)
}

impl Monitor {
    fn view(&self) -> PoolView {
        self.pool.view(clocks())
    }

    /// Whether what is known could be written down when it was tried last.
    pub(crate) fn is_saved(&self) -> bool {
        !self.files.iter().any(StateFile::is_failing)
    }

    /// Whether at least one key can serve, and nothing else is wrong.
    fn status(&self) -> (StatusCode, &'static str) {
        if self.pool.can_serve(Instant::now()) {
            (StatusCode::OK, if self.is_saved() { "ok" } else { "degraded" })
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "down")
        }
    }

    fn health(&self, view: &PoolView) -> serde_json::Value {
        json!({
            "status": self.status().1,
            "at": clock(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.telemetry.uptime(Instant::now()).as_secs(),
            "draining": self.readiness.draining(),
            "state_saved": self.is_saved(),
            "keys_total": view.keys.len(),
            "keys_usable": view.usable,
            "soonest_return": view.soonest_return,
        })
    }

    fn metrics(&self, view: &PoolView) -> Metrics {
        Metrics::now(&self.telemetry, &self.readiness, view, &self.affinity, self.answers.as_deref())
    }
}

/// Both clocks, now.
fn clocks() -> Clocks {
    Clocks { now: Instant::now(), wall: clock() }
}

/// An answer that is true only now.
fn fresh<T: Serialize>(code: StatusCode, page: T) -> (StatusCode, [(HeaderName, &'static str); 1], Json<T>) {
    (code, [(CACHE_CONTROL, "no-store")], Json(page))
}

/// `?limit=`, within bounds.
fn limit(uri: &Uri) -> usize {
    let asked = parameters(uri.query()).find_map(|parameter| parameter.strip_prefix("limit=")?.parse().ok());
    asked.unwrap_or(LISTED).min(LISTED_MAX)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::pool::key::{Ceilings, KeySpec};
    use crate::secret::Secret;
    use crate::settings::Auth;

    const KEY: &str = "fake-key-of-the-pool-1234";

    fn room(keys: usize, token: Option<&str>) -> Arc<Monitor> {
        let spec = |n: usize| KeySpec {
            id: (n + 1).to_string().into(),
            secret: Secret::new(format!("{KEY}{n:04}")),
            weight: 10,
            project: None,
            egress: 0,
            ceilings: Ceilings::default(),
            enabled: true,
        };
        let specs: Vec<_> = (0..keys).map(spec).collect();
        let now = Instant::now();
        let auth = Auth { tokens: token.map(|t| Secret::new(t.into())).into_iter().collect(), ..Auth::default() };
        Arc::new(Monitor {
            telemetry: Telemetry::new(now),
            pool: Arc::new(KeyPool::new(&specs, Clocks { now, wall: clock() }).unwrap()),
            clients: Arc::new(Clients::new(&auth, &crate::settings::Clients::default(), None, true).unwrap()),
            readiness: Arc::default(),
            affinity: Arc::new(Affinity::new(&crate::settings::Affinity::default())),
            answers: None,
            aliases: Aliases::default(),
            files: Vec::new(),
            tokens: token.is_some(),
            enabled: true,
        })
    }

    async fn get(router: &Router, uri: &str, token: &str) -> (u16, String) {
        let request = Request::get(uri).header("authorization", format!("Bearer {token}"));
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
    }

    const PAGES: [&str; 7] = [
        "/monitor/health",
        "/monitor/metrics",
        "/monitor/keys",
        "/monitor/streams",
        "/monitor/errors",
        "/monitor/performance",
        "/monitor/full",
    ];

    #[tokio::test]
    async fn no_page_shows_a_key_and_every_page_is_json() {
        let router = router(room(3, None), Listener::Admin, true);
        for page in PAGES {
            let (status, text) = get(&router, page, "").await;
            assert_eq!(status, 200, "{page}");
            assert!(serde_json::from_str::<Value>(&text).unwrap().is_object());
            assert!(!text.contains(KEY), "{page} shows a key");
        }
        let (status, text) = get(&router, "/metrics", "").await;
        assert_eq!(status, 200);
        assert!(!text.contains(KEY));
    }

    #[tokio::test]
    async fn strangers_learn_the_status_alone() {
        let router = router(room(1, Some("operators-token")), Listener::Data, false);
        assert_eq!(get(&router, "/monitor/health", "guess").await, (200, r#"{"status":"ok"}"#.to_owned()));
        for page in &PAGES[1..] {
            assert_eq!(get(&router, page, "guess").await.0, 401, "{page}");
            assert_eq!(get(&router, page, "operators-token").await.0, 200, "{page}");
        }
        assert!(get(&router, "/monitor/health", "operators-token").await.1.contains("keys_usable"));
        assert_eq!(get(&router, "/metrics", "operators-token").await.0, 404);
        assert_eq!(get(&router, "/readyz", "").await.0, 503);
        assert_eq!(get(&router, "/healthz", "").await.0, 200);
    }

    #[tokio::test]
    async fn without_a_key_that_can_serve_health_is_503() {
        let router = router(room(0, None), Listener::Data, true);
        assert_eq!(get(&router, "/monitor/health", "").await.0, 503);
    }

    #[tokio::test]
    async fn a_monitor_that_is_switched_off_is_not_there() {
        let mut room = room(1, None);
        Arc::get_mut(&mut room).unwrap().enabled = false;
        let router = router(room, Listener::Admin, true);
        for page in PAGES {
            assert_eq!(get(&router, page, "").await.0, 404, "{page}");
        }
        assert_eq!(get(&router, "/healthz", "").await.0, 200);
    }

    #[tokio::test]
    async fn lists_of_ten_thousand_keys_are_cut_to_what_was_asked_for() {
        let router = router(room(10_000, None), Listener::Admin, true);
        let keys: Value = serde_json::from_str(&get(&router, "/monitor/keys?limit=7", "").await.1).unwrap();
        assert_eq!((keys["total"].as_u64(), keys["keys"].as_array().unwrap().len()), (Some(10_000), 7));
        let full: Value = serde_json::from_str(&get(&router, "/monitor/full", "").await.1).unwrap();
        assert_eq!(full["keys"]["keys"].as_array().unwrap().len(), LISTED_IN_FULL);
        assert_eq!(full["metrics"]["outcomes"]["ok"], 0);
    }

    #[tokio::test]
    async fn both_doors_to_prometheus_show_text_that_it_can_read() {
        let router = router(room(2, None), Listener::Admin, true);
        for uri in ["/metrics", "/monitor/metrics?format=prometheus"] {
            let (_, text) = get(&router, uri, "").await;
            let mut families = std::collections::HashSet::new();
            for line in text.lines().filter(|line| !line.is_empty()) {
                if let Some(family) = line.strip_prefix("# TYPE ") {
                    assert!(families.insert(family.split(' ').next().unwrap().to_owned()), "{line} comes twice");
                } else if !line.starts_with('#') {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    value.parse::<f64>().unwrap();
                    let name = name.split('{').next().unwrap();
                    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
                    assert!(parts.chain([name]).any(|name| families.contains(name)), "{line} has no type");
                }
            }
            for family in ["geminate_key_state", "geminate_in_flight", "process_open_fds", "geminate_build_info"] {
                assert!(families.contains(family), "{family} is missing");
            }
            assert!(text.contains(r#"geminate_key_state{key="2",state="usable"} 1"#));
        }
    }
}
