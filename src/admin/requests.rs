//! `/api/requests`: the calls that ended lately, and one call with its attempts as a timeline.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use crate::admin::body::Name;
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::telemetry::{Filter, Recent, Request, statuses};

/// Requests listed, unless `limit` asks for another number.
const LISTED: usize = 100;
/// The most that it may ask for.
const LISTED_MAX: usize = 1_000;

/// Which ones are asked for: every field that is there must fit.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The id of a key that one of its attempts was made with.
    key: Option<String>,
    /// The model that was asked for, or the one that served in its place.
    model: Option<String>,
    /// The id of the client.
    client: Option<String>,
    /// The status that the client got: `503`, or `5xx` for all of the class.
    status: Option<String>,
    /// How it ended, or the reason of a refusal.
    outcome: Option<String>,
    /// How many at most: 100 without it, never more than 1,000.
    limit: Option<usize>,
    /// Only what is older: than the request with this id, or than this time.
    before: Option<String>,
}

/// The calls that ended lately, the newest first.
#[utoipa::path(get, path = "/api/requests", tag = "requests", params(Asked), responses((status = 200, body = Recent)))]
pub(crate) async fn list(
    State(room): State<Arc<Room>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Recent>, Problem> {
    let Query(asked) = asked.map_err(|rejection| {
        // It names the field, and quotes no value.
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, rejection.body_text())
    })?;
    let status = match asked.status.as_deref() {
        Some(text) => Some(statuses(text).ok_or_else(|| Problem::field("status", "expected such as 503 or 5xx"))?),
        None => None,
    };
    let limit = asked.limit.unwrap_or(LISTED).min(LISTED_MAX);
    let Asked { key, model, client, outcome, before, .. } = asked;
    let filter = Filter { key, model, client, status, outcome, before, limit };
    Ok(Json(room.monitor.telemetry.recent(&filter, Instant::now())))
}

/// One call, whether it is over or runs.
#[utoipa::path(
    get, path = "/api/requests/{id}", tag = "requests", params(("id" = String, Path)),
    responses(
        (status = 200, body = Request),
        (status = 404, description = "It is not known any more", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(State(room): State<Arc<Room>>, Name(id): Name) -> Result<Json<Request>, Problem> {
    let found = room.monitor.telemetry.find(&id, Instant::now());
    found.map(Json).ok_or_else(|| Problem::missing("request, or not any more"))
}
