//! From a call to its spans, and into the queue of the batch processor.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanData, SpanExporter, SpanProcessor,
};
use reqwest::Certificate;
use tokio::time::Instant;

use crate::record::{Outcome, Parent, Record, Trace};
use crate::scrub::Scrubber;
use crate::settings::{self, Origin, Sampler};
use crate::telemetry::traces::counts::Counts;
use crate::telemetry::traces::fate::{Spans, Unusable};
use crate::telemetry::traces::sender::{Sender, Way};
use crate::telemetry::traces::span::Spanner;

/// Makes spans and hands them on. On a call's path it waits for nobody: where the queue is full, a span is dropped and
/// counted.
#[derive(Debug)]
pub struct Traces {
    sampler: Sampler,
    ids: RandomIdGenerator,
    spanner: Spanner,
    processor: Arc<BatchSpanProcessor>,
    counts: Arc<Counts>,
}

impl Traces {
    /// To the collector of `settings`, of calls to `upstream`; the sender is to be run. No text of a client's goes out
    /// before `scrubber` saw it.
    pub fn new(
        settings: &settings::Traces,
        upstream: &Origin,
        authorities: &[Certificate],
        scrubber: Arc<Scrubber>,
    ) -> Result<(Self, Sender), Unusable> {
        let counts = Arc::new(Counts::new(settings.batch.queue_max));
        let (handover, sender) = Sender::new(Way::new(settings, authorities)?);
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(handover)
            // The sender knows the way; this one is never asked for, and without a password.
            .with_endpoint("http://collector.invalid/")
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(settings.timeout)
            .build()
            .map_err(|error| Unusable::Client(error.to_string()))?;
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(settings.batch.queue_max)
            .with_max_export_batch_size(settings.batch.size_max)
            .with_scheduled_delay(settings.batch.delay);
        let exporter = Counted { exporter, counts: Arc::clone(&counts) };
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch.build()).build();
        let attributes = settings.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        processor.set_resource(&Resource::builder_empty().with_attributes(attributes).build());
        let processor = Arc::new(processor);
        let sender = sender(Arc::clone(&processor), Arc::clone(&counts));
        let (sampler, ids) = (settings.sampler, RandomIdGenerator::default());
        Ok((Self { sampler, ids, spanner: Spanner::new(upstream, scrubber), processor, counts }, sender))
    }

    /// Begins the trace of a call whose request has these headers; `None`: it is not kept.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Trace> {
        let parent = Parent::read(headers);
        let id = parent.as_ref().map_or_else(|| self.trace_id(), |parent| parent.trace);
        let kept = self.sampler.keeps(id, parent.as_ref().map(|parent| parent.sampled));
        kept.then(|| Trace::new(id, self.span_id(), parent))
    }

    /// A traced call is over, as `outcome` says.
    pub(crate) fn finish(&self, record: &Record, trace: &Trace, outcome: Outcome, now: Instant) {
        if self.counts.full(1 + trace.attempts().len()) {
            return;
        }
        for span in self.spanner.spans(record, trace, outcome, now) {
            if self.counts.enter() {
                self.processor.on_end(span);
            }
        }
    }

    /// What became of the spans so far.
    pub(crate) fn spans(&self) -> Spans {
        self.counts.spans()
    }

    fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.ids.new_trace_id().to_bytes()).max(1)
    }

    fn span_id(&self) -> u64 {
        u64::from_be_bytes(self.ids.new_span_id().to_bytes()).max(1)
    }
}

/// The exporter, with an eye on what it takes and what comes of it.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    counts: Arc<Counts>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.counts.leave(spans);
        let sent = self.exporter.export(batch).await;
        self.counts.sent(spans, sent.is_ok());
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
