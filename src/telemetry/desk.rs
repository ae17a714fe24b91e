//! What one thread has counted since the start.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::endpoint::{Action, Surface};
use crate::record::{Closed, Hedged, Outcome, Record, Remembered};
use crate::telemetry::meters::{Meters, OTHER, RequestLabels, TOKEN_KINDS};
use crate::telemetry::shelf::Shelf;
use crate::telemetry::tally::{Samples, Tally};
use crate::telemetry::waste::Waste;
use crate::telemetry::windows::{Lap, Window};
use crate::usage::Usage;
use crate::verdict::Verdict;

/// The label of calls that name no model.
const NO_MODEL: &str = "none";

/// One thread's counts: what `/monitor` adds up, and what the metrics of all threads are told at a flush.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) models: Vec<ModelCounts>,
    pub(crate) refusals: Vec<Tally>,
    pub(crate) outcomes: [u64; Outcome::COUNT],
    /// Calls that should have been served and were not.
    pub(crate) unserved: u64,
    /// Pieces and bytes of streams.
    pub(crate) streamed: [Tally; 2],
    /// Calls that may be answered from memory, by where their answer came from.
    pub(crate) remembered: [Tally; Remembered::NAMES.len()],
    /// Second attempts beside slow ones, by how they ended.
    pub(crate) hedges: [Tally; Hedged::NAMES.len()],
    pub(crate) fallbacks: Vec<FallbackCount>,
    /// The slice of time that runs, with its number.
    pub(crate) slice: (u64, Window),
    pub(crate) waste: Waste,
    /// The calls that ended lately.
    pub(crate) shelf: Shelf,
    overhead: [Samples; 2],
    /// Where each model's counts are.
    places: HashMap<Arc<str>, usize>,
    /// Whose turn it was.
    last: usize,
}

/// How often one model answered in the place of another.
#[derive(Debug)]
pub(crate) struct FallbackCount {
    pub(crate) from: Arc<str>,
    pub(crate) to: Arc<str>,
    pub(crate) tally: Tally,
}

/// What concerns one model.
#[derive(Debug)]
pub(crate) struct ModelCounts {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) tokens: [Tally; TOKEN_KINDS.len()],
    /// By key id.
    pub(crate) attempts: HashMap<Arc<str>, Vec<(Verdict, Tally)>>,
    pub(crate) label: Arc<str>,
    routes: Vec<RouteCounts>,
}

#[derive(Debug)]
struct RouteCounts {
    asked: (Surface, Action),
    duration: Samples,
    first_byte: Samples,
    /// By class of status and outcome.
    ends: Vec<(&'static str, Tally)>,
}

impl Desk {
    pub(crate) fn new(meters: &Meters) -> Self {
        Self {
            models: Vec::new(),
            refusals: Vec::new(),
            outcomes: [0; Outcome::COUNT],
            unserved: 0,
            streamed: meters.streamed(),
            remembered: meters.remembered(),
            hedges: meters.hedges(),
            fallbacks: Vec::new(),
            slice: (0, Window::new()),
            waste: Waste::default(),
            shelf: Shelf::default(),
            overhead: [Surface::Gemini, Surface::OpenAi].map(|surface| Samples::new(meters.overhead(surface.name()))),
            places: HashMap::new(),
            last: 0,
        }
    }

