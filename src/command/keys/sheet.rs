//! The report of `geminate keys check` as people read it.

use crate::command::keys::check::{Found, Report, Resting};
use crate::command::table::{Colour, Row, Table};
use crate::command::words;
use crate::pool::finding::Finding;
use crate::pool::reason::Reason;

/// Names that a line shows before it only counts them.
const NAMES_SHOWN: usize = 6;
/// Rests and limits below one key before they are only counted.
const LINES_SHOWN: usize = 8;

/// The table and a last line that says how it stands.
pub(super) fn text(report: &Report, colour: bool) -> String {
    let mut table = Table::new(["KEY", "ENDS IN", "VERDICT", "TIER", "PROJECT", "MODELS", "REASON"], 2);
    report.keys.iter().for_each(|key| table.push(row(key, report)));
    let note = report.memory_note.as_ref().map(|note| format!("{note}.\n")).unwrap_or_default();
    let off = report.keys_total - report.keys_enabled;
    let disabled = if off > 0 { format!(", {off} disabled") } else { String::new() };
    format!(
        "{}\n{note}{} of {} enabled keys can serve{disabled}. {} was asked for models alone: no generate quota was spent.",
        table.text(colour),
        report.keys_serving,
        report.keys_enabled,
        report.google
    )
}

fn row(key: &Found, report: &Report) -> Row<7> {
    let project = match &key.consumer {
        Some(consumer) if **consumer != *key.project => format!("{} ({consumer})", key.project),
        _ => key.project.to_string(),
    };
    let said = key.said.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
    let cells = [
        key.id.to_string(),
        key.tail.to_string(),
        key.verdict.name().to_owned(),
        key.tier.unwrap_or("-").to_owned(),
        project,
        key.models_available.map_or_else(|| "-".to_owned(), |count| format!("{count} of {}", report.models.len())),
        if key.verdict == Finding::Alive {
            said.trim_start_matches(": ").to_owned()
        } else {
            format!("{}{said}", key.reason)
        },
    ];
    let colour = match key.verdict {
        Finding::Disabled => Colour::Grey,
        Finding::Alive => Colour::Green,
        _ if key.serves => Colour::Yellow,
        Finding::Resting | Finding::Unclear => Colour::Yellow,
        _ => Colour::Red,
    };
    Row { cells, colour, notes: notes(key, report) }
}

fn notes(key: &Found, report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if !key.models_lacking.is_empty() {
        notes.push(format!("lacks {}", words::some(&key.models_lacking, NAMES_SHOWN)));
    }
    for rest in key.resting.iter().take(LINES_SHOWN) {
        notes.push(resting(rest, report));
    }
    for learnt in key.learnt.iter().take(LINES_SHOWN) {
        notes.push(format!("learnt for {}: {}", model(&learnt.model), words::limits(learnt.limits)));
    }
    let more = [key.resting.len(), key.learnt.len()].map(|count| count.saturating_sub(LINES_SHOWN));
    if more != [0, 0] {
        notes.push(format!("and {} rests and {} limits more: see --json", more[0], more[1]));
    }
    if !key.shares_quota_with.is_empty() {
        notes.push(format!("shares its project's quota with {}", words::some(&key.shares_quota_with, NAMES_SHOWN)));
    }
    if !key.probably_shares_with.is_empty() {
        notes.push(format!("is probably of one project with {}", words::some(&key.probably_shares_with, NAMES_SHOWN)));
    }
    notes.extend(key.to_do.iter().map(|what| format!("to do: {what}")));
    notes
}

fn resting(rest: &Resting, report: &Report) -> String {
    let what = match &rest.model {
        Some(model) => model,
        None if rest.reason == Reason::Grounding.name() => "grounded requests",
        None => "all models",
    };
    let back = match rest.until {
        Some(at) => format!("back {}", words::when(at, report.at)),
        None => "until somebody mends it".to_owned(),
    };
    format!("rests for {what}: {}, {back}", words::why_named(rest.reason))
}

fn model(name: &str) -> &str {
    if name.is_empty() { "calls without a model" } else { name }
}
