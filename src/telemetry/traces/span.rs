//! The spans of a call that is over: attributes by OpenTelemetry's conventions for HTTP and for generative AI (1.42), the
//! rest as `geminate.*`. Nothing of a prompt or of an answer, no key, no URL.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId, StringValue, TraceFlags, TraceId, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use crate::endpoint::Action;
use crate::record::{Ended, Outcome, Record, Remembered, Trace, Traced};
use crate::scrub::Scrubber;
use crate::settings::Origin;
use crate::usage::Usage;
use crate::verdict::Verdict;

/// The longest text of a client's in a span.
const TEXT_BYTES_MAX: usize = 256;
const PROVIDER: &str = "gcp.gemini";
const FIRST_BYTE: &str = "first_byte";

/// Makes spans.
#[derive(Debug)]
pub(super) struct Spanner {
    scope: InstrumentationScope,
    scrubber: Arc<Scrubber>,
    /// Google, as the attempts see it.
    address: StringValue,
    port: i64,
}

/// One call while its spans are made.
struct Told<'t> {
    spanner: &'t Spanner,
    record: &'t Record,
    trace: &'t Trace,
    outcome: Outcome,
    now: Instant,
    wall: SystemTime,
    state: TraceState,
    model: Option<StringValue>,
}

impl Spanner {
    pub(super) fn new(upstream: &Origin, scrubber: Arc<Scrubber>) -> Self {
        let scope = InstrumentationScope::builder("geminate").with_version(env!("CARGO_PKG_VERSION")).build();
        let uri: Uri = upstream.as_str().parse().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        Self { scope, scrubber, address: uri.host().unwrap_or("").to_owned().into(), port: port.into() }
    }

    /// The span of the call, and one for each of its attempts.
    pub(super) fn spans(&self, record: &Record, trace: &Trace, outcome: Outcome, now: Instant) -> Vec<SpanData> {
        let state = trace.parent().and_then(|parent| parent.state.as_deref());
        // What a client sent is passed on only if nothing in it had to be taken out.
        let state = state.filter(|state| self.scrubber.scrub_str(state) == *state).and_then(|state| state.parse().ok());
        let told = Told {
            spanner: self,
            record,
            trace,
            outcome,
            now,
            wall: SystemTime::now(),
            state: state.unwrap_or_default(),
            model: record.model_asked().map(|model| self.text(model)),
        };
        let attempts = trace.attempts();
        let served = record.key().and_then(|key| attempts.iter().rposition(|attempt| attempt.key == key));
        let mut spans = Vec::with_capacity(1 + attempts.len());
        spans.push(told.call());
        spans.extend(attempts.iter().enumerate().map(|(n, attempt)| told.attempt(n, attempt, served == Some(n))));
        spans
    }

    /// A client's text as it may go out.
    fn text(&self, text: &str) -> StringValue {
        let clean = self.scrubber.scrub_str(text);
        clean[..clean.floor_char_boundary(TEXT_BYTES_MAX)].to_owned().into()
    }
}

