//! Every refusal of Google's, by a name, with the body Google sends.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::mock::pages;
use crate::mock::quota::{Measure, Shortage, Tier, Violation, Work};
use crate::mock::span;

const SERVICE: &str = "generativelanguage.googleapis.com";
const DAY_LIMIT: u64 = 250;
const MINUTE_LIMIT: u64 = 10;
const TOKEN_LIMIT: u64 = 250_000;

/// What Google knows of the call it refuses: some bodies repeat it, the key included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) key: String,
    /// `projects/N`.
    pub(crate) consumer: String,
    pub(crate) tier: Tier,
    pub(crate) model: String,
    pub(crate) version: String,
    /// The action's name in a URL, such as `generateContent`.
    pub(crate) action: String,
    pub(crate) work: Work,
}

/// A refusal, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) body: Page,
}

/// JSON of the API or HTML of Google's edge.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    Json(Value),
    Html(&'static str),
}

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

    /// The refusal as Google words it. `retry` is what quotas tell; `None` leaves each its usual wait.
    #[rustfmt::skip]
    pub(crate) fn to(self, asked: &Asked, retry: Option<Duration>) -> Refused {
        match self {
            Self::ApiKeyInvalid => key_invalid("API key not valid. Please pass a valid API key."),
            Self::ApiKeyExpired => key_invalid("API key expired. Please renew the API key."),
            Self::ApiKeyNotFound => key_invalid("API Key not found. Please pass a valid API key."),
            Self::InvalidArgument => plain(400, "Request contains an invalid argument."),
            Self::TooManyTokens => plain(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
            Self::ThoughtSignature => plain(400, "Corrupted thought signature."),
            Self::MultipleCredentials => plain(400, "Multiple authentication credentials received. Please pass only one."),
            Self::Location => precondition("User location is not supported for the API use."),
            Self::FreeTierUnavailable => precondition("Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio."),
            Self::Unauthenticated => unauthenticated(asked),
            Self::PaymentRequired => envelope(402, "FAILED_PRECONDITION", "Your prepaid credits are depleted. Please add credits to your project in Google AI Studio.", Value::Null),
            Self::Leaked => plain(403, "Your API key was reported as leaked. Please use another API key."),
            Self::ConsumerSuspended => suspended(asked),
            Self::ServiceDisabled => service_disabled(asked),
            Self::ServiceBlocked => blocked(asked, "API_KEY_SERVICE_BLOCKED", &format!("Requests to this API {SERVICE} method {} are blocked.", rpc(asked))),
            Self::IpBlocked => blocked(asked, "API_KEY_IP_ADDRESS_BLOCKED", "The provided API key has an IP address restriction. The originating IP address of the call (192.0.2.7) violates this restriction."),
            Self::ReferrerBlocked => blocked(asked, "API_KEY_HTTP_REFERRER_BLOCKED", "Requests from referer <empty> are blocked."),
            Self::FilePermission => plain(403, "You do not have permission to access the File abc-123 or it may not exist."),
            Self::CachePermission => plain(403, "CachedContent not found (or permission denied)"),
            Self::ProjectDenied => plain(403, "Your project has been denied access. Please contact support."),
            Self::Unregistered => plain(403, "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."),
            Self::PermissionDenied => plain(403, "The caller does not have permission"),
            Self::ModelNotFound => plain(404, &format!("models/{} is not found for API version {}, or is not supported for {}. Call ListModels to see the list of available models and their supported methods.", asked.model, asked.version, asked.action)),
            Self::ModelRetired => plain(404, &format!("This model models/{} is no longer available to new users. Please update your code to use a newer model for the latest features and improvements.", asked.model)),
            Self::QuotaDay => one_quota(asked, Measure::DayRequests, DAY_LIMIT, retry),
            Self::QuotaMinute => one_quota(asked, Measure::MinuteRequests, MINUTE_LIMIT, retry),
            Self::QuotaTokens => one_quota(asked, Measure::MinuteTokens, TOKEN_LIMIT, retry),
            Self::LimitZero => limit_zero(asked, retry),
            Self::QuotaBare => plain(429, "Resource has been exhausted (e.g. check quota)."),
            Self::Spend => plain(429, "Your project has exceeded its spending rate limit. Please try again later or raise your tier in Google AI Studio."),
            Self::Grounding => plain(429, "You exceeded your current quota for Grounding with Google Search. Please check your plan and billing details."),
            Self::Cancelled => plain(499, "The operation was cancelled."),
            Self::Internal => plain(500, "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"),
            Self::Overloaded => plain(503, "The model is overloaded. Please try again later."),
            Self::HighDemand => plain(503, "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please try again later."),
            Self::DeadlineExceeded => plain(504, "Deadline expired before operation could complete."),
            Self::Html502 => Refused { status: 502, body: Page::Html(pages::BAD_GATEWAY) },
            Self::HtmlBlocked => Refused { status: 429, body: Page::Html(pages::AUTOMATED_QUERIES) },
            Self::Interactions(status, code) => Refused { status, body: Page::Json(json!({"error": {"code": code, "message": format!("The interaction failed: {code}.")}})) },
        }
    }
}