    /// Counts a call that is over.
    pub(crate) fn finish(&mut self, record: &Record, closed: Closed, now: Instant, meters: &Meters) {
        let Closed { outcome, usage, .. } = closed;
        let total = now.saturating_duration_since(record.opened());
        let (first_byte, overhead) = (record.time_to_first_byte(), record.overhead());
        let (success, refused) = (outcome.success(record.status()), outcome.reason().is_some());
        self.slice.1.record(Lap { total, first_byte, overhead, success, refused, tokens: usage });
        if matches!(outcome, Outcome::StreamBroken | Outcome::StreamUnfinished) {
            self.waste.tokens_of_failed_streams += usage.total();
        }
        self.outcomes[outcome.index()] += 1;
        self.unserved += u64::from(success == Some(false));
        if let Some(reason) = outcome.reason() {
            let found = |tally: &Tally| tally.name == reason;
            find(&mut self.refusals, found, || Tally::new(reason, meters.refusals(reason))).count += 1;
        }
        if let Some(overhead) = overhead {
            self.overhead[usize::from(record.asked().0 == Surface::OpenAi)].record(overhead);
        }
        if record.streaming() {
            self.streamed[0].count += record.chunks();
            self.streamed[1].count += record.bytes();
        }
        if let Some(source) = record.source() {
            self.remembered[source.index()].count += 1;
        }
        let answered = outcome == Outcome::Ok && record.attempts() > 0;
        let fallback = record.fallback();
        if let (Some(from), Some(to), 200..=299) = (record.model_asked(), &fallback, record.status()) {
            self.fell_back(from, to, meters);
        }
        let model = self.model(fallback.as_deref().or(record.model_asked()), answered, meters);
        model.requests += 1;
        model.ok += u64::from(outcome == Outcome::Ok);
        for (tally, tokens) in model.tokens.iter_mut().zip(kinds(usage)) {
            tally.count += tokens;
        }
        let label = Arc::clone(&model.label);
        let route = model.route(record.asked(), meters);
        route.duration.record(total);
        if let Some(first_byte) = first_byte {
            route.first_byte.record(first_byte);
        }
        route.count_end(code_class(record.status()), outcome, &label, meters);
    }

    /// Counts an answer of one model in the place of another's. Both stand in the operator's lists, which bounds them.
    fn fell_back(&mut self, from: &str, to: &Arc<str>, meters: &Meters) {
        let found = |fallback: &FallbackCount| &*fallback.from == from && fallback.to == *to;
        let new = || {
            let tally = Tally::new("fallbacks", meters.fallbacks(from, to));
            FallbackCount { from: from.into(), to: Arc::clone(to), tally }
        };
        find(&mut self.fallbacks, found, new).tally.count += 1;
    }

    /// Counts an attempt that is over.
    pub(crate) fn attempt(&mut self, key: &Arc<str>, model: Option<&str>, verdict: Verdict, meters: &Meters) {
        self.slice.1.attempted(verdict.is_failure());
        self.waste.attempts += 1;
        self.waste.wasted_attempts += u64::from(verdict.is_failure());
        let model = self.model(model, verdict.is_success(), meters);
        let known = model.attempts.get_mut(key).and_then(|of_key| of_key.iter_mut().find(|(of, _)| *of == verdict));
        if let Some((_, tally)) = known {
            tally.count += 1;
            return;
        }
        let own = meters.attempts(key, &model.label, verdict.name()).map(|meter| (Arc::clone(key), meter));
        // Beyond the bound a key has no series of its own.
        let (key, meter) = own.unwrap_or_else(|| (OTHER.into(), meters.other_attempts(&model.label, verdict.name())));
        let of_key = model.attempts.entry(key).or_default();
        find(of_key, |(of, _)| *of == verdict, || (verdict, Tally::new(verdict.name(), meter))).1.count += 1;
    }

    /// Tells the metrics what was counted since the last time.
    pub(crate) fn flush(&mut self) {
        let fixed = self.streamed.iter_mut().chain(&mut self.remembered).chain(&mut self.hedges);
        fixed.chain(&mut self.refusals).for_each(Tally::flush);
        self.fallbacks.iter_mut().for_each(|fallback| fallback.tally.flush());
        self.overhead.iter_mut().for_each(Samples::flush);
        for model in &mut self.models {
            let attempts = model.attempts.values_mut().flatten().map(|(_, tally)| tally);
            attempts.chain(&mut model.tokens).for_each(Tally::flush);
            for route in &mut model.routes {
                route.duration.flush();
                route.first_byte.flush();
                route.ends.iter_mut().for_each(|(_, tally)| tally.flush());
            }
        }
    }

    /// The counts of the model of this name, or of all the names together that never answered.
    fn model(&mut self, name: Option<&str>, answered: bool, meters: &Meters) -> &mut ModelCounts {
        let name = name.unwrap_or(NO_MODEL);
        // Calls come in runs of one model: most need no look into the map.
        if self.models.get(self.last).is_none_or(|model| *model.label != *name) {
            let known = self.places.get(name).copied();
            self.last = known.unwrap_or_else(|| self.place(name, answered, meters));
        }
        &mut self.models[self.last]
    }

