//! The dashboard: its built files, in the binary, each with its gzip twin.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::secret::Digest;

/// What the dashboard's pages may do: talk to this listener, and run and show nothing but what came from it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; frame-ancestors 'none'; form-action 'self'; require-trusted-types-for 'script'",
);

/// A file of `web/dist`.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Where it is asked for.
    pub(crate) path: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $file:literal, $kind:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            plain: include_bytes!(concat!("../../web/dist/", $file)),
            gzip: include_bytes!(concat!("../../web/dist/", $file, ".gz")),
        }
    };
}

/// All there are.
pub(crate) static ASSETS: [Asset; 3] = [
    asset!("/", "index.html", "text/html; charset=utf-8"),
    asset!("/assets/app.js", "assets/app.js", "text/javascript; charset=utf-8"),
    asset!("/assets/app.css", "assets/app.css", "text/css; charset=utf-8"),
];

impl Asset {
    /// The answer to a request for it: the file as the browser can take it, or that the browser has it.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let gzip = takes_gzip(request.headers());
        let (body, suffix) = if gzip { (self.gzip, "-gzip") } else { (self.plain, "") };
        let tag = format!("\"{}{suffix}\"", &Digest::of(self.plain).to_string()[..16]);
        let Ok(tag) = HeaderValue::from_str(&tag) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let known = is_known(request.headers(), &tag);
        let mut answer =
            if known { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(body).into_response() };
        let headers = answer.headers_mut();
        headers.insert(ETAG, tag);
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        // Kept, and asked about each time: the names stay the same from one version to the next.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        if !known {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
            if gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        answer
    }
}

/// The pieces between commas of all lines of a header.
fn pieces(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    pieces(headers, ACCEPT_ENCODING).any(|piece| {
        let (coding, weight) = piece.split_once(';').unwrap_or((piece, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
        matches!(coding.trim(), "gzip" | "x-gzip" | "*") && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// Whether the browser has it already, by any of the tags that it names.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let weak = |named: &str| named.strip_prefix("W/").unwrap_or(named).as_bytes() == tag.as_bytes();
    pieces(headers, IF_NONE_MATCH).any(|named| named == "*" || weak(named))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    static PAGE: Asset = Asset { path: "/", kind: "text/html", plain: b"<p>plain", gzip: b"zipped" };

    async fn ask(headers: &[(&'static str, &str)]) -> (Response, Vec<u8>) {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = PAGE.answer(&request.body(Body::empty()).unwrap()).into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (Response::from_parts(head, Body::empty()), body)
    }

    #[tokio::test]
    async fn a_browser_gets_the_form_that_it_takes() {
        for (coding, gzip) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let (answer, body) = ask(&[("accept-encoding", coding)]).await;
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), gzip, "{coding}");
            assert_eq!(body, if gzip { b"zipped".as_slice() } else { b"<p>plain" }, "{coding}");
            assert_eq!(answer.headers()[VARY], "accept-encoding");
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let (first, _) = ask(&[("accept-encoding", "gzip")]).await;
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for named in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let (again, body) = ask(&[("accept-encoding", "gzip"), ("if-none-match", &named)]).await;
            assert_eq!((again.status(), body.len()), (StatusCode::NOT_MODIFIED, 0), "{named}");
            assert!(again.headers().contains_key(CONTENT_SECURITY_POLICY));
        }
        // The same file in another form has another tag.
        let (plain, _) = ask(&[("if-none-match", &tag)]).await;
        assert_eq!(plain.status(), StatusCode::OK);
    }

    #[test]
    fn the_policy_allows_nothing_from_elsewhere() {
        let policy = POLICY;
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!policy.contains("http"), "{policy}");
    }
}
