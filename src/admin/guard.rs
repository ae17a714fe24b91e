//! The guard: what every request to the admin listener passes before it is answered.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::admin::access::{Ruling, host, is_foreign_read, is_ours, rule};
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::client::Token;
use crate::monitor::Vouched;

/// What every answer says to browsers, unless it says something of its own.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];
/// Whether the process lives and takes traffic says nothing worth hiding, and probes name hosts as they like.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses what comes from elsewhere, and vouches for whoever has a session or the admin token.
pub(crate) async fn greet(State(room): State<Arc<Room>>, mut request: Request, next: Next) -> Response {
    let mut answer = match known(&room, &request) {
        Ok(vouched) => {
            if vouched {
                request.extensions_mut().insert(Vouched);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        answer.headers_mut().entry(name).or_insert(value);
    }
    answer
}

/// Whether the caller is known to be the operator.
fn known(room: &Room, request: &Request) -> Result<bool, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    let token = room.admin().is_some();
    let ours = is_ours(host(request.uri(), headers), room.loopback, token, room.named.as_deref());
    if !ours && !PROBES.contains(&path) {
        let detail = "the Host of this request is no address and no name of this listener's";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let api = path.starts_with("/api/") || path.starts_with("/debug/");
    if api && is_foreign_read(headers) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this request comes from a page of another site"));
    }
    if room.in_session(headers, Instant::now()) {
        return Ok(true);
    }
    // The monitor's pages have a door of their own.
    if !token || !api {
        return Ok(false);
    }
    match room.token(request) {
        Token::Right => Ok(true),
        Token::Missing | Token::Another | Token::Wrong => Ok(false),
        Token::Slowed(wait) => Err(slowed(wait)),
    }
}

/// Lets in whom the rule lets in.
pub(crate) async fn guard(State(room): State<Arc<Room>>, request: Request, next: Next) -> Response {
    let vouched = request.extensions().get::<Vouched>().is_some();
    match rule(request.uri().path(), room.loopback, room.admin().is_some()) {
        Ruling::Open => next.run(request).await,
        Ruling::Credential if vouched => next.run(request).await,
        Ruling::Credential => {
            let detail = "this needs the admin token, as a Bearer or in x-api-key, or a session";
            Problem::new(StatusCode::UNAUTHORIZED, detail).into_response()
        }
        Ruling::Shut => shut().into_response(),
    }
}

/// Too many tokens were wrong.
pub(crate) fn slowed(wait: std::time::Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens came from this address").after(wait)
}

/// Nothing tells the operator from anyone else.
pub(crate) fn shut() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this listener can be reached from other machines: set ADMIN_TOKEN")
}
