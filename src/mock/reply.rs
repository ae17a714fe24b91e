//! Answers before they are written: JSON as Google's front end prints it, refusals in their wrapping, bent by scripts.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::mock::bodies::{Page, Refused};
use crate::mock::fault::Fault;
use crate::mock::script::Script;
use crate::mock::wire::Answer;

/// The kind of everything but streams, pages and files.
pub(crate) const JSON: &str = "application/json; charset=UTF-8";

/// JSON as Google's front end prints it.
pub(crate) fn pretty(value: &Value) -> Bytes {
    Bytes::from(format!("{value:#}\n"))
}

/// A success in one piece.
pub(crate) fn whole(value: &Value) -> Answer {
    let mut headers = headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Answer { status: StatusCode::OK, headers, frames: vec![pretty(value)], streams: false }
}

/// A success without a body.
pub(crate) fn bare() -> Answer {
    Answer { status: StatusCode::OK, headers: headers(), frames: Vec::new(), streams: false }
}

/// A refusal as it goes out: wrapped in an array where Google wraps it.
pub(crate) fn refusal(refused: Refused, in_array: bool) -> Answer {
    let (kind, body) = match refused.body {
        Page::Html(page) => ("text/html; charset=UTF-8", Bytes::from_static(page.as_bytes())),
        Page::Json(value) if in_array => (JSON, pretty(&json!([value]))),
        Page::Json(value) => (JSON, pretty(&value)),
    };
    let mut headers = headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer { status, headers, frames: vec![body], streams: false }
}

/// Puts the script's own status, headers and body in place of the answer's. `key` is what `{key}` becomes.
pub(crate) fn bend(answer: &mut Answer, script: &Script, key: &str) {
    let status =
        script.faults.iter().find_map(|fault| if let Fault::Status(code) = fault { Some(*code) } else { None });
    if let Some(status) = status {
        answer.status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        if script.refusal().is_none() {
            answer.frames.clear();
            answer.streams = false;
        }
    }
    if let Some(body) = &script.body {
        answer.frames = vec![body.replace("{key}", key).into()];
        answer.streams = false;
    }
    for (name, value) in &script.headers {
        let value = HeaderValue::from_str(&value.replace("{key}", key));
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value) {
            answer.headers.insert(name, value);
        }
    }
}

/// What Google's front end puts on every answer.
fn headers() -> HeaderMap {
    [
        ("server", "scaffolding on HTTPServer2"),
        ("vary", "Origin, X-Origin, Referer"),
        ("x-xss-protection", "0"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-content-type-options", "nosniff"),
        ("server-timing", "gfet4t7; dur=42"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect()
}
