//! `/debug/pprof/profile` and `/api/profiles`: where the CPU time goes.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::body::Name;
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::telemetry::profile::{self, Form, NoProfile, Profile};

/// Seconds of a profile, unless another number is asked for.
const SECONDS: u64 = 10;
/// The most that may be asked for.
const SECONDS_MAX: u64 = 60;
/// A flame graph is a document with a script of its own: it gets no rights here, not even those of its origin.
const ALONE: HeaderValue = HeaderValue::from_static(
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'",
);

/// What is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// How long to sample: 1 to 60, 10 without it.
    seconds: Option<u64>,
    /// `pprof`, which is what is sent without it, or `svg`.
    format: Option<Written>,
}

/// The form alone.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InForm {
    /// `pprof`, which is what is sent without it, or `svg`.
    format: Option<Written>,
}

/// How a profile is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Written {
    /// For `go tool pprof`.
    #[default]
    Pprof,
    /// A flame graph.
    Svg,
}

/// The profiles that were taken by themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Profiles {
    /// `monitoring.profile_cpu_percent`; 0 takes none.
    threshold_percent: u32,
    /// The newest first.
    profiles: Vec<Profile>,
}

/// Samples the process for a while, on all its threads, and says where the CPU time went.
#[utoipa::path(
    get, path = "/debug/pprof/profile", tag = "process", params(Asked),
    responses(
        (status = 200, description = "The profile", content_type = "application/octet-stream"),
        (status = 409, description = "One is being taken", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "Built without", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn take(asked: Result<Query<Asked>, QueryRejection>) -> Result<Response, Problem> {
    let Query(Asked { seconds, format }) = asked.map_err(|_| unfit())?;
    let seconds = seconds.unwrap_or(SECONDS);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::field("seconds", format!("expected 1 to {SECONDS_MAX}")));
    }
    let format = format.unwrap_or_default();
    let stacks = profile::take(Duration::from_secs(seconds)).await.map_err(|error| {
        let status = match error {
            NoProfile::NotBuilt => StatusCode::NOT_IMPLEMENTED,
            NoProfile::Running => StatusCode::CONFLICT,
            NoProfile::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    })?;
    let written = tokio::task::spawn_blocking(move || stacks.write(format.form())).await;
    match written {
        Ok(Ok(bytes)) => Ok(sent("profile", bytes, format)),
        _ => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the profile could not be written")),
    }
}

/// The profiles that were taken because the CPU stayed busy.
#[utoipa::path(get, path = "/api/profiles", tag = "process", responses((status = 200, body = Profiles)))]
pub(crate) async fn list(State(room): State<Arc<Room>>) -> Json<Profiles> {
    let kept = room.profiles.clone();
    let profiles = tokio::task::spawn_blocking(move || kept.list()).await.unwrap_or_default();
    Json(Profiles { threshold_percent: room.profile_cpu_percent, profiles })
}

/// One of them.
#[utoipa::path(
    get, path = "/api/profiles/{name}", tag = "process", params(("name" = String, Path), InForm),
    responses(
        (status = 200, description = "The profile", content_type = "application/octet-stream"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(room): State<Arc<Room>>,
    Name(name): Name,
    asked: Result<Query<InForm>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(InForm { format }) = asked.map_err(|_| unfit())?;
    let (kept, format, asked) = (room.profiles.clone(), format.unwrap_or_default(), name.clone());
    let read = tokio::task::spawn_blocking(move || kept.read(&asked, format.form())).await;
    match read {
        Ok(Some(bytes)) => Ok(sent(&name, bytes, format)),
        _ => Err(Problem::missing("profile")),
    }
}

impl Written {
    fn form(self) -> Form {
        match self {
            Self::Pprof => Form::Pprof,
            Self::Svg => Form::Svg,
        }
    }
}

fn unfit() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "expected ?seconds= with 1 to 60 and ?format= with pprof or svg")
}

/// `name` is one of our own.
fn sent(name: &str, bytes: Vec<u8>, format: Written) -> Response {
    match format {
        Written::Svg => {
            ([(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")), (CONTENT_SECURITY_POLICY, ALONE)], bytes)
                .into_response()
        }
        Written::Pprof => {
            let file = format!("attachment; filename=\"{name}.pb\"");
            ([(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, file)], bytes)
                .into_response()
        }
    }
}
