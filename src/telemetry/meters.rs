//! The metrics that Prometheus scrapes: their names, buckets and labels. Handles are made once and kept by whoever counts.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::record::{Hedged, Remembered};
use crate::telemetry::tally::Tally;
use crate::telemetry::traces::Spans;

/// The label of every model that was not admitted, and of every key beyond the bound.
pub(crate) const OTHER: &str = "other";
/// Model names that are labels of their own. Names come from clients.
const MODELS_MAX: usize = 128;
/// The longest model name that is a label.
const MODEL_BYTES_MAX: usize = 96;
/// Series of attempts: key, model and verdict.
const ATTEMPT_SERIES_MAX: usize = 20_000;

/// Refusals that are there from the start, at 0: what alarms watch must not appear as 1 out of nothing.
const WATCHED: [&str; 4] = ["exhausted", "no_usable_key", "line_full", "busy"];

/// Seconds; language models answer within minutes.
const LATENCY_BUCKETS: [f64; 16] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0];
/// Seconds; geminate's own work takes microseconds.
const OVERHEAD_BUCKETS: [f64; 14] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0];

const REQUESTS: &str = "geminate_requests_total";
const ATTEMPTS: &str = "geminate_attempts_total";
const TOKENS: &str = "geminate_tokens_total";
const REFUSALS: &str = "geminate_refusals_total";
const CACHE: &str = "geminate_cache_requests_total";
const FALLBACKS: &str = "geminate_fallbacks_total";
const HEDGES: &str = "geminate_hedges_total";
const CHUNKS: &str = "geminate_stream_chunks_total";
const BYTES: &str = "geminate_stream_bytes_total";
const SPANS: &str = "geminate_spans_exported_total";
const SPANS_DROPPED: &str = "geminate_spans_dropped_total";
const DURATION: &str = "geminate_request_duration_seconds";
const FIRST_BYTE: &str = "geminate_first_byte_seconds";
const OVERHEAD: &str = "geminate_overhead_seconds";

const COUNTERS: [(&str, &str); 11] = [
    (REQUESTS, "Requests that ended, by how they ended"),
    (ATTEMPTS, "Attempts at the upstream, by key, model and verdict"),
    (TOKENS, "Tokens the upstream reported"),
    (REFUSALS, "Requests that geminate itself refused, by reason"),
    (CACHE, "Requests that may be answered from memory, by where their answer came from"),
    (FALLBACKS, "Answers of one model in the place of another that was exhausted or overloaded"),
    (HEDGES, "Second attempts that were made beside slow ones, by how they ended"),
    (CHUNKS, "Pieces of streamed answers that were passed on"),
    (BYTES, "Bytes of streamed answers that were passed on"),
    (SPANS, "Spans of traces that the collector took"),
    (SPANS_DROPPED, "Spans of traces that were dropped, by reason"),
];
const HISTOGRAMS: [(&str, &str, &[f64]); 3] = [
    (DURATION, "Seconds from a request's arrival to its answer's last byte", &LATENCY_BUCKETS),
    (FIRST_BYTE, "Seconds from a request's arrival to its answer's first byte", &LATENCY_BUCKETS),
    (OVERHEAD, "Seconds of the time to the first byte that geminate itself took", &OVERHEAD_BUCKETS),
];

/// The kinds of tokens, in the order of [`Meters::tokens`]. `cached` is part of `prompt`; the others are apart.
pub(crate) const TOKEN_KINDS: [&str; 5] = ["prompt", "cached", "answer", "thought", "tool"];

