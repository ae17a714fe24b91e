//! How an answer ended, in Google's words or `OpenAI`'s.

use std::fmt;

/// The longest word that is kept of a reason not known here.
const WORD_BYTES_MAX: usize = 32;

/// Why generation ended. Google's reasons are an open set: those that need no telling apart keep their own word.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Finish {
    /// No reason was seen: the answer is not complete.
    #[default]
    Open,
    /// The model was done.
    Stop,
    /// The limit of output tokens was reached.
    MaxTokens,
    /// `OpenAI`'s `tool_calls`: done, and waiting for a tool.
    ToolCalls,
    /// Another reason: safety, recitation, a malformed call, ...
    Other(Word),
    /// `promptFeedback.blockReason`: there is no answer.
    Blocked(Word),
}

impl Finish {
    /// The label in metrics and logs: a bounded set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stop => "stop",
            Self::MaxTokens => "max_tokens",
            Self::ToolCalls => "tool_calls",
            Self::Other(_) => "other",
            Self::Blocked(_) => "blocked",
        }
    }

    /// The reason as it was written, where the name does not say it: `SAFETY`, `content_filter`, ...
    pub fn word(&self) -> &str {
        match self {
            Self::Other(word) | Self::Blocked(word) => word.as_str(),
            _ => self.name(),
        }
    }

    /// The reason of a `finishReason` or `finish_reason`.
    pub(crate) fn of(reason: &[u8]) -> Self {
        match reason {
            b"" => Self::Open,
            b"STOP" | b"stop" => Self::Stop,
            b"MAX_TOKENS" | b"length" => Self::MaxTokens,
            b"tool_calls" | b"function_call" => Self::ToolCalls,
            other => Self::Other(Word::of(other)),
        }
    }
}

/// A reason's own word: at most 32 bytes, nothing but letters, digits, `_` and `-`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    length: u8,
}

impl Word {
    /// Takes what is fit to be printed; of something longer, its beginning.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut word = Self { bytes: [0; WORD_BYTES_MAX], length: 0 };
        for (slot, byte) in word.bytes.iter_mut().zip(text) {
            *slot = if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') { *byte } else { b'?' };
            word.length += 1;
        }
        word
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
