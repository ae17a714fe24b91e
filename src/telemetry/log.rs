//! Log lines: where they go, in which form, and the one line that each call writes.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, enabled, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::record::{Outcome, Record, Remembered};
use crate::scrub::Scrubber;
use crate::settings::{Format, Log};

/// The target of the line that each call writes.
pub const CALLS: &str = "geminate::calls";

/// Sends log lines to standard error, each through the scrubber. Fails when the process has a subscriber already.
///
/// Standard error, because the results of commands go to standard output; containers collect both.
pub fn init(settings: &Log, scrubber: Arc<Scrubber>) -> Result<(), TryInitError> {
    let json = settings.format.map_or_else(|| !io::stderr().is_terminal(), |format| format == Format::Json);
    let dispatch = subscriber(&settings.level, json, io::stderr().is_terminal(), Lines { scrubber, out: io::stderr });
    dispatch.try_init()
}

fn subscriber<O, W>(level: &str, json: bool, colours: bool, lines: Lines<O>) -> Dispatch
where
    O: Fn() -> W + Send + Sync + 'static,
    W: Write,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    let registry = tracing_subscriber::registry().with(targets(level));
    if json {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(layer).into()
    } else {
        registry.with(layer.with_ansi(colours).with_target(false)).into()
    }
}

/// A level alone is geminate's own, and other crates then speak at WARN at most; `target=LEVEL` is as it says.
fn targets(level: &str) -> Targets {
    let mut targets = Targets::new();
    for piece in level.split(',').map(str::trim) {
        let (target, level) = piece.rsplit_once('=').map_or((None, piece), |(target, level)| (Some(target), level));
        let level = level.trim().parse().unwrap_or(LevelFilter::INFO);
        targets = match target {
            Some(target) => targets.with_target(target.trim(), level),
            None => targets.with_default(level.min(LevelFilter::WARN)).with_target("geminate", level),
        };
    }
    targets
}

/// The one line of a call that is over.
pub(crate) fn call(record: &Record, outcome: Outcome, now: Instant) {
    if !enabled!(target: CALLS, Level::INFO) {
        return;
    }
    let (surface, action) = record.asked();
    let used = record.used();
    let (key, fallback) = (record.key(), record.fallback());
    info!(
        target: CALLS,
        request_id = record.id_text(),
        method = record.method().as_str(),
        surface = surface.name(),
        route = action.name(),
        model = record.model_asked().unwrap_or(""),
        fallback = fallback.as_deref(),
        client = record.client_id().map_or("", AsRef::as_ref),
        status = record.status(),
        outcome = outcome.name(),
        reason = outcome.reason(),
        cache = record.source().map(Remembered::name),
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

/// Where lines are written, once the scrubber has seen them.
struct Lines<O> {
    scrubber: Arc<Scrubber>,
    out: O,
}

/// One line on its way: the formatter writes it whole.
struct Line<'l, W> {
    scrubber: &'l Scrubber,
    out: W,
}

impl<'l, O, W> MakeWriter<'l> for Lines<O>
where
    O: Fn() -> W,
    W: Write,
{
    type Writer = Line<'l, W>;

    fn make_writer(&'l self) -> Self::Writer {
        Line { scrubber: &self.scrubber, out: (self.out)() }
    }
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.out.write_all(&self.scrubber.scrub(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{HeaderValue, Method};
    use serde_json::Value;
    use tracing::warn;

    use super::*;
    use crate::secret::Secret;

    /// What `log` writes at `level`.
    fn written(level: &str, json: bool, log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let scrubber = Arc::new(Scrubber::new(&[Secret::new("fake-key-hunter2".into())]).unwrap());
        let out = {
            let sink = sink.clone();
            move || sink.clone()
        };
        tracing::dispatcher::with_default(&subscriber(level, json, false, Lines { scrubber, out }), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn one_call() {
        let now = Instant::now();
        let record = Record::new(HeaderValue::from_static("r1"), Method::POST, now);
        record.model("gemini-x\nfake-key-hunter2");
        record.client(&"operator".into());
        record.attempt(&"2".into(), Instant::now());
        record.head(200, false);
        record.chunk(10, now + Duration::from_millis(25));
        call(&record, Outcome::Ok, now + Duration::from_millis(50));
    }

    #[test]
    fn a_call_is_one_line_with_its_numbers_and_no_secret() {
        let line = written("INFO", true, one_call);
        let fields: Value = serde_json::from_str(&line).unwrap();
        for (field, value) in [
            ("request_id", Value::from("r1")),
            ("method", "POST".into()),
            ("client", "operator".into()),
            ("key", "2".into()),
            ("status", 200.into()),
            ("attempts", 1.into()),
            ("outcome", "ok".into()),
            ("first_byte_ms", 25.0.into()),
            ("total_ms", 50.0.into()),
            ("model", "gemini-x\n[key]".into()),
        ] {
            assert_eq!(fields[field], value, "{field} in {line}");
        }
        let text = written("INFO", false, one_call);
        assert_eq!((text.lines().count(), text.contains("hunter2")), (1, false), "{text}");
    }

    #[test]
    fn calls_are_silent_where_info_is() {
        assert_eq!(written("WARN", true, one_call), "");
        assert_eq!(written("INFO,geminate::calls=OFF", true, one_call), "");
        assert!(written("WARN", false, || warn!("attempt 1/6 failed")).contains("attempt 1/6 failed"));
    }

    #[test]
    fn a_level_is_geminates_own() {
        let own = targets("DEBUG");
        assert!(own.would_enable("geminate::pool", &Level::DEBUG));
        assert!(!own.would_enable("h2::codec", &Level::INFO));
        assert!(own.would_enable("h2::codec", &Level::WARN));
        assert!(targets("info,hyper=trace").would_enable("hyper::proto", &Level::TRACE));
    }
}
