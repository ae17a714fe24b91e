//! An answer on its way out: after its wait, with its script's faults, or not at all.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;

use crate::mock::bodies::Asked;
use crate::mock::fault::{Fault, Place};
use crate::mock::journal::{Ending, OpenCall};
use crate::mock::line::Line;
use crate::mock::refusals::Refusal;
use crate::mock::reply;
use crate::mock::script::Script;
use crate::mock::wire::{self, Answer, AnswerBody, Step};
use crate::mock::world::World;

/// What one call is answered by.
pub(crate) type Delivered = Result<Response<AnswerBody>, Infallible>;

/// Sends the answer as the script bends it, unless the caller's patience ends before.
pub(crate) async fn deliver(
    world: &World,
    head: &Parts,
    answer: Answer,
    script: Option<Script>,
    in_array: bool,
    line: Arc<Line>,
    call: OpenCall,
) -> Delivered {
    call.note(|call| call.script = script.as_ref().map(ToString::to_string));
    let faults = script.map(|script| script.faults).unwrap_or_default();
    if let Some(patience) = patience(head).filter(|patience| *patience < wait(world, &faults)) {
        tokio::time::sleep(patience).await;
        let late = reply::refusal(Refusal::DeadlineExceeded.to(&Asked::default(), None), in_array);
        return Ok(at_once(&late, line, call));
    }
    finish(world, answer, &faults, line, call).await
}

/// Sends the answer now, with no script.
pub(crate) fn at_once(answer: &Answer, line: Arc<Line>, call: OpenCall) -> Response<AnswerBody> {
    call.note(|call| call.status = answer.status.as_u16());
    let steps = wire::plan(answer, Duration::ZERO, 1, &[]);
    respond(answer, steps, line, Some(call))
}

/// Ends the line; the future that waits here is dropped with it.
pub(crate) async fn broken_off(line: &Line) -> Delivered {
    line.close();
    std::future::pending().await
}

/// The answer with its body planned.
pub(crate) fn respond(
    answer: &Answer,
    steps: VecDeque<Step>,
    line: Arc<Line>,
    call: Option<OpenCall>,
) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::new(answer, steps, line, call));
    *response.status_mut() = answer.status;
    response.headers_mut().clone_from(&answer.headers);
    response
}

/// Waits, then answers; or breaks the line before the head.
async fn finish(world: &World, answer: Answer, faults: &[Fault], line: Arc<Line>, call: OpenCall) -> Delivered {
    let wait = wait(world, faults);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let broken = |fault: &&Fault| matches!(fault, Fault::Cut(Place::Head) | Fault::Reset(Place::Head));
    if let Some(fault) = faults.iter().find(broken) {
        call.end(Ending::Broken);
        if matches!(fault, Fault::Reset(_)) {
            line.reset();
        }
        return broken_off(&line).await;
    }
    call.note(|call| call.status = answer.status.as_u16());
    let settings = world.settings();
    let steps = wire::plan(&answer, settings.chunk_interval, settings.chunks, faults);
    Ok(respond(&answer, steps, line, Some(call)))
}

/// The time before the head.
fn wait(world: &World, faults: &[Fault]) -> Duration {
    let delays = faults.iter().filter_map(|fault| if let Fault::Delay(wait) = fault { Some(*wait) } else { None });
    world.settings().latency + delays.sum::<Duration>()
}

/// How long the caller lets Google work, in seconds of `X-Server-Timeout`.
fn patience(head: &Parts) -> Option<Duration> {
    let seconds = head.headers.get("x-server-timeout")?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|patience| !patience.is_zero())
}
