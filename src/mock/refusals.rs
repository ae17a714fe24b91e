//! The names of Google's refusals.

use std::fmt;
use std::str::FromStr;

macro_rules! refusals {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// A refusal by its name.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Refusal {
            $(#[doc = $doc] $variant,)*
            /// An error of the Interactions API: its status and its string code.
            Interactions(u16, &'static str),
        }

        impl Refusal {
            /// Every refusal there is.
            pub fn all() -> impl Iterator<Item = Self> {
                let interactions = INTERACTIONS.iter().map(|(status, code)| Self::Interactions(*status, code));
                [$(Self::$variant),*].into_iter().chain(interactions)
            }
        }

        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($name),)*
                    Self::Interactions(_, code) => write!(f, "interactions_{code}"),
                }
            }
        }
    };
}

refusals! {
    ApiKeyInvalid "api_key_invalid" "400, the key is not known.";
    ApiKeyExpired "api_key_expired" "400, the key has run out.";
    ApiKeyNotFound "api_key_not_found" "400, the key was deleted.";
    InvalidArgument "invalid_argument" "400, the caller's own mistake.";
    TooManyTokens "too_many_tokens" "400, the prompt is over the model's window.";
    ThoughtSignature "thought_signature" "400, a signature of another key's.";
    MultipleCredentials "multiple_credentials" "400, two credentials came at once.";
    Location "location" "400, the egress is in a country Google does not serve.";
    FreeTierUnavailable "free_tier_unavailable" "400, no free tier where the key lives.";
    Unauthenticated "unauthenticated" "401, a form of credential that the route does not take.";
    PaymentRequired "payment_required" "402, the prepaid money is gone.";
    Leaked "leaked" "403, the key was found in public.";
    ConsumerSuspended "consumer_suspended" "403, the project is suspended; the body holds the full key.";
    ServiceDisabled "service_disabled" "403, the API is not switched on; the body holds the full key.";
    ServiceBlocked "service_blocked" "403, the key is not for this API.";
    IpBlocked "ip_blocked" "403, the key is not for this address.";
    ReferrerBlocked "referrer_blocked" "403, the key is not for this referrer.";
    FilePermission "file_permission" "403, a file of another project's, or none.";
    CachePermission "cache_permission" "403, a cached content of another project's, or none.";
    ProjectDenied "project_denied" "403, the project is banned.";
    Unregistered "unregistered" "403, no credential came.";
    PermissionDenied "permission_denied" "403 without a reason.";
    ModelNotFound "model_not_found" "404, no such model, or not for this method.";
    ModelRetired "model_retired" "404, a model closed to new projects.";
    QuotaDay "quota_day" "429, the day's requests are spent; the wait it tells misleads.";
    QuotaMinute "quota_minute" "429, the minute's requests are spent.";
    QuotaTokens "quota_tokens" "429, the minute's tokens are spent.";
    LimitZero "limit_zero" "429, the tier has no access to the model.";
    QuotaBare "quota_bare" "429 without details.";
    Spend "spend" "429, the project's spending limit.";
    Grounding "grounding" "429, the quota of searches.";
    Cancelled "cancelled" "499, the caller went away.";
    Internal "internal" "500.";
    Overloaded "overloaded" "503, the model has too much to do.";
    HighDemand "high_demand" "503, the same in newer words.";
    DeadlineExceeded "deadline_exceeded" "504.";
    Html502 "html_502" "502 as a page of Google's edge.";
    HtmlBlocked "html_blocked" "429 as the page for automated queries.";
}

const INTERACTIONS: [(u16, &str); 12] = [
    (400, "invalid_request"),
    (400, "failed_precondition"),
    (400, "parameter_unknown"),
    (401, "authentication"),
    (402, "payment_required"),
    (403, "permission_denied"),
    (404, "not_found"),
    (404, "model_not_found"),
    (416, "out_of_range"),
    (429, "rate_limit_exceeded"),
    (429, "quota_exceeded"),
    (499, "cancelled"),
];

impl FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::all().find(|refusal| refusal.to_string() == text).ok_or_else(|| format!("no refusal is named `{text}`"))
    }
}

impl Refusal {
    /// Whether Google counts the call against the quota although it fails.
    pub(crate) fn consumes(self) -> bool {
        matches!(self, Self::Internal | Self::Overloaded | Self::HighDemand | Self::DeadlineExceeded)
    }
}
