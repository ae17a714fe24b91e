//! A probe: what asking a dead key whether it lives came to.

use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::verdict::Verdict;

/// What asking a dead key came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// It serves again.
    Alive,
    /// Still refused.
    Dead,
    /// Refused for ever.
    Banned,
    /// No answer that says either.
    Unclear,
}

impl Probe {
    /// What a whole answer to the list of models says of the key. What is not in the API's own shape says nothing: a proxy
    /// or a page may stand before it.
    pub fn of(status: u16, body: &[u8]) -> Self {
        let refusal = Refusal::read(status, body);
        match Verdict::of_key(&refusal) {
            Verdict::Success if is_object(body) => Self::Alive,
            Verdict::KeyInvalid => Self::Dead,
            Verdict::Banned => Self::Banned,
            _ if refusal.status.is_empty() => Self::Unclear,
            Verdict::Unauthorized => Self::Dead,
            // It was let in, whatever else is wrong.
            Verdict::Caller | Verdict::QuotaMinute | Verdict::QuotaDay | Verdict::QuotaBare => Self::Alive,
            _ => Self::Unclear,
        }
    }
}

fn is_object(body: &[u8]) -> bool {
    serde_json::from_slice::<Map<String, Value>>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_of_the_api_says_nothing_of_a_key() {
        for (status, body) in [
            (200, "<html>Log in to the network</html>"),
            (200, ""),
            (400, ""),
            (400, r#"{"error":{"message":"no"}}"#),
            (401, ""),
            (404, "<html><title>nothing here</title></html>"),
            (407, "Proxy Authentication Required"),
            (429, "slow down"),
            (503, ""),
        ] {
            assert_eq!(Probe::of(status, body.as_bytes()), Probe::Unclear, "{status} {body}");
        }
        for (status, said, found) in [
            (400, "INVALID_ARGUMENT", Probe::Alive),
            (401, "UNAUTHENTICATED", Probe::Dead),
            (429, "RESOURCE_EXHAUSTED", Probe::Alive),
            (503, "UNAVAILABLE", Probe::Unclear),
        ] {
            let body = format!(r#"{{"error":{{"message":"no","status":"{said}"}}}}"#);
            assert_eq!(Probe::of(status, body.as_bytes()), found, "{status} {said}");
        }
        assert_eq!(Probe::of(200, br#"{"models":[{"name":"models/gemini-x"}]}"#), Probe::Alive);
    }
}
