//! The verdict on one attempt: which row of the outcome table an upstream answer or failure is.

use crate::endpoint::Endpoint;
use crate::refusal::{Refusal, Violation};

#[cfg(test)]
mod tests;

/// What an attempt came to. The pool learns from it, the retry plan decides by it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Verdict {
    /// An answer, blocked and truncated ones included.
    Success,
    /// 200 without a part of content.
    Empty,
    /// The caller's own error: bad arguments, unknown resource, unsupported method.
    Caller,
    /// What the call names does not live in the key's project, or nowhere.
    NotOwner,
    /// A thought signature in the history is none of the key's project, or no signature at all.
    ForeignSignature,
    /// Google saw several credentials: ours to mend, never the key's fault.
    DoubleCredential,
    /// The key is invalid, expired or not found.
    KeyInvalid,
    /// The credential's form was refused, or the key is dead in a way that looks like it.
    Unauthorized,
    /// Leaked, suspended, denied: dead for ever.
    Banned,
    /// The key's set-up forbids the call: service disabled or blocked, address or referrer not allowed.
    KeyBlocked,
    /// The place or the free tier is not served.
    Precondition,
    /// The project's money is gone.
    Billing,
    /// A 403 without a known reason on a path that names a model.
    ModelForbidden,
    /// The project does not know the model.
    ModelUnknown,
    /// A day's quota is spent.
    QuotaDay,
    /// A minute's quota of requests or tokens is spent.
    QuotaMinute,
    /// The tier gives no quota at all for this model.
    NotInTier,
    /// A 429 without details.
    QuotaBare,
    /// The spend limit of the project.
    Spend,
    /// The quota of grounding with search.
    Grounding,
    /// 500.
    Internal,
    /// 503, the model is overloaded.
    Overloaded,
    /// 502, 504 without an envelope, an HTML page that blames nobody's request, or a status that no error has: Google's edge.
    Edge,
    /// 504 `DEADLINE_EXCEEDED`: the server's deadline on this prompt; or the call's own, of an attempt that had too little
    /// of its time to be judged by.
    Deadline,
    /// No connection: the request was never sent.
    Connect,
    /// Reset or silent after the request was sent, before a byte of the answer came.
    Interrupted,
    /// Broken after bytes of the answer went to the client.
    Broken,
    /// Ended in order but without a finish reason.
    Unfinished,
    /// The client went away.
    Abandoned,
}

/// Every verdict, in order of their numbers.
pub const ALL: [Verdict; 29] = {
    use Verdict::*;
    [
        Success,
        Empty,
        Caller,
        NotOwner,
        ForeignSignature,
        DoubleCredential,
        KeyInvalid,
        Unauthorized,
        Banned,
        KeyBlocked,
        Precondition,
        Billing,
        ModelForbidden,
        ModelUnknown,
        QuotaDay,
        QuotaMinute,
        NotInTier,
        QuotaBare,
        Spend,
        Grounding,
        Internal,
        Overloaded,
        Edge,
        Deadline,
        Connect,
        Interrupted,
        Broken,
        Unfinished,
        Abandoned,
    ]
};