/// The refusal for quotas that ran out: the exact body with its violations and the wait.
pub(crate) fn quota_exceeded(asked: &Asked, shortage: &Shortage) -> Refused {
    let mut message = String::from(
        "You exceeded your current quota, please check your plan and billing details. For more information on this \
         error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: \
         https://ai.dev/usage?tab=rate-limit. ",
    );
    let mut violations = Vec::new();
    for violation in &shortage.violations {
        let (metric, id) = violation.names(asked.tier, asked.work);
        let (limit, model) = (violation.limit, &asked.model);
        let _ = write!(message, "\n* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}");
        violations.push(json!({
            "quotaMetric": metric,
            "quotaId": id,
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": limit.to_string(),
        }));
    }
    let _ = write!(message, "\nPlease retry in {}s.", shortage.retry.as_secs_f64());
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations},
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }]},
        // Google cuts the fraction here and keeps it in the message.
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{}s", shortage.retry.as_secs())},
    ]);
    envelope(429, "RESOURCE_EXHAUSTED", &message, details)
}

/// A refusal in Google's envelope with the status word that belongs to `code`.
pub(crate) fn plain(code: u16, message: &str) -> Refused {
    envelope(code, status_word(code), message, Value::Null)
}

fn envelope(code: u16, word: &str, message: &str, details: Value) -> Refused {
    let mut error = json!({"code": code, "message": message, "status": word});
    if !details.is_null() {
        error["details"] = details;
    }
    Refused { status: code, body: Page::Json(json!({"error": error})) }
}

fn status_word(code: u16) -> &'static str {
    match code {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNKNOWN",
    }
}

fn precondition(message: &str) -> Refused {
    envelope(400, "FAILED_PRECONDITION", message, Value::Null)
}

fn one_quota(asked: &Asked, measure: Measure, limit: u64, retry: Option<Duration>) -> Refused {
    let retry = retry.unwrap_or(Duration::from_millis(48_800));
    quota_exceeded(asked, &Shortage { violations: vec![Violation { measure, limit }], retry })
}

fn limit_zero(asked: &Asked, retry: Option<Duration>) -> Refused {
    let all = [Measure::DayRequests, Measure::MinuteRequests, Measure::MinuteTokens];
    let violations = all.map(|measure| Violation { measure, limit: 0 }).to_vec();
    quota_exceeded(asked, &Shortage { violations, retry: retry.unwrap_or(Duration::from_secs(33)) })
}

fn key_invalid(message: &str) -> Refused {
    let details = json!([
        error_reason("API_KEY_INVALID", json!({"service": SERVICE})),
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message},
    ]);
    envelope(400, "INVALID_ARGUMENT", message, details)
}

fn unauthenticated(asked: &Asked) -> Refused {
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                   other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
    let details =
        json!([error_reason("ACCESS_TOKEN_TYPE_UNSUPPORTED", json!({"method": rpc(asked), "service": SERVICE}),)]);
    envelope(401, "UNAUTHENTICATED", message, details)
}

fn suspended(asked: &Asked) -> Refused {
    let Asked { key, consumer, .. } = asked;
    let message = format!("Permission denied: Consumer 'api_key:{key}' has been suspended.");
    let metadata = json!({"consumer": consumer, "service": SERVICE, "containerInfo": format!("api_key:{key}")});
    let details = json!([
        error_reason("CONSUMER_SUSPENDED", metadata),
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message},
    ]);
    envelope(403, "PERMISSION_DENIED", &message, details)
}

