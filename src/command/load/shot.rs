//! One request: sent, read to the end, and judged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use reqwest::{Client, Response};
use tokio::time::{Instant, timeout_at};

use crate::command::figures::plain;
use crate::command::load::tally::{End, Shot, Tally};
use crate::command::load::target::Target;
use crate::meter::Meter;
use crate::refusal::Refusal;
use crate::scrub::Scrubber;
use crate::upstream::causes;

/// Bytes of an error that are read for what it says.
const SAID_BYTES_MAX: usize = 64 << 10;
/// Characters of it that are shown.
const SAID_CHARS_MAX: usize = 200;

/// What every request needs.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) client: Client,
    pub(super) target: Target,
    pub(super) scrubber: Scrubber,
    pub(super) timeout: Duration,
}

/// What has come so far.
struct Course {
    from: Instant,
    first_byte: Option<Duration>,
    last: Option<Instant>,
    bytes: u64,
    chunks: u64,
    meter: Meter,
    /// The beginning of an answer that may be an error.
    head: Vec<u8>,
}

impl Range {
    /// Sends request number `n`, which was due at `due`; the pauses of its stream are told to `tally` as they come.
    pub(super) async fn shoot(&self, n: u64, due: Instant, tally: &Mutex<Tally>) -> Shot {
        let sent = Instant::now();
        // Whoever woke a little early has not been kept waiting before it was sent.
        let from = due.min(sent);
        let (meter, head) = (Meter::default(), Vec::new());
        let mut course = Course { from, first_byte: None, last: None, bytes: 0, chunks: 0, meter, head };
        let ending = timeout_at(sent + self.timeout, self.fly(n, &mut course, tally)).await;
        let (end, said) = ending.unwrap_or((End::TimedOut, None));
        Shot {
            end,
            total: from.elapsed(),
            first_byte: course.first_byte,
            late: sent.saturating_duration_since(due),
            bytes: course.bytes,
            chunks: course.chunks,
            usage: course.meter.usage().unwrap_or_default(),
            said: said.map(|said| self.clean(&said)),
        }
    }

    async fn fly(&self, n: u64, course: &mut Course, tally: &Mutex<Tally>) -> (End, Option<String>) {
        let mut answer = match self.client.execute(self.target.request(n)).await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return (End::NoConnection, Some(causes(&error))),
            Err(error) => return (End::BrokenOff, Some(causes(&error))),
        };
        let status = answer.status();
        let keep = !status.is_success();
        if let Err(error) = course.follow(&mut answer, keep, self.target.streams(), tally).await {
            return (End::BrokenOff, Some(causes(&error)));
        }
        judge(status, course, self.target.streams())
    }

    /// Without secrets, on one line and of no great length.
    fn clean(&self, text: &str) -> String {
        plain(&self.scrubber.scrub_str(text)).chars().take(SAID_CHARS_MAX).collect()
    }
}

impl Course {
    /// Reads to the end.
    async fn follow(
        &mut self,
        answer: &mut Response,
        keep: bool,
        stream: bool,
        tally: &Mutex<Tally>,
    ) -> reqwest::Result<()> {
        while let Some(chunk) = answer.chunk().await? {
            if chunk.is_empty() {
                continue;
            }
            let now = Instant::now();
            self.first_byte.get_or_insert(now.duration_since(self.from));
            if let Some(last) = self.last.replace(now).filter(|_| stream) {
                tally.lock().unwrap_or_else(PoisonError::into_inner).gap(now.duration_since(last));
            }
            self.bytes += chunk.len() as u64;
            self.chunks += 1;
            let known = self.meter.error();
            self.meter.feed(&chunk);
            if keep || self.meter.error() {
                // Of an error within a stream, what came before it says nothing.
                let start = if keep || known { 0 } else { self.meter.error_offset().unwrap_or(0) };
                let room = SAID_BYTES_MAX - self.head.len();
                self.head.extend(chunk[start..].iter().take(room));
            }
        }
        Ok(())
    }
}

fn judge(status: StatusCode, course: &Course, stream: bool) -> (End, Option<String>) {
    if !status.is_success() {
        return (End::Status(status.as_u16()), said(&Refusal::read(status.as_u16(), &course.head)));
    }
    if course.meter.error() {
        let text = String::from_utf8_lossy(&course.head);
        let document = text.trim_start().trim_start_matches("data:");
        return (End::ErrorWithin, said(&Refusal::in_stream(document.trim().as_bytes())));
    }
    if stream && !course.meter.complete() {
        return (End::Unfinished, None);
    }
    (End::Ok, None)
}

fn said(refusal: &Refusal) -> Option<String> {
    Some(refusal.summary()).filter(|summary| !summary.is_empty()).map(str::to_owned)
}
