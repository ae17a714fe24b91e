//! How a session is closed: a code and a few words, as both sides may hear them.

use http::StatusCode;
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::error::Error;
use crate::refusal::Refusal;
use crate::scrub::Scrubber;

/// The code of an end that both sides wanted.
pub(super) const NORMAL: u16 = 1000;
/// What stands for a close frame without a code; no frame carries it.
pub(super) const NO_CODE: u16 = 1005;
/// The code of a side that goes away, or that waited long enough.
pub(super) const GOING_AWAY: u16 = 1001;
/// The code for a client that did not do what it must.
pub(super) const POLICY: u16 = 1008;
/// The code for what failed on this side.
pub(super) const FAILED: u16 = 1011;
/// The code of a server that starts again.
pub(super) const RESTART: u16 = 1012;
/// A close frame holds 125 bytes, two of them its code.
const REASON_BYTES_MAX: usize = 123;

/// The end of a session as a close frame tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Close {
    /// With as much of `reason` as a frame holds.
    pub(super) fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned() }
    }

    /// What Google's frame says, without any key.
    pub(super) fn heard(frame: Option<&CloseFrame>, scrubber: &Scrubber) -> Self {
        frame.map_or_else(
            || Self::new(NO_CODE, ""),
            |frame| Self::new(frame.code.into(), &scrubber.scrub_str(frame.reason.as_str())),
        )
    }

    /// How a client is told that no session could begin.
    pub(super) fn of(error: &Error) -> Self {
        let code = match error {
            Error::Closed { code, reason } => return Self::new(*code, reason),
            Error::Draining => RESTART,
            Error::Cancelled => GOING_AWAY,
            Error::Exhausted { fault: true, .. } => FAILED,
            error if error.retry_after().is_some() => CloseCode::Again.into(),
            error if error.status().is_client_error() => POLICY,
            _ => FAILED,
        };
        Self::new(code, &error.to_string())
    }

    /// The answer of HTTP's that refused a handshake, as a close.
    pub(super) fn of_answer(status: StatusCode, refusal: &Refusal) -> Self {
        let code = match status.as_u16() {
            429 | 503 => CloseCode::Again,
            400..=499 => CloseCode::Policy,
            _ => CloseCode::Error,
        };
        let said = if refusal.message.is_empty() { status.canonical_reason().unwrap_or("") } else { &refusal.message };
        Self::new(code.into(), said)
    }

    /// What of a client's sending was no WebSocket message that passes; `None` if it just went away.
    pub(super) fn of_fault(error: &SocketError, bytes_max: usize) -> Option<Self> {
        use tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
        Some(match error {
            SocketError::Capacity(_) => Self::new(
                CloseCode::Size.into(),
                &format!("the message is larger than {bytes_max} bytes (live.message_bytes_max)"),
            ),
            SocketError::Utf8(_) => Self::new(CloseCode::Invalid.into(), "the text is not UTF-8"),
            SocketError::Protocol(ResetWithoutClosingHandshake) => return None,
            SocketError::Protocol(what) => Self::new(CloseCode::Protocol.into(), &what.to_string()),
            SocketError::AttackAttempt => Self::new(CloseCode::Protocol.into(), "the frames are malformed"),
            _ => return None,
        })
    }

    /// The frame; a code that may not stand in one is left out.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        let code = CloseCode::from(self.code);
        code.is_allowed().then(|| CloseFrame { code, reason: self.reason.as_str().into() })
    }

    /// Google's refusal in it, as if it had come over HTTP: a close frame holds nothing but words.
    pub(super) fn refusal(&self) -> Refusal {
        let mut refusal = Refusal { message: self.reason.clone(), ..Refusal::default() };
        (refusal.code, refusal.status) = self.meaning(&refusal);
        refusal
    }

    fn meaning(&self, said: &Refusal) -> (u16, String) {
        let any = |words: &[&str]| words.iter().any(|words| said.says(words));
        let (code, status) = if any(&["api key not valid", "api key expired", "api key not found"]) {
            (400, "INVALID_ARGUMENT")
        } else if any(&["user location is not supported", "free tier"]) {
            (400, "FAILED_PRECONDITION")
        } else if any(&["leaked", "denied", "permission", "suspended", "unregistered", "has not been used", "blocked"])
        {
            (403, "PERMISSION_DENIED")
        } else if any(&["quota", "exhausted", "rate limit", "too many requests", "credits are depleted", "spend"]) {
            (429, "RESOURCE_EXHAUSTED")
        } else if any(&["unauthenticated", "authentication credential"]) {
            (401, "UNAUTHENTICATED")
        } else if any(&["not found", "no longer available"]) {
            (404, "NOT_FOUND")
        } else if any(&["overloaded", "unavailable", "high demand"]) {
            (503, "UNAVAILABLE")
        } else {
            match self.code {
                1011 | 1014 => (500, "INTERNAL"),
                1012 | 1013 => (503, "UNAVAILABLE"),
                _ => (400, "INVALID_ARGUMENT"),
            }
        };
        (code, status.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::endpoint::Surface;
    use crate::verdict::Verdict;

    #[test]
    fn the_words_of_a_close_are_judged_as_an_answer_is() {
        let mut endpoint = Endpoint::parse(&Method::GET, &"/ws/x".parse().unwrap(), Surface::Gemini).unwrap();
        endpoint.model = Some("m".into());
        for (code, reason, verdict) in [
            (1007, "API key not valid. Please pass a valid API key.", Verdict::KeyInvalid),
            (1007, "API key expired. Please renew the API key.", Verdict::KeyInvalid),
            (1008, "Your API key was reported as leaked. Please use another API key.", Verdict::Banned),
            (1011, "You exceeded your current quota, please check your plan and billing details.", Verdict::QuotaBare),
            (1011, "Resource has been exhausted (e.g. check quota).", Verdict::QuotaBare),
            (1008, "models/m is not found for API version v1beta, or is not supported for", Verdict::ModelUnknown),
            (1011, "The model is overloaded. Please try again later.", Verdict::Overloaded),
            (1011, "Internal error encountered.", Verdict::Internal),
            (1007, "User location is not supported for the API use.", Verdict::Precondition),
            (1008, "BidiGenerateContent session not found", Verdict::Caller),
            (1007, "Request contains an invalid argument.", Verdict::Caller),
            (1000, "", Verdict::Caller),
        ] {
            let refusal = Close::new(code, reason).refusal();
            assert_eq!(Verdict::of(&refusal, &endpoint), verdict, "{code} {reason}");
        }
    }

    #[test]
    fn a_reason_fits_its_frame_and_is_cut_between_characters() {
        let close = Close::new(1013, &"\u{e9}".repeat(100));
        assert_eq!((close.reason.len(), close.reason.chars().count()), (122, 61));
        let out = Error::Exhausted {
            reasons: vec![("quota_day", 2), ("invalid", 1)],
            retry_after: Some(Duration::from_secs(12)),
            fault: false,
            denied: false,
            owner: None,
        };
        let close = Close::of(&out);
        assert_eq!(close.code, 1013);
        assert!(close.reason.contains("2 quota_day, 1 invalid") && close.reason.ends_with("in 12 s"), "{close:?}");
    }

    #[test]
    fn codes_that_no_frame_may_carry_are_left_out() {
        for (code, sent) in [(1000, true), (1005, false), (1006, false), (1015, false), (1012, true), (4000, true)] {
            assert_eq!(Close::new(code, "").frame().is_some(), sent, "{code}");
        }
    }
}
