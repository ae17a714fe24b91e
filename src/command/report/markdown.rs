//! The report as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use crate::command::figures::{count, millis, plain, rate, ratio, share};
use crate::command::report::finding::Weight;
use crate::command::report::page::{OfKey, OfModel, Report};
use crate::command::report::stretch::{Source, Stretch, Time};
use crate::command::words;

/// Rows of a table; those beyond are counted.
const ROWS_MAX: usize = 100;

/// The whole document.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("# geminate: the last {}\n\n{}\n\n## What to do\n\n", report.span.name(), head(report));
    for finding in &report.findings {
        let word = match finding.weight {
            Weight::Act => "**Act:** ",
            Weight::Look => "Look: ",
            Weight::Know => "",
        };
        put(&mut text, format_args!("- {word}{}\n", safe(&finding.words)));
    }
    let since = format!("since the start, {}", words::span(Duration::from_secs(report.uptime_seconds)));
    text += &totals(&report.stretch);
    text += &times(&report.stretch.times);
    text += &models(report, &since);
    text += &keys(report, &since);
    text += &errors(report, &since);
    text + &waste(report, &since)
}

fn head(report: &Report) -> String {
    let (stretch, to) = (&report.stretch, clock(report.stretch.to));
    let long = words::span(Duration::from_secs(stretch.seconds));
    let from = clock(stretch.from);
    let covers = match stretch.source {
        Source::Series if stretch.seconds + 60 < report.span.seconds() => {
            format!("It covers {long}, from {from} to {to}: nothing is known of the time before.")
        }
        Source::Series => format!("It covers {long}, from {from} to {to}."),
        Source::SinceStart => format!("It covers {long}, from {from} to {to}: all of the gateway's life."),
        Source::FiveMinutes => format!(
            "The gateway's `/api/series` was not heard: what follows covers the last {long} and, where it says so, all \
             since the start."
        ),
    };
    format!(
        "geminate {} at {}: **{}**. Up for {}, since {}.\n{covers}",
        safe(&report.version),
        safe(&report.gateway),
        safe(&report.verdict.words),
        words::span(Duration::from_secs(report.uptime_seconds)),
        clock(report.started_at),
    )
}

fn totals(stretch: &Stretch) -> String {
    let totals = &stretch.totals;
    let number = |value: Option<u64>| value.map(count);
    let per_second = |value: f64| format!("{} a second", rate(value));
    let tokens = totals.tokens.as_ref();
    let rows = [
        ("Requests", Some(count(totals.requests))),
        ("on average", Some(per_second(totals.requests_per_second))),
        ("at most", totals.busiest.map(|step| per_second(step.requests_per_second) + " at " + &clock(step.at))),
        ("answered", number(totals.ok)),
        ("failed", number(totals.failed)),
        ("refused", number(totals.refused)),
        ("served, callers' own errors apart", totals.success_ratio.map(share)),
        ("in flight at most", number(totals.in_flight_max)),
        ("streams at most", number(totals.streams_max)),
        ("Attempts", number(totals.attempts)),
        ("wasted", number(totals.wasted_attempts)),
        ("wasted share", totals.wasted_share.map(share)),
        ("Tokens of prompts", tokens.map(|tokens| count(tokens.prompt_tokens))),
        ("of those, cached", tokens.map(|tokens| count(tokens.cached_tokens))),
        ("Tokens of answers", tokens.map(|tokens| count(tokens.answer_tokens))),
        ("Tokens of thoughts", tokens.map(|tokens| count(tokens.thought_tokens))),
    ];
    let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    section("Totals", &["", ""], rows.collect())
}

