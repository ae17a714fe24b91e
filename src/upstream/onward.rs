//! Onward: of where a redirection leads, what is a path of the API here. Nothing is followed.

use http::header::LOCATION;
use http::{HeaderValue, Method, Uri};
use reqwest::{Response, Url};

use crate::endpoint::{Endpoint, Surface};
use crate::settings::Origin;

/// Leaves of the answer's `Location` the path and query, without any credential, where a redirection leads on in the API
/// at the upstream itself: a client may go there through geminate. Else there is none.
pub(super) fn lead(answer: &mut Response) {
    let location = answer.headers_mut().remove(LOCATION).filter(|_| answer.status().is_redirection());
    if let Some(target) = location.and_then(|location| target(answer.url(), &location)) {
        answer.headers_mut().insert(LOCATION, target);
    }
}

fn target(asked: &Url, location: &HeaderValue) -> Option<HeaderValue> {
    let to = asked.join(location.to_str().ok()?).ok()?;
    // What stands in front of Google passes on Google's own address, and serves what is there.
    let origin = to.origin();
    if origin != asked.origin() && origin.ascii_serialization() != Origin::google().as_str() {
        return None;
    }
    let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("{}{query}", to.path()).parse().ok()?;
    let endpoint = Endpoint::parse(&Method::GET, &uri, Surface::Gemini).ok()?;
    let mut target = HeaderValue::from_str(endpoint.target.as_str()).ok()?;
    target.set_sensitive(true);
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(location: &str) -> Option<String> {
        let asked = Url::parse("http://127.0.0.1:1/v1beta/files/f:download?alt=media").unwrap();
        target(&asked, &HeaderValue::from_str(location).unwrap()).map(|target| target.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_leads_on_in_the_api_is_a_path_without_a_credential() {
        for (location, target) in [
            (
                "http://127.0.0.1:1/download/v1beta/files/f:download?alt=media",
                "/download/v1beta/files/f:download?alt=media",
            ),
            ("/download/v1beta/files/f:download?alt=media", "/download/v1beta/files/f:download?alt=media"),
            ("//127.0.0.1:1/v1beta/files/g", "/v1beta/files/g"),
            ("./g:download", "/v1beta/files/g:download"),
            ("?alt=json", "/v1beta/files/f:download?alt=json"),
            ("https://generativelanguage.googleapis.com/download/v1beta/files/f", "/download/v1beta/files/f"),
            ("http://user:pass@127.0.0.1:1/v1beta/files/g#part", "/v1beta/files/g"),
            ("/v1beta/files/g?key=fake-key-0001&a=%20&access_token=x&%24httpHeaders=y", "/v1beta/files/g?a=%20"),
        ] {
            assert_eq!(led(location).as_deref(), Some(target), "{location}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_not_told() {
        for location in [
            "https://storage.googleapis.com/v1beta/files/f",
            "https://127.0.0.1:1/v1beta/files/f",
            "http://127.0.0.1:2/v1beta/files/f",
            "http://generativelanguage.googleapis.com/v1beta/files/f",
            "https://generativelanguage.googleapis.com.example/v1beta/files/f",
            "/monitor/keys",
            "/v1beta/a%2f..%2fb",
            "/",
            "javascript:alert(1)",
            "http://[",
        ] {
            assert_eq!(led(location), None, "{location}");
        }
    }
}
