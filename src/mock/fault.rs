//! What can go wrong with one answer, each fault in a short text such as `cut:2` or `drip:10/50ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::mock::refusals::Refusal;
use crate::mock::span::{self, FOREVER};

/// One thing that goes wrong with an answer; several may be combined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Google refuses; the span is the wait a quota tells of.
    Refuse(Refusal, Option<Duration>),
    /// Another status than the answer's own. Alone: this status with an empty body.
    Status(u16),
    /// The head comes late.
    Delay(Duration),
    /// Silence after this many frames; 0 is a stall of the first byte.
    Stall(usize, Duration),
    /// The connection is closed after this many frames, before the answer's end.
    Cut(Place),
    /// The connection is reset.
    Reset(Place),
    /// Every write is at most so many bytes and followed by a pause.
    Drip(usize, Duration),
    /// After this many frames of a stream comes an error, and the stream ends.
    StreamError(Refusal, usize),
    /// A stream without its last frame's finish reason.
    Unfinished,
    /// An answer that finished with nothing in it.
    Empty,
    /// An answer of thoughts alone.
    Thoughts,
    /// The answer carries a thought's signature of the project's, and a history with another's is refused.
    Signed,
    /// The prompt is blocked for this reason.
    Blocked(String),
    /// The answer ends for this reason instead of `STOP`.
    Finish(String),
    /// Frames are cut into writes of so many bytes, wherever that falls, with a pause between them.
    Split(usize, Duration),
    /// So many frames come in one write.
    Merge(usize),
    /// Frames end with LF LF instead of CRLF CRLF.
    Lf,
    /// One frame carries inline data of so many bytes.
    Huge(usize),
    /// A Live session is closed with this code after so many messages; the script's body is the reason.
    Close(u16, usize),
    /// A Live session tells the client to leave within this time.
    GoAway(Duration),
}

/// Where in an answer a connection breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Before the status line.
    Head,
    /// After so many frames of the body.
    Frames(usize),
}

const SHAPES: &str = "delay:2s, stall[:N[/2s]], cut:N|head, reset:N|head, drip:BYTES/50ms, stream_error:NAME[@N], \
    unfinished, empty, thoughts, signed, blocked[:REASON], finish:REASON, split:BYTES[/5ms], merge:N, lf, huge:BYTES, \
    close:CODE[@N], go_away:5s, status:CODE, or a refusal's name (quota_minute:30s tells the wait)";

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, argument) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let needed = || argument.ok_or_else(|| format!("`{name}` needs a value: {SHAPES}"));
        Ok(match name {
            "status" => Self::Status(status(needed()?)?),
            "delay" => Self::Delay(span::parse(needed()?)?),
            "stall" => {
                let (after, lasting) = pair(argument.unwrap_or("0"), '/');
                Self::Stall(count(after)?, lasting.map_or(Ok(FOREVER), span::parse)?)
            }
            "cut" => Self::Cut(place(needed()?)?),
            "reset" => Self::Reset(place(needed()?)?),
            "drip" => {
                let (bytes, every) = pair(needed()?, '/');
                Self::Drip(size(bytes)?, every.map_or(Ok(Duration::from_millis(50)), span::parse)?)
            }
            "stream_error" => {
                let (refusal, after) = pair(needed()?, '@');
                Self::StreamError(refusal.parse()?, after.map_or(Ok(0), count)?)
            }
            "unfinished" => Self::Unfinished,
            "empty" => Self::Empty,
            "thoughts" => Self::Thoughts,
            "signed" => Self::Signed,
            "blocked" => Self::Blocked(argument.unwrap_or("SAFETY").to_owned()),
            "finish" => Self::Finish(needed()?.to_owned()),
            "split" => {
                let (bytes, pause) = pair(needed()?, '/');
                Self::Split(size(bytes)?, pause.map_or(Ok(Duration::ZERO), span::parse)?)
            }
            "merge" => Self::Merge(size(needed()?)?),
            "lf" => Self::Lf,
            "huge" => Self::Huge(size(needed()?)?),
            "close" => {
                let (code, after) = pair(needed()?, '@');
                Self::Close(close_code(code)?, after.map_or(Ok(0), count)?)
            }
            "go_away" => Self::GoAway(span::parse(needed()?)?),
            _ => {
                let refusal =
                    name.parse().map_err(|reason| format!("`{text}` is no fault ({reason}); allowed: {SHAPES}"))?;
                Self::Refuse(refusal, argument.map(span::parse).transpose()?)
            }
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(refusal, None) => write!(f, "{refusal}"),
            Self::Refuse(refusal, Some(retry)) => write!(f, "{refusal}:{}", span::text(*retry)),
            Self::Status(code) => write!(f, "status:{code}"),
            Self::Delay(wait) => write!(f, "delay:{}", span::text(*wait)),
            Self::Stall(after, lasting) => write!(f, "stall:{after}/{}", span::text(*lasting)),
            Self::Cut(place) => write!(f, "cut:{place}"),
            Self::Reset(place) => write!(f, "reset:{place}"),
            Self::Drip(bytes, every) => write!(f, "drip:{bytes}/{}", span::text(*every)),
            Self::StreamError(refusal, after) => write!(f, "stream_error:{refusal}@{after}"),
            Self::Unfinished => f.write_str("unfinished"),
            Self::Empty => f.write_str("empty"),
            Self::Thoughts => f.write_str("thoughts"),
            Self::Signed => f.write_str("signed"),
            Self::Blocked(reason) => write!(f, "blocked:{reason}"),
            Self::Finish(reason) => write!(f, "finish:{reason}"),
            Self::Split(bytes, pause) => write!(f, "split:{bytes}/{}", span::text(*pause)),
            Self::Merge(frames) => write!(f, "merge:{frames}"),
            Self::Lf => f.write_str("lf"),
            Self::Huge(bytes) => write!(f, "huge:{bytes}"),
            Self::Close(code, after) => write!(f, "close:{code}@{after}"),
            Self::GoAway(left) => write!(f, "go_away:{}", span::text(*left)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("head"),
            Self::Frames(after) => write!(f, "{after}"),
        }
    }
}

