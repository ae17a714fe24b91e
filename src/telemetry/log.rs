//! Log lines: where they go, in which form, and the one line that each call writes.

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Level, enabled, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::record::{Outcome, Record};
use crate::scrub::Scrubber;

/// The target of the line that each call writes.
pub const CALLS: &str = "geminate::calls";

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

/// Sends log lines to standard error, each through the scrubber; `json` unset is text on a terminal and JSON
/// elsewhere. Fails when the process has a subscriber already.
///
/// Standard error, because the results of commands go to standard output; containers collect both.
pub fn init(filter: &Filter, json: Option<bool>, scrubber: Arc<Scrubber>) -> Result<(), TryInitError> {
    let json = json.unwrap_or_else(|| !io::stderr().is_terminal());
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(scrubber));
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
struct Lines(Arc<Scrubber>);

/// One line on its way: the formatter writes it whole.
struct Line<'w>(&'w Scrubber);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(&self.0.scrub(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
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
}
