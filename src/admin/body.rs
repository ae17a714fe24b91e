//! What a request says: a body of JSON of a known shape, within its bounds; the name in its path; its query; or the
//! problem with it.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::admin::problem::Problem;

/// Bytes of a body.
const BYTES_MAX: usize = 1 << 20;
/// What a client has to send it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a body said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Read<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, as application/json"));
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > BYTES_MAX) {
            return Err(too_large());
        }
        parse(&whole(body).await?).map(Self)
    }
}

/// The last piece of a path that ends with a name.
#[derive(Clone, Debug)]
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(head, state).await;
        path.map(|Path(name)| Self(name))
            .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "the name in this path is no text"))
    }
}

/// What a query said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(head, state).await;
        query.map(|Query(said)| Self(said)).map_err(|rejection| {
            let cause = rejection.source().map_or_else(String::new, ToString::to_string);
            // `field: what is wrong`, where it is one field.
            match cause.split_once(": ") {
                Some((field, what)) if !field.contains(' ') => Problem::field(field, what),
                _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the query is not as this route wants it"),
            }
        })
    }
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    let Ok(read) = timeout(PATIENCE, Limited::new(body, BYTES_MAX).collect()).await else {
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"));
    };
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return too_large();
            }
            cause = error.source();
        }
        Problem::new(StatusCode::BAD_REQUEST, "the body broke off")
    })
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BYTES_MAX} bytes"))
}

/// Reads `text`. What is wrong is told by place or by field, and never quoted: it may be a secret.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        if inner.is_data() { wrong(path, &inner.to_string()) } else { broken(inner) }
    })?;
    reader.end().map_err(|error| broken(&error))?;
    Ok(read)
}

fn broken(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let what = if error.is_eof() { "it ends too early" } else { "it is no JSON" };
    Problem::new(StatusCode::BAD_REQUEST, format!("the body: {what}, at line {line}, column {column}"))
}

/// Out of what serde says of a value that does not fit, the part that says what would.
fn wrong(path: String, message: &str) -> Problem {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let named = |before: &str| message.strip_prefix(before)?.split('`').next().map(str::to_owned);
    let inside = |name: String| match path.rsplit_once('.') {
        _ if path == "." || path == name => name,
        Some((above, last)) if last == name => format!("{above}.{name}"),
        _ => format!("{path}.{name}"),
    };
    let expected = message.split_once("expected ").map(|(_, expected)| expected);
    if let Some(name) = named("unknown field `") {
        let known = expected.unwrap_or("no field");
        return Problem::field(inside(name), format!("this is not known here; expected {known}"));
    }
    if let Some(name) = named("missing field `") {
        return Problem::field(inside(name), "this is needed");
    }
    match expected {
        Some(expected) => Problem::field(path, format!("expected {expected}")),
        None => Problem::field(path, message),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::response::IntoResponse;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        weights: BTreeMap<String, u32>,
        #[expect(dead_code, reason = "it is only read")]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "it is only read")]
        on: bool,
    }

    async fn ask(kind: &str, body: impl Into<Body>) -> Result<Asked, (u16, Value)> {
        let request = Request::post("/").header(CONTENT_TYPE, kind).body(body.into()).unwrap();
        match Read::from_request(request, &()).await {
            Ok(Read(asked)) => Ok(asked),
            Err(problem) => {
                let answer = problem.into_response();
                let status = answer.status().as_u16();
                Err((status, serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()))
            }
        }
    }

    #[tokio::test]
    async fn what_fits_is_read() {
        let asked = ask("application/json; charset=utf-8", r#" {"weights":{"1":5}} "#).await.unwrap();
        assert_eq!(asked.weights["1"], 5);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_by_its_field_and_not_quoted() {
        for (body, field, detail) in [
            (r#"{"weights":{},"colour":1}"#, "colour", "expected `weights` or `inner`"),
            (r#"{"weights":{"2":"fake-secret-1"}}"#, "weights.2", "expected u32"),
            (r#"{"weights":{"2":-1}}"#, "weights.2", "expected u32"),
            ("{}", "weights", "needed"),
            (r#"{"weights":{},"inner":{"on":true,"off":1}}"#, "inner.off", "expected `on`"),
            (r#"{"weights":{},"inner":{}}"#, "inner.on", "needed"),
            (r#"{"weights":{},"inner":{"on":"fake-secret-1"}}"#, "inner.on", "expected a boolean"),
        ] {
            let (status, problem) = ask("application/json", body).await.unwrap_err();
            let error = &problem["errors"][0];
            assert_eq!((status, error["field"].as_str()), (422, Some(field)), "{body}: {problem}");
            assert!(error["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
            assert!(!problem.to_string().contains("fake-secret"), "{problem}");
        }
    }

    #[tokio::test]
    async fn what_is_no_json_or_not_said_to_be_or_too_long_is_refused() {
        for (kind, body, status) in [
            ("application/json", r#"{"weights":{"1":"#, 400),
            ("application/json", r#"{"weights":{}} {}"#, 400),
            ("application/json", "fake-secret-1", 400),
            ("application/json", "", 400),
            ("text/plain", r#"{"weights":{}}"#, 415),
            ("", r#"{"weights":{}}"#, 415),
            ("application/jsonp", r#"{"weights":{}}"#, 415),
        ] {
            let (got, problem) = ask(kind, body).await.unwrap_err();
            assert_eq!(got, status, "{kind} {body}");
            assert!(!problem.to_string().contains("fake-secret"), "{problem}");
        }
        let long = Body::from_stream(futures_util::stream::iter(
            (0..=BYTES_MAX / 1024).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1024]))),
        ));
        assert_eq!(ask("application/json", long).await.unwrap_err().0, 413);
    }
}
