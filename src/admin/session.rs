//! `/api/session`: to log in, to log out, to see whether one is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::admin::access::{Ruling, rule};
use crate::admin::body::Read;
use crate::admin::guard::{shut, slowed};
use crate::admin::problem::Problem;
use crate::admin::room::{COOKIE_NAME, Room, cookie};
use crate::admin::sessions::LIFE;
use crate::client::Token;
use crate::monitor::Vouched;
use crate::secret::Secret;
use crate::upload::ViaProxy;

/// Whether the caller is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Whether the rest of the API answers this caller.
    authenticated: bool,
    /// Whether the admin token is needed for that.
    token_needed: bool,
    /// geminate's.
    version: &'static str,
}

/// What logs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The admin token.
    #[schema(value_type = String, format = Password)]
    token: Secret,
}

/// Whether the caller is known, and what it takes to be.
#[utoipa::path(get, path = "/api/session", tag = "session", security(()), responses((status = 200, body = Session)))]
pub(crate) async fn look(State(room): State<Arc<Room>>, vouched: Option<Extension<Vouched>>) -> Json<Session> {
    let ruling = rule("/api/", room.loopback, room.admin().is_some());
    Json(Session {
        authenticated: ruling == Ruling::Open || vouched.is_some(),
        token_needed: ruling != Ruling::Open,
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Opens a session: the answer sets its cookie. Where no token is needed there is nothing to open.
#[utoipa::path(
    post, path = "/api/session", tag = "session", security(()), request_body = Login,
    responses(
        (status = 204, description = "The cookie is set"),
        (status = 401, description = "The token is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many were", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn open(
    State(room): State<Arc<Room>>,
    head: Parts,
    Read(Login { token }): Read<Login>,
) -> Result<Response, Problem> {
    let secure = is_secure(&head);
    let Some(admin) = room.admin() else {
        return if room.loopback { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(shut()) };
    };
    let now = Instant::now();
    match room.told(&token, &head, now) {
        Token::Right => {}
        Token::Slowed(wait) => return Err(slowed(wait)),
        Token::Missing | Token::Another | Token::Wrong => {
            tracing::warn!("a login with a wrong admin token was refused");
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is wrong"));
        }
    }
    let name = room.lasting.sessions.open(admin, now).ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the system gives no random bytes for a session")
    })?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, written(name.expose(), LIFE.as_secs(), secure))]).into_response())
}

/// Ends the caller's session and takes its cookie back.
#[utoipa::path(
    delete, path = "/api/session", tag = "session", security(()),
    responses((status = 204, description = "There is no session any more"))
)]
pub(crate) async fn close(State(room): State<Arc<Room>>, headers: HeaderMap) -> impl IntoResponse {
    if let Some(name) = cookie(&headers) {
        room.lasting.sessions.close(name);
    }
    (StatusCode::NO_CONTENT, [(SET_COOKIE, written("", 0, false))])
}

/// The cookie as a browser is told to keep it.
fn written(value: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}

/// Whether the caller came by HTTPS, as a proxy of the operator's says.
fn is_secure(head: &Parts) -> bool {
    let proto = head.headers.get("x-forwarded-proto").filter(|_| head.extensions.get::<ViaProxy>().is_some());
    let first = proto.and_then(|proto| proto.to_str().ok()?.split(',').next());
    first.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;

    use super::*;

    #[test]
    fn a_cookie_is_for_this_site_and_for_no_script() {
        let cookie = written("abc", 60, true);
        assert_eq!(cookie, "geminate_session=abc; HttpOnly; SameSite=Strict; Path=/; Max-Age=60; Secure");
        assert!(!written("abc", 60, false).contains("Secure"));
    }

    #[test]
    fn only_a_trusted_proxy_says_that_it_was_https() {
        let (mut head, ()) = Request::get("/").header("x-forwarded-proto", "https").body(()).unwrap().into_parts();
        assert!(!is_secure(&head));
        head.extensions.insert(ViaProxy);
        assert!(is_secure(&head));
    }
}
