//! What the meter looks for in an answer, and where: the visitor of its walk.

use crate::meter::finish::{Finish, Word};
use crate::signature::trail::Trail;
use crate::skim::visitor::{Scalar, Visitor};
use crate::usage::Usage;

/// No count.
const NONE: u32 = u32::MAX;

/// What was read of an answer so far.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "six facts that do not hang together")]
pub(crate) struct Reading {
    pub(crate) usage: Option<Usage>,
    pub(crate) finish: Finish,
    /// Whether any reason was another than that the model was done.
    pub(crate) cut_short: bool,
    pub(crate) content: bool,
    pub(crate) error: bool,
    /// How much was fed before the chunk that is being read.
    pub(crate) before: usize,
    /// Where in all that was fed the document that is being read began.
    pub(crate) start: usize,
    /// The same of the first document that had an error.
    pub(crate) error_start: usize,
    /// How many documents began up to that one; more than two are not counted.
    pub(crate) documents: u8,
    /// Whether the usage that is being read is an interaction's, in which thoughts stand beside the answer.
    beside: bool,
    /// Counts of the usage that is being read; [`NONE`] before there is one.
    counts: [u32; Count::KINDS],
    /// Of the part that is being read: whether it says anything, and whether it is a thought.
    part_content: bool,
    part_thought: bool,
    /// The signatures of thoughts, once there was one.
    pub(crate) trail: Option<Box<Trail>>,
}

/// Where in an answer. A name tells of a value; `In...` of an object's members.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Root,
    /// An element of an array that is the root.
    Element,
    InDocument,
    Error,
    UsageMetadata,
    InUsageMetadata,
    Usage,
    InUsage,
    PromptDetails,
    CompletionDetails,
    Count(Count),
    Feedback,
    BlockReason,
    Candidates,
    InCandidate,
    Finish,
    Content,
    Parts,
    InPart,
    PartText,
    PartThought,
    PartPayload,
    /// A thought's signature.
    Signature,
    Choices,
    InChoice,
    Message,
    /// Text of an `OpenAI` message, or a list of its parts.
    Said,
    /// Tool calls and the like: there, if there is one.
    Items,
    Item,
    InItem,
    /// What Google adds to `OpenAI`'s answers.
    Extra,
    /// What an event tells of an interaction.
    Interaction,
    InInteraction,
    /// What comes with an event.
    Metadata,
    InMetadata,
    /// An interaction's status.
    Status,
    EventType,
}

/// A count of tokens, in either dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Prompt,
    Cached,
    Answer,
    Thought,
    Tool,
    Total,
}

impl Count {
    const KINDS: usize = 6;

    /// The member of `usage`, `OpenAI`'s or an interaction's.
    fn of_usage(key: &[u8]) -> Option<Self> {
        match key {
            b"prompt_tokens" | b"input_tokens" | b"total_input_tokens" => Some(Self::Prompt),
            b"completion_tokens" | b"output_tokens" | b"total_output_tokens" => Some(Self::Answer),
            b"total_tokens" => Some(Self::Total),
            b"total_cached_tokens" => Some(Self::Cached),
            b"total_thought_tokens" => Some(Self::Thought),
            b"total_tool_use_tokens" => Some(Self::Tool),
            _ => None,
        }
    }

    /// The member of `usageMetadata`.
    fn of_gemini(key: &[u8]) -> Option<Self> {
        match key {
            b"promptTokenCount" => Some(Self::Prompt),
            b"cachedContentTokenCount" => Some(Self::Cached),
            b"candidatesTokenCount" | b"responseTokenCount" => Some(Self::Answer),
            b"thoughtsTokenCount" => Some(Self::Thought),
            b"toolUsePromptTokenCount" => Some(Self::Tool),
            _ => None,
        }
    }
}

impl Visitor for Reading {
    type Place = Place;
    const ROOT: Place = Place::Root;
    const LINES: bool = true;

