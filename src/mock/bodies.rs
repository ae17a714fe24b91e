//! The bodies of Google's refusals.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::mock::pages;
use crate::mock::quota::{Measure, Shortage, Tier, Violation, Work};
use crate::mock::refusals::Refusal;

const SERVICE: &str = "generativelanguage.googleapis.com";
const DAY_LIMIT: u64 = 250;
const MINUTE_LIMIT: u64 = 10;
const TOKEN_LIMIT: u64 = 250_000;

/// What Google knows of the call it refuses: some bodies repeat it, the key included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) key: String,
    /// The project as the mock's settings name it.
    pub(crate) project: String,
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

impl Shortage {
    /// The body of Google's refusal to a project of `tier` that asked `model`.
    pub fn body(&self, tier: Tier, model: &str) -> Value {
        json_of(quota_exceeded(&Asked { tier, model: model.to_owned(), ..Asked::default() }, self))
    }
}

fn json_of(refused: Refused) -> Value {
    match refused.body {
        Page::Json(value) => value,
        Page::Html(page) => page.into(),
    }
}

impl Refusal {
    /// The status and the body of the refusal, where `model` was asked; a page of HTML as a text.
    pub fn body(self, model: &str) -> (u16, Value) {
        let refused = self.to(&Asked { model: model.to_owned(), ..Asked::default() }, None);
        (refused.status, json_of(refused))
    }

    /// The refusal as Google words it. `retry` is what quotas tell; `None` leaves each its usual wait.
    pub(crate) fn to(self, asked: &Asked, retry: Option<Duration>) -> Refused {
        match self {
            Self::ApiKeyInvalid => key_invalid("API key not valid. Please pass a valid API key."),
            Self::ApiKeyExpired => key_invalid("API key expired. Please renew the API key."),
            Self::ApiKeyNotFound => key_invalid("API Key not found. Please pass a valid API key."),
            Self::Location | Self::FreeTierUnavailable | Self::PaymentRequired => {
                let status = if self == Self::PaymentRequired { 402 } else { 400 };
                envelope(status, "FAILED_PRECONDITION", words(self), Value::Null)
            }
            Self::Unauthenticated => unauthenticated(asked),
            Self::ConsumerSuspended => suspended(asked),
            Self::ServiceDisabled => service_disabled(asked),
            Self::ServiceBlocked => {
                let message = format!("Requests to this API {SERVICE} method {} are blocked.", rpc(asked));
                blocked(asked, "API_KEY_SERVICE_BLOCKED", &message)
            }
            Self::IpBlocked => blocked(asked, "API_KEY_IP_ADDRESS_BLOCKED", words(self)),
            Self::ReferrerBlocked => blocked(asked, "API_KEY_HTTP_REFERRER_BLOCKED", words(self)),
            Self::ModelNotFound => plain(404, &model_not_found(asked)),
            Self::ModelRetired => plain(404, &format!("This model models/{} {}", asked.model, words(self))),
            Self::QuotaDay => one_quota(asked, Measure::DayRequests, DAY_LIMIT, retry),
            Self::QuotaMinute => one_quota(asked, Measure::MinuteRequests, MINUTE_LIMIT, retry),
            Self::QuotaTokens => one_quota(asked, Measure::MinuteTokens, TOKEN_LIMIT, retry),
            Self::LimitZero => limit_zero(asked, retry),
            Self::Html502 => Refused { status: 502, body: Page::Html(pages::BAD_GATEWAY) },
            Self::HtmlBlocked => Refused { status: 429, body: Page::Html(pages::AUTOMATED_QUERIES) },
            Self::Interactions(status, code) => worded(status, code, &format!("The interaction failed: {code}.")),
            Self::InvalidArgument | Self::TooManyTokens | Self::ThoughtSignature | Self::MultipleCredentials => {
                plain(400, words(self))
            }
            Self::Leaked
            | Self::FilePermission
            | Self::CachePermission
            | Self::ProjectDenied
            | Self::Unregistered
            | Self::PermissionDenied => plain(403, words(self)),
            Self::QuotaBare | Self::Spend | Self::Grounding => plain(429, words(self)),
            Self::Cancelled => plain(499, words(self)),
            Self::Internal => plain(500, words(self)),
            Self::Overloaded | Self::HighDemand => plain(503, words(self)),
            Self::DeadlineExceeded => plain(504, words(self)),
        }
    }
}

