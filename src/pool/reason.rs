//! Why a key cannot serve, in one word each.

use crate::verdict::Verdict;

/// The reasons for which a key rests or is dead; their names stand in refusals, metrics and `/monitor/keys`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Invalid, expired or not found; probed again later.
    Invalid,
    /// Leaked, suspended or denied: never again.
    Banned,
    /// Its set-up forbids the API.
    Blocked,
    /// Its place or tier is not served.
    Precondition,
    /// Switched off by configuration.
    Disabled,
    /// The project's money is gone.
    Billing,
    /// The project's spend limit.
    Spend,
    /// The project's quota of grounded requests.
    Grounding,
    /// The day's quota.
    QuotaDay,
    /// The minute's quota.
    QuotaMinute,
    /// The tier has no quota for the model.
    NotInTier,
    /// Refused without a reason.
    QuotaBare,
    /// The operator's own ceiling.
    Budget,
    /// The project may not use the model.
    Forbidden,
    /// The project does not know the model.
    ModelUnknown,
    /// Several internal errors in a row.
    Failing,
    /// Many projects refused without a reason at once: the address or the model is being throttled.
    Storm,
    /// Nothing comes through its proxy.
    Network,
    /// One request is trying whether it serves again.
    Trial,
}

/// Every reason, in order of their numbers.
pub const ALL: [Reason; 19] = {
    use Reason::*;
    [
        Invalid,
        Banned,
        Blocked,
        Precondition,
        Disabled,
        Billing,
        Spend,
        Grounding,
        QuotaDay,
        QuotaMinute,
        NotInTier,
        QuotaBare,
        Budget,
        Forbidden,
        ModelUnknown,
        Failing,
        Storm,
        Network,
        Trial,
    ]
};

impl Reason {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Banned => "banned",
            Self::Blocked => "blocked",
            Self::Precondition => "precondition",
            Self::Disabled => "disabled",
            Self::Billing => "billing",
            Self::Spend => "spend",
            Self::Grounding => "grounding",
            Self::QuotaDay => "quota_day",
            Self::QuotaMinute => "quota_minute",
            Self::NotInTier => "not_in_tier",
            Self::QuotaBare => "quota_bare",
            Self::Budget => "budget",
            Self::Forbidden => "forbidden",
            Self::ModelUnknown => "model_unknown",
            Self::Failing => "failing",
            Self::Storm => "storm",
            Self::Network => "network",
            Self::Trial => "trial",
        }
    }

    /// Why a key that came to this verdict is out for the call at once; `None`: it is not.
    pub const fn of(verdict: Verdict) -> Option<Self> {
        Some(match verdict {
            Verdict::KeyInvalid | Verdict::Unauthorized => Self::Invalid,
            Verdict::Banned => Self::Banned,
            Verdict::KeyBlocked => Self::Blocked,
            Verdict::Billing => Self::Billing,
            Verdict::QuotaDay => Self::QuotaDay,
            Verdict::QuotaMinute => Self::QuotaMinute,
            Verdict::NotInTier => Self::NotInTier,
            Verdict::Spend => Self::Spend,
            Verdict::Grounding => Self::Grounding,
            _ => return None,
        })
    }

    /// Whether the key is of no use to anyone until somebody mends it, rather than out of quota for a while.
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Invalid | Self::Banned | Self::Blocked | Self::Precondition | Self::Disabled)
    }

    /// Whether it is known that the rest ends the cause, so that all may return at once without a trial.
    pub const fn ends_surely(self) -> bool {
        matches!(self, Self::Budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::removes_its_key;
    use crate::verdict;

    #[test]
    fn a_verdict_that_removes_its_key_has_a_reason_and_no_other_has() {
        for verdict in verdict::ALL {
            assert_eq!(Reason::of(verdict).is_some(), removes_its_key(verdict), "{verdict:?}");
        }
    }

    #[test]
    fn every_reason_stands_at_its_number_under_its_name() {
        for (n, reason) in ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }
}
