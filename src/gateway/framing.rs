//! Framing: a request that another server on its way may read otherwise is served by none. Looks at three headers.

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Version};

use crate::error::Error;

/// Google does what it names in place of the request's own method (Google's system parameters, 2026-11).
const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Whether the head has one meaning only. HTTP/2 names its host and its length elsewhere, HTTP/1.0 needs no host.
pub(super) fn judge(head: &Parts) -> Result<(), Error> {
    let by_http1 = matches!(head.version, Version::HTTP_10 | Version::HTTP_11);
    let (mut hosts, mut codings) = (0, 0);
    // One pass costs less than to ask for each.
    for (name, value) in &head.headers {
        if name == HOST && by_http1 {
            hosts += 1;
            if !is_host(value) {
                return Err(Error::Framing("its Host header is no host"));
            }
        } else if name == TRANSFER_ENCODING && by_http1 {
            codings += 1;
            // What is coded beside that would be passed on as if it were not.
            if codings > 1 || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Error::Framing("its body may come in chunks, and in no other Transfer-Encoding"));
            }
        } else if name == OVERRIDE && !value.as_bytes().eq_ignore_ascii_case(head.method.as_str().as_bytes()) {
            return Err(Error::Framing(
                "its X-HTTP-Method-Override names another method: send it by that method itself",
            ));
        }
    }
    match hosts {
        // HTTP/1.1 alone asks for it (RFC 9112, 3.2).
        0 if head.version == Version::HTTP_11 => Err(Error::Framing("it has no Host header")),
        0 | 1 => Ok(()),
        _ => Err(Error::Framing("it has several Host headers")),
    }
}

/// Whether it is made of what a host and a port are made of (RFC 3986, 3.2.2); it may be empty.
fn is_host(value: &HeaderValue) -> bool {
    let part = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'!' | b'$' | b'&'..=b',' | b';' | b'='
            )
    };
    value.as_bytes().iter().all(part)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn told(version: Version, headers: &[(&str, &str)]) -> Result<(), Error> {
        let mut request = Request::post("/v1beta/echo").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn one_host_and_chunks_are_all_that_is_served() {
        for headers in [
            &[("host", "a.example")][..],
            &[("host", "127.0.0.1:8080")],
            &[("host", "[::1]:8080")],
            &[("host", "")],
            &[("host", "a"), ("transfer-encoding", "Chunked")],
            &[("host", "a"), ("content-length", "5")],
        ] {
            assert_eq!(told(Version::HTTP_11, headers), Ok(()), "{headers:?}");
        }
        for headers in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "a b")],
            &[("host", "a/b")],
            &[("host", "user@a")],
            &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert!(matches!(told(Version::HTTP_11, headers), Err(Error::Framing(_))), "{headers:?}");
        }
        assert_eq!((told(Version::HTTP_10, &[]), told(Version::HTTP_2, &[])), (Ok(()), Ok(())));
        assert!(told(Version::HTTP_10, &[("host", "a"), ("host", "b")]).is_err());
    }

    #[test]
    fn a_method_beside_the_requests_own_is_refused_in_every_version() {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            for (named, fine) in
                [(&["POST"][..], true), (&["post"], true), (&["PATCH"], false), (&["POST", "DELETE"], false)]
            {
                let all: Vec<_> = named.iter().map(|named| ("x-http-method-override", *named)).collect();
                let told = told(version, &[&[("host", "a")], &all[..]].concat());
                assert_eq!(told.is_ok(), fine, "{version:?} {named:?}");
            }
        }
    }
}