impl Verdict {
    /// The label in metrics, logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Empty => "empty",
            Self::Caller => "caller",
            Self::NotOwner => "not_owner",
            Self::ForeignSignature => "foreign_signature",
            Self::DoubleCredential => "double_credential",
            Self::KeyInvalid => "key_invalid",
            Self::Unauthorized => "unauthorized",
            Self::Banned => "banned",
            Self::KeyBlocked => "key_blocked",
            Self::Precondition => "precondition",
            Self::Billing => "billing",
            Self::ModelForbidden => "model_forbidden",
            Self::ModelUnknown => "model_unknown",
            Self::QuotaDay => "quota_day",
            Self::QuotaMinute => "quota_minute",
            Self::NotInTier => "not_in_tier",
            Self::QuotaBare => "quota_bare",
            Self::Spend => "spend",
            Self::Grounding => "grounding",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::Edge => "edge",
            Self::Deadline => "deadline",
            Self::Connect => "connect",
            Self::Interrupted => "interrupted",
            Self::Broken => "broken",
            Self::Unfinished => "unfinished",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether the attempt gave the client what it asked for.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success)
    }

    /// Whether the attempt failed for the pool's or Google's reasons, not the caller's.
    pub const fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::Success | Self::Empty | Self::Caller | Self::NotOwner | Self::ForeignSignature | Self::Abandoned
        )
    }

    /// Whether Google's answer proves that the request had no effect, so that even a creating call may be sent again.
    pub const fn proves_no_effect(self) -> bool {
        use Verdict::*;
        matches!(
            self,
            ForeignSignature
                | DoubleCredential
                | KeyInvalid
                | Unauthorized
                | Banned
                | KeyBlocked
                | Billing
                | QuotaDay
                | QuotaMinute
                | NotInTier
                | QuotaBare
                | Spend
                | Grounding
                | Connect
        )
    }

    /// The verdict on an answer to a call that names nothing: what it says of the key alone.
    pub fn of_key(refusal: &Refusal) -> Self {
        match Self::judge(refusal, false) {
            Self::ModelUnknown | Self::ModelForbidden => Self::Caller,
            verdict => verdict,
        }
    }

    /// The verdict on an error answer of Google's to a call of `endpoint`.
    pub fn of(refusal: &Refusal, endpoint: &Endpoint) -> Self {
        Self::judge(refusal, endpoint.model.is_some() || endpoint.names_model_in_body())
    }

    /// What the beginning of an error answer that broke off says of the key, by its words or by a 429; `None` where it says
    /// nothing of it yet.
    pub fn of_beginning(refusal: &Refusal, endpoint: &Endpoint) -> Option<Self> {
        let silent = Refusal { code: refusal.code, ..Refusal::default() };
        let verdict = Self::of(refusal, endpoint);
        let worded = || verdict.is_of_key() && verdict != Self::of(&silent, endpoint);
        (verdict == Self::QuotaBare || worded()).then_some(verdict)
    }

    /// Whether it holds of the key or its project, whatever the request was.
    const fn is_of_key(self) -> bool {
        use Verdict::*;
        matches!(
            self,
            KeyInvalid
                | Unauthorized
                | Banned
                | KeyBlocked
                | Precondition
                | Billing
                | QuotaDay
                | QuotaMinute
                | NotInTier
                | Spend
                | Grounding
        )
    }

    fn judge(refusal: &Refusal, names_model: bool) -> Self {
        if refusal.html {
            // An unknown address, a method it does not take, a request too large: Google's front end says so by a page.
            return if matches!(refusal.code, 400 | 404 | 405 | 411 | 413 | 414 | 431) {
                Self::Caller
            } else {
                Self::Edge
            };
        }
        match refusal.code {
            200..=399 => Self::Success,
            400 => bad_request(refusal),
            401 if dead_key(refusal) => Self::KeyInvalid,
            401 => Self::Unauthorized,
            402 => Self::Billing,
            403 => forbidden(refusal, names_model),
            404 if names_model && model_missing(refusal) => Self::ModelUnknown,
            429 => exhausted(refusal),
            503 => Self::Overloaded,
            501 => Self::Caller,
            504 if refusal.status.eq_ignore_ascii_case("DEADLINE_EXCEEDED") => Self::Deadline,
            502 | 504 | 100..=199 | 600.. => Self::Edge,
            500..=599 => Self::Internal,
            _ => Self::Caller,
        }
    }
}

fn bad_request(refusal: &Refusal) -> Verdict {
    if dead_key(refusal) {
        Verdict::KeyInvalid
    } else if refusal.says("multiple authentication credentials") {
        Verdict::DoubleCredential
    } else if refusal.status.eq_ignore_ascii_case("FAILED_PRECONDITION")
        && (refusal.says("user location is not supported") || refusal.says("free tier") || refusal.says("billing"))
    {
        Verdict::Precondition
    } else if refusal.status.eq_ignore_ascii_case("INVALID_ARGUMENT") && refusal.says("thought signature") {
        Verdict::ForeignSignature
    } else {
        Verdict::Caller
    }
}

