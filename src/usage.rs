//! What an answer cost in tokens, as Google reports it.

use serde::Serialize;

/// Token counts of one answer. Google's counts are cumulative within a stream: the last one stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Of those, read from a cache of Google's.
    pub cached_tokens: u64,
    /// Tokens of the answer, without thoughts.
    pub answer_tokens: u64,
    /// Tokens spent thinking.
    pub thought_tokens: u64,
    /// Tokens of results that tools of Google's fed back into the prompt.
    pub tool_tokens: u64,
}

impl Usage {
    /// Whether Google reported nothing at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
