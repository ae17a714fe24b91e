//! What a load came to, as JSON has it and as people read it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::command::figures;
use crate::command::load::crew::{Ended, Progress};
use crate::command::load::plan::{Pace, Plan};
use crate::command::load::tally::{Failed, Spread, Tally};
use crate::command::load::target::{Api, Target};
use crate::command::table::{Colour, Row, Table};
use crate::server::Stop;
use crate::usage::Usage;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    api: Api,
    model: String,
    stream: bool,
    #[serde(flatten)]
    pace: Pace,
    began_at: Timestamp,
    elapsed_seconds: f64,
    ended: Ended,
    /// Requests that were sent.
    requests: u64,
    succeeded: u64,
    failed: u64,
    /// Requests that were under way when it was interrupted.
    cut: u64,
    success_ratio: Option<f64>,
    /// Requests that were over, a second.
    requests_per_second: f64,
    /// From when a request was due to its answer's last byte; only those that were answered.
    total_ms: Spread,
    /// The same to the first byte of the body.
    first_byte_ms: Spread,
    /// The pauses between the pieces of one stream.
    gap_ms: Spread,
    /// What one stream brought a second after its first byte.
    stream_tokens_per_second: Spread,
    /// From when a request was due to its failure.
    failed_ms: Spread,
    errors: BTreeMap<String, Failed>,
    bytes: u64,
    chunks: u64,
    tokens: Usage,
    /// Tokens of answers and thoughts, all requests together.
    tokens_per_second: f64,
    schedule: Schedule,
}

/// How well the clock was kept; all zero where the answers set the pace.
#[derive(Debug, Serialize)]
struct Schedule {
    /// Requests that were sent 10 ms or more after they were due.
    late: u64,
    latest_ms: f64,
    /// Requests that were due and never sent: too many waited before them, or the time was over first.
    unsent: u64,
}

impl Report {
    /// Puts together what was planned and what came of it.
    #[expect(clippy::cast_precision_loss, reason = "rates and ratios")]
    pub(super) fn new(
        plan: Plan,
        target: &Target,
        began_at: Timestamp,
        ended: Ended,
        progress: Progress,
        tally: &Tally,
    ) -> Self {
        let (failed, seconds) = (tally.failures(), progress.elapsed.as_secs_f64().max(0.001));
        let (over, tokens) = (tally.succeeded + failed, tally.usage);
        let timed = plan.due_by(progress.elapsed);
        let schedule = Schedule {
            late: timed.map_or(0, |_| tally.late),
            latest_ms: timed.map_or(0.0, |_| round(tally.latest.as_secs_f64() * 1e3)),
            unsent: timed.map_or(0, |due| due.saturating_sub(progress.sent)),
        };
        Self {
            url: target.url().as_str().to_owned(),
            api: target.api(),
            model: target.model().to_owned(),
            stream: target.streams(),
            pace: plan.pace,
            began_at,
            elapsed_seconds: round(seconds),
            ended,
            requests: progress.sent,
            succeeded: tally.succeeded,
            failed,
            cut: progress.sent.saturating_sub(over),
            success_ratio: figures::ratio(tally.succeeded, over),
            requests_per_second: round(over as f64 / seconds),
            total_ms: Spread::millis(&tally.total),
            first_byte_ms: Spread::millis(&tally.first_byte),
            gap_ms: Spread::millis(&tally.gaps),
            stream_tokens_per_second: Spread::tokens(&tally.speed),
            failed_ms: Spread::millis(&tally.failed_total),
            errors: tally.failed.iter().map(|(end, failed)| (end.name(), failed.clone())).collect(),
            bytes: tally.bytes,
            chunks: tally.chunks,
            tokens,
            tokens_per_second: round((tokens.answer_tokens + tokens.thought_tokens) as f64 / seconds),
            schedule,
        }
    }

