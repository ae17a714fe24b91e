//! Which headers pass, up and down: an allow-list by class. What is on no list stays here.

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ACCEPT_RANGES, AGE, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, RETRY_AFTER, USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderName};

/// Of a request: content, conditions, and who speaks. Not `accept-encoding`: answers are read in passing, so they are
/// asked for as they are.
const UP: [HeaderName; 13] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_RANGE,
    CONTENT_TYPE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    USER_AGENT,
];
/// Google's client headers, OpenAI's, and tracing.
const UP_NAMED: [&str; 5] = ["x-server-timeout", "api-revision", "last-event-id", "traceparent", "tracestate"];
const UP_PREFIXED: [&str; 3] = ["x-goog-", "openai-", "x-gemini-"];
/// Of those, what would speak for somebody else.
const NEVER_UP: [&str; 7] = [
    "x-goog-api-key",
    "x-goog-user-project",
    "x-goog-iam-authority-selector",
    "x-goog-iam-authorization-token",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-goog-iap-jwt-assertion",
];

/// Of an answer: content, validity, and Google's own.
const DOWN: [HeaderName; 16] = [
    ACCEPT_RANGES,
    AGE,
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    RETRY_AFTER,
    VARY,
    HeaderName::from_static("server-timing"),
];
const DOWN_PREFIXED: [&str; 4] = ["x-goog-", "x-gemini-", "x-ratelimit-", "openai-"];

/// The headers of a request that go up.
pub fn up(headers: &HeaderMap) -> HeaderMap {
    let allowed = |name: &HeaderName| {
        UP.contains(name)
            || UP_NAMED.contains(&name.as_str())
            || prefixed(name, &UP_PREFIXED) && !NEVER_UP.contains(&name.as_str())
    };
    pass(headers, allowed)
}

/// The headers of an answer that go down.
pub fn down(headers: &HeaderMap) -> HeaderMap {
    pass(headers, |name| DOWN.contains(name) || prefixed(name, &DOWN_PREFIXED))
}

fn pass(headers: &HeaderMap, allowed: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if allowed(name) && !named_by_connection(headers, name) {
            clean.append(name.clone(), value.clone());
        }
    }
    clean
}

fn prefixed(name: &HeaderName, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// Whether `Connection` makes the header one for this hop only.
fn named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_listed_headers_go_up() {
        let sent = up(&map(&[
            ("content-type", "application/json"),
            ("x-goog-api-client", "genai-js/3"),
            ("x-goog-api-key", "fake-key-0001"),
            ("authorization", "Bearer fake"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-goog-user-project", "somebody-elses"),
            ("accept-encoding", "gzip"),
            ("host", "example.com"),
            ("connection", "keep-alive, X-Goog-Request-Params"),
            ("x-goog-request-params", "hop"),
            ("te", "trailers"),
        ]));
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-goog-api-client"]);
    }

    #[test]
    fn only_listed_headers_come_down() {
        let came = down(&map(&[
            ("content-type", "application/json"),
            ("server-timing", "gfet4t7; dur=9"),
            ("x-goog-upload-status", "active"),
            ("set-cookie", "a=b"),
            ("alt-svc", "h3"),
            ("transfer-encoding", "chunked"),
            ("location", "https://elsewhere.example"),
        ]));
        assert_eq!(came.len(), 3);
    }
}
