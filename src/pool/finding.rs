//! What is found of a key by asking it for its models: a word, whether it serves, and what to do.

use serde::Serialize;

use crate::refusal::Refusal;
use crate::verdict::Verdict;

/// What a key turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Google lets it in, and nothing is held against it.
    Alive,
    /// Google lets it in, and the gateway remembers a rest: for some models, or for all.
    Resting,
    /// Google lets it in, and the gateway has buried it for good.
    Buried,
    /// Google does not know it.
    Invalid,
    /// It has run out.
    Expired,
    /// It was found in public.
    Leaked,
    /// Its project is suspended.
    Suspended,
    /// Its project was denied access.
    Denied,
    /// The API is not switched on in its project.
    ServiceDisabled,
    /// It is restricted to other APIs.
    ServiceBlocked,
    /// It is restricted to other addresses.
    IpBlocked,
    /// It is restricted to other referrers.
    ReferrerBlocked,
    /// It is restricted to mobile applications.
    AppBlocked,
    /// Google does not serve the place that it is asked from.
    Location,
    /// There is no free tier where it lives.
    FreeTier,
    /// The project's money is gone.
    Billing,
    /// No answer came.
    Unreachable,
    /// The answer says nothing of the key.
    Unclear,
    /// Switched off by configuration, and not asked.
    Disabled,
}

impl Finding {
    /// What an error answer to the list of models says of the key.
    pub fn of(refusal: &Refusal) -> Self {
        match Verdict::of_key(refusal) {
            // It was let in, however busy its project is.
            Verdict::QuotaDay | Verdict::QuotaMinute | Verdict::QuotaBare | Verdict::Spend => Self::Alive,
            Verdict::KeyInvalid if refusal.says("expired") => Self::Expired,
            Verdict::KeyInvalid | Verdict::Unauthorized => Self::Invalid,
            Verdict::Banned if refusal.says("leaked") => Self::Leaked,
            Verdict::Banned if refusal.reason == "CONSUMER_SUSPENDED" => Self::Suspended,
            Verdict::Banned => Self::Denied,
            Verdict::KeyBlocked => match refusal.reason.as_str() {
                "API_KEY_SERVICE_BLOCKED" => Self::ServiceBlocked,
                "API_KEY_IP_ADDRESS_BLOCKED" => Self::IpBlocked,
                "API_KEY_HTTP_REFERRER_BLOCKED" => Self::ReferrerBlocked,
                "API_KEY_ANDROID_APP_BLOCKED" | "API_KEY_IOS_APP_BLOCKED" => Self::AppBlocked,
                _ => Self::ServiceDisabled,
            },
            Verdict::Precondition if refusal.says("location") => Self::Location,
            Verdict::Precondition => Self::FreeTier,
            Verdict::Billing => Self::Billing,
            _ => Self::Unclear,
        }
    }

