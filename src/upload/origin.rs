//! Where clients find this gateway: the beginning of every URL that it hands out.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, header};

use crate::settings::PublicUrl;

/// Marks a request that came through a proxy of the operator's, whose word on scheme and host counts.
#[derive(Clone, Copy, Debug)]
pub struct ViaProxy;

/// The public URL as configured; else what the request says of it. `None` where it names no host.
pub(super) fn origin(configured: Option<&PublicUrl>, head: &Parts) -> Option<String> {
    if let Some(url) = configured {
        return Some(url.as_str().to_owned());
    }
    let forwarded = |name| first(&head.headers, name).filter(|_| head.extensions.get::<ViaProxy>().is_some());
    let scheme = forwarded("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
    let asked = || head.uri.authority().map(Authority::as_str).or_else(|| first(&head.headers, header::HOST.as_str()));
    let host =
        forwarded("x-forwarded-host").filter(|host| is_host(host)).or_else(asked).filter(|host| is_host(host))?;
    Some(format!("{scheme}://{host}"))
}

/// The first of the values between commas: what the outermost proxy saw.
fn first<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

/// Host and port, and no more.
fn is_host(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(uri: &str, headers: &[(&str, &str)], via_proxy: bool) -> Option<String> {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        if via_proxy {
            head.extensions.insert(ViaProxy);
        }
        origin(None, &head)
    }

    #[test]
    fn a_request_says_where_it_came_to_and_a_proxy_what_it_came_from() {
        let host = ("host", "gate:8080");
        let (proto, forwarded) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "ai.example.com, inner"));
        for (uri, headers, via_proxy, expected) in [
            ("/x", &[host][..], false, Some("http://gate:8080")),
            ("/x", &[host, proto, forwarded], false, Some("http://gate:8080")),
            ("/x", &[host, proto, forwarded], true, Some("https://ai.example.com")),
            ("/x", &[host, proto], true, Some("https://gate:8080")),
            ("/x", &[host, ("x-forwarded-proto", "javascript")], true, Some("http://gate:8080")),
            ("/x", &[host, ("x-forwarded-host", "u@evil.example/x")], true, Some("http://gate:8080")),
            ("http://over.http2:1/x", &[], false, Some("http://over.http2:1")),
            ("/x", &[("host", "[::1]:8080")], false, Some("http://[::1]:8080")),
            ("/x", &[("host", "a@b")], false, None),
            ("/x", &[("host", "a/b?c")], false, None),
            ("/x", &[], true, None),
        ] {
            assert_eq!(of(uri, headers, via_proxy).as_deref(), expected, "{uri} {headers:?} {via_proxy}");
        }
    }
}
