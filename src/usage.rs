//! What an answer cost in tokens, as Google reports it.

use std::ops::AddAssign;

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

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.prompt_tokens += more.prompt_tokens;
        self.cached_tokens += more.cached_tokens;
        self.answer_tokens += more.answer_tokens;
        self.thought_tokens += more.thought_tokens;
        self.tool_tokens += more.tool_tokens;
    }
}

impl Usage {
    /// Of all kinds together; cached ones are among the prompt's.
    pub const fn total(&self) -> u64 {
        self.prompt_tokens + self.answer_tokens + self.thought_tokens + self.tool_tokens
    }

    /// What this is more than `less`.
    pub const fn beyond(self, less: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_sub(less.prompt_tokens),
            cached_tokens: self.cached_tokens.saturating_sub(less.cached_tokens),
            answer_tokens: self.answer_tokens.saturating_sub(less.answer_tokens),
            thought_tokens: self.thought_tokens.saturating_sub(less.thought_tokens),
            tool_tokens: self.tool_tokens.saturating_sub(less.tool_tokens),
        }
    }

    /// Whether Google reported nothing at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