fn times(times: &[Time]) -> String {
    let name = |name: &str| match name {
        "p50_ms" => "half of the requests, to the last byte",
        "p95_ms" => "95 of 100, to the last byte",
        "p99_ms" => "99 of 100, to the last byte",
        _ => "95 of 100, to the first byte",
    };
    let row = |time: &Time| {
        let worst = time.worst_ms.map(millis).zip(time.worst_at.map(clock));
        let worst = worst.into_iter().flat_map(|(ms, at)| [ms, at]);
        [name(time.name).to_owned(), millis(time.typical_ms)].into_iter().chain(worst).collect()
    };
    let of_steps = times.iter().any(|time| time.worst_ms.is_some());
    let head: &[&str] = if of_steps { &["", "typical", "worst", "at"] } else { &["", "last 5 minutes"] };
    section("Times", head, times.iter().map(row).collect())
}

fn models(report: &Report, since: &str) -> String {
    let row = |model: &OfModel| {
        let counts = &model.counts;
        let served = ratio(counts.ok, counts.requests).map(share).unwrap_or_default();
        let tokens = [counts.tokens.prompt_tokens, counts.tokens.answer_tokens, counts.tokens.thought_tokens];
        let cells = [safe(&model.model), count(counts.requests), served].into_iter();
        cells.chain(tokens.map(count)).collect()
    };
    let asked = report.since_start.models.iter().filter(|model| model.counts.requests > 0);
    let rows = asked.map(row).collect();
    let head = ["model", "requests", "answered", "prompt tokens", "answer tokens", "thought tokens"];
    section(&format!("By model ({since})"), &head, rows)
}

fn keys(report: &Report, since: &str) -> String {
    let row = |key: &OfKey| {
        let why = key.reason.as_deref().map(words::why_named).unwrap_or_default();
        let back = key.returns_at.map(|at| format!(", back {}", words::when(at, report.at))).unwrap_or_default();
        let shares = format!("{} of {}", share(key.actual_share), share(key.expected_share));
        let failed = key.failed_share.map(share).unwrap_or_default();
        let tail = if key.tail.is_empty() { String::new() } else { format!(" (..{})", safe(&key.tail)) };
        let name = safe(&key.id) + &tail;
        let attempts = [count(key.attempts), count(key.failures), failed, shares];
        [name, safe(&key.state)].into_iter().chain(attempts).chain([safe(why) + &back]).collect()
    };
    let rows = report.since_start.keys.iter().map(row).collect();
    let head = ["key", "state", "attempts", "failures", "failed share", "share, of expected", "why"];
    section(&format!("By key ({since})"), &head, rows)
}

fn errors(report: &Report, since: &str) -> String {
    let start = &report.since_start;
    let mut text = String::new();
    if let Some(of_hour) = &report.errors_of_hour {
        text += &section("Failed attempts (last hour)", &["class", "attempts"], counts(of_hour));
    }
    text += &section(&format!("Failed attempts ({since})"), &["class", "attempts"], counts(&start.errors));
    let by_model = counts(&start.errors_by_model);
    text += &section(&format!("Failed attempts by model ({since})"), &["model", "attempts"], by_model);
    text + &section(&format!("Refusals ({since})"), &["reason", "requests"], counts(&start.refusals))
}

fn waste(report: &Report, since: &str) -> String {
    let start = &report.since_start;
    let tokens = start.tokens_of_failed_streams.map(|tokens| ("tokens of streams that failed", count(tokens)));
    let rows = [
        ("attempts", count(start.waste.attempts)),
        ("wasted: failed for the keys' or Google's reasons", count(start.waste.wasted_attempts)),
        ("their share", start.waste.wasted_share.map_or_else(|| "-".to_owned(), share)),
    ];
    let rows = rows.into_iter().chain(tokens).map(|(name, value)| vec![name.to_owned(), value]);
    section(&format!("Waste ({since})"), &["", ""], rows.collect())
}

fn counts(counts: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
    let mut all: Vec<_> = counts.iter().filter(|(_, number)| **number > 0).collect();
    all.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    all.into_iter().map(|(name, number)| vec![safe(name), count(*number)]).collect()
}

