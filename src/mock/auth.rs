//! Which credentials came with a call, and what Google makes of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

use crate::mock::refusals::Refusal;

/// The forms in which a credential can come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `x-goog-api-key`.
    GoogleHeader,
    /// `Authorization`, whatever its scheme.
    Authorization,
    /// `?key=`.
    Query,
    /// `?access_token=`.
    AccessToken,
    /// `x-api-key`, which Google does not know.
    ApiKeyHeader,
}

/// A credential as it came.
#[derive(Clone, Eq, PartialEq)]
pub struct Credential {
    /// Where it stood.
    pub form: Form,
    /// Its value, without the `Bearer` before it.
    pub value: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({})", self.form, tail(&self.value))
    }
}

impl Credential {
    pub(crate) fn view(&self) -> Value {
        json!({"form": format!("{:?}", self.form), "tail": tail(&self.value)})
    }
}

/// Every credential in a request's head.
pub(crate) fn credentials(uri: &Uri, headers: &HeaderMap) -> Vec<Credential> {
    let mut found = Vec::new();
    let named = [("x-goog-api-key", Form::GoogleHeader), ("x-api-key", Form::ApiKeyHeader)];
    for (name, form) in named.into_iter().chain([(AUTHORIZATION.as_str(), Form::Authorization)]) {
        for value in headers.get_all(name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            let bare = text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer ")).unwrap_or(&text);
            found.push(Credential { form, value: bare.trim().to_owned() });
        }
    }
    for (name, value) in query(uri.query().unwrap_or("")) {
        let form = match &*name {
            "key" => Form::Query,
            "access_token" => Form::AccessToken,
            _ => continue,
        };
        found.push(Credential { form, value });
    }
    found
}

/// The one key that Google would go by, or the refusal.
pub(crate) fn key(credentials: &[Credential], openai: bool) -> Result<String, Refusal> {
    let mut known = credentials.iter().filter(|credential| credential.form != Form::ApiKeyHeader);
    let Some(credential) = known.next() else { return Err(Refusal::Unregistered) };
    if known.next().is_some() {
        return Err(Refusal::MultipleCredentials);
    }
    match credential.form {
        Form::GoogleHeader | Form::Query => Ok(credential.value.clone()),
        Form::Authorization if openai => Ok(credential.value.clone()),
        _ => Err(Refusal::Unauthenticated),
    }
}

/// The fields of a query, decoded.
pub(crate) fn query(text: &str) -> impl Iterator<Item = (Cow<'_, str>, String)> {
    let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    text.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value).into_owned())
    })
}

/// Whether a query asks for answers of this kind.
pub(crate) fn asks_for(text: &str, kind: &str) -> bool {
    query(text).any(|(name, value)| matches!(&*name, "alt" | "$alt") && value == kind)
}

/// A path and query in which credentials are replaced by their ends.
pub(crate) fn without_credentials(path_and_query: &str) -> String {
    let Some((path, fields)) = path_and_query.split_once('?') else { return path_and_query.to_owned() };
    let fields: Vec<String> = fields
        .split('&')
        .map(|field| match field.split_once('=') {
            Some((name @ ("key" | "access_token"), value)) => format!("{name}={}", tail(value)),
            _ => field.to_owned(),
        })
        .collect();
    format!("{path}?{}", fields.join("&"))
}

/// Headers for JSON, credentials replaced by their ends.
pub(crate) fn safe_headers(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut safe: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        let secret =
            matches!(name.as_str(), "x-goog-api-key" | "x-api-key") || *name == AUTHORIZATION || *name == COOKIE;
        safe.entry(name.as_str()).or_default().push(if secret { tail(&text) } else { text.into_owned() });
    }
    safe
}

/// The last four characters behind dots.
pub(crate) fn tail(value: &str) -> String {
    let count = value.chars().count();
    let end: String = value.chars().skip(count.saturating_sub(4)).collect();
    if count < 12 { "....".to_owned() } else { format!("....{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, headers: &[(&'static str, &'static str)]) -> Vec<Credential> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        credentials(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn a_native_route_takes_the_header_or_the_query() {
        assert_eq!(key(&read("/v1beta/models", &[("x-goog-api-key", "k1")]), false), Ok("k1".to_owned()));
        assert_eq!(key(&read("/v1beta/models?a=b&key=k%31", &[]), false), Ok("k1".to_owned()));
        let bearer = read("/v1beta/models", &[("authorization", "Bearer k1")]);
        assert_eq!(key(&bearer, false), Err(Refusal::Unauthenticated));
        assert_eq!(key(&bearer, true), Ok("k1".to_owned()));
    }

    #[test]
    fn two_credentials_are_refused_and_so_is_none() {
        let both = read("/v1beta/models?key=k1", &[("x-goog-api-key", "k1")]);
        assert_eq!(key(&both, false), Err(Refusal::MultipleCredentials));
        assert_eq!(key(&read("/v1beta/models", &[("x-api-key", "k1")]), true), Err(Refusal::Unregistered));
    }

    #[test]
    fn what_is_shown_of_a_credential_is_its_end() {
        let shown = without_credentials("/v1?key=AIzaFakeFake1234&alt=sse");
        assert_eq!(shown, "/v1?key=....1234&alt=sse");
        assert!(!format!("{:?}", read("/?key=AIzaFakeFake1234", &[])).contains("AIza"));
    }
}
