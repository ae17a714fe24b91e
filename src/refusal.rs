//! A refusal of Google's: an error body read into the few fields that decisions need.

use std::time::Duration;

use serde_json::{Value, json};

use crate::scrub::Scrubber;

mod cut;

/// The Interactions API's codes and the HTTP status that each one goes with; those of blocked generations, which come
/// inside streams, go with that of a bad request (Gemini API documentation, "API errors", 2026-10).
const WORDS: [(u16, &[&str]); 13] = [
    (400, &["invalid_request", "failed_precondition", "parameter_unknown"]),
    (
        400,
        &[
            "safety",
            "recitation",
            "language",
            "prohibited_content",
            "spii",
            "blocklist",
            "image_safety",
            "image_prohibited_content",
            "image_recitation",
            "image_other",
            "content_blocked",
        ],
    ),
    (401, &["authentication"]),
    (402, &["payment_required"]),
    (403, &["permission_denied"]),
    (404, &["not_found", "model_not_found"]),
    (409, &["already_exists", "aborted"]),
    (416, &["out_of_range"]),
    (429, &["rate_limit_exceeded", "quota_exceeded", "too_many_requests"]),
    (499, &["cancelled"]),
    (501, &["unimplemented"]),
    (503, &["service_unavailable"]),
    (504, &["deadline_exceeded"]),
];
/// A summary is no longer.
const SUMMARY_BYTES_MAX: usize = 300;

/// What an upstream error said. Fields that were absent are empty; a body that is no JSON leaves all of them so.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The HTTP status, or `error.code` when it came inside a stream.
    pub code: u16,
    /// `error.status` (`RESOURCE_EXHAUSTED`), or the Interactions API's string code (`quota_exceeded`).
    pub status: String,
    /// `error.message`. May hold a key: scrub before it leaves.
    pub message: String,
    /// `reason` of the `ErrorInfo` detail.
    pub reason: String,
    /// `metadata.consumer` of the `ErrorInfo` detail: `projects/N`.
    pub consumer: String,
    /// The quotas that were exceeded.
    pub violations: Vec<Violation>,
    /// `retryDelay` of the `RetryInfo` detail, or of the message's "Please retry in Xs".
    pub retry_in: Option<Duration>,
    /// An HTML page where JSON was due.
    pub html: bool,
}

/// One entry of a `QuotaFailure`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Violation {
    /// Such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`.
    pub quota_id: String,
    /// Such as `generativelanguage.googleapis.com/generate_content_free_tier_requests`.
    pub metric: String,
    /// The limit, where Google gave it.
    pub value: Option<u64>,
}

impl Refusal {
    /// Reads the body of an error answer, or its beginning: half a word is no word, but in the message. Google's
    /// OpenAI-compatible endpoint wraps it in an array; both are read.
    pub fn read(code: u16, body: &[u8]) -> Self {
        let start = body.trim_ascii_start();
        if start.first() == Some(&b'<') {
            return Self { code, html: true, message: page_title(start), ..Self::default() };
        }
        let json = serde_json::from_slice(body).ok().or_else(|| cut::mended(body));
        json.map_or_else(|| Self { code, ..Self::default() }, |json| Self::of(code, &json))
    }

    /// Whether it says by a word of the Interactions API that the caller is at fault: a blocked answer, a turn that was
    /// cancelled.
    pub fn is_the_caller_s(&self) -> bool {
        let of_caller = |code: u16| matches!(code, 400 | 404 | 409 | 416 | 499 | 501);
        WORDS.iter().any(|(code, words)| of_caller(*code) && words.contains(&self.status.as_str()))
    }

    /// Reads an error that arrived inside a stream, or its beginning: `{"error":..}`, bare, in an array, or behind `data:`; or
    /// what is left of it from its value on, where the rest had passed.
    pub fn in_stream(text: &[u8]) -> Self {
        let start = memchr::memchr(b'{', text).unwrap_or(text.len());
        let first = serde_json::Deserializer::from_slice(&text[start..]).into_iter::<Value>().next();
        let json = first.and_then(Result::ok).or_else(|| cut::mended(&text[start..]));
        let whole = |json: Value| if json.get("error").is_none() { json!({"error": json}) } else { json };
        let read = json.map_or_else(Self::default, |json| Self::of(0, &whole(json)));
        Self { code: if read.code == 0 { 500 } else { read.code }, ..read }
    }

