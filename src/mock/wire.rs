//! How an answer's bytes reach the connection: whole, in pieces, late, or not to the end.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::mock::fault::{Fault, Place};
use crate::mock::journal::{Ending, OpenCall};
use crate::mock::line::Line;
use crate::mock::span::FOREVER;

/// What the connection is given to write out what it holds before it breaks.
const SETTLE: Duration = Duration::from_millis(10);

/// An answer that is ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Vec<Bytes>,
    /// Whether frames come one after another over time; otherwise the length is told before.
    pub(crate) streams: bool,
}

/// One thing done while a body is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Write(Bytes),
    /// Lets the connection flush what was written, so that the next write is one of its own.
    Breathe,
    Wait(Duration),
    /// Ends the body with an error, which closes the connection or resets the stream.
    Cut,
    /// Resets the connection.
    Reset,
}

/// Plans the writing of `frames`, bent as `faults` say. A place beyond the last frame is the end of the body.
pub(crate) fn plan(answer: &Answer, interval: Duration, chunks: usize, faults: &[Fault]) -> VecDeque<Step> {
    let mut frames = answer.frames.clone();
    let placed = |fault: &Fault| {
        matches!(fault, Fault::Cut(Place::Frames(1..)) | Fault::Reset(Place::Frames(1..)) | Fault::Stall(1.., _))
    };
    if !answer.streams && faults.iter().any(placed) {
        frames = frames.iter().flat_map(|frame| parts(frame, frame.len().div_ceil(chunks.max(2)))).collect();
    }
    for fault in faults {
        if let Fault::Merge(count) = fault {
            frames = frames.chunks(*count).map(|group| group.concat().into()).collect();
        }
    }
    let pieces = faults.iter().find_map(|fault| match fault {
        Fault::Split(bytes, pause) | Fault::Drip(bytes, pause) => Some((*bytes, *pause)),
        _ => None,
    });
    let mut steps = VecDeque::new();
    for at in 0..=frames.len() {
        if breaks(&mut steps, faults, at, at == frames.len()) {
            break;
        }
        let Some(frame) = frames.get(at) else { break };
        if at > 0 {
            steps.push_back(if interval.is_zero() { Step::Breathe } else { Step::Wait(interval) });
        }
        write(&mut steps, frame, pieces);
    }
    steps
}

fn write(steps: &mut VecDeque<Step>, frame: &Bytes, pieces: Option<(usize, Duration)>) {
    let Some((bytes, pause)) = pieces else { return steps.push_back(Step::Write(frame.clone())) };
    for (at, piece) in parts(frame, bytes).enumerate() {
        if at > 0 {
            steps.push_back(if pause.is_zero() { Step::Breathe } else { Step::Wait(pause) });
        }
        steps.push_back(Step::Write(piece));
    }
}

/// Adds what happens before frame `at`; says whether the body ends there.
fn breaks(steps: &mut VecDeque<Step>, faults: &[Fault], at: usize, end: bool) -> bool {
    let here = |after: usize| after == at || (end && after > at);
    for fault in faults {
        let last = match fault {
            Fault::Stall(after, lasting) if here(*after) => {
                steps.push_back(Step::Wait(*lasting));
                continue;
            }
            Fault::Cut(Place::Frames(after)) if here(*after) => Step::Cut,
            Fault::Reset(Place::Frames(after)) if here(*after) => Step::Reset,
            _ => continue,
        };
        steps.extend([Step::Wait(SETTLE), last]);
        return true;
    }
    false
}

fn parts(frame: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    let size = size.max(1);
    (0..frame.len()).step_by(size).map(move |at| frame.slice(at..frame.len().min(at + size)))
}

/// A body that takes the steps. Dropped before the last, it enters the caller as gone.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    steps: VecDeque<Step>,
    wait: Option<Pin<Box<Sleep>>>,
    left: Option<u64>,
    line: Arc<Line>,
    /// `None` for answers of the control route, which are not entered.
    call: Option<OpenCall>,
}

impl AnswerBody {
    /// The body of `answer`.
    pub(crate) fn new(answer: &Answer, steps: VecDeque<Step>, line: Arc<Line>, call: Option<OpenCall>) -> Self {
        let length = answer.frames.iter().map(|frame| frame.len() as u64).sum();
        let body = Self { steps, wait: None, left: (!answer.streams).then_some(length), line, call };
        if body.steps.is_empty() {
            body.end(Ending::Complete);
        }
        body
    }

    fn end(&self, ending: Ending) {
        if let Some(call) = &self.call {
            call.end(ending);
        }
    }

    fn wrote(&mut self, data: &Bytes) {
        let length = data.len() as u64;
        self.left = self.left.map(|left| left.saturating_sub(length));
        if let Some(call) = &self.call {
            call.note(|call| {
                call.bytes_sent += length;
                call.writes += 1;
            });
        }
        if self.steps.is_empty() {
            self.end(Ending::Complete);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Write(data)) => {
                    self.wrote(&data);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Step::Breathe) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Wait(span)) => self.wait = Some(Box::pin(tokio::time::sleep(span))),
                Some(Step::Cut) => {
                    self.end(Ending::Broken);
                    return Poll::Ready(Some(Err(io::Error::other("cut by a script"))));
                }
                Some(Step::Reset) => {
                    self.end(Ending::Broken);
                    self.line.reset();
                    // The connection is dropped from outside; nothing may be read as this body's end meanwhile.
                    self.steps.push_front(Step::Wait(FOREVER));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.wait.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(frames: &[&'static str], streams: bool) -> Answer {
        let frames = frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect();
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), frames, streams }
    }

    fn script(frames: &[&'static str], fault: &str) -> String {
        let faults: Vec<Fault> = fault.split_whitespace().map(|fault| fault.parse().unwrap()).collect();
        let steps = plan(&answer(frames, true), Duration::ZERO, 4, &faults);
        let step = |step: &Step| match step {
            Step::Write(data) => String::from_utf8_lossy(data).into_owned(),
            Step::Breathe => ".".to_owned(),
            Step::Wait(span) if *span == SETTLE => "settle".to_owned(),
            Step::Wait(span) => crate::mock::span::text(*span),
            Step::Cut => "cut".to_owned(),
            Step::Reset => "reset".to_owned(),
        };
        steps.iter().map(step).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn frames_are_written_as_the_script_says() {
        for (fault, written) in [
            ("", "ab . cd . ef"),
            ("cut:2", "ab . cd settle cut"),
            ("cut:9", "ab . cd . ef settle cut"),
            ("reset:0", "settle reset"),
            ("stall:1/2s", "ab 2s . cd . ef"),
            ("stall", "forever ab . cd . ef"),
            ("split:1", "a . b . c . d . e . f"),
            ("drip:1/5ms cut:1", "a 5ms b settle cut"),
            ("merge:2", "abcd . ef"),
            ("merge:3 split:4", "abcd . ef"),
        ] {
            assert_eq!(script(&["ab", "cd", "ef"], fault), written, "{fault}");
        }
    }

    #[test]
    fn a_whole_answer_can_break_in_its_middle() {
        let steps = plan(&answer(&["abcdefgh"], false), Duration::ZERO, 4, &["cut:1".parse().unwrap()]);
        assert_eq!(steps, [Step::Write("ab".into()), Step::Wait(SETTLE), Step::Cut]);
    }
}