impl Told<'_> {
    fn call(&self) -> SpanData {
        let (record, spanner) = (self.record, self.spanner);
        let (surface, action) = record.asked();
        let mut attributes = vec![
            KeyValue::new("http.request.method", record.method().as_str().to_owned()),
            KeyValue::new("geminate.request_id", spanner.text(record.id_text())),
            KeyValue::new("geminate.surface", surface.name()),
            KeyValue::new("geminate.route", action.name()),
            KeyValue::new("geminate.outcome", self.outcome.name()),
            KeyValue::new("geminate.attempts", i64::from(record.attempts())),
            KeyValue::new("geminate.stream", record.streaming()),
            KeyValue::new("geminate.bytes", int(record.bytes())),
        ];
        let mut add = |name: &'static str, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(name, value)));
        };
        add("http.response.status_code", status(record.status()));
        add("geminate.model", self.model.clone().map(Value::String));
        add("geminate.fallback", record.fallback().map(Into::into));
        add("geminate.client", record.client_id().map(|client| Value::String(spanner.text(client))));
        add("geminate.key", record.key().map(Into::into));
        add("geminate.refusal", self.outcome.reason().map(Into::into));
        add("geminate.cache", record.source().map(Remembered::name).map(Into::into));
        add("geminate.first_byte_ms", record.time_to_first_byte().map(millis));
        add("geminate.overhead_ms", record.overhead().map(millis));
        add("geminate.waited_ms", Some(millis(record.waited())));
        let failed = self.outcome.success(record.status()) == Some(false);
        let error = failed.then(|| self.outcome.reason().unwrap_or(self.outcome.name()));
        add("error.type", error.map(Into::into));
        let parent = self.trace.parent().map(|parent| parent.span);
        SpanData {
            parent_span_id: id(parent.unwrap_or(0)),
            parent_span_is_remote: parent.is_some(),
            span_kind: SpanKind::Server,
            events: self.first_byte(true),
            status: if failed { Status::error("") } else { Status::Unset },
            ..self.span(self.trace.span(), self.model.as_ref(), record.opened(), self.now, attributes)
        }
    }

    fn attempt(&self, n: usize, attempt: &Traced, served: bool) -> SpanData {
        let (record, spanner) = (self.record, self.spanner);
        let action = record.asked().1;
        let ended = attempt.ended.unwrap_or_else(|| Ended {
            at: self.now,
            verdict: if served && self.outcome == Outcome::Ok { Verdict::Success } else { Verdict::Abandoned },
            status: None,
        });
        let model = attempt.fallback.as_ref().map(|model| StringValue::from(Arc::clone(model)));
        let model = model.or_else(|| self.model.clone());
        let mut attributes = vec![
            KeyValue::new("gen_ai.provider.name", PROVIDER),
            KeyValue::new("server.address", spanner.address.clone()),
            KeyValue::new("server.port", spanner.port),
            KeyValue::new("http.request.method", record.method().as_str().to_owned()),
            KeyValue::new("geminate.key", Arc::clone(&attempt.key)),
            KeyValue::new("geminate.verdict", ended.verdict.name()),
            KeyValue::new("geminate.attempt", int(n as u64 + 1)),
        ];
        let mut add = |name: &'static str, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(name, value)));
        };
        let succeeded = matches!(ended.verdict, Verdict::Success | Verdict::Empty | Verdict::Unfinished);
        add("gen_ai.operation.name", operation(action).map(Into::into));
        add("gen_ai.request.model", model.clone().map(Value::String));
        add("gen_ai.response.model", model.clone().filter(|_| succeeded).map(Value::String));
        add("http.response.status_code", ended.status.and_then(status));
        let fine = matches!(ended.verdict, Verdict::Success | Verdict::Empty | Verdict::Abandoned);
        add("error.type", (!fine).then(|| ended.verdict.name().into()));
        if record.streaming() && served {
            add("gen_ai.request.stream", Some(true.into()));
            let first = record.time_to_first_byte().map(|time| record.opened() + time);
            let first = first.filter(|first| *first >= attempt.began).map(|first| first - attempt.began);
            add("gen_ai.response.time_to_first_chunk", first.map(|time| time.as_secs_f64().into()));
        }
        if served {
            attributes.extend(usage(record.used()));
        }
        SpanData {
            parent_span_id: id(self.trace.span()),
            span_kind: SpanKind::Client,
            events: self.first_byte(served),
            status: if fine { Status::Unset } else { Status::error("") },
            ..self.span(attempt.span, model.as_ref(), attempt.began, ended.at, attributes)
        }
    }

    fn span(
        &self,
        span: u64,
        model: Option<&StringValue>,
        began: Instant,
        ended: Instant,
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        let trace = TraceId::from_bytes(self.trace.id().to_be_bytes());
        let action = self.record.asked().1;
        let operation = operation(action).unwrap_or(action.name());
        SpanData {
            span_context: SpanContext::new(trace, id(span), TraceFlags::SAMPLED, false, self.state.clone()),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: model.map_or(operation.into(), |model| format!("{operation} {model}").into()),
            start_time: self.at(began),
            end_time: self.at(ended.max(began)),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.spanner.scope.clone(),
        }
    }

    /// The time of day at a moment of this call.
    fn at(&self, moment: Instant) -> SystemTime {
        self.wall - self.now.saturating_duration_since(moment)
    }

    fn first_byte(&self, seen: bool) -> SpanEvents {
        let mut events = SpanEvents::default();
        if let Some(after) = self.record.time_to_first_byte().filter(|_| seen) {
            let at = self.at(self.record.opened() + after);
            events.events.push(Event::new(FIRST_BYTE, at, Vec::new(), 0));
        }
        events
    }
}

/// What a model is asked to do, by the conventions' names where they have one; `None` where no model is asked.
const fn operation(action: Action) -> Option<&'static str> {
    match action {
        Action::Generate | Action::StreamSse | Action::StreamArray | Action::Interaction => Some("generate_content"),
        Action::Chat => Some("chat"),
        Action::Embed | Action::BatchEmbed | Action::Embeddings => Some("embeddings"),
        Action::CountTokens => Some("count_tokens"),
        Action::Live | Action::Realtime => Some("live"),
        _ => None,
    }
}

/// Cached tokens are among the input, thoughts among the output.
fn usage(usage: Usage) -> impl Iterator<Item = KeyValue> {
    let all = [
        ("gen_ai.usage.input_tokens", usage.prompt_tokens + usage.tool_tokens),
        ("gen_ai.usage.output_tokens", usage.answer_tokens + usage.thought_tokens),
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.thought_tokens),
    ];
    let told = !usage.is_zero();
    let wanted = move |(n, (_, tokens)): &(usize, (&str, u64))| told && (*n < 2 || *tokens > 0);
    all.into_iter().enumerate().filter(wanted).map(|(_, (name, tokens))| KeyValue::new(name, int(tokens)))
}

fn status(status: u16) -> Option<Value> {
    (status > 0).then(|| i64::from(status).into())
}

fn millis(time: Duration) -> Value {
    (time.as_secs_f64() * 1e3).into()
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn id(span: u64) -> SpanId {
    SpanId::from_bytes(span.to_be_bytes())
}
