//! Log lines: where they go, in which form, and the one line that each call writes.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{panic, thread};

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, enabled, error, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

use crate::record::{Outcome, Record, Remembered};
use crate::scrub::Scrubber;
use crate::settings::{Format, Log};

/// The target of the line that each call writes.
pub const CALLS: &str = "geminate::calls";

/// The filter of the log, which can be changed while it is written. Clones are the same filter.
#[derive(Clone, Debug)]
pub struct Filter {
    handle: reload::Handle<Targets, Registry>,
    text: Arc<Mutex<String>>,
}

/// Why a filter was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It is none.
    #[error("expected ERROR, WARN, INFO, DEBUG, TRACE, OFF or pieces `target=LEVEL` between commas")]
    Unreadable,
    /// The log that it was for is gone.
    #[error("the log is not there any more")]
    Gone,
}

impl Filter {
    /// The filter as it was written.
    pub fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Filters by `text` from now on. When it cannot be read the old one stays.
    pub fn set(&self, text: &str) -> Result<(), Unfit> {
        let targets = targets(text).ok_or(Unfit::Unreadable)?;
        // The text is held until both are changed, so that two at once leave one of them whole.
        let mut known = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(targets).map_err(|_| Unfit::Gone)?;
        text.clone_into(&mut known);
        Ok(())
    }
}

/// Sends log lines to standard error, each through the scrubber; what a panic says is one of them. Fails when the process
/// has a subscriber already.
///
/// Standard error, because the results of commands go to standard output; containers collect both.
pub fn init(settings: &Log, scrubber: Arc<Scrubber>) -> Result<Filter, TryInitError> {
    let json = settings.format.map_or_else(|| !io::stderr().is_terminal(), |format| format == Format::Json);
    let lines = Lines { scrubber, out: io::stderr };
    let (dispatch, filter) = subscriber(&settings.level, json, io::stderr().is_terminal(), lines);
    dispatch.try_init()?;
    panic::set_hook(Box::new(panicked));
    Ok(filter)
}

/// The line of a panic, in the place of Rust's own words, which no scrubber sees.
fn panicked(panic: &panic::PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    error!(
        panic = panic.payload_as_str().unwrap_or("of unknown kind"),
        at = panic.location().map(tracing::field::display),
        thread = thread::current().name(),
        backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace)),
        "geminate panicked: this is a fault of its own"
    );
}

fn subscriber<O, W>(level: &str, json: bool, colours: bool, lines: Lines<O>) -> (Dispatch, Filter)
where
    O: Fn() -> W + Send + Sync + 'static,
    W: Write,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    // Settings were read by the same rule.
    let (targets, handle) = reload::Layer::new(targets(level).unwrap_or_default());
    let filter = Filter { handle, text: Arc::new(Mutex::new(level.to_owned())) };
    let registry = tracing_subscriber::registry().with(targets);
    let dispatch = if json {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(layer).into()
    } else {
        registry.with(layer.with_ansi(colours).with_target(false)).into()
    };
    (dispatch, filter)
}

/// A level alone is geminate's own, and other crates then speak at WARN at most; `target=LEVEL` is as it says.
fn targets(text: &str) -> Option<Targets> {
    let mut targets = Targets::new();
    for piece in text.split(',').map(str::trim) {
        let (target, level) = piece.rsplit_once('=').map_or((None, piece), |(target, level)| (Some(target), level));
        let level: LevelFilter = level.trim().parse().ok()?;
        targets = match target {
            Some(target) => targets.with_target(target.trim(), level),
            None => targets.with_default(level.min(LevelFilter::WARN)).with_target("geminate", level),
        };
    }
    Some(targets)
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
        // Who does not read the log any more is not told so in its place, and ends nothing.
        let _closed = self.out.write_all(&self.scrubber.scrub(line));
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
    fn written(level: &str, json: bool, log: impl FnOnce(&Filter)) -> String {
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
        let (dispatch, filter) = subscriber(level, json, false, Lines { scrubber, out });
        tracing::dispatcher::with_default(&dispatch, || log(&filter));
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn one_call(_: &Filter) {
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
    fn what_a_panic_says_is_one_line_of_the_log_and_has_no_secret() {
        const ALONE: &str = "GEMINATE_TEST_PANICS";
        let name = "telemetry::log::tests::what_a_panic_says_is_one_line_of_the_log_and_has_no_secret";
        // The hook is the process's: this test has one of its own.
        if std::env::var_os(ALONE).is_some() {
            let scrubber = Arc::new(Scrubber::new(&[Secret::new("fake-key-hunter2".into())]).unwrap());
            init(&Log { format: Some(Format::Json), ..Log::default() }, Arc::clone(&scrubber)).unwrap();
            scrubber.learn(&[Secret::new("fake-key-later".into())]).unwrap();
            let work = || panic!("fake-key-hunter2 and fake-key-later are wrong");
            thread::Builder::new().name("worker-7".into()).spawn(work).unwrap().join().unwrap_err();
            return;
        }
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", name, "--nocapture"]).env(ALONE, "1").env_remove("RUST_BACKTRACE");
        let said = own.env_remove("RUST_LIB_BACKTRACE").output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        let line: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&line["panic"], &line["level"]), (&"[key] and [key] are wrong".into(), &"ERROR".into()));
        assert_eq!(line["thread"], "worker-7");
        assert!(line["at"].as_str().unwrap().contains("log.rs:"), "{line}");
    }

    #[test]
    fn a_log_that_nobody_reads_any_more_ends_nothing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let scrubber = Scrubber::new(&[]).unwrap();
        assert_eq!(Line { scrubber: &scrubber, out: Closed }.write(b"a line\n").unwrap(), 7);
    }

    #[test]
    fn calls_are_silent_where_info_is() {
        assert_eq!(written("WARN", true, one_call), "");
        assert_eq!(written("INFO,geminate::calls=OFF", true, one_call), "");
        assert!(written("WARN", false, |_| warn!("attempt 1/6 failed")).contains("attempt 1/6 failed"));
    }

    #[test]
    fn a_level_is_geminates_own() {
        let own = targets("DEBUG").unwrap();
        assert!(own.would_enable("geminate::pool", &Level::DEBUG));
        assert!(!own.would_enable("h2::codec", &Level::INFO));
        assert!(own.would_enable("h2::codec", &Level::WARN));
        assert!(targets("info,hyper=trace").unwrap().would_enable("hyper::proto", &Level::TRACE));
    }

    #[test]
    fn the_filter_changes_while_lines_are_written_and_stays_when_it_makes_no_sense() {
        let lines = written("WARN", true, |filter| {
            one_call(filter);
            assert_eq!(filter.set("INFO,geminate=LOUD"), Err(Unfit::Unreadable));
            assert_eq!(filter.text(), "WARN");
            filter.set("info,geminate::pool=debug").unwrap();
            one_call(filter);
            filter.set("OFF").unwrap();
            one_call(filter);
            assert_eq!(filter.text(), "OFF");
        });
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}
