//! The meter: reads tokens, the finish and errors off an answer as it passes, and changes nothing.

use crate::meter::finish::Finish;
use crate::meter::reading::Reading;
use crate::signature::trail::Signature;
use crate::skim::walk::Skim;
use crate::usage::Usage;

pub mod finish;
mod reading;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

/// The longest key or reason that is read; those that are looked for are shorter.
const GATHERED_BYTES_MAX: usize = 32;

/// Fed with the bytes of an answer in any pieces: Gemini's SSE, array stream and whole answers, `OpenAI`'s and the
/// Interactions API's SSE and whole answers; their structure tells them apart. Holds a few dozen bytes of the answer, allocates for nothing but
/// a thought's signature and a key or reason that is cut or written by escapes, and takes rubbish without harm. Only documents' own members count: the arguments of a function call can imitate nothing.
#[derive(Debug, Default)]
pub struct Meter {
    skim: Skim<Reading, GATHERED_BYTES_MAX>,
    reading: Reading,
    /// Where in the last chunk the error's document began.
    error_at: Option<usize>,
}

/// How the lines of a stream of events end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Newline {
    /// As Google's do.
    CrLf,
    /// As `OpenAI`'s do.
    Lf,
}

impl Newline {
    /// The empty event in this framing: the one heartbeat that every SDK of Google's lets pass.
    pub const fn empty_event(self) -> &'static str {
        match self {
            Self::CrLf => "\r\n\r\n",
            Self::Lf => "\n\n",
        }
    }
}

impl Meter {
    /// Reads the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        let before = self.reading.before;
        self.skim.feed(chunk, &mut self.reading);
        self.reading.before += chunk.len();
        if let Some(trail) = &mut self.reading.trail {
            trail.follow(chunk);
        }
        if self.reading.error {
            self.error_at = Some(self.reading.error_start.saturating_sub(before));
        }
    }

    /// The signatures of thoughts that were met since the last time, in parts and in `OpenAI`'s tool calls.
    pub fn signatures(&mut self) -> impl Iterator<Item = Signature> {
        self.reading.trail.iter_mut().flat_map(|trail| trail.found())
    }

    /// The last token counts that were reported whole: `usageMetadata` or `usage`, out of which `OpenAI`'s thoughts are taken
    /// of the answer's tokens. `None` before any; what `:countTokens` counts is no usage.
    pub fn usage(&self) -> Option<Usage> {
        self.reading.usage
    }

    /// Why the answer ended, by the last reason seen; [`Finish::Open`] before any.
    pub fn finish(&self) -> Finish {
        self.reading.finish
    }

    /// Whether the model was done: a finish or block reason was seen. A stream that ends before has failed.
    pub fn complete(&self) -> bool {
        self.reading.finish != Finish::Open
    }

    /// Whether every candidate ended because the model was done: none was blocked, truncated, or waits for a tool.
    pub fn all_stopped(&self) -> bool {
        self.reading.finish == Finish::Stop && !self.reading.cut_short
    }

    /// Whether a generation held anything beside thoughts: text, a call, an image, code, ...
    pub fn has_content(&self) -> bool {
        self.reading.content
    }

    /// Whether a document (a frame, an element of an array, the whole answer) had an `error` that is not `null`.
    pub fn error(&self) -> bool {
        self.reading.error
    }

    /// Where in all that was fed the first document that had it began.
    pub fn error_document(&self) -> Option<usize> {
        self.reading.error.then_some(self.reading.error_start)
    }

    /// Whether the very first document had it: nothing came before.
    pub fn began_with_error(&self) -> bool {
        self.reading.error && self.reading.documents == 1
    }

    /// From where on the last chunk must not pass unscrubbed, once there was an error: the first byte of the error's
    /// line or document if it began in this chunk, else 0, and 0 in all later chunks. The bytes before it may pass. Of a
    /// document that was cut by the chunk's end before its key `error`, those first bytes have passed: no value of the
    /// error was among them, as it is known by its value's first byte.
    pub fn error_offset(&self) -> Option<usize> {
        self.error_at
    }

    /// Whether an empty event may be sent now: the last byte ended a frame's empty line, or nothing came yet. Never again
    /// once a document came that is no frame: an array's, a whole answer, an unprefixed error.
    pub fn at_boundary(&self) -> bool {
        self.skim.between_frames()
    }

    /// How the last line of the stream ended; CR LF, Google's way, before any did.
    pub fn newline_style(&self) -> Newline {
        if self.skim.crlf() { Newline::CrLf } else { Newline::Lf }
    }
}
