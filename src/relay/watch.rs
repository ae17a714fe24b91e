//! The watch over one answer: meters it, withholds an error for the scrubber, and judges how it ended.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use crate::affinity::{Affinity, Witness};
use crate::answer::{error_frame, last_frame};
use crate::endpoint::Surface;
use crate::error::Error;
use crate::meter::Meter;
use crate::pool::key::Key;
use crate::pool::lease::Lease;
use crate::pool::scene::Moment;
use crate::record::{Ender, Outcome, Record};
use crate::refusal::Refusal;
use crate::relay::line::Line;
use crate::scrub::Scrubber;
use crate::telemetry::{AttemptSeen, Telemetry, clock};
use crate::verdict::Verdict;

/// The most of an error inside a stream that is kept back to be scrubbed whole; what is longer passes piece by piece.
const WITHHELD_BYTES_MAX: usize = 64 << 10;

/// Who sees everything and tells no secret.
#[derive(Clone, Debug)]
pub struct Eyes {
    /// Counts attempts.
    pub telemetry: Arc<Telemetry>,
    /// Learns who owns what.
    pub affinity: Arc<Affinity>,
    /// Knows every key.
    pub scrubber: Arc<Scrubber>,
}

impl Eyes {
    /// Learns which signatures of thoughts the project of `key` made, of those that the meter met since the last time.
    #[inline]
    pub fn learn_signatures(&self, meter: &mut Meter, key: &Key) {
        for signature in meter.signatures() {
            self.affinity.signatures().learn(signature, key.project());
        }
    }
}

/// What is known of an answer while it passes.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each named where it is set")]
pub struct Watch {
    /// Whose verdict this is.
    pub lease: Lease,
    /// What was read in passing.
    pub meter: Meter,
    /// Of an answer that may name resources.
    pub witness: Option<Box<Witness>>,
    /// The call's story.
    pub record: Arc<Record>,
    /// The eyes.
    pub eyes: Eyes,
    /// The surface that was called.
    pub surface: Surface,
    /// Whether the answer is text that can be read: JSON or events, not encoded.
    pub readable: bool,
    /// Whether it comes as server-sent events.
    pub events: bool,
    /// Whether it is a streamed generation, which must end with a finish reason.
    pub must_finish: bool,
    /// Whether the tokens it tells of were spent by this call.
    pub spends: bool,
    /// The status of its head.
    pub status: StatusCode,
    /// Bytes of an error inside the stream, kept back until its end.
    pub withheld: Vec<u8>,
    /// What the error says, of one so long that its beginning had to pass.
    pub said: Option<Box<Refusal>>,
    /// What the client has of the line under way, where an error is told anew.
    pub line: Line,
    /// How many of the first bytes the meter has been fed already.
    pub fed: usize,
    /// Whether the verdict has been given.
    pub over: bool,
}

/// How a body ended.
#[derive(Debug)]
pub enum Ending {
    /// In order.
    Whole,
    /// The connection broke.
    Broken(String),
    /// Nothing came for too long.
    Idle,
    /// It was ended here.
    Cancelled(Ender),
}

impl Watch {
    /// Sees a chunk; gives back what may pass now.
    pub fn pass(&mut self, chunk: Bytes) -> Bytes {
        if !self.readable {
            return chunk;
        }
        if let Some(witness) = &mut self.witness {
            witness.see(&chunk, self.lease.key(), clock());
        }
        // Chunks that were read ahead were fed then, and an error would stand in the last of them.
        if self.fed == 0 {
            self.meter.feed(&chunk);
            self.eyes.learn_signatures(&mut self.meter, self.lease.key());
        } else {
            self.fed -= 1;
        }
        let passed = match self.meter.error_offset().filter(|_| self.fed == 0) {
            None => chunk,
            Some(at) if self.tells_anew() => self.keep(&chunk, at),
            Some(at) => self.withhold(&chunk, at),
        };
        if self.tells_anew() {
            self.line.pass(&passed);
        }
        passed
    }

    /// Whether an error is told in a frame of OpenAI's: what Google sends, bare or in a list, its SDKs pass over without a
    /// word, and half an answer looks whole (openai-python 3.57, 2026-11).
    fn tells_anew(&self) -> bool {
        self.events && self.readable && self.surface == Surface::OpenAi
    }

    /// Keeps the chunk back from the line on in which `at` is; gives back what may pass.
    fn keep(&mut self, chunk: &Bytes, at: usize) -> Bytes {
        let begins = memchr::memrchr(b'\n', &chunk[..at]).map_or(0, |end| end + 1);
        let room = WITHHELD_BYTES_MAX - self.withheld.len();
        self.withheld.extend(chunk[begins..].iter().take(room));
        chunk.slice(..begins)
    }

    /// The error that was kept back, as OpenAI's SDKs read one; `instead`, where it did not come whole.
    fn told_anew(&mut self, instead: &Error) -> Bytes {
        let withheld = std::mem::take(&mut self.withheld);
        let frame = match Refusal::undressed(&withheld) {
            Some(json) => {
                let mut refusal = Refusal::in_stream(&json);
                refusal.scrub(&self.eyes.scrubber);
                error_frame(&refusal, &self.eyes.scrubber.scrub(&json))
            }
            None => last_frame(self.surface, instead),
        };
        Bytes::from(self.line.followed_by(&frame))
    }