    /// An error that arrived inside a stream, without its dress and as it was written; of one that began before `text` its
    /// value is enough. `None`: it is not whole.
    pub fn undressed(text: &[u8]) -> Option<Vec<u8>> {
        let start = memchr::memchr(b'{', text)?;
        let first =
            serde_json::Deserializer::from_slice(&text[start..]).into_iter::<&serde_json::value::RawValue>().next();
        let raw = first?.ok()?.get();
        let is_whole = serde_json::from_str::<Value>(raw).is_ok_and(|json| json.get("error").is_some());
        Some(if is_whole { raw.into() } else { format!("{{\"error\": {raw}}}").into() })
    }

    fn of(code: u16, json: &Value) -> Self {
        let envelope = json.as_array().and_then(|list| list.first()).unwrap_or(json);
        let error = &envelope["error"];
        let mut refusal = Self {
            code,
            status: text(&error["status"]).or_else(|| text(&error["code"])).unwrap_or_default(),
            message: text(&error["message"]).or_else(|| text(error)).unwrap_or_default(),
            ..Self::default()
        };
        if code == 0 {
            let word = WORDS.iter().find(|(_, words)| words.contains(&refusal.status.as_str()));
            let number = error["code"].as_u64().and_then(|n| u16::try_from(n).ok());
            refusal.code = number.or(word.map(|(code, _)| *code)).unwrap_or(0);
        }
        for detail in error["details"].as_array().into_iter().flatten() {
            refusal.detail(detail);
        }
        if refusal.retry_in.is_none() {
            refusal.retry_in = refusal.message.split_once("Please retry in ").and_then(|(_, rest)| duration(rest));
        }
        refusal
    }

    fn detail(&mut self, detail: &Value) {
        let kind = detail["@type"].as_str().unwrap_or("");
        if kind.ends_with("ErrorInfo") {
            self.reason = text(&detail["reason"]).unwrap_or_default();
            self.consumer = text(&detail["metadata"]["consumer"]).unwrap_or_default();
        } else if kind.ends_with("RetryInfo") {
            self.retry_in = detail["retryDelay"].as_str().and_then(duration);
        } else if kind.ends_with("QuotaFailure") {
            let listed = detail["violations"].as_array().into_iter().flatten();
            self.violations.extend(listed.map(|violation| Violation {
                quota_id: text(&violation["quotaId"]).unwrap_or_default(),
                metric: text(&violation["quotaMetric"]).unwrap_or_default(),
                value: number(&violation["quotaValue"]),
            }));
        }
    }

    /// Whether the message holds `words`, in any case.
    pub fn says(&self, words: &str) -> bool {
        let (message, words) = (self.message.as_bytes(), words.as_bytes());
        message.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words))
    }

    /// The limits that the message states, each with the metric named before it: `metric: m, limit: 0`.
    pub fn limits(&self) -> Vec<(&str, u64)> {
        let parts: Vec<&str> = self.message.split("limit: ").collect();
        parts.windows(2).filter_map(|pair| limit(pair[0], pair[1])).collect()
    }

    /// The message's first sentence, for a log line. May hold a key: scrub before it leaves.
    pub fn summary(&self) -> &str {
        let line = self.message.lines().next().unwrap_or("");
        let ends = |end: &usize| !["e.g", "i.e"].iter().any(|short| line[..*end].ends_with(short));
        let end = line.match_indices(". ").map(|(end, _)| end).find(ends).unwrap_or(line.len());
        if end <= SUMMARY_BYTES_MAX {
            return line[..end].trim_end_matches('.');
        }
        // Between words: half of a key is a secret that no scrubber knows.
        let cut = &line[..line.floor_char_boundary(SUMMARY_BYTES_MAX)];
        cut.rsplit_once(' ').map_or(cut, |(words, _)| words)
    }

    /// Takes every secret out of what it says.
    pub fn scrub(&mut self, scrubber: &Scrubber) {
        for text in [&mut self.status, &mut self.message, &mut self.reason, &mut self.consumer] {
            *text = scrubber.scrub_str(text).into_owned();
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The limit that `after` begins with, of the metric that `before` named last.
fn limit<'m>(before: &'m str, after: &str) -> Option<(&'m str, u64)> {
    let metric = before.rsplit_once("metric: ").and_then(|(_, named)| named.split(',').next());
    let word = after.split([',', ' ', '\n']).next()?;
    Some((metric.unwrap_or_default(), word.trim_end_matches('.').parse().ok()?))
}

/// A count that Google writes as a string (`"250"`) or as a number.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|s| s.parse().ok()))
}

/// The leading `12.5s` or `850ms` of a text, at most a day.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let amount: f64 = text[..end].trim_end_matches('.').parse().ok()?;
    let seconds = if text[end..].starts_with("ms") { amount / 1000.0 } else { amount };
    Duration::try_from_secs_f64(seconds).ok().map(|delay| delay.min(Duration::from_hours(24)))
}

