//! The room for operators: what `/monitor/*`, `/metrics`, `/healthz` and `/readyz` answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::affinity::Affinity;
use crate::alias::Aliases;
use crate::client::{Clients, Guesses, Presented, Token, asker};
use crate::endpoint::parameters;
use crate::error::seconds;
use crate::layer::remember::Answers;
use crate::pool::KeyPool;
use crate::pool::memory::Clocks;
use crate::pool::view::PoolView;
use crate::readiness::Readiness;
use crate::settings::Network;
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
#[cfg(test)]
mod tests;

pub(crate) use self::errors::Errors;
pub use self::front::{Front, may_be_page};

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
    /// Whoever tries to.
    pub guesses: Arc<Guesses>,
    /// Proxies that say for whom they ask.
    pub proxies: Arc<[Network]>,
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
    /// Whether the caller may see what `path` shows: a [`Token::Right`] may, and so may whoever needs none.
    fn opens(&self, path: &str, request: &Request) -> Token {
        match rule(path, self.listener, self.loopback, self.monitor.tokens) {
            Ruling::Open => Token::Right,
            Ruling::Token if request.extensions().get::<Vouched>().is_some() => Token::Right,
            Ruling::Token => {
                let presented = Presented::take(&mut request.headers().clone(), request.uri());
                let from = self.monitor.asker(request.extensions(), request.headers());
                self.monitor.judge(&presented, from, |clients| clients.may_monitor(&presented))
            }
            Ruling::Absent => Token::Missing,
        }
    }
}

async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    match door.opens(request.uri().path(), &request) {
        Token::Right => next.run(request).await,
        Token::Slowed(wait) => slowed(wait),
        Token::Missing | Token::Another | Token::Wrong => {
            let message = "this needs the admin token, or the operator's where no admin token is set";
            let error = json!({ "error": { "code": 401, "message": message, "status": "UNAUTHENTICATED" } });
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], Json(error)).into_response()
        }
    }
}

fn slowed(wait: Duration) -> Response {
    let message = "too many wrong tokens came from this address";
    let error = json!({ "error": { "code": 429, "message": message, "status": "RESOURCE_EXHAUSTED" } });
    (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds(wait).to_string())], Json(error)).into_response()
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
    if door.opens("/monitor/", &request) == Token::Right {
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

    /// What the credentials of a request come to that comes `from` there, where `opens` says whether one of them opens.
    /// Those that are nobody's are guesses, at whatever door.
    pub(crate) fn judge(&self, presented: &Presented, from: IpAddr, opens: impl FnOnce(&Clients) -> bool) -> Token {
        if presented.iter().next().is_none() {
            return Token::Missing;
        }
        self.guesses.judge(from, Instant::now(), || {
            if opens(&self.clients) {
                Token::Right
            } else if self.clients.know(presented) {
                Token::Another
            } else {
                Token::Wrong
            }
        })
    }

    /// Where a request comes from.
    pub(crate) fn asker(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        asker(extensions, headers, &self.proxies)
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