/// Key, model, verdict.
type AttemptLabels = (Arc<str>, Arc<str>, &'static str);

/// Where handles come from.
#[derive(Debug)]
pub(crate) struct Meters {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    models: RwLock<HashSet<Arc<str>>>,
    attempts: Mutex<HashSet<AttemptLabels>>,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let builder = HISTOGRAMS.iter().fold(PrometheusBuilder::new(), |builder, (name, _, buckets)| {
            builder.set_buckets_for_metric(Matcher::Full((*name).into()), buckets).expect("buckets are named above")
        });
        let recorder = builder.build_recorder();
        for (name, help) in COUNTERS {
            recorder.describe_counter(name.into(), None, help.into());
        }
        for (name, help, _) in HISTOGRAMS {
            recorder.describe_histogram(name.into(), None, help.into());
        }
        let handle = recorder.handle();
        let meters = Self { recorder, handle, models: RwLock::default(), attempts: Mutex::default() };
        WATCHED.iter().for_each(|reason| meters.refusals(reason).increment(0));
        meters
    }

    /// All of it in Prometheus' text form.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what was recorded since the last time into the histograms; without it they grow without end.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The label of a model that answered before.
    pub(crate) fn model(&self, name: &str) -> Option<Arc<str>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The label of a model that has just answered, unless there are too many.
    pub(crate) fn admit_model(&self, name: &str) -> Option<Arc<str>> {
        if let Some(known) = self.model(name) {
            return Some(known);
        }
        let sane = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'@');
        if name.is_empty() || name.len() > MODEL_BYTES_MAX || !name.bytes().all(sane) {
            return None;
        }
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MODELS_MAX && !models.contains(name) {
            return None;
        }
        let label: Arc<str> = name.into();
        models.insert(Arc::clone(&label));
        Some(label)
    }

    /// Requests by how they ended.
    pub(crate) fn requests(&self, labels: &RequestLabels<'_>) -> Counter {
        let RequestLabels { surface, route, model, outcome, code } = *labels;
        let model = Label::new("model", model.to_owned());
        let fixed = [("surface", surface), ("route", route), ("outcome", outcome), ("code", code)];
        self.counter(REQUESTS, fixed.into_iter().map(fixed_label).chain([model]).collect())
    }

    /// Total time and time to the first byte.
    pub(crate) fn latencies(&self, route: &'static str, model: &str) -> (Histogram, Histogram) {
        let labels = || vec![Label::from_static_parts("route", route), Label::new("model", model.to_owned())];
        (self.histogram(DURATION, labels()), self.histogram(FIRST_BYTE, labels()))
    }

    /// Geminate's own time.
    pub(crate) fn overhead(&self, surface: &'static str) -> Histogram {
        self.histogram(OVERHEAD, vec![Label::from_static_parts("surface", surface)])
    }

    /// Attempts with this key; `None` beyond the bound, where the key's label is [`OTHER`].
    pub(crate) fn attempts(&self, key: &Arc<str>, model: &Arc<str>, verdict: &'static str) -> Option<Counter> {
        let mut series = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (Arc::clone(key), Arc::clone(model), verdict);
        if series.len() >= ATTEMPT_SERIES_MAX && !series.contains(&name) {
            return None;
        }
        series.insert(name);
        drop(series);
        Some(self.attempts_of(key, model, verdict))
    }

    /// Attempts with all the keys beyond the bound.
    pub(crate) fn other_attempts(&self, model: &Arc<str>, verdict: &'static str) -> Counter {
        self.attempts_of(OTHER, model, verdict)
    }

    fn attempts_of(&self, key: &str, model: &str, verdict: &'static str) -> Counter {
        let named = [Label::new("key", key.to_string()), Label::new("model", model.to_string())];
        let verdict = Label::from_static_parts("verdict", verdict);
        self.counter(ATTEMPTS, named.into_iter().chain([verdict]).collect())
    }

    /// Tokens, by [`TOKEN_KINDS`].
    pub(crate) fn tokens(&self, model: &str) -> [Tally; TOKEN_KINDS.len()] {
        TOKEN_KINDS.map(|kind| {
            let labels = vec![Label::new("model", model.to_owned()), Label::from_static_parts("kind", kind)];
            Tally::new(kind, self.counter(TOKENS, labels))
        })
    }

    /// Refusals of geminate's own.
    pub(crate) fn refusals(&self, reason: &'static str) -> Counter {
        self.counter(REFUSALS, vec![Label::from_static_parts("reason", reason)])
    }

    /// Requests that may be answered from memory, by [`Remembered::NAMES`].
    pub(crate) fn remembered(&self) -> [Tally; Remembered::NAMES.len()] {
        Remembered::NAMES
            .map(|result| Tally::new(result, self.counter(CACHE, vec![Label::from_static_parts("result", result)])))
    }

    /// Answers of one model in the place of another.
    pub(crate) fn fallbacks(&self, from: &str, to: &str) -> Counter {
        self.counter(
            FALLBACKS,
            [("from", from), ("to", to)].map(|(name, model)| Label::new(name, model.to_owned())).into(),
        )
    }

    /// Second attempts beside slow ones, by [`Hedged::NAMES`].
    pub(crate) fn hedges(&self) -> [Tally; Hedged::NAMES.len()] {
        Hedged::NAMES.map(|outcome| {
            Tally::new(outcome, self.counter(HEDGES, vec![Label::from_static_parts("outcome", outcome)]))
        })
    }

    /// Pieces and bytes of streams.
    pub(crate) fn streamed(&self) -> [Tally; 2] {
        [CHUNKS, BYTES].map(|name| Tally::new(name, self.counter(name, Vec::new())))
    }

    /// What became of the spans of traces since the start.
    pub(crate) fn spans(&self, spans: Spans) {
        self.counter(SPANS, Vec::new()).absolute(spans.exported);
        for (reason, count) in [("queue_full", spans.queue_full), ("not_delivered", spans.not_delivered)] {
            self.counter(SPANS_DROPPED, vec![Label::from_static_parts("reason", reason)]).absolute(count);
        }
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &META)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &META)
    }
}

/// The labels of [`Meters::requests`]; all but the model are of fixed sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLabels<'m> {
    pub(crate) surface: &'static str,
    pub(crate) route: &'static str,
    pub(crate) model: &'m str,
    pub(crate) outcome: &'static str,
    /// `2xx` and so on.
    pub(crate) code: &'static str,
}

const META: Metadata<'static> = Metadata::new("geminate", Level::INFO, None);

fn fixed_label((name, value): (&'static str, &'static str)) -> Label {
    Label::from_static_parts(name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_labels_are_bounded_whatever_clients_send() {
        let meters = Meters::new();
        for n in 0..1000 {
            meters.admit_model(&format!("m{n}"));
        }
        let labels = meters.models.read().unwrap().len();
        assert_eq!(labels, MODELS_MAX);
        assert!(meters.model("m0").is_some() && meters.model("m999").is_none());
        let meters = Meters::new();
        for name in ["", "a b", "a\nb", "a\"b", "ä", &"x".repeat(97)] {
            assert!(meters.admit_model(name).is_none(), "{name}");
        }
    }

    #[test]
    fn attempt_series_are_bounded_and_the_rest_is_other() {
        let meters = Meters::new();
        let model: Arc<str> = "m".into();
        for n in 0..ATTEMPT_SERIES_MAX {
            assert!(meters.attempts(&format!("{n}").into(), &model, "success").is_some());
        }
        assert!(meters.attempts(&"late".into(), &model, "success").is_none());
        assert!(meters.attempts(&"7".into(), &model, "success").is_some());
        meters.other_attempts(&model, "success").increment(1);
        assert!(meters.render().contains("key=\"other\",model=\"m\",verdict=\"success\"} 1"));
    }
}
