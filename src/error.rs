//! The ways a call ends without an answer of Google's: refusals and failures of geminate's own.

use std::time::Duration;

use http::StatusCode;

use crate::endpoint::Unroutable;
use crate::resource::Resource;

/// Why a call was refused or failed. `answer` turns it into HTTP; nothing in it is secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No credential, or none that is valid here.
    #[error("{0}")]
    Unauthenticated(String),
    /// No endpoint of any surface.
    #[error("{0}")]
    Unroutable(#[from] Unroutable),
    /// A head that cannot be read.
    #[error("the head of the request cannot be read: its first line or a header in it is malformed")]
    Malformed,
    /// A head with too many headers, or too large ones.
    #[error("the head of the request is too large (server.headers_bytes_max), or has more than 100 headers")]
    HeadTooLarge,
    /// A head of which two servers may not make the same; says why.
    #[error("the request cannot be read in one way only: {0}")]
    Framing(&'static str),
    /// `OpenAI`'s Realtime API, of which Google has no compatible endpoint.
    #[error(
        "OpenAI's Realtime API is not served, as Google has nothing compatible with it: the Live API is at \
         /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    )]
    NoRealtime,
    /// A path of WebSockets, asked without an upgrade.
    #[error("this path takes WebSocket connections only: ask for an upgrade to websocket over HTTP/1.1")]
    UpgradeRequired,
    /// An upgrade to a WebSocket that is wrong; says what.
    #[error("the WebSocket handshake is wrong: {0}")]
    Handshake(&'static str),
    /// A web page that nobody vouches for.
    #[error(
        "a web page of another origin may not open a session here, as this gateway knows no client by a credential: \
         set AUTH_TOKEN, or use an ephemeral token"
    )]
    ForeignOrigin,
    /// A handle that cannot be told from another's.
    #[error("the session's resumption handle cannot be read: it is longer than 1024 bytes, or no text")]
    Handle,
    /// The upstream closed a Live session before it had begun.
    #[error("the upstream closed the session by {code}: {reason}")]
    Closed {
        /// The code of its close frame, or the one that fits its HTTP answer.
        code: u16,
        /// Its words, scrubbed.
        reason: String,
    },
    /// The client's own rate.
    #[error("the rate limit of client {client} is reached; retry in {} s", seconds(*.retry_after))]
    RateLimited {
        /// The client's name.
        client: String,
        /// Until its next request is allowed.
        retry_after: Duration,
    },
    /// Every place is taken and the queue is full, or the wait in it was too long.
    #[error("all places are taken; retry shortly")]
    Busy,
    /// The process is going down.
    #[error("geminate is shutting down; retry")]
    Draining,
    /// The request body is larger than `body_bytes_max`.
    #[error("the request body is larger than {max} bytes (server.body_bytes_max)")]
    BodyTooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The request body stopped coming.
    #[error("no byte of the request body came for {} s", seconds(*.0))]
    BodyTimeout(Duration),
    /// The request body is framed wrong.
    #[error("the request body is not framed as it says")]
    BodyBroken,
    /// The request body broke off, as its connection or its stream did: nobody hears of it.
    #[error("the client left before its request had come")]
    ClientGone,
    /// No key can serve now.
    #[error("{}", exhausted(.reasons, *.retry_after, *.fault, .owner.as_ref()))]
    Exhausted {
        /// How many keys are out for what.
        reasons: Vec<(&'static str, u32)>,
        /// Until one could serve it, given those who wait before it; `None` when none returns by itself.
        retry_after: Option<Duration>,
        /// Whether all are out for good rather than out of quota.
        fault: bool,
        /// Whether all that are of any use are denied the model by Google.
        denied: bool,
        /// The resource whose project's keys alone could serve.
        owner: Option<Resource>,
    },
    /// Two resources that no key can serve together.
    #[error(
        "{0} and {1} live in different Google projects, so no key can serve both: make or upload the older one again"
    )]
    TwoOwners(Resource, Resource),
    /// A resource that is none of the client's.
    #[error("{0} was not found")]
    Foreign(Resource),
    /// A resumable upload that cannot go on here.
    #[error("no such upload: it is over, it expired, or it was begun elsewhere; begin it again")]
    NoUpload,
    /// A part of an upload that asks for another one to begin.
    #[error("with an upload_id an upload goes on, and nothing can begin: leave it out to begin another")]
    UploadBegins,
    /// Google said where an upload goes on, but not by what it is known.
    #[error("Google named no address by which the upload could go on through here")]
    UploadUrl,
    /// Nobody knows how this gateway is called.
    #[error("the request names no host to go on with the upload at: send a Host header, or set PUBLIC_URL")]
    NoOrigin,
    /// More resources than a request may name.
    #[error("the request names more than {max} resources")]
    TooManyResources {
        /// How many it may.
        max: usize,
    },
    /// A page token that is none of geminate's.
    #[error("the page token is not valid: begin the list anew")]
    PageToken,
    /// A list that cannot be cut down to what a client may see.
    #[error(
        "no such list for this client: it sees only its own resources, in lists of a known collection whose page size \
         is a whole number"
    )]
    Unlisted,
    /// What the body names must be checked, and cannot be.
    #[error(
        "the request body cannot be checked for the resources it names: it must be plain JSON of at most \
         retry.replay_bytes_max bytes, and name each by its name or its URI"
    )]
    Unchecked,
    /// The line of those who wait for a key is full.
    #[error("no key is free and {waiting} requests wait already; retry in {} s", seconds(*.retry_after))]
    LineFull {
        /// Requests that wait.
        waiting: usize,
        /// Until a key could serve it, given those who wait before it.
        retry_after: Duration,
    },
    /// The deadline passed before the first byte: so much time as was configured or asked for.
    #[error("no answer within {} s", .0.as_secs_f64())]
    DeadlineExceeded(Duration),
    /// The upstream cannot be reached.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    /// The upstream broke off before the first byte.
    #[error("the upstream broke off before it answered: {0}")]
    Interrupted(String),
    /// Google's edge answered instead of its API: with a page, or with nothing.
    #[error("Google's edge answered {} instead of the API{}", status.as_u16(), titled(.title))]
    Edge {
        /// The answer's status.
        status: StatusCode,
        /// Its title, where it has one.
        title: String,
    },
    /// The upstream saw several credentials twice: a fault of ours.
    #[error("the upstream refused the form of the credential")]
    CredentialForm,
    /// A stream broke off after its first bytes.
    #[error("the stream broke off: {0}")]
    StreamBroken(&'static str),
    /// The operator's word.
    #[error("the operator cancelled this request")]
    Cancelled,
    /// A panic of ours.
    #[error("an internal error")]
    Panicked,
}

