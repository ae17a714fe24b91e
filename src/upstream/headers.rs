//! Which headers pass, up and down: an allow-list by class. What is on no list stays here.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::record::{Record, TRACEPARENT, TRACESTATE};

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

/// What of an answer comes down: content, validity, and Google's own. `location` is by now what of it leads on here
/// (`onward`).
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
        | "location"
        | "vary"
        | "server-timing" => true,
        _ => prefixed(name, &["x-goog-", "x-gemini-", "x-ratelimit-", "openai-"]),
    }
}

/// The headers of a request that go up.
pub fn up(headers: HeaderMap) -> HeaderMap {
    only(headers, goes_up)
}

/// Of a call that is traced, the attempt's own place in the trace, in the place of the client's. Of another the client's
/// word stands as it is.
pub fn trace(headers: &mut HeaderMap, record: &Record, key: &str) {
    let Some(trace) = record.trace() else { return };
    headers.insert(TRACEPARENT, trace.traceparent(key));
    // It belongs to the client's `traceparent`, and says nothing where that was none.
    headers.remove(TRACESTATE);
    let state = trace.parent().and_then(|parent| parent.state.as_deref());
    if let Some(state) = state.and_then(|state| HeaderValue::from_str(state).ok()) {
        headers.insert(TRACESTATE, state);
    }
}

/// The headers of an answer that go down. What came in chunks has no other length than theirs, whatever it says beside
/// them (RFC 9112, 6.3): a client would take the length's word.
pub fn down(mut headers: HeaderMap) -> HeaderMap {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    only(headers, comes_down)
}

/// What passes, and is not for this hop only, as `Connection` says.
fn only(mut headers: HeaderMap, passes: fn(&str) -> bool) -> HeaderMap {
    let hop: Vec<HeaderValue> =
        headers.get_all(CONNECTION).iter().filter(|value| names_headers(value)).cloned().collect();
    for name in hop.iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')) {
        headers.remove(name.trim());
    }
    let others: Vec<HeaderName> = headers.keys().filter(|name| !passes(name.as_str())).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    headers
}

/// Not the two words that nearly all send.
fn names_headers(connection: &HeaderValue) -> bool {
    !["keep-alive", "close"].iter().any(|word| connection.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
}

fn prefixed(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_listed_headers_go_up() {
        let sent = up(map(&[
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
    fn a_length_that_chunks_overrule_does_not_come_down() {
        let both = [("content-length", "5"), ("transfer-encoding", "chunked"), ("etag", "a")];
        assert_eq!(down(map(&both)).keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
        assert_eq!(down(map(&both[..1]))["content-length"], "5");
    }

    #[test]
    fn only_listed_headers_come_down() {
        let came = down(map(&[
            ("content-type", "application/json"),
            ("server-timing", "gfet4t7; dur=9"),
            ("x-goog-upload-status", "active"),
            ("set-cookie", "a=b"),
            ("alt-svc", "h3"),
            ("transfer-encoding", "chunked"),
            ("connection", "close, x-goog-hop"),
            ("x-goog-hop", "1"),
        ]));
        assert_eq!(came.len(), 3);
    }
}
