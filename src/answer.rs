//! Answers: the one place where an [`Error`] becomes HTTP, in the shape of the surface that was called.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::endpoint::Surface;
use crate::error::{Error, seconds};
use crate::record::Outcome;
use crate::refusal::Refusal;

/// What every answer of ours is.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");
const DOMAIN: &str = "geminate";
/// No more is told of what Google said at great length.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The whole answer to a refused or failed call. Its [`Outcome`] is among the extensions.
pub fn refuse<B: From<Bytes>>(surface: Surface, error: &Error) -> Response<B> {
    let mut answer = Response::new(B::from(body(surface, error)));
    *answer.status_mut() = error.status();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(wait) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)));
    }
    if error.status() == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if error.status() == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if error.leaves_body() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer.extensions_mut().insert(Outcome::from(error));
    answer
}

/// The body of a refusal.
fn body(surface: Surface, error: &Error) -> Bytes {
    let json = match surface {
        Surface::Gemini => gemini(error),
        Surface::OpenAi => openai(error),
        Surface::Interactions => interactions(error),
    };
    Bytes::from(json.to_string())
}

/// The last frame of a stream that broke: what each SDK of the surface can read.
pub fn last_frame(surface: Surface, error: &Error) -> Bytes {
    match surface {
        // Compact and unprefixed: Google's own form, which python, go and js all read (Google SDKs, 2026).
        Surface::Gemini => Bytes::from(gemini(error).to_string()),
        Surface::OpenAi => Bytes::from(format!("data: {}\n\n", openai(error))),
        Surface::Interactions => {
            let mut event = interactions(error);
            event["event_type"] = "error".into();
            Bytes::from(format!("event: error\ndata: {event}\n\n"))
        }
    }
}

fn gemini(error: &Error) -> Value {
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.name().to_uppercase(),
        "domain": DOMAIN,
        "metadata": metadata(error),
    })];
    if let Some(wait) = error.retry_after() {
        details.push(retry_info(wait));
    }
    json!({"error": {
        "code": error.status().as_u16(),
        "message": error.to_string(),
        "status": google_status(error.status()),
        "details": details,
    }})
}

/// How many keys are out for each reason.
fn metadata(error: &Error) -> Value {
    let Error::Exhausted { reasons, .. } = error else { return json!({}) };
    reasons.iter().map(|(reason, count)| ((*reason).to_owned(), Value::from(count.to_string()))).collect()
}

fn openai(error: &Error) -> Value {
    let kind = openai_kind(error.status());
    json!({"error": {"message": error.to_string(), "type": kind, "param": null, "code": error.name()}})
}

/// OpenAI's word for a kind of error.
const fn openai_kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        // The request was in order.
        499 => "server_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// An error answer of the upstream's, of which `refusal` is read, in the surface's shape, where `body` is in none that its
/// clients can read: empty as what came not whole, a page, or on OpenAI's surface whatever OpenAI itself would not say.
/// `None`: it goes on as it came.
pub fn retold(surface: Surface, status: StatusCode, refusal: &Refusal, body: &[u8]) -> Option<Bytes> {
    let is_readable = !refusal.html && !body.trim_ascii().is_empty();
    match surface {
        Surface::OpenAi => in_openais_shape(status, body).or_else(|| {
            let envelope = envelope(status, refusal, &words(status, refusal, body)).to_string();
            in_openais_shape(status, envelope.as_bytes())
        }),
        _ if is_readable => None,
        Surface::Gemini => Some(Bytes::from(envelope(status, refusal, &words(status, refusal, body)).to_string())),
        Surface::Interactions => {
            let message = words(status, refusal, body);
            let error = json!({"code": interactions_word(status), "message": message});
            Some(Bytes::from(json!({"error": error}).to_string()))
        }
    }
}

/// What is told of an error answer: never nothing.
fn words(status: StatusCode, refusal: &Refusal, body: &[u8]) -> String {
    if refusal.html {
        return Error::Edge { status, title: refusal.message.clone() }.to_string();
    }
    let text = String::from_utf8_lossy(body);
    let said = [refusal.message.as_str(), &text].into_iter().map(str::trim).find(|said| !said.is_empty());
    said.map_or_else(
        || format!("the upstream answered {} and gave no reason", status.as_u16()),
        |said| said[..said.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned(),
    )
}

/// An error inside a stream of OpenAI's, of which `refusal` is read: the frame that its SDKs raise.
pub fn error_frame(refusal: &Refusal, body: &[u8]) -> Bytes {
    let status = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let told = retold(Surface::OpenAi, status, refusal, body).unwrap_or_default();
    Bytes::from([b"data: ", &*told, b"\n\n"].concat())
}

/// Google's own shape.
fn envelope(status: StatusCode, refusal: &Refusal, message: &str) -> Value {
    let word = Some(refusal.status.as_str()).filter(|word| !word.is_empty()).unwrap_or_else(|| google_status(status));
    let mut error = json!({"code": status.as_u16(), "message": message, "status": word});
    if let Some(wait) = refusal.retry_in {
        error["details"] = json!([retry_info(wait)]);
    }
    json!({ "error": error })
}

fn retry_info(wait: Duration) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{}s", seconds(wait))})
}

