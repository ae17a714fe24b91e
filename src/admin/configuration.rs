//! `/api/config`, its history, and `/api/reload`: the configuration looked at, changed, and brought back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::admin::body::{Read, Said};
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::config::book::{Edit, Refused, Sheet, Taken, Wish};
use crate::config::{Entry, Fault, Unfit};

/// Characters of a comment.
const COMMENT_CHARS_MAX: usize = 500;

/// Another text of the file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    /// The whole file; `[secret N]` where a secret stays what it is.
    toml: String,
    /// Why.
    comment: Option<String>,
}

/// A version to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    /// The version.
    version: String,
    /// Why.
    comment: Option<String>,
}

/// How a change is asked.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ask {
    #[serde(default)]
    dry_run: bool,
}

/// The last configurations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// The newest first.
    entries: Vec<Entry>,
}

/// The configuration: the file's text without its secrets, and what holds.
#[utoipa::path(
    get, path = "/api/config", tag = "configuration",
    responses((status = 200, body = Sheet, headers(("etag" = String, description = "The version, for `If-Match`"))))
)]
pub(crate) async fn look(State(room): State<Arc<Room>>) -> impl IntoResponse {
    let sheet = room.lasting.levers.desk.sheet();
    ([(ETAG, tag(&sheet.version))], Json(sheet))
}

/// Puts another text in the place of the file: judged whole, written, and taken up at once. `dry_run` only tells what would
/// change.
#[utoipa::path(
    put, path = "/api/config", tag = "configuration", request_body = Text,
    params(("dry_run" = Option<bool>, Query, description = "Change nothing"), ("if-match" = String, Header, description = "The version that was looked at")),
    responses(
        (status = 200, body = Taken),
        (status = 412, description = "Somebody else was first", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is wrong, by line and field", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(room): State<Arc<Room>>,
    Said(ask): Said<Ask>,
    headers: HeaderMap,
    Read(Text { toml, comment }): Read<Text>,
) -> Result<impl IntoResponse, Problem> {
    seen(&headers)?;
    answered(bring(&room, &headers, Edit::Text(toml), comment, ask.dry_run).await)
}

/// The last fifty, with their authors and what they changed.
#[utoipa::path(get, path = "/api/config/history", tag = "configuration", responses((status = 200, body = History)))]
pub(crate) async fn history(State(room): State<Arc<Room>>) -> Json<History> {
    Json(History { entries: room.lasting.levers.desk.history().await })
}

/// Goes back to an earlier version, as a change of its own.
#[utoipa::path(
    post, path = "/api/config/rollback", tag = "configuration", request_body = Back,
    params(("dry_run" = Option<bool>, Query, description = "Change nothing"), ("if-match" = String, Header, description = "The version that was looked at")),
    responses(
        (status = 200, body = Taken),
        (status = 404, description = "It is not kept", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else was first", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is wrong by now, by line and field", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rollback(
    State(room): State<Arc<Room>>,
    Said(ask): Said<Ask>,
    headers: HeaderMap,
    Read(Back { version, comment }): Read<Back>,
) -> Result<impl IntoResponse, Problem> {
    seen(&headers)?;
    answered(bring(&room, &headers, Edit::Back(version), comment, ask.dry_run).await)
}

/// Reads the file again, and those that it names.
#[utoipa::path(
    post, path = "/api/reload", tag = "configuration",
    params(("dry_run" = Option<bool>, Query, description = "Change nothing")),
    responses(
        (status = 200, body = Taken),
        (status = 422, description = "It is wrong, by line and field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reload(
    State(room): State<Arc<Room>>,
    Said(ask): Said<Ask>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    answered(bring(&room, &headers, Edit::Reread, None, ask.dry_run).await)
}

fn answered(taken: Result<Taken, Problem>) -> Result<impl IntoResponse, Problem> {
    taken.map(|taken| ([(ETAG, tag(&taken.version))], Json(taken)))
}

/// Brings to the desk what whoever sent these headers wants, for the version that they name.
pub(crate) async fn bring(
    room: &Room,
    headers: &HeaderMap,
    edit: Edit,
    comment: Option<String>,
    dry_run: bool,
) -> Result<Taken, Problem> {
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_CHARS_MAX) {
        return Err(Problem::field("comment", format!("expected at most {COMMENT_CHARS_MAX} characters")));
    }
    let author = if room.in_session(headers, Instant::now()) { "dashboard" } else { "api" }.to_owned();
    // It is kept and shown: what looks like a key has no place in it.
    let comment = comment.map(|comment| room.scrubber.scrub_str(&comment).into_owned());
    // The file is read again whatever was seen of it before.
    let version = if matches!(edit, Edit::Reread) { None } else { matched(headers) };
    let wish = Wish { edit, author, comment, version, dry_run };
    Ok(room.lasting.levers.desk.bring(wish).await?)
}

/// The version that `If-Match` names.
fn matched(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(IF_MATCH)?.to_str().unwrap_or("").trim();
    (tag != "*").then(|| tag.trim_start_matches("W/").trim_matches('"').to_owned())
}

/// Whether it names one: a change that replaces the whole must.
fn seen(headers: &HeaderMap) -> Result<(), Problem> {
    let detail = "send If-Match with the ETag of GET /api/config, so that nobody's change is lost";
    matched(headers).map(drop).ok_or_else(|| Problem::new(StatusCode::PRECONDITION_REQUIRED, detail))
}

/// A version as a tag.
pub(crate) fn tag(version: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        let status = match refused {
            Refused::Faults(faults) => return Self::faults(faults.0.iter().map(told)),
            Refused::Stale(_) => StatusCode::PRECONDITION_FAILED,
            Refused::NoVersion(_) | Refused::Unfit(Unfit::Unknown(_)) => StatusCode::NOT_FOUND,
            Refused::Unfit(_) | Refused::Disk(_) => StatusCode::CONFLICT,
            Refused::Unusable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, detail)
    }
}

/// Field, line and detail of a fault: the field where it names one, else where it stands.
fn told(fault: &Fault) -> (String, Option<usize>, String) {
    let path =
        |field: &str| field.contains('.') && field.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match fault.what().split_once(": ") {
        Some((field, detail)) if path(field) => (field.to_owned(), fault.line(), detail.to_owned()),
        _ => (fault.at().to_owned(), fault.line(), fault.what().to_owned()),
    }
}