    fn place(&mut self, name: &str, answered: bool, meters: &Meters) -> usize {
        let admitted = if answered { meters.admit_model(name) } else { meters.model(name) };
        let label = admitted.unwrap_or_else(|| Arc::from(if name == NO_MODEL { NO_MODEL } else { OTHER }));
        if let Some(place) = self.places.get(&label) {
            return *place;
        }
        self.models.push(ModelCounts::new(&label, meters));
        self.places.insert(label, self.models.len() - 1);
        self.models.len() - 1
    }
}

impl ModelCounts {
    fn new(label: &Arc<str>, meters: &Meters) -> Self {
        Self {
            requests: 0,
            ok: 0,
            tokens: meters.tokens(label),
            attempts: HashMap::new(),
            label: Arc::clone(label),
            routes: Vec::new(),
        }
    }

    /// What the tallies of tokens say.
    pub(crate) fn usage(&self) -> Usage {
        let [prompt_tokens, cached_tokens, answer_tokens, thought_tokens, tool_tokens] =
            self.tokens.each_ref().map(|tally| tally.count);
        Usage { prompt_tokens, cached_tokens, answer_tokens, thought_tokens, tool_tokens }
    }

    fn route(&mut self, asked: (Surface, Action), meters: &Meters) -> &mut RouteCounts {
        let label = &self.label;
        find(
            &mut self.routes,
            |route| route.asked == asked,
            || {
                let (duration, first_byte) = meters.latencies(asked.1.name(), label);
                let (duration, first_byte) = (Samples::new(duration), Samples::new(first_byte));
                RouteCounts { asked, duration, first_byte, ends: Vec::new() }
            },
        )
    }
}

impl RouteCounts {
    fn count_end(&mut self, code: &'static str, outcome: Outcome, model: &str, meters: &Meters) {
        let (surface, route, outcome) = (self.asked.0.name(), self.asked.1.name(), outcome.name());
        let found = |(of, tally): &(&str, Tally)| (*of, tally.name) == (code, outcome);
        let new =
            || (code, Tally::new(outcome, meters.requests(&RequestLabels { surface, route, model, outcome, code })));
        find(&mut self.ends, found, new).1.count += 1;
    }
}

/// The one that is `found` in a short list, or a `new` one.
fn find<T>(list: &mut Vec<T>, found: impl FnMut(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let place = list.iter().position(found).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[place]
}

/// In the order of [`TOKEN_KINDS`].
fn kinds(usage: Usage) -> [u64; TOKEN_KINDS.len()] {
    [usage.prompt_tokens, usage.cached_tokens, usage.answer_tokens, usage.thought_tokens, usage.tool_tokens]
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
        record.attempt(&"1".into(), now);
        record.head(if outcome == Outcome::Ok { 200 } else { 404 }, true);
        record.chunk(100, now + Duration::from_millis(20));
        record.usage(Usage { prompt_tokens: 7, answer_tokens: 3, ..Usage::default() });
        record.outcome(outcome);
        let now = now + Duration::from_millis(30);
        desk.finish(&record, record.close(now).unwrap(), now, meters);
    }

    #[test]
    fn a_model_has_a_label_only_after_it_answered() {
        let meters = Meters::new();
        let mut desk = Desk::new(&meters);
        end(&mut desk, &meters, "made-up", Outcome::CallerError);
        end(&mut desk, &meters, "gemini-x", Outcome::Ok);
        end(&mut desk, &meters, "gemini-x", Outcome::ClientGone);
        desk.flush();
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
        let meters = Meters::new();
        let mut desk = Desk::new(&meters);
        end(&mut desk, &meters, "m", Outcome::Ok);
        desk.flush();
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
        let meters = Meters::new();
        let mut desk = Desk::new(&meters);
        for verdict in [Verdict::Success, Verdict::Success, Verdict::QuotaDay] {
            desk.attempt(&"1".into(), Some("m"), verdict, &meters);
        }
        desk.flush();
        let text = meters.render();
        assert!(text.contains(r#"geminate_attempts_total{key="1",model="m",verdict="success"} 2"#));
        assert!(text.contains(r#"geminate_attempts_total{key="1",model="m",verdict="quota_day"} 1"#));
    }
}