    /// Keeps the chunk back from `at` on; gives back what may pass.
    fn withhold(&mut self, chunk: &Bytes, at: usize) -> Bytes {
        self.withheld.extend_from_slice(&chunk[at..]);
        if self.withheld.len() < WITHHELD_BYTES_MAX {
            return chunk.slice(..at);
        }
        self.said.get_or_insert_with(|| Box::new(Refusal::in_stream(&self.withheld)));
        // Whatever the cut may have halved waits for its other half.
        let settled = self.eyes.scrubber.settled(&self.withheld);
        let rest = self.withheld.split_off(settled);
        let begun = std::mem::replace(&mut self.withheld, rest);
        let mut passed = chunk[..at].to_vec();
        passed.extend_from_slice(&self.eyes.scrubber.mask(&begun));
        Bytes::from(passed)
    }

    /// The empty event of the stream's framing, where one may stand now.
    pub fn heartbeat(&self) -> Option<&'static str> {
        let may = self.events && self.readable && self.meter.at_boundary() && self.withheld.is_empty();
        may.then(|| self.meter.newline_style().empty_event())
    }

    /// The end: gives the verdict back, and what is still to be sent.
    pub fn end(&mut self, ending: &Ending) -> Result<Bytes, Error> {
        self.over = true;
        let now = Instant::now();
        let why = match ending {
            Ending::Whole => return Ok(self.end_in_order(now)),
            Ending::Broken(_) => "the upstream broke off",
            Ending::Idle => "the upstream fell silent",
            Ending::Cancelled(ender) => {
                let error = ender.error();
                self.record.outcome(Outcome::from(&error));
                self.give_up(now);
                return self.last_words(error);
            }
        };
        let detail = if let Ending::Broken(detail) = ending { detail.as_str() } else { why };
        self.record.outcome(Outcome::StreamBroken);
        self.fail(Verdict::Broken, &Refusal::default(), detail, now);
        self.last_words(Error::StreamBroken(why))
    }

    /// What an answer that is not whole ends with.
    fn last_words(&mut self, error: Error) -> Result<Bytes, Error> {
        if !self.events {
            // A client must not take the half for the whole: the connection breaks here too.
            return Err(error);
        }
        if self.tells_anew() && self.meter.error() {
            return Ok(self.told_anew(&error));
        }
        let mut rest = self.eyes.scrubber.mask(&std::mem::take(&mut self.withheld)).into_owned();
        if !self.meter.at_boundary() {
            rest.extend_from_slice(self.meter.newline_style().empty_event().as_bytes());
        }
        rest.extend_from_slice(&last_frame(self.surface, &error));
        Ok(Bytes::from(rest))
    }

    fn end_in_order(&mut self, now: Instant) -> Bytes {
        self.account(now);
        if let Some(witness) = self.witness.take().filter(|_| self.status.is_success()) {
            witness.succeeded();
        }
        if self.must_finish && self.meter.error() {
            let said = self.said.take().map(|said| *said);
            let mut refusal = said.unwrap_or_else(|| Refusal::in_stream(&self.withheld));
            refusal.scrub(&self.eyes.scrubber);
            let message = refusal.summary().to_owned();
            if refusal.is_the_caller_s() {
                self.record.outcome(Outcome::CallerError);
                self.lease.pass(Verdict::Caller, now);
                self.seen(Verdict::Caller, &message, now);
            } else {
                self.record.outcome(Outcome::StreamBroken);
                self.fail(Verdict::Broken, &refusal, &message, now);
            }
        } else if self.must_finish && self.readable && !self.meter.complete() {
            self.record.outcome(Outcome::StreamUnfinished);
            self.fail(Verdict::Unfinished, &Refusal::default(), "it ended without a finish reason", now);
        } else {
            self.record.outcome(Outcome::Ok);
            self.seen(Verdict::Success, "", now);
        }
        if self.tells_anew() && self.meter.error() {
            return self.told_anew(&Error::StreamBroken("the upstream's error came not whole"));
        }
        Bytes::from(self.eyes.scrubber.mask(&std::mem::take(&mut self.withheld)).into_owned())
    }

    /// Writes down what was used.
    fn account(&mut self, now: Instant) {
        if let Some(usage) = self.meter.usage().filter(|_| self.spends) {
            self.record.usage(usage);
            self.lease.settle(usage.prompt_tokens, now);
        }
    }

    fn fail(&mut self, verdict: Verdict, refusal: &Refusal, message: &str, now: Instant) {
        self.account(now);
        let moment = Moment { now, wall: clock(), dice: 0.5 };
        self.lease.fail(verdict, refusal, moment);
        self.lease.note(verdict, message.to_owned(), moment.wall);
        self.seen(verdict, message, now);
    }

    /// What was seen is accounted, and the key is not to blame.
    fn give_up(&mut self, now: Instant) {
        self.account(now);
        self.lease.abandon();
        self.seen(Verdict::Abandoned, "", now);
    }

    fn seen(&self, verdict: Verdict, message: &str, now: Instant) {
        let (key, status) = (&self.lease.key().id, Some(self.status.as_u16()));
        self.eyes.telemetry.attempt(AttemptSeen { record: &self.record, key, verdict, status, message, now });
    }
}

impl Drop for Watch {
    /// The client went away.
    fn drop(&mut self) {
        if !self.over {
            self.give_up(Instant::now());
        }
    }
}
