//! `/api/streams`: the requests that run now.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::admin::body::Name;
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::record::Record;
use crate::usage::Usage;

/// Requests listed, unless `limit` asks for another number.
const LISTED: usize = 1_000;
/// The most that it may ask for.
const LISTED_MAX: usize = 10_000;

/// What is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// How many to list at most: 1,000 without it, never more than 10,000.
    limit: Option<usize>,
}

/// The requests whose answer is not over, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Streams {
    /// How many there are, those not listed too.
    total: u64,
    in_flight: Vec<Running>,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Running {
    id: String,
    client: Option<Arc<str>>,
    /// The model asked for.
    model: Option<String>,
    /// The model that serves in its place.
    fallback: Option<Arc<str>>,
    /// The key of the last attempt.
    key: Option<Arc<str>>,
    surface: &'static str,
    route: &'static str,
    /// Whether the answer comes piece by piece.
    streaming: bool,
    age_ms: u64,
    /// Since the last piece, or since the arrival.
    idle_ms: u64,
    /// Of the answer, so far.
    bytes: u64,
    /// Pieces of the answer, so far.
    chunks: u64,
    attempts: u32,
    /// As far as Google has reported them.
    tokens: Usage,
}

/// The requests that run now.
#[utoipa::path(
    get, path = "/api/streams", tag = "requests", params(Asked), responses((status = 200, body = Streams))
)]
pub(crate) async fn list(
    State(room): State<Arc<Room>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Streams>, Problem> {
    let Query(Asked { limit }) = asked.map_err(|_| Problem::field("limit", "expected a number"))?;
    let (telemetry, now) = (&room.monitor.telemetry, Instant::now());
    let calls = telemetry.calls();
    let listed = calls.iter().take(limit.unwrap_or(LISTED).min(LISTED_MAX)).map(|record| Running::of(record, now));
    Ok(Json(Streams { total: telemetry.in_flight(), in_flight: listed.collect() }))
}

/// Ends one that runs: its upstream is left at once, and its client is told that the operator cancelled it.
#[utoipa::path(
    delete, path = "/api/streams/{id}", tag = "requests", params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is told to end"),
        (status = 404, description = "None of this id runs", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(State(room): State<Arc<Room>>, Name(id): Name) -> Result<StatusCode, Problem> {
    if !room.monitor.telemetry.cancel(&id) {
        return Err(Problem::missing("request under way"));
    }
    tracing::info!(request_id = id, "an operator cancels a request");
    Ok(StatusCode::NO_CONTENT)
}

impl Running {
    fn of(record: &Record, now: Instant) -> Self {
        let (surface, action) = record.asked();
        Self {
            id: record.id_text().to_owned(),
            client: record.client_id().cloned(),
            model: record.model_asked().map(str::to_owned),
            fallback: record.fallback(),
            key: record.key(),
            surface: surface.name(),
            route: action.name(),
            streaming: record.streaming(),
            age_ms: millis(now.saturating_duration_since(record.opened())),
            idle_ms: millis(record.idle(now)),
            bytes: record.bytes(),
            chunks: record.chunks(),
            attempts: record.attempts(),
            tokens: record.used(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