    /// The word, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Resting => "resting",
            Self::Buried => "buried",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Leaked => "leaked",
            Self::Suspended => "suspended",
            Self::Denied => "denied",
            Self::ServiceDisabled => "service_disabled",
            Self::ServiceBlocked => "service_blocked",
            Self::IpBlocked => "ip_blocked",
            Self::ReferrerBlocked => "referrer_blocked",
            Self::AppBlocked => "app_blocked",
            Self::Location => "location",
            Self::FreeTier => "free_tier",
            Self::Billing => "billing",
            Self::Unreachable => "unreachable",
            Self::Unclear => "unclear",
            Self::Disabled => "disabled",
        }
    }

    /// Why, in words, where Google's own are none.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Alive => "Google lets it in",
            Self::Resting => "Google lets it in, and the gateway remembers a rest",
            Self::Buried => "Google lets it in, and the gateway holds it dead for good",
            Self::Invalid => "Google does not know it",
            Self::Expired => "it has run out",
            Self::Leaked => "Google found it in public and shut it off",
            Self::Suspended => "Google has suspended its project",
            Self::Denied => "Google denies its project access",
            Self::ServiceDisabled => "the Gemini API is not switched on in its project",
            Self::ServiceBlocked => "it is restricted to other APIs",
            Self::IpBlocked => "it is restricted to other addresses",
            Self::ReferrerBlocked => "it is restricted to web pages of certain referrers",
            Self::AppBlocked => "it is restricted to mobile applications",
            Self::Location => "Google does not serve the place that it is asked from",
            Self::FreeTier => "there is no free tier where it lives",
            Self::Billing => "its project has no money left, or no billing account",
            Self::Unreachable => "no answer came",
            Self::Unclear => "the answer says nothing of the key",
            Self::Disabled => "switched off by configuration, not asked",
        }
    }

    /// What its owner can do: one sentence, empty where there is nothing to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Alive | Self::Disabled => "",
            Self::Resting => "Wait: it returns by itself.",
            Self::Buried => {
                "Stop the gateway, take pool.json out of DATA_DIR and start it again: it then asks this key anew."
            }
            Self::Invalid => "Look whether it was copied whole; if it was, make a new one in AI Studio and remove it.",
            Self::Expired => "Make a new key in AI Studio and put it in this one's place.",
            Self::Leaked => "Delete it, make another, and find where it was published before that one goes there too.",
            Self::Suspended => "Appeal in the Cloud console, or remove it: it will not come back by itself.",
            Self::Denied => "Remove it and use a key of another project.",
            Self::ServiceDisabled => {
                "Enable the Generative Language API in its project, in the Cloud console under APIs and services."
            }
            Self::ServiceBlocked => "Add the Generative Language API to the key's API restrictions.",
            Self::IpBlocked => {
                "Add the address that this gateway goes out by to the key's restrictions, or give the key a proxy."
            }
            Self::ReferrerBlocked => "Take the key's restriction to web pages away: a gateway has no referrer.",
            Self::AppBlocked => "Take the key's restriction to applications away: a gateway is none.",
            Self::Location => "Give the key a proxy in a country that Google serves.",
            Self::FreeTier => "Link a billing account to its project.",
            Self::Billing => "Top up the project's credit, or mend its billing account.",
            Self::Unreachable => "Look at the network, at GEMINI_BASE_URL and at the key's proxy, then check again.",
            Self::Unclear => "Check again in a minute; if it stays so, read what Google said.",
        }
    }

    /// Whether Google lets the key in.
    pub const fn is_let_in(self) -> bool {
        matches!(self, Self::Alive | Self::Resting | Self::Buried)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(code: u16, status: &str, message: &str, reason: &str) -> Finding {
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason});
        let details = if reason.is_empty() { json!([]) } else { json!([info]) };
        let body = json!({"error": {"code": code, "status": status, "message": message, "details": details}});
        Finding::of(&Refusal::read(code, body.to_string().as_bytes()))
    }

    #[test]
    fn every_way_to_lose_a_key_has_its_word() {
        let denied = "PERMISSION_DENIED";
        for (code, status, message, reason, finding) in [
            (400, "INVALID_ARGUMENT", "API key not valid. Please", "API_KEY_INVALID", Finding::Invalid),
            (400, "INVALID_ARGUMENT", "API key expired. Please renew", "API_KEY_INVALID", Finding::Expired),
            (
                401,
                "UNAUTHENTICATED",
                "Request had invalid credentials",
                "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                Finding::Invalid,
            ),
            (403, denied, "Your API key was reported as leaked.", "", Finding::Leaked),
            (403, denied, "Consumer has been suspended.", "CONSUMER_SUSPENDED", Finding::Suspended),
            (403, denied, "Your project has been denied access", "", Finding::Denied),
            (403, denied, "It has not been used in project 1", "SERVICE_DISABLED", Finding::ServiceDisabled),
            (403, denied, "x", "API_KEY_SERVICE_BLOCKED", Finding::ServiceBlocked),
            (403, denied, "x", "API_KEY_IP_ADDRESS_BLOCKED", Finding::IpBlocked),
            (403, denied, "x", "API_KEY_HTTP_REFERRER_BLOCKED", Finding::ReferrerBlocked),
            (403, denied, "x", "API_KEY_IOS_APP_BLOCKED", Finding::AppBlocked),
            (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", "", Finding::Location),
            (400, "FAILED_PRECONDITION", "The free tier is not available, enable billing", "", Finding::FreeTier),
            (402, "", "payment", "", Finding::Billing),
            (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted", "", Finding::Alive),
            (503, "UNAVAILABLE", "busy", "", Finding::Unclear),
            (404, "NOT_FOUND", "nothing here", "", Finding::Unclear),
        ] {
            assert_eq!(found(code, status, message, reason), finding, "{code} {message}");
        }
        assert_eq!(Finding::of(&Refusal::read(502, b"<html><title>Bad</title>")), Finding::Unclear);
    }

    #[test]
    fn a_finding_has_one_name_in_text_and_in_json() {
        for finding in [Finding::Alive, Finding::ServiceDisabled, Finding::FreeTier, Finding::Unreachable] {
            assert_eq!(serde_json::to_value(finding).unwrap(), finding.name());
            assert!(!finding.meaning().ends_with('.') && (finding.is_let_in() || finding.advice().ends_with('.')));
        }
    }
}
