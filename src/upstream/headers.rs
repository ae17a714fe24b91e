//! Which headers pass, up and down: an allow-list by class. What is on no list stays here.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

/// What of a request goes up: content, conditions, and who speaks; Google's client headers, OpenAI's, and tracing. Not
/// `accept-encoding`: answers are read in passing, so they are asked for as they are.
fn goes_up(name: &str) -> bool {
    match name {
        "accept"
        | "accept-language"
        | "user-agent"
        | "content-encoding"
        | "content-language"
        | "content-range"
        | "content-type"
        | "if-match"
        | "if-modified-since"
        | "if-none-match"
        | "if-range"
        | "if-unmodified-since"
        | "range"
        | "x-server-timeout"
        | "api-revision"
        | "last-event-id"
        | "traceparent"
        | "tracestate" => true,
        // Of Google's own, what would speak for somebody else.
        "x-goog-api-key"
        | "x-goog-user-project"
        | "x-goog-iam-authority-selector"
        | "x-goog-iam-authorization-token"
        | "x-goog-authenticated-user-email"
        | "x-goog-authenticated-user-id"
        | "x-goog-iap-jwt-assertion" => false,
        _ => prefixed(name, &["x-goog-", "openai-", "x-gemini-"]),
    }
}

/// What of an answer comes down: content, validity, and Google's own.
fn comes_down(name: &str) -> bool {
    match name {
        "content-disposition"
        | "content-encoding"
        | "content-language"
        | "content-length"
        | "content-range"
        | "content-type"
        | "accept-ranges"
        | "retry-after"
        | "age"
        | "cache-control"
        | "date"
        | "etag"
        | "expires"
        | "last-modified"
        | "vary"
        | "server-timing" => true,
        _ => prefixed(name, &["x-goog-", "x-gemini-", "x-ratelimit-", "openai-"]),
    }
}

/// The headers of a request that go up.
pub fn up(headers: &HeaderMap) -> HeaderMap {
    pass(headers, goes_up)
}

/// The headers of an answer that go down.
pub fn down(headers: &HeaderMap) -> HeaderMap {
    pass(headers, comes_down)
}

fn pass(headers: &HeaderMap, allowed: impl Fn(&str) -> bool) -> HeaderMap {
    let mut clean = HeaderMap::with_capacity(headers.len());
    let hop = headers.contains_key(CONNECTION);
    for (name, value) in headers {
        if allowed(name.as_str()) && !(hop && named_by_connection(headers, name)) {
            clean.append(name.clone(), value.clone());
        }
    }
    clean
}

fn prefixed(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
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