/// Google says so by a 400: the reason where details came, the text where none did.
fn dead_key(refusal: &Refusal) -> bool {
    refusal.reason == "API_KEY_INVALID"
        || refusal.reason.is_empty()
            && ["api key not valid", "api key expired", "api key not found"].iter().any(|words| refusal.says(words))
}

fn forbidden(refusal: &Refusal, names_model: bool) -> Verdict {
    match refusal.reason.as_str() {
        "CONSUMER_SUSPENDED" | "CONSUMER_INVALID" => return Verdict::Banned,
        "SERVICE_DISABLED"
        | "API_KEY_SERVICE_BLOCKED"
        | "API_KEY_IP_ADDRESS_BLOCKED"
        | "API_KEY_HTTP_REFERRER_BLOCKED"
        | "API_KEY_ANDROID_APP_BLOCKED"
        | "API_KEY_IOS_APP_BLOCKED" => return Verdict::KeyBlocked,
        "BILLING_DISABLED" => return Verdict::Billing,
        "API_KEY_INVALID" => return Verdict::KeyInvalid,
        _ => {}
    }
    if refusal.says("reported as leaked") || refusal.says("project has been denied") {
        Verdict::Banned
    } else if refusal.says("has not been used in project") || refusal.says("it is disabled") {
        Verdict::KeyBlocked
    } else if refusal.says("or it may not exist") || refusal.says("not found (or permission denied)") {
        Verdict::Caller
    } else if refusal.says("unregistered callers") {
        Verdict::Unauthorized
    } else if names_model {
        Verdict::ModelForbidden
    } else {
        Verdict::Caller
    }
}

fn model_missing(refusal: &Refusal) -> bool {
    // The Interactions API has a word of its own for every other thing that is not there.
    match refusal.status.as_str() {
        "model_not_found" => return true,
        "not_found" => return false,
        _ => {}
    }
    refusal.says("no longer available")
        || refusal.says("model")
            && (refusal.says("is not found") || refusal.says("not found") || refusal.says("not supported"))
}

/// A 429: by its details where it has some (several can come together: the longest rules), else by its text.
fn exhausted(refusal: &Refusal) -> Verdict {
    let any = |part: &str| refusal.violations.iter().any(|v| v.quota_id.contains(part));
    if refusal.violations.iter().any(|violation| has_nothing(violation, refusal)) {
        Verdict::NotInTier
    } else if any("PerDay") || any("Daily") {
        Verdict::QuotaDay
    } else if !refusal.violations.is_empty() {
        Verdict::QuotaMinute
    } else if refusal.status == "quota_exceeded" {
        Verdict::QuotaDay
    } else if refusal.status == "rate_limit_exceeded" {
        Verdict::QuotaMinute
    } else if refusal.says("spend") {
        Verdict::Spend
    } else if refusal.says("grounding") {
        Verdict::Grounding
    } else if refusal.says("billing") && refusal.says("prepa") || refusal.says("credits are depleted") {
        Verdict::Billing
    } else if refusal.says("limit: 0") {
        Verdict::NotInTier
    } else if refusal.says("per day") || refusal.says("perday") || refusal.says("daily") {
        Verdict::QuotaDay
    } else if refusal.retry_in.is_some() {
        Verdict::QuotaMinute
    } else {
        Verdict::QuotaBare
    }
}

/// Whether a quota that was exceeded has nothing at all to give. A zero is left out of Google's JSON, as any other number is
/// by older answers: the message tells them apart, which names limits by their metrics.
fn has_nothing(violation: &Violation, refusal: &Refusal) -> bool {
    if let Some(limit) = violation.value {
        return limit == 0;
    }
    let told = refusal.limits();
    let of_metric = |(metric, _): &&(&str, u64)| *metric == violation.metric;
    let named = told.iter().any(|limit| of_metric(&limit));
    let mut limits = told.iter().filter(|limit| !named || of_metric(limit)).peekable();
    limits.peek().is_some() && limits.all(|(_, limit)| *limit == 0)
}
