//! A wish: what a client says of answers that are kept, read off its headers before they are cleaned.

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

/// `x-geminate-cache`: on a request `allow` asks for a kept answer where chance would otherwise forbid it; on an answer
/// it says where the answer came from. It never goes up.
pub const X_GEMINATE_CACHE: HeaderName = HeaderName::from_static("x-geminate-cache");

/// What a client wishes. The default is that of one who says nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// Whether an answer that was kept will do. Not with `no-cache`, `max-age=0` or `no-store`.
    pub look: bool,
    /// Whether the answer may be kept. Not with `no-store`.
    pub keep: bool,
    /// How old a kept answer may be, by `max-age`; `None` sets no bound.
    pub age_max: Option<Duration>,
    /// Whether an answer may be kept although another could be given: `x-geminate-cache: allow`.
    pub allow: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { look: true, keep: true, age_max: None, allow: false }
    }
}

impl Wish {
    /// Reads a request's headers. Directives that are unknown or malformed say nothing; the strictest of several stands.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut wish = Self::default();
        for list in headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()) {
            list.split(',').for_each(|directive| wish.read(directive));
        }
        let allow = headers.get_all(X_GEMINATE_CACHE).iter();
        wish.allow = allow.into_iter().any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"allow"));
        wish
    }

    fn read(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") {
            (self.look, self.keep) = (false, false);
        } else if name.eq_ignore_ascii_case("no-cache") {
            self.look = false;
        } else if name.eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = value.trim().trim_matches('"').parse()
        {
            self.look &= seconds > 0;
            let age = Duration::from_secs(seconds);
            self.age_max = Some(self.age_max.map_or(age, |other| other.min(age)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(headers: &[(&'static str, &'static str)]) -> Wish {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Wish::of(&headers.collect())
    }

    #[test]
    fn cache_control_is_read_as_it_is_written_in_the_wild() {
        let plain = Wish::default();
        let fresh = Wish { look: false, ..plain };
        let private = Wish { look: false, keep: false, ..plain };
        let within = |seconds| Wish { age_max: Some(Duration::from_secs(seconds)), ..plain };
        for (said, wished) in [
            ("", plain),
            ("no-cache", fresh),
            ("No-Store", private),
            ("no-cache, no-store, must-revalidate", private),
            ("max-age=60", within(60)),
            (" max-age = \"7\" ,private", within(7)),
            ("max-age=60, max-age=5", within(5)),
            ("max-age=0", Wish { look: false, age_max: Some(Duration::ZERO), ..plain }),
            ("max-age=-1", plain),
            ("max-age", plain),
            ("no-cachet, storeno-store", plain),
        ] {
            assert_eq!(wish(&[("cache-control", said)]), wished, "{said}");
        }
    }

    #[test]
    fn only_the_word_allow_allows() {
        for (said, allow) in [("allow", true), (" Allow", true), ("hit", false), ("true", false), ("", false)] {
            assert_eq!(wish(&[("x-geminate-cache", said)]).allow, allow, "{said}");
        }
        assert!(!wish(&[]).allow);
    }
}
