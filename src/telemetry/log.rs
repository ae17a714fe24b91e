//! Log lines: where they go, in which form, and the one line that each call writes.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Level, enabled, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::record::{Outcome, Record};

/// The target of the line that each call writes.
pub const CALLS: &str = "geminate::calls";

/// Takes secrets out of a line. Called for every line that is written, so it should be quick to find nothing.
pub type Clean = Arc<dyn for<'l> Fn(&'l str) -> Cow<'l, str> + Send + Sync>;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("`text` or `json`"),
        }
    }
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

impl FromStr for Filter {
    type Err = &'static str;

    /// A level (`INFO`) is geminate's own; other crates then speak at `WARN` at most. Or a filter:
    /// `info,geminate::calls=off,hyper=debug`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "ERROR, WARN, INFO, DEBUG, TRACE, OFF, or a filter such as info,hyper=debug";
        let text = text.trim();
        if text.is_empty() {
            return Err(ALLOWED);
        }
        if let Ok(level) = text.parse::<LevelFilter>() {
            let others = level.min(LevelFilter::WARN);
            return Ok(Self(Targets::new().with_default(others).with_target("geminate", level)));
        }
        text.parse().map(Self).map_err(|_| ALLOWED)
    }
}

/// Sends log lines to standard error, each through `clean`. Fails when the process has a subscriber already.
///
/// Standard error, because the results of commands go to standard output; containers collect both.
pub fn init(filter: &Filter, format: Format, clean: Clean) -> Result<(), TryInitError> {
    let json = match format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(clean));
    let registry = tracing_subscriber::registry().with(filter.0.clone());
    if json {
        registry.with(lines.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()
    } else {
        registry.with(lines.with_ansi(io::stderr().is_terminal()).with_target(false)).try_init()
    }
}

/// The one line of a call that is over.
pub(crate) fn call(record: &Record, outcome: Outcome, now: Instant) {
    if !enabled!(target: CALLS, Level::INFO) {
        return;
    }
    let (surface, action) = record.asked();
    let used = record.used();
    let key = record.key();
    info!(
        target: CALLS,
        request_id = record.id_text(),
        method = record.method().as_str(),
        surface = surface.name(),
        route = action.name(),
        model = record.model_asked().unwrap_or(""),
        client = record.client_id().map_or("", AsRef::as_ref),
        status = record.status(),
        outcome = outcome.name(),
        reason = outcome.reason(),
        attempts = record.attempts(),
        key = key.as_deref(),
        first_byte_ms = record.time_to_first_byte().map(millis),
        total_ms = millis(now.saturating_duration_since(record.opened())),
        bytes = record.bytes(),
        prompt_tokens = used.prompt_tokens,
        cached_tokens = used.cached_tokens,
        answer_tokens = used.answer_tokens,
        thought_tokens = used.thought_tokens,
        "served"
    );
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// Where lines are written.
struct Lines(Clean);

/// One line on its way: the formatter writes it whole.
struct Line<'w>(&'w Clean);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(cleaned(self.0, line).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

fn cleaned<'l>(clean: &Clean, line: &'l [u8]) -> Cow<'l, str> {
    match String::from_utf8_lossy(line) {
        Cow::Borrowed(line) => clean(line),
        Cow::Owned(line) => Cow::Owned(clean(&line).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_geminates_own() {
        let Filter(targets) = "DEBUG".parse().unwrap();
        assert!(targets.would_enable("geminate::pool", &Level::DEBUG));
        assert!(!targets.would_enable("h2::codec", &Level::INFO));
        assert!(targets.would_enable("h2::codec", &Level::WARN));
        let Filter(targets) = "info,hyper=trace".parse().unwrap();
        assert!(targets.would_enable("hyper::proto", &Level::TRACE));
        assert!("LOUD=very".parse::<Filter>().is_err() && "".parse::<Filter>().is_err());
    }

    #[test]
    fn every_line_is_cleaned() {
        let clean: Clean = Arc::new(|line| Cow::Owned(line.replace("hunter2", "[secret]")));
        assert_eq!(cleaned(&clean, b"key hunter2\n"), "key [secret]\n");
        assert_eq!(cleaned(&clean, b"key hunter2 \xff\n"), "key [secret] \u{fffd}\n");
    }
}
