//! The credentials that a request presents, in any of the four forms, taken out of it.

use std::fmt;

use http::{HeaderMap, HeaderValue, Uri, header};

use crate::endpoint;

/// What a request presented. It is never printed.
#[derive(Default)]
pub struct Presented {
    authorization: Option<HeaderValue>,
    keys: [Option<HeaderValue>; 2],
    query: Option<Vec<u8>>,
}

impl Presented {
    /// Takes the credentials out of `headers`, so that none goes on, and reads the one of the query, which
    /// [`endpoint::Endpoint::parse`] leaves out. `Proxy-Authorization` and cookies never count.
    pub fn take(headers: &mut HeaderMap, uri: &Uri) -> Self {
        let keys = ["x-goog-api-key", "x-api-key"].map(|name| headers.remove(name));
        Self { authorization: headers.remove(header::AUTHORIZATION), keys, query: query(uri) }
    }

    /// Each credential, the empty ones left out.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let bearer = self.authorization.as_ref().and_then(|value| bearer(value.as_bytes()));
        let keys = self.keys.iter().flatten().map(HeaderValue::as_bytes);
        bearer.into_iter().chain(keys).chain(self.query.as_deref()).filter(|credential| !credential.is_empty())
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} credentials", self.iter().count())
    }
}

/// The token of `Bearer T`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The first `key` of the query.
fn query(uri: &Uri) -> Option<Vec<u8>> {
    let pairs = endpoint::parameters(uri.query()).filter_map(|parameter| parameter.split_once('='));
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    pairs.filter(|(name, _)| *name == "key" || decoded(name) == b"key").map(|(_, value)| decoded(value)).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_forms_are_read_and_taken_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "bEaReR  one"),
            ("x-goog-api-key", "two"),
            ("x-api-key", "three"),
            ("proxy-authorization", "Bearer no"),
            ("cookie", "key=no"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let presented = Presented::take(&mut headers, &"/v1beta/models?a=1&k%65y=fo%75r&key=five".parse().unwrap());
        let all: Vec<_> = presented.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect();
        assert_eq!(all, ["one", "two", "three", "four"]);
        assert_eq!(headers.len(), 2);
        assert_eq!(format!("{presented:?}"), "4 credentials");
    }

    #[test]
    fn other_schemes_and_empty_values_are_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Basic dXNlcjpwYXNz"));
        headers.insert("x-api-key", HeaderValue::from_static(""));
        assert_eq!(Presented::take(&mut headers, &"/?key=&keys=1".parse().unwrap()).iter().count(), 0);
        assert!(headers.is_empty());
    }
}
