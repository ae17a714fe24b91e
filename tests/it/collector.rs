//! A collector of a test's own: takes traces by OTLP, or refuses them, or never answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio::net::TcpListener;

use crate::house::{PATIENCE, eventually};

/// What it does with what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Takes,
    Refuses,
    Hangs,
}

/// A span, as a test reads it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// In nanoseconds since 1970.
    pub(crate) time: (u64, u64),
    pub(crate) state: String,
    /// Attributes as text.
    attributes: BTreeMap<String, String>,
    /// When each event was.
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) failed: bool,
}

impl Span {
    /// An attribute; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

/// One at work on a port of its own. It ends with the runtime of the test.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) origin: String,
    manner: Mutex<Manner>,
    asked: Mutex<Vec<(HeaderMap, Bytes)>>,
}

impl Collector {
    pub(crate) async fn open(manner: Manner) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let collector = Arc::new(Self { origin, manner: Mutex::new(manner), asked: Mutex::default() });
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&collector));
        #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
        tokio::spawn(async { axum::serve(listener, router).await });
        collector
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// How often something was sent.
    pub(crate) fn batches(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The headers and the bytes of all that was sent.
    pub(crate) fn sent(&self) -> Vec<(HeaderMap, Bytes)> {
        self.asked.lock().unwrap().clone()
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let batches = self.sent().into_iter().map(|(_, body)| ExportTraceServiceRequest::decode(body).unwrap());
        let resources = batches.flat_map(|batch| batch.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).map(read).collect()
    }

    /// The attributes of whoever sends.
    pub(crate) fn resource(&self) -> BTreeMap<String, String> {
        let (_, body) = self.sent().remove(0);
        let batch = ExportTraceServiceRequest::decode(body).unwrap();
        texts(&batch.resource_spans[0].resource.as_ref().unwrap().attributes)
    }

    /// Waits for so many spans, and for no more: the first of them all is a call's.
    pub(crate) async fn until(&self, count: usize) -> Vec<Span> {
        eventually(|| self.spans().len() >= count).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?} within {PATIENCE:?}");
        spans
    }
}

async fn take(State(collector): State<Arc<Collector>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    collector.asked.lock().unwrap().push((headers, body));
    let manner = *collector.manner.lock().unwrap();
    match manner {
        Manner::Takes => StatusCode::OK,
        Manner::Refuses => StatusCode::BAD_REQUEST,
        Manner::Hangs => std::future::pending().await,
    }
}

fn read(span: opentelemetry_proto::tonic::trace::v1::Span) -> Span {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind(),
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
        state: span.trace_state,
        attributes: texts(&span.attributes),
        events: span.events.iter().map(|event| (event.name.clone(), event.time_unix_nano)).collect(),
        failed: span.status.is_some_and(|status| status.code == 2),
        name: span.name,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(word)) => word.to_string(),
        other => panic!("no such value was expected: {other:?}"),
    }
}
