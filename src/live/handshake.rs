//! The handshake of a WebSocket, read off a request's head.

use http::header::{AsHeaderName, CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::error::Error;
use crate::upstream::Handshake;

/// The key is 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// Reads it; the error says what is missing or wrong.
pub(super) fn read(head: &Parts) -> Result<Handshake, Error> {
    let headers = &head.headers;
    if head.version != Version::HTTP_11 || !names(headers, UPGRADE, "websocket") {
        return Err(Error::UpgradeRequired);
    }
    if head.method != Method::GET {
        return Err(Error::Handshake("its method must be GET"));
    }
    if !names(headers, CONNECTION, "upgrade") {
        return Err(Error::Handshake("its Connection header must name Upgrade"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Error::Handshake("Sec-WebSocket-Version must be 13"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next().filter(|key| is_key(key)), keys.next()) else {
        return Err(Error::Handshake("Sec-WebSocket-Key must be 16 bytes in base64, and given once"));
    };
    let accept = derive_accept_key(key.as_bytes());
    let accept = HeaderValue::try_from(accept).map_err(|_| Error::Handshake("Sec-WebSocket-Key is unusable"))?;
    Ok(Handshake { key: key.clone(), accept })
}

/// Whether a web page asks that came from another host than the one it asks. Browsers let every page open a WebSocket to
/// any host and tell by `Origin` which page it is; what is no page tells nothing, or its own host.
pub(super) fn from_elsewhere(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let own = |origin: &str| {
        let (_, rest) = origin.split_once("://").unwrap_or_default();
        let named = rest.split('/').next().unwrap_or("");
        !named.is_empty() && named.eq_ignore_ascii_case(host)
    };
    headers.get_all(ORIGIN).iter().any(|origin| !origin.to_str().is_ok_and(own))
}

/// Whether one of the header's tokens is `token`, in any case.
fn names(headers: &HeaderMap, name: impl AsHeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn is_key(key: &HeaderValue) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    key.len() == KEY_CHARS && key.as_bytes().strip_suffix(b"==").is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const RIGHT: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn handshake(method: &str, version: Version, headers: &[(&str, &str)]) -> Result<Handshake, Error> {
        let mut request = Request::builder().method(method).version(version).uri("/ws/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_page_of_another_host_is_told_from_all_else() {
        for (host, origins, expected) in [
            ("gate.example:8080", &[][..], false),
            ("gate.example:8080", &["http://gate.example:8080"], false),
            ("Gate.example", &["https://gate.EXAMPLE/"], false),
            ("gate.example:8080", &["http://gate.example:8081"], true),
            ("gate.example:8080", &["http://gate.example"], true),
            ("gate.example:8080", &["http://evil.example/gate.example:8080"], true),
            ("gate.example:8080", &["null"], true),
            ("gate.example:8080", &[""], true),
            ("", &["file://"], true),
            ("a", &["http://a", "http://b"], true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            for origin in origins {
                headers.append(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(from_elsewhere(&headers), expected, "{host} {origins:?}");
        }
    }

    #[test]
    fn a_right_one_has_its_answer() {
        let read = handshake("GET", Version::HTTP_11, &RIGHT).unwrap();
        assert_eq!(read.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the example of RFC 6455");
    }

    #[test]
    fn a_wrong_one_is_told_what_is_wrong() {
        let without = |name: &str| RIGHT.into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>();
        let with = |name: &'static str, value: &'static str| [without(name), vec![(name, value)]].concat();
        for (headers, named) in [
            (without("connection"), "Connection"),
            (without("sec-websocket-version"), "Sec-WebSocket-Version"),
            (with("sec-websocket-version", "8"), "Sec-WebSocket-Version"),
            (without("sec-websocket-key"), "Sec-WebSocket-Key"),
            (with("sec-websocket-key", "short"), "Sec-WebSocket-Key"),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=?"), "Sec-WebSocket-Key"),
            ([&RIGHT[..], &[RIGHT[3]]].concat(), "Sec-WebSocket-Key"),
        ] {
            let error = handshake("GET", Version::HTTP_11, &headers).unwrap_err();
            assert!(matches!(&error, Error::Handshake(what) if what.contains(named)), "{error} {headers:?}");
        }
        assert!(matches!(handshake("POST", Version::HTTP_11, &RIGHT), Err(Error::Handshake(_))));
        for headers in [without("upgrade"), with("upgrade", "h2c")] {
            assert_eq!(handshake("GET", Version::HTTP_11, &headers).unwrap_err(), Error::UpgradeRequired);
        }
        assert_eq!(handshake("GET", Version::HTTP_2, &RIGHT).unwrap_err(), Error::UpgradeRequired);
    }
}
