//! Who may do what on the admin listener: the whole rule, without IO.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// What a route of the API asks of its caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ruling {
    /// Nothing.
    Open,
    /// The admin token, or the session that was opened by it.
    Credential,
    /// Nobody may: there is nothing to know the operator by.
    Shut,
}

/// The routes that answer anyone. What `/api/session` says to anyone is whether a token is needed.
pub(crate) const OPEN: [&str; 2] = ["/api/session", "/api/openapi.json"];

/// The rule for the API and for profiles. `loopback`: only this machine reaches the listener. `token`: an admin token is set.
pub(crate) fn rule(path: &str, loopback: bool, token: bool) -> Ruling {
    match (loopback, token) {
        _ if OPEN.contains(&path) => Ruling::Open,
        (_, true) => Ruling::Credential,
        (true, false) => Ruling::Open,
        (false, false) => Ruling::Shut,
    }
}

/// Whether a request may be looked at whose `Host` this is. Where nothing but the address keeps strangers out, a page of
/// theirs could have its own name lead here (DNS rebinding): then the name must be one that no stranger can have.
/// `named` is a further host of the operator's.
pub(crate) fn is_ours(host: Option<&str>, loopback: bool, token: bool, named: Option<&str>) -> bool {
    if token || !loopback {
        return true;
    }
    let plain = host.filter(|host| !host.contains('@'));
    let Some(authority) = plain.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let same = |name: &str| name.eq_ignore_ascii_case(host);
    bare.parse::<IpAddr>().is_ok() || same("localhost") || named.is_some_and(same)
}

/// The host that a request was sent to, as it says.
pub(crate) fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    uri.authority().map(Authority::as_str).or_else(|| headers.get(header::HOST)?.to_str().ok())
}

/// Whether a page of somebody else's makes its visitor's browser read from the API: an image, a frame, a script.
/// What writes is held to more: see [`tower_http::csrf`].
pub(crate) fn is_foreign_read(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_asks_for_a_credential_unless_the_table_says_otherwise() {
        use Ruling::{Credential, Open, Shut};
        for (path, loopback, token, ruling) in [
            ("/api/session", false, true, Open),
            ("/api/session", false, false, Open),
            ("/api/openapi.json", false, true, Open),
            ("/api/overview", true, true, Credential),
            ("/api/overview", false, true, Credential),
            ("/api/overview", true, false, Open),
            ("/api/overview", false, false, Shut),
            ("/api/sessions", false, true, Credential),
            ("/api/session/", false, true, Credential),
            ("/api/nothing", false, true, Credential),
            ("/debug/pprof/profile", true, true, Credential),
            ("/debug/pprof/profile", false, false, Shut),
        ] {
            assert_eq!(rule(path, loopback, token), ruling, "{path} {loopback} {token}");
        }
    }

    #[test]
    fn a_name_that_a_stranger_could_have_is_not_ours() {
        for (host, ours) in [
            (Some("127.0.0.1:9090"), true),
            (Some("[::1]:9090"), true),
            (Some("localhost"), true),
            (Some("LOCALHOST:9090"), true),
            (Some("admin.example"), true),
            (Some("evil.example:9090"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("localhost.evil.example"), false),
            (Some("evil.example@127.0.0.1"), false),
            (Some(""), false),
            (Some("a b"), false),
            (None, false),
        ] {
            assert_eq!(is_ours(host, true, false, Some("admin.example")), ours, "{host:?}");
            assert!(is_ours(host, true, true, None) && is_ours(host, false, false, None), "{host:?} has a guard");
        }
    }

    #[test]
    fn only_a_browser_tells_where_a_read_comes_from() {
        for (site, foreign) in [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)] {
            let headers = [(header::HeaderName::from_static("sec-fetch-site"), site.parse().unwrap())];
            assert_eq!(is_foreign_read(&headers.into_iter().collect()), foreign, "{site}");
        }
        assert!(!is_foreign_read(&HeaderMap::new()));
    }
}
