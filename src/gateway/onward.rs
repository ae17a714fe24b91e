//! Onward: where a redirection leads, told so that whoever asked finds it, whatever stands between.

use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Uri};

use crate::endpoint;

/// Makes of the path in an answer's `Location` a reference from the path that was asked: it needs neither this gateway's
/// origin nor what a proxy in front puts before its paths. A client that is known by the query stays known by it.
pub(super) fn from_here(asked: &Uri, headers: &mut HeaderMap) {
    let Some(target) = headers.remove(LOCATION) else { return };
    let Ok(target) = target.to_str() else { return };
    let up = asked.path().matches('/').count().saturating_sub(1);
    let mut text = if up == 0 { "./".to_owned() } else { "../".repeat(up) };
    text.push_str(target.trim_start_matches('/'));
    if let Some(key) = endpoint::key(asked.query()) {
        text.push(if target.contains('?') { '&' } else { '?' });
        text.push_str(key);
    }
    if let Ok(mut reference) = HeaderValue::try_from(text) {
        reference.set_sensitive(true);
        headers.insert(LOCATION, reference);
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;

    #[test]
    fn the_reference_leads_there_behind_any_front() {
        for (asked, target, leads) in [
            ("/v1beta/files/f:download?alt=media", "/download/v1beta/files/f:download?alt=media", None),
            ("//v1beta/files/f", "/v1beta/files/g", None),
            ("/v1/files", "/v1beta/openai/files/a/content", None),
            ("/v1beta/files/f/", "/v1beta/files/g", None),
            (
                "/v1beta/files/f?a=1&key=fake&key=b",
                "/v1beta/files/g?alt=media",
                Some("/v1beta/files/g?alt=media&key=fake"),
            ),
            ("/v1beta/files/f?k%65y=fake", "/v1beta/files/g", Some("/v1beta/files/g?k%65y=fake")),
        ] {
            let mut headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(target))]);
            from_here(&asked.parse().unwrap(), &mut headers);
            let reference = headers[LOCATION].to_str().unwrap();
            for front in ["http://127.0.0.1:8080", "https://ai.example.com/gemini", "https://ai.example.com/a/b"] {
                let came = Url::parse(&format!("{front}{asked}")).unwrap().join(reference).unwrap();
                let came = came.as_str().strip_prefix(front).unwrap();
                assert_eq!(came.replace("//", "/"), leads.unwrap_or(target), "{front}{asked} {reference}");
            }
        }
    }

    #[test]
    fn an_answer_that_leads_nowhere_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        from_here(&"/v1beta/files/f?key=fake".parse().unwrap(), &mut headers);
        assert!(headers.is_empty());
    }
}