    #[expect(clippy::inline_always, reason = "where the walk knows the first byte little of this is left")]
    #[inline(always)]
    fn value(&mut self, at: Place, first: u8, offset: usize) -> Option<Place> {
        match (at, first) {
            (Place::Root | Place::Element, b'{') => {
                self.start = self.before + offset;
                self.documents = if self.error { self.documents } else { (self.documents + 1).min(2) };
                Some(Place::InDocument)
            }
            (Place::Root, b'[') => Some(Place::Element),
            // Known by its first byte, before any of what it says has passed.
            (Place::Error, first) => {
                if first != b'n' && !self.error {
                    (self.error, self.error_start) = (true, self.start);
                }
                None
            }
            (Place::UsageMetadata | Place::Usage, b'{') => {
                (self.counts, self.beside) = ([NONE; Count::KINDS], false);
                Some(if matches!(at, Place::Usage) { Place::InUsage } else { Place::InUsageMetadata })
            }
            (Place::Interaction, b'{') => Some(Place::InInteraction),
            (Place::Metadata, b'{') => Some(Place::InMetadata),
            (Place::Candidates, b'{') => Some(Place::InCandidate),
            (Place::Choices, b'{') => Some(Place::InChoice),
            (Place::Parts, b'{') => {
                (self.part_content, self.part_thought) = (false, false);
                Some(Place::InPart)
            }
            (Place::PartPayload, b'{' | b'[') => {
                self.part_content = true;
                None
            }
            (Place::Item, first) => {
                self.content |= first != b'n';
                (first == b'{').then_some(Place::InItem)
            }
            (Place::Signature, b'"') => {
                self.trail.get_or_insert_default().begins(offset + 1);
                None
            }
            (Place::Items | Place::Said, b'[') => Some(Place::Item),
            (Place::Items, b'{') => {
                self.content = true;
                None
            }
            (Place::Candidates | Place::Choices | Place::Parts, b'[')
            | (
                Place::PromptDetails
                | Place::CompletionDetails
                | Place::Feedback
                | Place::Content
                | Place::Message
                | Place::Extra,
                b'{',
            ) => Some(at),
            (
                Place::Count(_)
                | Place::Finish
                | Place::Status
                | Place::EventType
                | Place::BlockReason
                | Place::PartText
                | Place::PartThought
                | Place::Said,
                first,
            ) => (first != b'{' && first != b'[').then_some(at),
            _ => None,
        }
    }

    #[expect(clippy::inline_always, reason = "the walk asks for every key from one place")]
    #[inline(always)]
    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        Some(match at {
            Place::InDocument => match key {
                b"candidates" => Place::Candidates,
                b"usageMetadata" => Place::UsageMetadata,
                b"promptFeedback" => Place::Feedback,
                b"choices" => Place::Choices,
                b"usage" => Place::Usage,
                b"error" => Place::Error,
                b"event_type" => Place::EventType,
                b"interaction" => Place::Interaction,
                b"status" => Place::Status,
                b"metadata" => Place::Metadata,
                _ => return None,
            },
            Place::InUsageMetadata => Place::Count(Count::of_gemini(key)?),
            Place::InUsage => match key {
                b"prompt_tokens_details" | b"input_tokens_details" => Place::PromptDetails,
                b"completion_tokens_details" | b"output_tokens_details" => Place::CompletionDetails,
                _ => {
                    self.beside |= key == b"total_input_tokens";
                    Place::Count(Count::of_usage(key)?)
                }
            },
            Place::InPart => match key {
                b"text" => Place::PartText,
                b"thought" => Place::PartThought,
                b"thoughtSignature" | b"thought_signature" => Place::Signature,
                b"partMetadata" | b"videoMetadata" | b"mediaResolution" => return None,
                _ => Place::PartPayload,
            },
            Place::InChoice => match key {
                b"delta" | b"message" => Place::Message,
                b"finish_reason" => Place::Finish,
                b"text" => Place::Said,
                _ => return None,
            },
            Place::InCandidate => match key {
                b"content" => Place::Content,
                b"finishReason" => Place::Finish,
                _ => return None,
            },
            Place::Content if key == b"parts" => Place::Parts,
            Place::Message => match key {
                b"content" | b"refusal" => Place::Said,
                b"tool_calls" | b"function_call" | b"audio" => Place::Items,
                b"extra_content" => Place::Extra,
                _ => return None,
            },
            _ => return Self::lesser(at, key),
        })
    }

    #[inline]
    fn scalar(&mut self, at: Place, scalar: Scalar<'_>) {
        match (at, scalar) {
            (Place::Count(count), Scalar::Word(digits) | Scalar::Text(digits)) => {
                self.counts[count as usize] = whole(digits).unwrap_or(NONE);
            }
            (Place::Finish, Scalar::Text(reason)) if !reason.is_empty() => self.finished(Finish::of(reason)),
            (Place::Finish, Scalar::Long) => self.finished(Finish::Other(Word::of(b"LONG"))),
            (Place::Status, Scalar::Text(status)) => self.stands(status),
            (Place::EventType, Scalar::Text(b"interaction.completed" | b"interaction.complete")) => {
                self.stands(b"completed");
            }
            (Place::BlockReason, Scalar::Text(reason)) => self.finished(Finish::Blocked(Word::of(reason))),
            (Place::BlockReason, Scalar::Long) => self.finished(Finish::Blocked(Word::of(b"LONG"))),
            (Place::PartText, Scalar::Text(text)) => self.part_content |= !text.is_empty(),
            (Place::PartText, Scalar::Long) => self.part_content = true,
            (Place::PartThought, Scalar::Word(word)) => self.part_thought = word == b"true",
            (Place::Said, Scalar::Text(text)) => self.content |= !text.is_empty(),
            (Place::Said, Scalar::Long) => self.content = true,
            _ => {}
        }
    }

    #[inline]
    fn end(&mut self, at: Place) {
        match at {
            Place::InPart => self.content |= self.part_content && !self.part_thought,
            Place::InUsageMetadata => self.counted(Self::gemini),
            // An interaction's counts stand side by side, as Gemini's do.
            Place::InUsage if self.beside => self.counted(Self::gemini),
            Place::InUsage => self.counted(Self::openai),
            _ => {}
        }
    }
}