/// A heading and its table; nothing at all without rows.
fn section(title: &str, head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    let left = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = head.iter().map(|_| "---".to_owned()).collect::<Vec<_>>();
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = format!("\n## {title}\n\n{}{}", line(&head), line(&rule));
    rows.iter().for_each(|cells| text += &line(cells));
    if left > 0 {
        put(&mut text, format_args!("\nand {left} more\n"));
    }
    text
}

/// Names of models and clients may hold what Markdown would obey.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in plain(text).chars() {
        match char {
            '<' => safe += "&lt;",
            '|' | '`' | '*' | '[' | '\\' => safe.extend(['\\', char]),
            _ => safe.push(char),
        }
    }
    safe
}

/// `2026-11-25 14:00:00 UTC`
fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _never_fails = text.write_fmt(more);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::looks;
    use crate::command::report::sources::{Seen, Span};

    fn report(more: &serde_json::Value) -> Report {
        let outcomes = json!({"success": 90, "quota_minute": 10});
        let key = json!({"id": "1", "tail": "0001", "state": "usable", "attempts": 100, "outcomes": outcomes,
                         "expected_share": 1.0, "actual_share": 1.0});
        let full = looks::full(&json!([key]), more);
        let classes = json!({"quota_minute": [1, null, 2], "edge": [0]});
        let errors = serde_json::from_value(json!({"series": {"classes": classes}}));
        let overview = serde_json::from_value(json!({"waste": {"tokens_of_failed_streams": 77}}));
        let seen = Seen { full, series: None, errors: errors.ok(), overview: overview.ok() };
        Report::new(&seen, "127.0.0.1:9090", Span::Hour)
    }

    #[test]
    fn the_report_says_what_it_covers_what_to_do_and_what_was_counted() {
        let model = json!({"requests": 100, "ok": 90, "tokens": {"prompt_tokens": 1_200}});
        let document = text(&report(&json!({
            "health": {"uptime_seconds": 600},
            "metrics": {"requests": 100, "outcomes": {"ok": 90, "refused": 10}, "models": {"a|b<c": &model}},
            "errors": {"by_class": {"quota_minute": 10}, "refusals": {"exhausted": 10}},
        })));
        let beginning = "# geminate: the last hour\n\ngeminate 0.1.0 at 127.0.0.1:9090: **all is well**. Up for \
                         10 min, since 2026-11-25 13:50:00 UTC.\nIt covers 10 min, from 2026-11-25 13:50:00 UTC to \
                         2026-11-25 14:00:00 UTC: all of the gateway's life.\n\n## What to do\n\n- **Act:** Refused \
                         since the start: 10 requests";
        assert!(document.starts_with(beginning), "{document}");
        for part in [
            "- Look: 10.0 % of the attempts (10) were wasted, most by quota_minute: keys of other projects",
            "\n## Totals\n\n|  |  |\n| --- | --- |\n| Requests | 100 |\n| on average | 0.17 a second |\n",
            "\n## By model (since the start, 10 min)\n",
            "| a\\|b&lt;c | 100 | 90.0 % | 1,200 | 0 | 0 |",
            "| 1 (..0001) | usable | 100 | 10 | 10.0 % | 100 % of 100 % |  |",
            "\n## Failed attempts (last hour)\n\n| class | attempts |\n| --- | --- |\n| quota_minute | 3 |\n",
            "\n## Refusals (since the start, 10 min)\n\n| reason | requests |\n| --- | --- |\n| exhausted | 10 |",
            "| tokens of streams that failed | 77 |",
        ] {
            assert!(document.contains(part), "{part}\n{document}");
        }
    }

    #[test]
    fn what_is_not_known_of_the_span_is_said() {
        let document = text(&report(&json!({"health": {"uptime_seconds": 90_000}})));
        assert!(document.contains("`/api/series` was not heard"), "{document}");
        assert!(document.contains("(since the start, 25 h 0 min)"), "{document}");
        assert!(!document.contains("answered |"), "no sums of a span that is not known: {document}");
    }
}
