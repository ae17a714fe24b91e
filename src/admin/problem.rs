//! A problem: what every error of the admin API answers, as RFC 9457 has it.

use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An error of the admin API, sent as `application/problem+json`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says which kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong, and what would be right.
    detail: String,
    /// The single fields that are wrong, where some are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Wrong>,
    /// When it is worth another try.
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// A field that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub(crate) struct Wrong {
    /// Its name, with those of the fields that it stands in before it, dots between them.
    field: String,
    /// The line of the text that it stands in, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// What is wrong with it.
    detail: String,
}

impl Problem {
    /// What it is sent as.
    pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

    /// A problem with this status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 422, because of one field.
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let (field, detail) = (field.into(), detail.into());
        let whole = Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{field}: {detail}"));
        Self { errors: vec![Wrong { field, line: None, detail }], ..whole }
    }

    /// 422, because of what is wrong with a configuration: field, line and detail of each.
    pub(crate) fn faults(faults: impl IntoIterator<Item = (String, Option<usize>, String)>) -> Self {
        let wrong = |(field, line, detail)| Wrong { field, line, detail };
        let errors: Vec<Wrong> = faults.into_iter().map(wrong).collect();
        let told: Vec<String> = errors.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.detail)).collect();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, told.join("; ")) }
    }

    /// 404: `what` is not there.
    pub(crate) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// The same, worth another try after `wait`.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let wait = self.retry_after;
        let mut answer = (status, Json(self)).into_response();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, Self::CONTENT_TYPE);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_problem_says_status_field_and_when_to_come_again() {
        let answer =
            Problem::field("weights.2", "expected 1 to 1000").after(Duration::from_millis(1_500)).into_response();
        assert_eq!(answer.status(), 422);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers()[RETRY_AFTER], "2");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], 422);
        assert_eq!(body["errors"][0]["field"], "weights.2");
    }

    #[tokio::test]
    async fn whoever_is_not_known_is_told_how_to_become_it() {
        let answer = Problem::new(StatusCode::UNAUTHORIZED, "no token").into_response();
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("errors"));
    }
}