fn pair(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(first, second)| (first, Some(second)))
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is not a count"))
}

/// A count of at least one, and small enough to allocate.
fn size(text: &str) -> Result<usize, String> {
    const SIZE_MAX: usize = 256 << 20;
    let size = count(text)?;
    if (1..=SIZE_MAX).contains(&size) { Ok(size) } else { Err(format!("`{text}` is not between 1 and {SIZE_MAX}")) }
}

fn status(text: &str) -> Result<u16, String> {
    let code = text.parse().ok().filter(|code| (200..=599).contains(code));
    code.ok_or_else(|| format!("`{text}` is not a status between 200 and 599"))
}

fn close_code(text: &str) -> Result<u16, String> {
    let code = text.parse().ok().filter(|code| (1000..=4999).contains(code));
    code.ok_or_else(|| format!("`{text}` is not a close code between 1000 and 4999"))
}

fn place(text: &str) -> Result<Place, String> {
    if text == "head" { Ok(Place::Head) } else { count(text).map(Place::Frames) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_as_it_was_written() {
        let written = "status:418 delay:2s stall:0/forever stall:2/500ms cut:2 cut:head reset:head reset:1 \
                       drip:10/50ms stream_error:overloaded@2 unfinished empty thoughts signed blocked:SAFETY \
                       finish:MAX_TOKENS split:7/0s merge:3 lf huge:1000 close:1011@2 go_away:5s quota_minute:30s \
                       interactions_quota_exceeded";
        for text in written.split_whitespace() {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for refusal in Refusal::all() {
            assert_eq!(refusal.to_string().parse::<Fault>().unwrap(), Fault::Refuse(refusal, None));
        }
    }

    #[test]
    fn a_wrong_fault_is_refused_with_what_is_allowed() {
        for wrong in
            ["nonsense", "delay", "delay:5", "cut:x", "split:0", "status:99", "stream_error:x@1", "overloaded:x"]
        {
            assert!(!wrong.parse::<Fault>().unwrap_err().is_empty(), "{wrong}");
        }
        assert!("nonsense".parse::<Fault>().unwrap_err().contains("stream_error:NAME"));
    }
}