/// An error of Google's as OpenAI's SDKs read one. Google wraps what its compatible endpoint refuses in an array, of which
/// they make nothing but the status (openai-python 3.57, 2026-11): it is taken out, all its members are kept, and those that
/// the SDKs look for are added. `None`: it is no such error.
fn in_openais_shape(status: StatusCode, body: &[u8]) -> Option<Bytes> {
    let mut json = serde_json::from_slice::<Value>(body).ok()?;
    let mut envelope = if json.is_array() { json.get_mut(0)?.take() } else { json };
    envelope.get("error")?.get("message")?.as_str().filter(|message| !message.is_empty())?;
    let error = &mut envelope["error"];
    if !error["code"].is_string() {
        error["code"] = error["status"].clone();
    }
    if !error["type"].is_string() {
        error["type"] = openai_kind(status).into();
    }
    error["param"] = error["param"].take();
    Some(Bytes::from(envelope.to_string()))
}

/// The Interactions API's words (Gemini API documentation, "API errors", 2026-10).
fn interactions(error: &Error) -> Value {
    let spent = |reasons: &[(&str, u32)]| !reasons.is_empty() && reasons.iter().all(|(name, _)| *name == "quota_day");
    let code = match error {
        Error::Exhausted { reasons, fault: false, .. } if spent(reasons) => "quota_exceeded",
        error => interactions_word(error.status()),
    };
    json!({"error": {"code": code, "message": error.to_string()}})
}

const fn interactions_word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication",
        402 => "payment_required",
        403 => "permission_denied",
        404 => "not_found",
        408 | 504 => "deadline_exceeded",
        429 => "rate_limit_exceeded",
        499 => "cancelled",
        501 => "unimplemented",
        502 | 503 => "service_unavailable",
        400..=499 => "invalid_request",
        _ => "api_error",
    }
}

