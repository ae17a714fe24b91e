//! What one thread has counted, with the metric handles it counts on.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, Histogram};
use tokio::time::Instant;

use crate::endpoint::{Action, Surface};
use crate::record::{Outcome, Record};
use crate::telemetry::meters::{Meters, OTHER, RequestLabels, TOKEN_KINDS};
use crate::telemetry::windows::{Lap, Window};
use crate::usage::Usage;
use crate::verdict::Verdict;

/// The label of calls that name no model.
const NO_MODEL: &str = "none";

/// One thread's counts. Every number here is also a metric; these are for the JSON of `/monitor`.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) models: HashMap<Arc<str>, ModelCounts>,
    pub(crate) refusals: Vec<Tally>,
    pub(crate) outcomes: [u64; Outcome::COUNT],
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
    /// The slice of time that runs, with its number.
    pub(crate) slice: (u64, Window),
    overhead: [Option<Histogram>; 2],
    stream: Option<(Counter, Counter)>,
}

/// A count with its name and its metric.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    meter: Counter,
}

/// What concerns one model.
#[derive(Debug)]
pub(crate) struct ModelCounts {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) usage: Usage,
    /// By key id.
    pub(crate) attempts: HashMap<Arc<str>, Vec<(Verdict, Tally)>>,
    label: Arc<str>,
    tokens: [Counter; TOKEN_KINDS.len()],
    routes: Vec<RouteMeters>,
}

#[derive(Debug)]
struct RouteMeters {
    asked: (Surface, Action),
    duration: Histogram,
    first_byte: Histogram,
    ends: Vec<(usize, &'static str, Counter)>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            models: HashMap::new(),
            refusals: Vec::new(),
            outcomes: [0; Outcome::COUNT],
            chunks: 0,
            bytes: 0,
            slice: (0, Window::new()),
            overhead: [None, None],
            stream: None,
        }
    }

    /// Counts a call that is over.
    pub(crate) fn finish(&mut self, record: &Record, outcome: Outcome, now: Instant, meters: &Meters) {
        let total = now.saturating_duration_since(record.opened());
        let (first_byte, overhead) = (record.time_to_first_byte(), record.overhead());
        self.slice.1.record(Lap { total, first_byte, overhead, success: outcome.success(record.status()) });
        self.outcomes[outcome.index()] += 1;
        if let Some(reason) = outcome.reason() {
            tally(&mut self.refusals, reason, || meters.refusals(reason));
        }
        if let Some(overhead) = overhead {
            let (surface, _) = record.asked();
            let meter = &mut self.overhead[usize::from(surface == Surface::OpenAi)];
            meter.get_or_insert_with(|| meters.overhead(surface.name())).record(overhead);
        }
        if record.streaming() {
            let (chunks, bytes) = self.stream.get_or_insert_with(|| meters.stream());
            chunks.increment(record.chunks());
            bytes.increment(record.bytes());
            self.chunks += record.chunks();
            self.bytes += record.bytes();
        }
        let answered = outcome == Outcome::Ok && record.attempts() > 0;
        let model = self.model(record.model_asked(), answered, meters);
        model.requests += 1;
        model.ok += u64::from(outcome == Outcome::Ok);
        model.count_tokens(record.used());
        let route = model.route(record.asked(), meters);
        route.duration.record(total);
        if let Some(first_byte) = first_byte {
            route.first_byte.record(first_byte);
        }
        model.count_end(record, outcome, meters);
    }

    /// Counts an attempt that is over.
    pub(crate) fn attempt(&mut self, key: &Arc<str>, model: Option<&str>, verdict: Verdict, meters: &Meters) {
        let model = self.model(model, verdict.is_success(), meters);
        let known = model.attempts.get_mut(key).and_then(|of_key| of_key.iter_mut().find(|(of, _)| *of == verdict));
        if let Some((_, tally)) = known {
            return tally.count();
        }
        let own = meters.attempts(key, &model.label, verdict.name()).map(|meter| (Arc::clone(key), meter));
        // Beyond the bound a key has no series of its own.
        let (key, meter) = own.unwrap_or_else(|| (OTHER.into(), meters.other_attempts(&model.label, verdict.name())));
        let of_key = model.attempts.entry(key).or_default();
        let place = of_key.iter().position(|(of, _)| *of == verdict).unwrap_or_else(|| {
            of_key.push((verdict, Tally { name: verdict.name(), count: 0, meter }));
            of_key.len() - 1
        });
        of_key[place].1.count();
    }

    /// The counts of the model of this name, or of all the names together that never answered.
    fn model(&mut self, name: Option<&str>, answered: bool, meters: &Meters) -> &mut ModelCounts {
        let name = name.unwrap_or(NO_MODEL);
        let label = if self.models.contains_key(name) {
            name
        } else {
            let admitted = if answered { meters.admit_model(name) } else { meters.model(name) };
            let label = admitted.unwrap_or_else(|| Arc::from(if name == NO_MODEL { NO_MODEL } else { OTHER }));
            return self.models.entry(label).or_insert_with_key(|label| ModelCounts::new(label, meters));
        };
        self.models.get_mut(label).expect("it was found a line above")
    }
}

impl Tally {
    fn count(&mut self) {
        self.count += 1;
        self.meter.increment(1);
    }
}

