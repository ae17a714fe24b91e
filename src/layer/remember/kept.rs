//! A kept answer: what may be kept, and how it is given again.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use crate::call::wish::X_GEMINATE_CACHE;
use crate::meter::Meter;
use crate::record::{Outcome, Remembered};
use crate::relay::Relay;

/// What an entry takes beside its bytes, or so: the map's, the headers', the allocator's.
const ENTRY_BYTES: usize = 512;

/// A whole answer, without what was said of the one call that fetched it.
#[derive(Debug)]
pub(super) struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    since: Instant,
    /// Whose fault it is, where it is an error.
    outcome: Option<Outcome>,
    /// Whether it may be given to whoever asks later, not only to those who wait for it now.
    lasting: bool,
}

impl Kept {
    /// The answer as it came just now; `generates` says that it must have come to its end by itself to be kept.
    pub(super) fn of(answer: &Response<Bytes>, generates: bool) -> Self {
        let mut headers = answer.headers().clone();
        let told = |name: &HeaderName| is_of_one_call(name.as_str());
        let names: Vec<HeaderName> = headers.keys().filter(|name| told(name)).cloned().collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
        let meter = read(answer);
        let lasting = meter.as_ref().is_some_and(|meter| lasts(answer, meter, generates));
        let outcome = answer.extensions().get::<Outcome>().copied();
        // A copy: a piece of a read buffer would hold on to the rest of it.
        let body = if lasting { Bytes::copy_from_slice(answer.body()) } else { answer.body().clone() };
        Self { status: answer.status(), headers, body, since: Instant::now(), outcome, lasting }
    }

    /// Whether it may be kept.
    pub(super) fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// How long ago it came.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// What it takes of the memory for answers.
    pub(super) fn weight(&self) -> u32 {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        u32::try_from(ENTRY_BYTES + headers + self.body.len()).unwrap_or(u32::MAX)
    }

    /// The answer once more.
    pub(super) fn reply(&self, how: Remembered, now: Instant) -> Response<Relay> {
        let mut reply = Response::new(Relay::from(self.body.clone()));
        *reply.status_mut() = self.status;
        *reply.headers_mut() = self.headers.clone();
        mark(reply.headers_mut(), how, self.age(now).as_secs());
        if let Some(outcome) = self.outcome {
            reply.extensions_mut().insert(outcome);
        }
        reply
    }
}

/// Says where an answer comes from and how many seconds old it is.
pub(super) fn mark(headers: &mut HeaderMap, how: Remembered, age_seconds: u64) {
    headers.insert(X_GEMINATE_CACHE, HeaderValue::from_static(how.name()));
    headers.insert(AGE, HeaderValue::from(age_seconds));
}

/// Headers that tell of one call: when it was, how long it took, what was left of a limit.
fn is_of_one_call(name: &str) -> bool {
    name == DATE.as_str() || name == "server-timing" || name.starts_with("x-ratelimit-")
}

/// Reads an answer that can be read; what cannot be read cannot be trusted.
fn read(answer: &Response<Bytes>) -> Option<Meter> {
    let headers = answer.headers();
    let json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    (json && !headers.contains_key(CONTENT_ENCODING)).then(|| {
        let mut meter = Meter::default();
        meter.feed(answer.body());
        meter
    })
}

/// Whether whoever asks the same later may get this: a whole, unblocked, untruncated answer with something in it.
fn lasts(answer: &Response<Bytes>, meter: &Meter, generates: bool) -> bool {
    let said = if generates { meter.all_stopped() && meter.has_content() } else { says(answer.body()) };
    answer.status() == StatusCode::OK && !meter.error() && said
}

/// Whether there is anything in a body of JSON.
fn says(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let inner = body.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    inner.is_some_and(|inner| !inner.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOPPED: &str = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#;

    fn answer(status: u16, kind: &'static str, body: &str) -> Response<Bytes> {
        let builder = Response::builder().status(status).header(CONTENT_TYPE, kind);
        builder.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_generation_is_kept_only_if_all_of_it_came_to_its_own_end() {
        let cut = STOPPED.replace("STOP", "MAX_TOKENS");
        let two = |second: &str| {
            let candidate = r#"{"content":{"parts":[{"text":"a"}]},"finishReason":"F"}"#;
            format!("{{\"candidates\":[{},{}]}}", candidate.replace('F', second), candidate.replace('F', "STOP"))
        };
        for (body, kept) in [
            (STOPPED, true),
            (r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#, true),
            (&two("STOP"), true),
            (&two("MAX_TOKENS"), false),
            (&cut, false),
            (&STOPPED.replace("STOP", "SAFETY"), false),
            (r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}"#, false),
            (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, false),
            (r#"{"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}]}"#, false),
            (r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#, false),
            (r#"{"candidates":[]}"#, false),
            (r#"{"error":{"code":503}}"#, false),
            ("", false),
        ] {
            assert_eq!(Kept::of(&answer(200, "application/json", body), true).is_lasting(), kept, "{body}");
        }
    }

    #[test]
    fn another_answer_is_kept_if_it_is_json_that_says_something() {
        let json = "application/json; charset=UTF-8";
        for (status, kind, body, kept) in [
            (200, json, r#"{"totalTokens": 7}"#, true),
            (200, json, "{ }\n", false),
            (200, json, "[1]", false),
            (200, json, r#"{"error": {"code": 400}}"#, false),
            (200, "application/x-protobuf", r#"{"totalTokens": 7}"#, false),
            (206, json, r#"{"totalTokens": 7}"#, false),
            (404, json, r#"{"totalTokens": 7}"#, false),
        ] {
            assert_eq!(Kept::of(&answer(status, kind, body), false).is_lasting(), kept, "{status} {kind} {body}");
        }
    }

    #[test]
    fn a_kept_answer_says_nothing_of_the_call_that_fetched_it() {
        let mut fetched = answer(200, "application/json", STOPPED);
        for (name, value) in [("date", "then"), ("server-timing", "gfet4t7; dur=9"), ("x-ratelimit-left", "3")] {
            fetched.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        fetched.headers_mut().insert("x-goog-said", HeaderValue::from_static("a"));
        let kept = Kept::of(&fetched, true);
        let reply = kept.reply(Remembered::Hit, kept.since + Duration::from_millis(2_900));
        let mut said: Vec<_> =
            reply.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        said.sort_unstable();
        let all =
            [("age", "2"), ("content-type", "application/json"), ("x-geminate-cache", "hit"), ("x-goog-said", "a")];
        assert_eq!(said, all);
    }
}