/// The message of a refusal that says the same to every call.
fn words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidArgument => "Request contains an invalid argument.",
        Refusal::TooManyTokens => {
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
        }
        Refusal::ThoughtSignature => "Corrupted thought signature.",
        Refusal::MultipleCredentials => "Multiple authentication credentials received. Please pass only one.",
        Refusal::Location => "User location is not supported for the API use.",
        Refusal::FreeTierUnavailable => {
            "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI \
             Studio."
        }
        Refusal::PaymentRequired => {
            "Your prepaid credits are depleted. Please add credits to your project in Google AI Studio."
        }
        Refusal::Leaked => "Your API key was reported as leaked. Please use another API key.",
        Refusal::IpBlocked => {
            "The provided API key has an IP address restriction. The originating IP address of the call (192.0.2.7) \
             violates this restriction."
        }
        Refusal::ReferrerBlocked => "Requests from referer <empty> are blocked.",
        Refusal::FilePermission => "You do not have permission to access the File abc-123 or it may not exist.",
        Refusal::CachePermission => "CachedContent not found (or permission denied)",
        Refusal::ProjectDenied => "Your project has been denied access. Please contact support.",
        Refusal::Unregistered => {
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or \
             other form of API consumer identity to call this API."
        }
        Refusal::PermissionDenied => "The caller does not have permission",
        Refusal::ModelRetired => {
            "is no longer available to new users. Please update your code to use a newer model for the latest features \
             and improvements."
        }
        Refusal::QuotaBare => "Resource has been exhausted (e.g. check quota).",
        Refusal::Spend => {
            "Your project has exceeded its spending rate limit. Please try again later or raise your tier in Google AI \
             Studio."
        }
        Refusal::Grounding => {
            "You exceeded your current quota for Grounding with Google Search. Please check your plan and billing \
             details."
        }
        Refusal::Cancelled => "The operation was cancelled.",
        Refusal::Overloaded => "The model is overloaded. Please try again later.",
        Refusal::HighDemand => {
            "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please try \
             again later."
        }
        Refusal::DeadlineExceeded => "Deadline expired before operation could complete.",
        _ => {
            "An internal error has occurred. Please retry or report in \
             https://developers.generativeai.google/guide/troubleshooting"
        }
    }
}

fn model_not_found(asked: &Asked) -> String {
    let Asked { model, version, action, .. } = asked;
    format!(
        "models/{model} is not found for API version {version}, or is not supported for {action}. Call ListModels to \
         see the list of available models and their supported methods."
    )
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

/// A refusal of the Interactions API, whose codes are words.
pub(crate) fn worded(status: u16, code: &str, message: &str) -> Refused {
    Refused { status, body: Page::Json(json!({"error": {"code": code, "message": message}})) }
}

/// A refusal whose status word is not the usual one of its code.
pub(crate) fn envelope(code: u16, word: &str, message: &str, details: Value) -> Refused {
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
        409 => "ALREADY_EXISTS",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNKNOWN",
    }
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
                   other valid authentication credential. See \
                   https://developers.google.com/identity/sign-in/web/devconsole-project.";
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
        let exact = concat!(
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","#,
            r#""status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","#,
            r#""reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"#,
            r#""generativelanguage.googleapis.com"}},{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","#,
            r#""locale":"en-US","message":"API key not valid. Please pass a valid API key."}]}}"#,
        );
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
