//! The surfaces: which shape of requests, answers and errors a path speaks.

use http::{HeaderMap, Uri, header};

use crate::endpoint::path::split;
use crate::endpoint::query::{is_credential, parameters};

/// The shapes of requests, answers and errors that geminate speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Surface {
    /// Google's own: `{"error":{"code","message","status","details"}}`.
    Gemini,
    /// OpenAI's, as Google's compatible endpoint serves it: `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// Google's Interactions API and what belongs to it: `{"error":{"code","message"}}`, the code being a word.
    Interactions,
}

/// First path segments below `/v1` that only OpenAI has.
const OPENAI_ONLY: [&str; 9] =
    ["chat", "completions", "embeddings", "images", "videos", "audio", "responses", "moderations", "realtime"];
/// First path segments below `/v1` that both have: the credential's form decides.
const SHARED: [&str; 3] = ["models", "files", "batches"];
/// The Interactions API's collections (Gemini API reference, 2026-10).
const INTERACTIONS: [&str; 5] = ["interactions", "agents", "environments", "triggers", "webhooks"];
/// The API's versions.
const VERSIONS: [&str; 3] = ["v1", "v1beta", "v1alpha"];

impl Surface {
    /// The label in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
            Self::Interactions => "interactions",
        }
    }

    /// The surface of a path that may not parse, so that even its refusal has the right shape.
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path().trim_start_matches('/');
        let Some((version, below)) = split(path, b'/') else { return Self::Gemini };
        let (first, rest) = split(below, b'/').unwrap_or((below, ""));
        let in_interactions = || INTERACTIONS.contains(&first.split(':').next().unwrap_or(""));
        match version {
            _ if first == "openai" => Self::OpenAi,
            "v1" if OPENAI_ONLY.contains(&first) => Self::OpenAi,
            "v1" if SHARED.contains(&first) && !rest.contains(':') && bearer_alone(uri, headers) => Self::OpenAi,
            version if VERSIONS.contains(&version) && in_interactions() => Self::Interactions,
            _ => Self::Gemini,
        }
    }
}

/// A Bearer credential and none of Google's forms beside it.
fn bearer_alone(uri: &Uri, headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION)
        && !headers.contains_key("x-goog-api-key")
        && !parameters(uri.query()).any(is_credential)
}
