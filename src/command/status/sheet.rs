//! `geminate status` as people read it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::command::figures::{count, many, millis, plain, rate, share};
use crate::command::pages::{Full, Key, Performance};
use crate::command::status::verdict::{State, Verdict};
use crate::command::table::{Colour, Row, Table};
use crate::command::words;

/// Keys shown that are out, and kinds of errors; the rest is counted.
const SHOWN: usize = 20;

/// The whole screen.
pub(crate) fn text(full: &Full, verdict: &Verdict, at: &str, colour: bool) -> String {
    let mut text = head(full, verdict, at, colour) + "\n\n" + &performance(full).text(colour) + "\n";
    let out: Vec<&Key> = full.keys.keys.iter().filter(|key| key.is_out()).collect();
    if !out.is_empty() {
        text += &keys(&out, full.health.at).text(colour);
        match out.len().saturating_sub(SHOWN) {
            0 => text.push('\n'),
            more => text.extend(["and ", &many(more as u64, "key"), " more: see --json\n\n"]),
        }
    }
    text + &since_start(full)
}

/// Three lines that say the most of it.
pub(crate) fn head(full: &Full, verdict: &Verdict, at: &str, colour: bool) -> String {
    let (health, metrics, keys) = (&full.health, &full.metrics, &full.keys);
    let tint = match verdict.state {
        State::Ok => Colour::Green,
        State::Degraded => Colour::Yellow,
        State::Down => Colour::Red,
    };
    let words = if colour { tint.paint(&verdict.words) } else { verdict.words.clone() };
    format!(
        "geminate {} at {at}: {words}\nUp for {}. {} of {} can serve{}.\nNow: {} in flight, {}, {} waiting for a key, \
         {}.",
        plain(&health.version),
        words::span(Duration::from_secs(health.uptime_seconds)),
        count(keys.usable),
        many(keys.total, "key"),
        states(full),
        count(metrics.in_flight),
        many(metrics.streams_open, "stream"),
        count(metrics.pool_waiting),
        many(metrics.connections_open, "connection"),
    )
}

/// `: 2 dead, 1 off`, the states that are not `usable`.
fn states(full: &Full) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for key in full.keys.keys.iter().filter(|key| key.state != "usable") {
        *states.entry(&key.state).or_default() += 1;
    }
    let all: Vec<String> = states.iter().map(|(state, number)| format!("{number} {}", plain(state))).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// The last minute and the last five.
pub(crate) fn performance(full: &Full) -> Table<10> {
    let head = ["SPAN", "REQUESTS", "A SECOND", "SERVED", "FIRST BYTE P50", "P95", "P99", "WHOLE P50", "P95", "P99"];
    let mut table = Table::new(head, 3);
    let report = &full.performance;
    for (span, of) in [("last minute", &report.last_minute), ("5 minutes", &report.last_five_minutes)] {
        table.push(row(span, of));
    }
    table
}

fn row(span: &str, of: &Performance) -> Row<10> {
    let (first, total) = (&of.first_byte, &of.total);
    let time = |number: u64, ms: f64| if number == 0 { "-".to_owned() } else { millis(ms) };
    let times = [first.p50_ms, first.p95_ms, first.p99_ms].map(|ms| time(first.count, ms));
    let whole = [total.p50_ms, total.p95_ms, total.p99_ms].map(|ms| time(total.count, ms));
    let served = of.success_ratio.map_or_else(|| "-".to_owned(), share);
    let ([p50, p95, p99], [whole_p50, whole_p95, whole_p99]) = (times, whole);
    let colour = match of.success_ratio {
        None => Colour::Grey,
        Some(ratio) if ratio >= 0.99 => Colour::Green,
        Some(ratio) if ratio >= 0.95 => Colour::Yellow,
        Some(_) => Colour::Red,
    };
    let cells = [
        span.to_owned(),
        count(of.requests),
        rate(of.requests_per_second),
        served,
        p50,
        p95,
        p99,
        whole_p50,
        whole_p95,
        whole_p99,
    ];
    Row { cells, colour, notes: Vec::new() }
}

fn keys(out: &[&Key], now: Timestamp) -> Table<5> {
    let mut table = Table::new(["KEY", "ENDS IN", "STATE", "WHY", "BACK"], 2);
    for key in out.iter().take(SHOWN) {
        let why = key.reason.as_deref().map(words::why_named).unwrap_or_default();
        let back = key.returns_at.map_or_else(|| "not by itself".to_owned(), |at| words::when(at, now));
        let cells = [plain(&key.id), plain(&key.tail), plain(&key.state), plain(why), back];
        let colour = if key.state == "dead" { Colour::Red } else { Colour::Yellow };
        table.push(Row { cells, colour, notes: Vec::new() });
    }
    table
}

/// What is counted from the start on.
fn since_start(full: &Full) -> String {
    let (metrics, waste, tokens) = (&full.metrics, full.waste(), &full.metrics.tokens);
    let wasted = waste.wasted_share.map(|part| format!(" ({})", share(part))).unwrap_or_default();
    let mut text = format!(
        "Since the start: {}; {}, of which {} wasted{wasted}.\nTokens: {} of prompts ({} cached), {} of answers, {} of \
         thoughts.\n",
        many(metrics.requests, "request"),
        many(waste.attempts, "attempt"),
        count(waste.wasted_attempts),
        count(tokens.prompt_tokens),
        count(tokens.cached_tokens),
        count(tokens.answer_tokens),
        count(tokens.thought_tokens),
    );
    let kinds = [("Failed attempts", &full.errors.by_class), ("Refusals", &full.errors.refusals)];
    let kinds = kinds.into_iter().filter(|(_, counts)| counts.values().any(|number| *number > 0));
    text.extend(kinds.map(|(what, counts)| format!("{what}: {}.\n", most(counts))));
    text
}

/// `overloaded 12, quota_minute 3`, the most frequent first.
pub(crate) fn most(counts: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&String, u64)> = counts.iter().map(|(name, number)| (name, *number)).collect();
    all.retain(|(_, number)| *number > 0);
    all.sort_by_key(|(_, number)| Reverse(*number));
    let all: Vec<String> = all.iter().map(|(name, number)| format!("{} {}", plain(name), count(*number))).collect();
    words::some(&all, SHOWN)
}
