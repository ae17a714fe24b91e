//! `/api/series` and `/api/errors`: the last hour and the last day in steps, and what went wrong in them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use tokio::time::Instant;

use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::monitor::Errors;
use crate::telemetry::{Series, Span};

/// Failures listed, unless `limit` asks for another number: all that are kept.
const LISTED: usize = 100;
/// The most that it may ask for, of failures and of the keys that failed most.
const LISTED_MAX: usize = 1_000;

/// How far back to look.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Back {
    /// `hour`, which it is without it, or `day`.
    span: Option<String>,
}

/// How many to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Most {
    /// Failures, and keys that failed: 100 without it, never more than 1,000.
    limit: Option<usize>,
}

/// What was counted in each step of the last hour or day, a column for each number.
#[utoipa::path(get, path = "/api/series", tag = "overview", params(Back), responses((status = 200, body = Series)))]
pub(crate) async fn series(
    State(room): State<Arc<Room>>,
    asked: Result<Query<Back>, QueryRejection>,
) -> Result<Json<Series>, Problem> {
    let wrong = || Problem::field("span", "expected `hour` or `day`");
    let Query(Back { span }) = asked.map_err(|_| wrong())?;
    let span = Span::named(span.as_deref().unwrap_or(Span::Hour.name())).ok_or_else(wrong)?;
    Ok(Json(room.monitor.telemetry.series(span, Instant::now())))
}

/// Failed attempts since the start by class, key and model; by minute of the last hour; and the last ones in full.
#[utoipa::path(get, path = "/api/errors", tag = "requests", params(Most), responses((status = 200, body = Errors)))]
pub(crate) async fn errors(
    State(room): State<Arc<Room>>,
    asked: Result<Query<Most>, QueryRejection>,
) -> Result<Json<Errors>, Problem> {
    let Query(Most { limit }) = asked.map_err(|_| Problem::field("limit", "expected a number"))?;
    let telemetry = &room.monitor.telemetry;
    Ok(Json(Errors::now(telemetry, &telemetry.counts(), limit.unwrap_or(LISTED).min(LISTED_MAX))))
}
