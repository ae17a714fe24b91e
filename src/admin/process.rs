//! The running process: `/api/log-level` and `/api/drain`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::body::Read;
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::telemetry::log::Unfit;

/// Bytes of a filter.
const FILTER_BYTES_MAX: usize = 1_024;

/// What the log lets through.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLevel {
    /// ERROR, WARN, INFO, DEBUG, TRACE or OFF, or a filter such as `info,geminate::pool=debug`.
    filter: String,
}

/// What the log lets through.
#[utoipa::path(get, path = "/api/log-level", tag = "process", responses((status = 200, body = LogLevel)))]
pub(crate) async fn look(State(room): State<Arc<Room>>) -> Json<LogLevel> {
    Json(LogLevel { filter: room.lasting.levers.log.text() })
}

/// Changes it at once, and until the next start.
#[utoipa::path(
    put, path = "/api/log-level", tag = "process", request_body = LogLevel,
    responses(
        (status = 200, body = LogLevel),
        (status = 422, description = "It is no filter", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set(
    State(room): State<Arc<Room>>,
    Read(LogLevel { filter }): Read<LogLevel>,
) -> Result<Json<LogLevel>, Problem> {
    if filter.len() > FILTER_BYTES_MAX {
        return Err(Problem::field("filter", format!("expected at most {FILTER_BYTES_MAX} bytes")));
    }
    room.lasting.levers.log.set(&filter).map_err(|unfit| match unfit {
        Unfit::Unreadable => Problem::field("filter", unfit.to_string()),
        Unfit::Gone => Problem::new(StatusCode::SERVICE_UNAVAILABLE, unfit.to_string()),
    })?;
    tracing::info!(filter, "the log's filter was changed");
    Ok(Json(LogLevel { filter }))
}

/// Ends geminate as SIGTERM does: requests that have begun finish, new ones are refused. A second time does nothing.
#[utoipa::path(
    post, path = "/api/drain", tag = "process", responses((status = 202, description = "The drain begins or has begun"))
)]
pub(crate) async fn drain(State(room): State<Arc<Room>>) -> StatusCode {
    tracing::info!("an operator begins the drain");
    room.lasting.levers.drain.begin();
    StatusCode::ACCEPTED
}
