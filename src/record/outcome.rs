//! How a call ended.

use crate::error::Error;

/// How a call ended, as operators count it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Answered to the last byte.
    Ok,
    /// The caller's own error, passed on as the upstream worded it.
    CallerError,
    /// A refusal of geminate's own, with its reason: one name of a fixed set.
    Refused(&'static str),
    /// The upstream's error, passed on because no other attempt could help.
    UpstreamError,
    /// The answer broke off after bytes of it went to the client.
    StreamBroken,
    /// The stream ended cleanly, but without a finish reason.
    StreamUnfinished,
    /// The client went away before the end.
    ClientGone,
    /// A panic of geminate's own.
    Panicked,
    /// The operator ended it.
    Cancelled,
}

impl Outcome {
    /// How many there are, reasons apart.
    pub const COUNT: usize = 9;

    /// Every name, at its [`Outcome::index`].
    pub const NAMES: [&str; Self::COUNT] = [
        "ok",
        "caller_error",
        "refused",
        "upstream_error",
        "stream_broken",
        "stream_unfinished",
        "client_gone",
        "panicked",
        "cancelled",
    ];

    /// The label in metrics and logs.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Its place in tables of counts.
    pub const fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::CallerError => 1,
            Self::Refused(_) => 2,
            Self::UpstreamError => 3,
            Self::StreamBroken => 4,
            Self::StreamUnfinished => 5,
            Self::ClientGone => 6,
            Self::Panicked => 7,
            Self::Cancelled => 8,
        }
    }

    /// Why geminate refused, if it did.
    pub const fn reason(self) -> Option<&'static str> {
        if let Self::Refused(reason) = self { Some(reason) } else { None }
    }

    /// What a status alone tells: 0 is an answer that never began.
    pub const fn of_status(status: u16) -> Self {
        match status {
            0 => Self::ClientGone,
            400..=499 => Self::CallerError,
            500.. => Self::UpstreamError,
            _ => Self::Ok,
        }
    }

    /// What is noted as the status of a call that ended so: where the client was gone before it had one, nginx's word.
    pub const fn status(self, sent: u16) -> u16 {
        match (self, sent) {
            (Self::ClientGone | Self::Cancelled, 0) => 499,
            // Ended by the drain and cut before it was told: it was to hear this.
            (Self::Refused(_), 0) => 503,
            _ => sent,
        }
    }

    /// Whether the service did its duty: `None` where somebody else decided the end, be it the caller or the operator.
    pub fn success(self, status: u16) -> Option<bool> {
        match self {
            Self::Ok => Some(true),
            Self::CallerError | Self::ClientGone | Self::Cancelled | Self::Refused("rate_limited") => None,
            Self::Refused(_) if matches!(status, 400..=499) && status != 429 => None,
            _ => Some(false),
        }
    }
}

impl From<&Error> for Outcome {
    /// What it means for the count that a call ended so: who failed, and what geminate refused itself.
    fn from(error: &Error) -> Self {
        match error {
            Error::Closed { .. } if error.status().is_client_error() => Self::CallerError,
            // Google has none either: whoever asks for it asks in vain everywhere.
            Error::NoRealtime => Self::CallerError,
            Error::DeadlineExceeded(_)
            | Error::Unreachable(_)
            | Error::Interrupted(_)
            | Error::Edge { .. }
            | Error::CredentialForm
            | Error::Closed { .. } => Self::UpstreamError,
            Error::StreamBroken(_) => Self::StreamBroken,
            Error::Panicked => Self::Panicked,
            Error::Cancelled => Self::Cancelled,
            Error::ClientGone => Self::ClientGone,
            refusal => Self::Refused(refusal.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_upstream_that_is_away_is_no_refusal_of_ours() {
        let late = Error::DeadlineExceeded(Duration::from_secs(1));
        assert_eq!(Outcome::from(&late), Outcome::UpstreamError);
        assert_eq!(Outcome::from(&Error::Busy), Outcome::Refused("busy"));
        assert_eq!(Outcome::from(&Error::Panicked), Outcome::Panicked);
        assert_eq!(Outcome::from(&Error::ClientGone).success(499), None);
        let limited = Error::RateLimited { client: "a".into(), retry_after: Duration::from_secs(1) };
        assert_eq!(Outcome::from(&limited).success(limited.status().as_u16()), None);
    }

    #[test]
    fn a_callers_fault_is_no_failure_of_the_service() {
        assert_eq!(Outcome::Ok.success(200), Some(true));
        assert_eq!(Outcome::CallerError.success(400), None);
        assert_eq!(Outcome::Refused("unauthenticated").success(401), None);
        assert_eq!(Outcome::from(&Error::NoRealtime).success(Error::NoRealtime.status().as_u16()), None);
        assert_eq!(Outcome::Refused("rate_limited").success(429), None);
        assert_eq!(Outcome::Refused("no_usable_key").success(503), Some(false));
        assert_eq!(Outcome::Refused("exhausted").success(429), Some(false));
        assert_eq!(Outcome::Refused("draining").success(200), Some(false), "a stream that the drain ended");
        assert_eq!(Outcome::Panicked.success(500), Some(false));
        assert_eq!(Outcome::from(&Error::Cancelled).success(Error::Cancelled.status().as_u16()), None);
    }

    #[test]
    fn a_call_that_ended_before_its_head_has_a_status_and_no_other_changes() {
        assert_eq!((Outcome::ClientGone.status(0), Outcome::Cancelled.status(0)), (499, 499));
        assert_eq!((Outcome::ClientGone.status(200), Outcome::Panicked.status(0)), (200, 0));
        assert_eq!((Outcome::Refused("draining").status(0), Outcome::Refused("draining").status(200)), (503, 200));
    }

    #[test]
    fn names_stand_at_their_index() {
        assert_eq!((Outcome::Panicked.name(), Outcome::Cancelled.name()), ("panicked", "cancelled"));
        assert_eq!(Outcome::Refused("x").name(), "refused");
        assert_eq!(Outcome::NAMES.len(), Outcome::Cancelled.index() + 1);
    }
}
