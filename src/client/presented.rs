//! The credentials that a request presents, in any of the four forms, taken out of it.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::endpoint;
use crate::secret::Secret;

/// What a request presented. It is never printed.
#[derive(Default)]
pub struct Presented {
    authorization: Option<HeaderValue>,
    keys: [Option<HeaderValue>; 2],
    query: Option<Vec<u8>>,
    token: Option<Secret>,
}

/// The headers that hold a credential and nothing else.
const KEYS: [HeaderName; 2] = [HeaderName::from_static("x-goog-api-key"), HeaderName::from_static("x-api-key")];
/// How Google's ephemeral tokens begin.
const TOKEN_PREFIX: &str = "auth_tokens/";
/// The method that takes them ends so.
const TOKEN_METHOD: &str = "Constrained";

impl Presented {
    /// Takes the credentials out of `headers`, so that none goes on, and reads the one of the query, which
    /// [`endpoint::Endpoint::parse`] leaves out. `Proxy-Authorization` and cookies never count.
    pub fn take(headers: &mut HeaderMap, uri: &Uri) -> Self {
        let keys = KEYS.map(|name| headers.remove(name));
        let authorization = headers.remove(header::AUTHORIZATION);
        let token = token(authorization.as_ref(), uri);
        Self { authorization, keys, query: query(uri, "key"), token }
    }

    /// Google's ephemeral token, where the path takes one: `?access_token=`, or `Authorization: Token` as Google's
    /// Python SDK writes it. The client of whoever made it; no credential of the gateway's own.
    pub fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
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
    scheme(value, b"bearer ")
}

/// What follows the scheme, if it is this one.
fn scheme<'v>(value: &'v [u8], wanted: &[u8]) -> Option<&'v [u8]> {
    let (scheme, token) = value.split_at_checked(wanted.len())?;
    scheme.eq_ignore_ascii_case(wanted).then(|| token.trim_ascii())
}

fn token(authorization: Option<&HeaderValue>, uri: &Uri) -> Option<Secret> {
    let path = uri.path().trim_start_matches('/');
    if !path.starts_with("ws/") || !path.ends_with(TOKEN_METHOD) {
        return None;
    }
    let header = || scheme(authorization?.as_bytes(), b"token ").map(<[u8]>::to_vec);
    let token = String::from_utf8(query(uri, "access_token").or_else(header)?).ok()?;
    token.starts_with(TOKEN_PREFIX).then(|| Secret::new(token))
}

/// The first parameter of this name in the query.
fn query(uri: &Uri, wanted: &str) -> Option<Vec<u8>> {
    let pairs = endpoint::parameters(uri.query()).filter_map(|parameter| parameter.split_once('='));
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    pairs
        .filter(|(name, _)| *name == wanted || decoded(name) == wanted.as_bytes())
        .map(|(_, value)| decoded(value))
        .next()
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
    fn an_ephemeral_token_counts_only_where_google_takes_one() {
        let token = |uri: &str, authorization: Option<&'static str>| {
            let headers = authorization.map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)));
            let presented = Presented::take(&mut headers.into_iter().collect(), &uri.parse().unwrap());
            presented.token().map(|token| token.expose().to_owned())
        };
        let constrained = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained";
        let query = format!("/{constrained}?access_token=auth_tokens%2Fabc");
        assert_eq!(token(&query, None).as_deref(), Some("auth_tokens/abc"));
        assert_eq!(token(constrained, Some("Token auth_tokens/abc")).as_deref(), Some("auth_tokens/abc"));
        assert_eq!(token(constrained, Some("Bearer auth_tokens/abc")), None);
        assert_eq!(token(&format!("{constrained}?access_token=ya29.x"), None), None);
        assert_eq!(token("/v1alpha/models?access_token=auth_tokens/abc", None), None);
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