/// Google's status for what was cancelled (google.rpc.Code, 2026), and nginx's where the client left. Clients repeat a 503, and a 409 as well: what the
/// operator has just ended would begin again.
const CANCELLED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::SERVICE_UNAVAILABLE,
};

impl Error {
    /// The reason in metrics and logs: one of a fixed set.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Unroutable(_) => "unroutable",
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::Framing(_) => "framing",
            Self::NoRealtime => "no_realtime",
            Self::UpgradeRequired => "upgrade_required",
            Self::Handshake(_) => "handshake",
            Self::ForeignOrigin => "foreign_origin",
            Self::Handle => "resumption_handle",
            Self::Closed { .. } => "closed",
            Self::RateLimited { .. } => "rate_limited",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout(_) => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::ClientGone => "client_gone",
            Self::Exhausted { fault: true, .. } => "no_usable_key",
            Self::Exhausted { .. } => "exhausted",
            Self::TwoOwners(..) => "two_owners",
            Self::Foreign(_) => "foreign_resource",
            Self::NoUpload => "no_upload",
            Self::UploadBegins => "upload_begins",
            Self::UploadUrl => "upload_url",
            Self::NoOrigin => "no_origin",
            Self::TooManyResources { .. } => "too_many_resources",
            Self::PageToken => "page_token",
            Self::Unlisted => "unlisted",
            Self::Unchecked => "unchecked_body",
            Self::LineFull { .. } => "line_full",
            Self::DeadlineExceeded(_) => "deadline_exceeded",
            Self::Unreachable(_) => "unreachable",
            Self::Interrupted(_) => "interrupted",
            Self::Edge { .. } => "edge",
            Self::CredentialForm => "credential_form",
            Self::StreamBroken(_) => "stream_broken",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Unroutable(Unroutable::Unknown) | Self::Foreign(_) | Self::NoUpload | Self::Unlisted => {
                StatusCode::NOT_FOUND
            }
            Self::Unroutable(Unroutable::TooLong) => StatusCode::URI_TOO_LONG,
            Self::Unroutable(Unroutable::Ambiguous | Unroutable::Unread | Unroutable::OtherMethod)
            | Self::Malformed
            | Self::Framing(_)
            | Self::BodyBroken
            | Self::Handshake(_)
            | Self::Handle
            | Self::Closed { code: 1003 | 1007 | 1008 | 1009, .. }
            | Self::TwoOwners(..)
            | Self::TooManyResources { .. }
            | Self::NoOrigin
            | Self::UploadBegins
            | Self::PageToken => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            // As Google answered, when it was last asked: clients repeat a 429, to no avail for an hour.
            Self::ForeignOrigin | Self::Exhausted { denied: true, .. } => StatusCode::FORBIDDEN,
            Self::NoRealtime => StatusCode::NOT_IMPLEMENTED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::RateLimited { .. } | Self::Exhausted { fault: false, .. } | Self::LineFull { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Busy | Self::Draining | Self::Exhausted { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::BodyTooLarge { .. } | Self::Unchecked => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::DeadlineExceeded(_) | Self::Edge { status: StatusCode::GATEWAY_TIMEOUT, .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Unreachable(_)
            | Self::Interrupted(_)
            | Self::Edge { .. }
            | Self::CredentialForm
            | Self::UploadUrl
            | Self::Closed { .. }
            | Self::StreamBroken(_) => StatusCode::BAD_GATEWAY,
            Self::Cancelled | Self::ClientGone => CANCELLED,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How long a client should wait, for `Retry-After`: always there on 429 and 503.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::LineFull { retry_after, .. } => Some(*retry_after),
            // Nothing returns by itself, yet an operator may mend it: ask again in a while.
            Self::Exhausted { retry_after, .. } => Some(retry_after.unwrap_or(Duration::from_mins(10))),
            Self::Busy | Self::Draining => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether the request's body may be left unread, so that the connection must close.
    pub const fn leaves_body(&self) -> bool {
        !matches!(
            self,
            Self::Exhausted { .. }
                | Self::TwoOwners(..)
                | Self::TooManyResources { .. }
                | Self::PageToken
                | Self::Unlisted
                | Self::LineFull { .. }
                | Self::DeadlineExceeded(_)
                | Self::Unreachable(_)
                | Self::Interrupted(_)
                | Self::Edge { .. }
                | Self::CredentialForm
                | Self::StreamBroken(_)
        )
    }
}

/// Whole seconds, rounded up.
pub fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(": {title}") }
}

fn exhausted(
    reasons: &[(&'static str, u32)],
    retry_after: Option<Duration>,
    fault: bool,
    owner: Option<&Resource>,
) -> String {
    let list: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let list = if list.is_empty() { "the pool is empty".to_owned() } else { list.join(", ") };
    let what = match owner {
        Some(owner) => format!("{owner} lives in a project of which no key can serve now"),
        None if fault => "no usable key".to_owned(),
        None => "no key can serve this model now".to_owned(),
    };
    match retry_after {
        Some(wait) => format!("{what} ({list}); retry in {} s", seconds(wait)),
        None => format!("{what} ({list})"),
    }
}
