//! Targets: the URLs of paths that were asked lately, so that no request parses its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::uri::PathAndQuery;
use reqwest::Url;

/// URLs that are kept; beyond them all are forgotten, which costs one parse each.
const KEPT_MAX: usize = 256;
/// A longer target is hardly asked twice.
const TARGET_BYTES_MAX: usize = 256;

/// The URLs of one worker: nobody else waits for their lock.
#[derive(Debug)]
pub(super) struct Targets {
    base: Url,
    known: Mutex<HashMap<PathAndQuery, Url>>,
}

impl Targets {
    /// URLs below `base`, an origin.
    pub(super) fn new(base: Url) -> Self {
        Self { base, known: Mutex::default() }
    }

    /// The URL of a target, from parts: the origin is fixed, path and query were parsed at the edge.
    pub(super) fn url(&self, target: &PathAndQuery) -> Url {
        if target.as_str().len() > TARGET_BYTES_MAX {
            return self.build(target);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = known.get(target) {
            return url.clone();
        }
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.entry(target.clone()).or_insert_with(|| self.build(target)).clone()
    }

    /// The same for a target that may hold a secret: it is not kept.
    pub(super) fn fresh(&self, target: &PathAndQuery) -> Url {
        self.build(target)
    }

    fn build(&self, target: &PathAndQuery) -> Url {
        let mut url = self.base.clone();
        url.set_path(target.path());
        url.set_query(target.query());
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_target_is_the_same_url_and_no_more_are_kept_than_allowed() {
        let targets = Targets::new(Url::parse("http://127.0.0.1:1").unwrap());
        let of = |text: &str| targets.url(&text.parse().unwrap());
        assert_eq!(of("/v1beta/models/m:x?alt=sse").as_str(), "http://127.0.0.1:1/v1beta/models/m:x?alt=sse");
        for n in 0..1_000 {
            let path = format!("/v1beta/{}", n % 300);
            assert_eq!(of(&path).path(), path);
        }
        assert_eq!(of("//elsewhere.example/x").host_str(), Some("127.0.0.1"));
        assert!(targets.known.lock().unwrap().len() <= KEPT_MAX);
    }
}