impl ModelCounts {
    fn new(label: &Arc<str>, meters: &Meters) -> Self {
        Self {
            requests: 0,
            ok: 0,
            usage: Usage::default(),
            attempts: HashMap::new(),
            label: Arc::clone(label),
            tokens: meters.tokens(label),
            routes: Vec::new(),
        }
    }

    fn count_tokens(&mut self, used: Usage) {
        if used.is_zero() {
            return;
        }
        for (meter, tokens) in self.tokens.iter().zip(kinds(&used)) {
            meter.increment(tokens);
        }
        add(&mut self.usage, &used);
    }

    fn route(&mut self, asked: (Surface, Action), meters: &Meters) -> &mut RouteMeters {
        let place = self.routes.iter().position(|route| route.asked == asked).unwrap_or_else(|| {
            let (duration, first_byte) = meters.latencies(asked.1.name(), &self.label);
            self.routes.push(RouteMeters { asked, duration, first_byte, ends: Vec::new() });
            self.routes.len() - 1
        });
        &mut self.routes[place]
    }

    fn count_end(&mut self, record: &Record, outcome: Outcome, meters: &Meters) {
        let (code, label) = (code_class(record.status()), Arc::clone(&self.label));
        let route = self.route(record.asked(), meters);
        if let Some((.., meter)) = route.ends.iter().find(|end| (end.0, end.1) == (outcome.index(), code)) {
            return meter.increment(1);
        }
        let (surface, action) = route.asked;
        let (surface, route_name, outcome_name) = (surface.name(), action.name(), outcome.name());
        let labels = RequestLabels { surface, route: route_name, model: &label, outcome: outcome_name, code };
        let meter = meters.requests(&labels);
        meter.increment(1);
        route.ends.push((outcome.index(), code, meter));
    }
}

/// Adds `more` to `sum`.
pub(crate) fn add(sum: &mut Usage, more: &Usage) {
    sum.prompt_tokens += more.prompt_tokens;
    sum.cached_tokens += more.cached_tokens;
    sum.answer_tokens += more.answer_tokens;
    sum.thought_tokens += more.thought_tokens;
    sum.tool_tokens += more.tool_tokens;
}

/// In the order of [`TOKEN_KINDS`].
fn kinds(usage: &Usage) -> [u64; TOKEN_KINDS.len()] {
    [usage.prompt_tokens, usage.cached_tokens, usage.answer_tokens, usage.thought_tokens, usage.tool_tokens]
}

fn tally(counts: &mut Vec<Tally>, name: &'static str, meter: impl FnOnce() -> Counter) {
    let place = counts.iter().position(|tally| tally.name == name).unwrap_or_else(|| {
        counts.push(Tally { name, count: 0, meter: meter() });
        counts.len() - 1
    });
    counts[place].count();
}

const fn code_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Method};

    use super::*;

    fn end(desk: &mut Desk, meters: &Meters, model: &str, outcome: Outcome) {
        let now = Instant::now();
        let record = Record::new(HeaderValue::from_static("r"), Method::POST, now);
        record.model(model);
        record.attempt(&"1".into());
        record.head(if outcome == Outcome::Ok { 200 } else { 404 }, true);
        record.chunk(100, now + Duration::from_millis(20));
        record.usage(Usage { prompt_tokens: 7, answer_tokens: 3, ..Usage::default() });
        desk.finish(&record, outcome, now + Duration::from_millis(30), meters);
    }

    #[test]
    fn a_model_has_a_label_only_after_it_answered() {
        let (mut desk, meters) = (Desk::new(), Meters::new());
        end(&mut desk, &meters, "made-up", Outcome::CallerError);
        end(&mut desk, &meters, "gemini-x", Outcome::Ok);
        end(&mut desk, &meters, "gemini-x", Outcome::ClientGone);
        let text = meters.render();
        assert!(!text.contains("made-up"));
        assert!(text.contains(
            r#"geminate_requests_total{surface="gemini",route="other",outcome="ok",code="2xx",model="gemini-x"} 1"#
        ));
        assert!(text.contains(r#"geminate_tokens_total{model="gemini-x",kind="prompt"} 14"#));
        assert!(text.contains(r#"model="other"} 1"#));
        assert!(text.contains("geminate_stream_bytes_total 300"));
    }

    #[test]
    fn buckets_hold_what_was_measured() {
        let (mut desk, meters) = (Desk::new(), Meters::new());
        end(&mut desk, &meters, "m", Outcome::Ok);
        let text = meters.render();
        for line in [
            r#"geminate_first_byte_seconds_bucket{route="other",model="m",le="0.005"} 0"#,
            r#"geminate_first_byte_seconds_bucket{route="other",model="m",le="0.025"} 1"#,
            r#"geminate_request_duration_seconds_count{route="other",model="m"} 1"#,
            r#"geminate_overhead_seconds_bucket{surface="gemini",le="0.00001"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn attempts_are_counted_by_key_model_and_verdict() {
        let (mut desk, meters) = (Desk::new(), Meters::new());
        for verdict in [Verdict::Success, Verdict::Success, Verdict::QuotaDay] {
            desk.attempt(&"1".into(), Some("m"), verdict, &meters);
        }
        let text = meters.render();
        assert!(text.contains(r#"geminate_attempts_total{key="1",model="m",verdict="success"} 2"#));
        assert!(text.contains(r#"geminate_attempts_total{key="1",model="m",verdict="quota_day"} 1"#));
    }
}