fn service_disabled(asked: &Asked) -> Refused {
    let Asked { key, consumer, .. } = asked;
    let number = consumer.trim_start_matches("projects/");
    let url = format!("https://console.developers.google.com/apis/api/{SERVICE}/overview?project={number}");
    let message = format!(
        "Generative Language API has not been used in project {number} before or it is disabled. Enable it by visiting \
         {url} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our \
         systems and retry."
    );
    let metadata = json!({
        "consumer": consumer,
        "service": SERVICE,
        "activationUrl": url,
        "serviceTitle": "Generative Language API",
        "containerInfo": format!("api_key:{key}"),
    });
    envelope(403, "PERMISSION_DENIED", &message, json!([error_reason("SERVICE_DISABLED", metadata)]))
}

fn blocked(asked: &Asked, reason: &str, message: &str) -> Refused {
    let metadata = json!({"consumer": asked.consumer, "service": SERVICE, "methodName": rpc(asked)});
    envelope(403, "PERMISSION_DENIED", message, json!([error_reason(reason, metadata)]))
}

fn error_reason(reason: &str, metadata: Value) -> Value {
    let mut detail = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
    });
    detail["metadata"] = metadata;
    detail
}

fn rpc(asked: &Asked) -> String {
    let mut action = asked.action.chars();
    let name: String = action.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(action).collect();
    format!("google.ai.generativelanguage.{}.GenerativeService.{name}", asked.version)
}

/// A refusal with the wait it tells, as `quota_minute:30s`.
pub(crate) fn parse_with_retry(text: &str) -> Result<(Refusal, Option<Duration>), String> {
    match text.split_once(':') {
        Some((name, retry)) => Ok((name.parse()?, Some(span::parse(retry)?))),
        None => Ok((text.parse()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            key: "AIzaFake".to_owned(),
            consumer: "projects/123".to_owned(),
            model: "gemini-2.5-flash".to_owned(),
            version: "v1beta".to_owned(),
            action: "generateContent".to_owned(),
            ..Asked::default()
        }
    }

    fn json(refusal: Refusal) -> Value {
        match refusal.to(&asked(), None).body {
            Page::Json(value) => value,
            Page::Html(page) => panic!("{page}"),
        }
    }

    #[test]
    fn every_refusal_says_its_status_in_its_body() {
        for refusal in Refusal::all() {
            let refused = refusal.to(&asked(), None);
            match refused.body {
                Page::Json(value) if matches!(refusal, Refusal::Interactions(..)) => {
                    assert!(value["error"]["code"].is_string(), "{refusal}");
                }
                Page::Json(value) => {
                    assert_eq!(value["error"]["code"], refused.status, "{refusal}");
                    assert_ne!(value["error"]["status"], "UNKNOWN", "{refusal}");
                    assert!(!value["error"]["message"].as_str().unwrap().is_empty(), "{refusal}");
                }
                Page::Html(page) => assert!(page.contains("<title>"), "{refusal}"),
            }
        }
    }

    #[test]
    fn an_invalid_key_gets_the_exact_body() {
        let exact = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}},{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"API key not valid. Please pass a valid API key."}]}}"#;
        assert_eq!(json(Refusal::ApiKeyInvalid), serde_json::from_str::<Value>(exact).unwrap());
    }

    #[test]
    fn a_spent_day_names_its_quota_and_a_misleading_wait() {
        let error = &json(Refusal::QuotaDay)["error"];
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .ends_with(", limit: 250, model: gemini-2.5-flash\nPlease retry in 48.8s.")
        );
        let violation = &error["details"][0]["violations"][0];
        assert_eq!(violation["quotaId"], "GenerateRequestsPerDayPerProjectPerModel-FreeTier");
        assert_eq!(violation["quotaValue"], "250");
        assert_eq!(violation["quotaDimensions"]["location"], "global");
        assert_eq!(error["details"][2]["retryDelay"], "48s");
    }

    #[test]
    fn a_suspended_consumer_is_told_the_whole_key_twice() {
        let error = &json(Refusal::ConsumerSuspended)["error"];
        assert!(error["message"].as_str().unwrap().contains("AIzaFake"));
        assert_eq!(error["details"][0]["metadata"]["containerInfo"], "api_key:AIzaFake");
    }
}