fn page_title(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(&page[..page.len().min(4096)]);
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map(|(title, _)| title);
    title.unwrap_or("an HTML page").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = r#"{"error":{"code":429,"message":"You exceeded your current quota. More.\nPlease retry in 48.8s.",
      "status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[
      {"quotaMetric":"m","quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaValue":"250"}]},
      {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"48s"}]}}"#;

    #[test]
    fn an_envelope_is_read_bare_and_in_an_array() {
        for body in [DAY.to_owned(), format!("[{DAY}]")] {
            let refusal = Refusal::read(429, body.as_bytes());
            assert_eq!(refusal.status, "RESOURCE_EXHAUSTED");
            assert_eq!(refusal.violations[0].value, Some(250));
            assert_eq!(refusal.retry_in, Some(Duration::from_secs(48)));
            assert_eq!(refusal.summary(), "You exceeded your current quota");
        }
    }

    #[test]
    fn what_came_of_an_error_that_broke_off_is_read() {
        let read = |end: &str| Refusal::read(429, DAY.split_once(end).unwrap().0.as_bytes());
        assert_eq!(read("More.").summary(), "You exceeded your current quota");
        assert!(read("PerDay").violations.iter().all(|violation| violation.quota_id.is_empty()));
        assert_eq!(read("]},\n").violations[0].value, Some(250));
        assert_eq!(read("\"}]}}").retry_in, Some(Duration::from_millis(48_800)), "by the message's words");
    }

    #[test]
    fn a_summary_is_a_sentence_and_no_abbreviation_ends_it() {
        let of = |message: &str| Refusal { message: message.to_owned(), ..Refusal::default() }.summary().to_owned();
        for (message, summary) in [
            ("Resource has been exhausted (e.g. check quota).", "Resource has been exhausted (e.g. check quota)"),
            ("Bad (i.e. wrong). Really.", "Bad (i.e. wrong)"),
            ("One. Two.", "One"),
            ("One\nTwo", "One"),
            ("", ""),
        ] {
            assert_eq!(of(message), summary);
        }
        assert_eq!(of(&format!("{}fake-key-0001 and more", "word ".repeat(58))), "word ".repeat(58).trim_end());
        assert_eq!(of(&"\u{e4}".repeat(400)).len(), SUMMARY_BYTES_MAX);
        assert_eq!(of(&format!("a{}", "\u{e4}".repeat(400))).len(), SUMMARY_BYTES_MAX - 1);
    }

    #[test]
    fn an_error_inside_a_stream_is_read_in_each_dress() {
        let error = r#"{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}"#;
        let cut = error.split_at(1).1.to_owned();
        let array = [format!("[{error}"), format!(",\r\n{error}]")];
        for body in [error.to_owned(), format!("data: {error}\r\n\r\n"), cut].into_iter().chain(array) {
            let refusal = Refusal::in_stream(body.as_bytes());
            assert_eq!((refusal.code, refusal.status.as_str()), (503, "UNAVAILABLE"), "{body}");
        }
    }

    #[test]
    fn an_error_is_taken_out_of_its_dress_as_it_was_written() {
        let error = r#"{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}"#;
        for body in [error.to_owned(), format!("data: [{error}]\n\ndata: [DONE]\n\n"), error.split_at(1).1.to_owned()] {
            assert_eq!(Refusal::undressed(body.as_bytes()).as_deref(), Some(error.as_bytes()), "{body}");
        }
        assert_eq!(Refusal::undressed(&error.as_bytes()[..40]), None);
    }

    #[test]
    fn a_word_for_a_code_is_read_in_a_stream_as_well() {
        for (code, status) in [("quota_exceeded", 429), ("safety", 400), ("cancelled", 499), ("api_error", 500)] {
            let event =
                format!("event: error\ndata: {{\"event_type\":\"error\",\"error\":{{\"code\":\"{code}\"}}}}\n\n");
            let refusal = Refusal::in_stream(event.as_bytes());
            assert_eq!((refusal.code, refusal.status.as_str()), (status, code));
        }
    }

    #[test]
    fn the_delay_is_found_in_the_message_too_and_garbage_is_harmless() {
        let body = br#"{"error":{"message":"Please retry in 850.5ms."}}"#;
        assert_eq!(Refusal::read(429, body).retry_in, Some(Duration::from_micros(850_500)));
        assert!(Refusal::read(502, b"<html><title>Error 502</title>").html);
        for body in
            [&b""[..], b"{", b"[]", b"[1]", b"null", b"{\"error\":7}", b"\xff\xfe", b"{\"error\":{\"details\":3}}"]
        {
            assert_eq!(Refusal::read(500, body).code, 500);
        }
        assert_eq!(duration("99999999999999999999s"), None);
    }
}