/// Google's word for an HTTP status.
const fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        402 => "FAILED_PRECONDITION",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        400..=499 => "INVALID_ARGUMENT",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(surface: Surface, error: &Error) -> (Response<Bytes>, Value) {
        let answer: Response<Bytes> = refuse(surface, error);
        let json = serde_json::from_slice(answer.body()).unwrap();
        (answer, json)
    }

    #[test]
    fn an_outage_tells_which_keys_are_out_why_and_until_when() {
        let reasons = vec![("quota_day", 2), ("invalid", 1)];
        let error = Error::Exhausted {
            reasons,
            retry_after: Some(Duration::from_millis(12_300)),
            fault: false,
            denied: false,
            owner: None,
        };
        let (answer, json) = parsed(Surface::Gemini, &error);
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()[RETRY_AFTER], "13");
        assert_eq!(json["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(json["error"]["details"][0]["metadata"]["quota_day"], "2");
        assert_eq!(json["error"]["details"][1]["retryDelay"], "13s");
    }

    #[test]
    fn each_surface_has_its_shape() {
        let error = Error::Unauthenticated("no".into());
        assert_eq!(parsed(Surface::Gemini, &error).1["error"]["code"], 401);
        let (answer, json) = parsed(Surface::OpenAi, &error);
        assert_eq!((answer.status().as_u16(), json["error"]["type"].as_str()), (401, Some("authentication_error")));
        assert_eq!(answer.headers()[CONNECTION], "close");
        let (answer, json) = parsed(Surface::Interactions, &error);
        assert_eq!(
            (answer.status().as_u16(), &json),
            (401, &json!({"error": {"code": "authentication", "message": "no"}}))
        );
        let out = |reasons| Error::Exhausted { reasons, retry_after: None, fault: false, denied: false, owner: None };
        for (error, code) in [
            (out(vec![("quota_day", 2)]), "quota_exceeded"),
            (out(vec![("quota_day", 1), ("quota_minute", 1)]), "rate_limit_exceeded"),
            (Error::Busy, "service_unavailable"),
            (Error::Unchecked, "invalid_request"),
            (Error::DeadlineExceeded(Duration::from_secs(1)), "deadline_exceeded"),
        ] {
            assert_eq!(parsed(Surface::Interactions, &error).1["error"]["code"], code, "{error:?}");
        }
    }

    #[test]
    fn google_s_error_becomes_openai_s_and_nothing_else_does() {
        let error = json!({"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND", "details": [1]}});
        for body in [error.to_string(), json!([error]).to_string()] {
            let shaped = in_openais_shape(StatusCode::NOT_FOUND, body.as_bytes()).unwrap();
            let shaped: Value = serde_json::from_slice(&shaped).unwrap();
            let expected = json!({"code": "NOT_FOUND", "message": "no such model", "status": "NOT_FOUND", "details": [1],
                "type": "not_found_error", "param": null});
            assert_eq!(shaped, json!({ "error": expected }));
        }
        let own = r#"{"error":{"code":"c","message":"m","param":"p","type":"t"}}"#;
        assert_eq!(in_openais_shape(StatusCode::NOT_FOUND, own.as_bytes()).unwrap(), own);
        for other in ["", "[]", "<html>", "[{\"error\":7}]", "{\"error\":\"text\"}", "{\"error\":{\"message\":\"\"}}"] {
            assert_eq!(in_openais_shape(StatusCode::NOT_FOUND, other.as_bytes()), None, "{other}");
        }
    }

    fn told(surface: Surface, code: u16, body: &str) -> Option<Value> {
        let status = StatusCode::from_u16(code).unwrap();
        let told = retold(surface, status, &Refusal::read(code, body.as_bytes()), body.as_bytes());
        told.map(|told| serde_json::from_slice(&told).unwrap())
    }

    #[test]
    fn whatever_the_upstream_says_a_client_of_openai_s_reads_a_message() {
        for (body, message) in [
            ("", "the upstream answered 404 and gave no reason"),
            (" \r\n", "the upstream answered 404 and gave no reason"),
            ("no such thing\n", "no such thing"),
            ("{\"error\":\"text\"}", "text"),
            ("[{\"error\":7}]", "[{\"error\":7}]"),
            ("<html><title>Not Found</title>", "Google's edge answered 404 instead of the API: Not Found"),
        ] {
            let error = json!({"code": "NOT_FOUND", "message": message, "status": "NOT_FOUND", "type": "not_found_error",
                "param": null});
            assert_eq!(told(Surface::OpenAi, 404, body), Some(json!({ "error": error })), "{body}");
        }
    }

    #[test]
    fn what_says_nothing_or_is_a_page_is_told_in_the_surface_s_shape_and_all_else_passes() {
        for body in ["plain", "{\"error\":{}}", "[]"] {
            assert_eq!(told(Surface::Gemini, 400, body), None);
            assert_eq!(told(Surface::Interactions, 400, body), None);
        }
        for (code, word, interactions) in [
            (400, "INVALID_ARGUMENT", "invalid_request"),
            (405, "INVALID_ARGUMENT", "invalid_request"),
            (404, "NOT_FOUND", "not_found"),
            (503, "UNAVAILABLE", "service_unavailable"),
            (520, "INTERNAL", "api_error"),
        ] {
            let error = told(Surface::Gemini, code, "").unwrap()["error"].take();
            assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(word)));
            let error = told(Surface::Interactions, code, "<html>").unwrap()["error"].take();
            assert_eq!(error["code"], interactions);
            assert!(error["message"].as_str().unwrap().starts_with("Google's edge answered"), "{error}");
        }
        let long =
            Refusal { message: "\u{e4}".repeat(9_000), retry_in: Some(Duration::from_secs(7)), ..Refusal::default() };
        let told = retold(Surface::Gemini, StatusCode::TOO_MANY_REQUESTS, &long, b"").unwrap();
        let error = serde_json::from_slice::<Value>(&told).unwrap()["error"].take();
        assert_eq!(error["details"][0]["retryDelay"], "7s");
        assert_eq!(error["message"].as_str().unwrap().len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn refusals_by_429_and_503_say_when_to_retry() {
        let out = |fault| Error::Exhausted { reasons: vec![], retry_after: None, fault, denied: false, owner: None };
        for error in [out(true), out(false), Error::Busy, Error::Draining] {
            assert!(parsed(Surface::Gemini, &error).0.headers().contains_key(RETRY_AFTER), "{error:?}");
        }
    }

    #[test]
    fn what_the_operator_cancelled_is_no_fault_of_the_client_s_and_nothing_to_repeat() {
        let (answer, json) = parsed(Surface::Gemini, &Error::Cancelled);
        assert_eq!((answer.status().as_u16(), &json["error"]["status"]), (499, &json!("CANCELLED")));
        assert!(!answer.headers().contains_key(RETRY_AFTER));
        let openai = parsed(Surface::OpenAi, &Error::Cancelled).1;
        assert_eq!((&openai["error"]["type"], &openai["error"]["code"]), (&json!("server_error"), &json!("cancelled")));
        assert_eq!(parsed(Surface::Interactions, &Error::Cancelled).1["error"]["code"], "cancelled");
    }

    #[test]
    fn the_last_frame_is_one_line_each_sdk_reads() {
        let error = Error::StreamBroken("idle");
        let native = last_frame(Surface::Gemini, &error);
        assert!(native.starts_with(b"{\"error\":{") && !native.contains(&b'\n'));
        assert!(last_frame(Surface::OpenAi, &error).starts_with(b"data: {\"error\":{"));
        let event = String::from_utf8(last_frame(Surface::Interactions, &error).to_vec()).unwrap();
        let data = event.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&event["event_type"], &event["error"]["code"]), (&json!("error"), &json!("service_unavailable")));
    }
}
