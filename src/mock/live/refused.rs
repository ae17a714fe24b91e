//! Google's refusals as a session tells them: by a close code and a few words, or over HTTP where a script says so.

use http::StatusCode;

use crate::mock::bodies::{Asked, Page, Refused};
use crate::mock::fault::Fault;
use crate::mock::script::Script;

/// A close frame holds 125 bytes, two of them its code.
const REASON_BYTES_MAX: usize = 123;

/// How a session is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Close {
    pub(super) fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned() }
    }

    /// The refusal in a close frame: 1007 for bad arguments, keys among them, 1011 for quotas and Google's own
    /// failures, 1008 for the rest (reports of Live's users, 2025-05 to 2026-09).
    pub(super) fn of(refused: &Refused) -> Self {
        let code = match refused.status {
            400 => 1007,
            429 | 500..=599 => 1011,
            _ => 1008,
        };
        let message = match &refused.body {
            Page::Json(json) => json["error"]["message"].as_str().unwrap_or("Internal error encountered."),
            Page::Html(_) => "The service is currently unavailable.",
        };
        Self::new(code, message)
    }
}

/// The answer with which a script refuses a handshake: a refusal's own, or a bare status.
pub(super) fn over_http(script: &Script, key: &str) -> Option<Refused> {
    let asked = Asked { key: key.to_owned(), ..Asked::default() };
    if let Some((refusal, retry)) = script.refusal() {
        return Some(refusal.to(&asked, retry));
    }
    let status =
        script.faults.iter().find_map(|fault| if let Fault::Status(code) = fault { Some(*code) } else { None });
    let reason = StatusCode::from_u16(status?).ok()?.canonical_reason().unwrap_or("refused");
    Some(crate::mock::bodies::plain(status?, reason))
}