    /// 0: all were answered; 1: some failed; 2: none was answered; 130: interrupted.
    pub(super) fn exit_code(&self) -> u8 {
        match (self.ended, self.succeeded) {
            (Ended::Interrupted, _) => Stop::Interrupt.exit_code(),
            (_, 0) => 2,
            _ => u8::from(self.failed > 0),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A head, a table, and what else is to be known.
pub(super) fn text(report: &Report, colour: bool) -> String {
    let pace = match report.pace {
        Pace::Rate(rate) => format!("{} requests a second", figures::rate(rate)),
        Pace::Callers(callers) => figures::many(u64::from(callers), "caller"),
    };
    let interrupted = if report.ended == Ended::Interrupted { ", interrupted" } else { "" };
    let head = format!(
        "{}\n{pace}, {} in {}{interrupted}: {} answered{}, {} failed, {} a second\n",
        report.url,
        figures::many(report.requests, "request"),
        figures::millis(report.elapsed_seconds * 1e3),
        figures::count(report.succeeded),
        report.success_ratio.map(|ratio| format!(" ({})", figures::share(ratio))).unwrap_or_default(),
        figures::count(report.failed),
        figures::rate(report.requests_per_second),
    );
    let notes: String = notes(report).into_iter().map(|note| note + "\n").collect();
    format!("{head}\n{}\n{notes}", table(report).text(colour))
}

fn table(report: &Report) -> Table<11> {
    let head = ["TIME", "MEAN", "DEVIATION", "MIN", "P50", "P75", "P90", "P95", "P99", "P99.9", "MAX"];
    let mut table = Table::new(head, 4);
    let rows = [
        ("to the last byte", &report.total_ms, true),
        ("to the first byte", &report.first_byte_ms, true),
        ("between chunks", &report.gap_ms, true),
        ("to a failure", &report.failed_ms, true),
        ("tokens a second", &report.stream_tokens_per_second, false),
    ];
    for (name, spread, time) in rows.into_iter().filter(|(_, spread, _)| spread.count > 0) {
        let cell = |value: f64| if time { figures::millis(value) } else { figures::rate(value) };
        let s = spread;
        let values = [s.mean, s.deviation, s.min, s.p50, s.p75, s.p90, s.p95, s.p99, s.p999, s.max].map(cell);
        let mut cells = std::iter::once(name.to_owned()).chain(values);
        let cells = std::array::from_fn(|_| cells.next().unwrap_or_default());
        let colour = if name == "to a failure" { Colour::Red } else { Colour::Green };
        table.push(Row { cells, colour, notes: Vec::new() });
    }
    table
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, failed) in &report.errors {
        let said = failed.first_message.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
        notes.push(format!("Failed: {} times {name}{said}", figures::count(failed.count)));
    }
    if report.cut > 0 {
        notes.push(format!("Cut: {} under way when it was interrupted", figures::many(report.cut, "request")));
    }
    let tokens = &report.tokens;
    if tokens.prompt_tokens + tokens.answer_tokens > 0 {
        let cached = figures::count(tokens.cached_tokens);
        notes.push(format!(
            "Tokens: {} of questions ({cached} cached), {} of answers, {} of thoughts: {} a second",
            figures::count(tokens.prompt_tokens),
            figures::count(tokens.answer_tokens),
            figures::count(tokens.thought_tokens),
            figures::rate(report.tokens_per_second),
        ));
    }
    let chunks = figures::many(report.chunks, "chunk");
    notes.push(format!("Bytes: {} in {chunks}", figures::bytes(report.bytes)));
    let schedule = &report.schedule;
    if schedule.late > 0 {
        notes.push(format!(
            "Late: {} sent 10 ms or more after they were due, the latest by {}; the wait counts",
            figures::many(schedule.late, "request"),
            figures::millis(schedule.latest_ms)
        ));
    }
    if schedule.unsent > 0 {
        let unsent = figures::many(schedule.unsent, "request");
        notes.push(format!("Unsent: {unsent} due for which no connection came free in time"));
    }
    notes
}
