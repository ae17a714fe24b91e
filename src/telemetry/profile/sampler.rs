//! The sampler: a signal for each slice of CPU time, whose handler notes the stack it interrupts.

use std::time::Duration;

use jiff::Timestamp;
use pprof::{Error, Frames, ProfilerGuard, UnresolvedReport};
use tokio::time::{Instant, sleep};

use crate::telemetry::profile::sample::{NoProfile, SAMPLES_PER_S, Span, Stack, Stacks};

pub(super) async fn take(span: Duration) -> Result<Stacks, NoProfile> {
    let (began, start) = (Timestamp::now(), Instant::now());
    let failed = |error: Error| match error {
        Error::Running => NoProfile::Running,
        error => NoProfile::Failed(error.to_string()),
    };
    let guard = ProfilerGuard::new(SAMPLES_PER_S).map_err(failed)?;
    sleep(span).await;
    let report = guard.report().build_unresolved().map_err(failed)?;
    drop(guard);
    let span = Span { began, lasted: start.elapsed() };
    // Names are looked up in the binary's tables, which takes a while.
    let named = tokio::task::spawn_blocking(move || named(report)).await;
    named.map(|all| Stacks { span, all }).map_err(|error| NoProfile::Failed(error.to_string()))
}

fn named(report: UnresolvedReport) -> Vec<Stack> {
    let mut stacks = Vec::with_capacity(report.data.len());
    for (frames, count) in report.data {
        let frames = Frames::from(frames);
        let names = frames.frames.iter().rev().flat_map(|inlined| inlined.iter().rev());
        stacks.push(Stack {
            thread: frames.thread_name_or_id(),
            frames: names.map(pprof::Symbol::name).collect(),
            count: u64::try_from(count).unwrap_or(0),
        });
    }
    stacks
}