impl Reading {
    /// Where a key leads in the smaller objects.
    fn lesser(at: Place, key: &[u8]) -> Option<Place> {
        Some(match (at, key) {
            (Place::PromptDetails, b"cached_tokens") => Place::Count(Count::Cached),
            (Place::CompletionDetails, b"reasoning_tokens") => Place::Count(Count::Thought),
            (Place::Feedback, b"blockReason") => Place::BlockReason,
            (Place::InInteraction, b"usage") | (Place::InMetadata, b"total_usage") => Place::Usage,
            (Place::InInteraction, b"status") => Place::Status,
            (Place::InItem, b"extra_content") | (Place::Extra, b"google") => Place::Extra,
            (Place::Extra | Place::InItem, b"thought_signature") => Place::Signature,
            _ => return None,
        })
    }

    /// How an interaction stands: every status but those of one at work is an end. A word for the end goes before the
    /// event that tells of it.
    fn stands(&mut self, status: &[u8]) {
        match status {
            b"" | b"in_progress" | b"queued" => {}
            b"completed" if self.finish != Finish::Open => {}
            b"completed" => self.finished(Finish::Stop),
            b"requires_action" => self.finished(Finish::ToolCalls),
            other => self.finished(Finish::Other(Word::of(other))),
        }
    }

    fn finished(&mut self, finish: Finish) {
        self.finish = finish;
        self.cut_short |= finish != Finish::Stop;
    }

    /// The usage being read is whole; if it has a count known here, it stands for all before it.
    fn counted(&mut self, dialect: fn(&Self) -> Usage) {
        if self.counts.iter().any(|count| *count != NONE) {
            self.usage = Some(dialect(self));
        }
    }

    fn count(&self, count: Count) -> u64 {
        match self.counts[count as usize] {
            NONE => 0,
            count => count.into(),
        }
    }

    fn gemini(&self) -> Usage {
        Usage {
            prompt_tokens: self.count(Count::Prompt),
            cached_tokens: self.count(Count::Cached),
            answer_tokens: self.count(Count::Answer),
            thought_tokens: self.count(Count::Thought),
            tool_tokens: self.count(Count::Tool),
        }
    }

    /// `OpenAI` counts thoughts among the completion's tokens. Where the total says that they stand beside them instead,
    /// the total is believed, for what it holds is what is paid.
    fn openai(&self) -> Usage {
        let prompt_tokens = self.count(Count::Prompt);
        let completion = self.count(Count::Answer);
        let written = completion.max(self.count(Count::Total).saturating_sub(prompt_tokens));
        let thought_tokens = self.count(Count::Thought).max(written - completion);
        Usage {
            prompt_tokens,
            cached_tokens: self.count(Count::Cached),
            answer_tokens: written.saturating_sub(thought_tokens),
            thought_tokens,
            tool_tokens: 0,
        }
    }
}

/// A whole number as JSON writes it; `None` if it is another, or beyond what a count can be.
fn whole(digits: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let (first, rest) = digits.split_first()?;
    rest.iter().try_fold(digit(first)?, |sum, byte| sum.checked_mul(10)?.checked_add(digit(byte)?))
}
