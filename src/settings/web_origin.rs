//! Origins of web pages, as browsers write them.

use http::{HeaderValue, Uri};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where web pages come from: one origin, or all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WebOrigin {
    /// `*`
    Any,
    /// `scheme://host[:port]` as it stands in `Origin`. The scheme may be an application's own.
    One(HeaderValue),
}

/// What every origin is written without.
const PORTS: [(&str, &str); 2] = [("http", ":80"), ("https", ":443")];

impl WebOrigin {
    /// What a browser's `Origin` says of pages from there; `None` for all.
    pub fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Any => None,
            Self::One(origin) => Some(origin.clone()),
        }
    }

    /// Reads `*`, or an origin with no more to it than a slash at its end.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (scheme, rest) = text.split_once("://")?;
        let named = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let scheme = scheme.to_ascii_lowercase();
        // Any scheme is read as one whose hosts are known how to be written.
        let uri: Uri = format!("http://{rest}").parse().ok()?;
        let host = uri.host()?.to_ascii_lowercase();
        let plain =
            host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':'));
        let port = uri.port().map(|port| format!(":{}", port.as_str())).unwrap_or_default();
        let whole = format!("{host}{port}");
        if !named || !plain || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        if !rest.strip_suffix('/').unwrap_or(rest).eq_ignore_ascii_case(&whole) {
            return None;
        }
        let port = if PORTS.contains(&(&*scheme, &*port)) { "" } else { &port };
        HeaderValue::try_from(format!("{scheme}://{host}{port}")).ok().map(Self::One)
    }
}

impl Serialize for WebOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Any => "*",
            Self::One(origin) => origin.to_str().unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for WebOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| {
            D::Error::custom(
                "expected `*` or origins such as https://app.example.com and http://localhost:5173, no path after them",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_would_write() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:1", "http://[::1]:1"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            let read = WebOrigin::parse(text).unwrap();
            assert_eq!(read.header().unwrap(), origin, "{text}");
            assert_eq!(serde_json::to_value(read).unwrap(), origin);
        }
        assert_eq!(WebOrigin::parse("*"), Some(WebOrigin::Any));
        for text in [
            "",
            "null",
            "app.example.com",
            "//app.example.com",
            "https://",
            "https:///",
            "file://",
            "https://app.example.com/path",
            "https://app.example.com//",
            "https://app.example.com?x",
            "https://app.example.com#x",
            "https://user@app.example.com",
            "https://*.example.com",
            "https://app.example.com:",
            "https://a b",
            "1a://b",
            "://b",
            "**",
        ] {
            assert_eq!(WebOrigin::parse(text), None, "{text}");
        }
    }
}
