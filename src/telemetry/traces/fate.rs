//! What can become of traces: not sent at all, or spans that did not arrive.

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The authority's file cannot be read.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE {path}: {why}")]
    Authority {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP client or the exporter around it.
    #[error("the client for OTEL_EXPORTER_OTLP_ENDPOINT cannot be made: {0}")]
    Client(String),
    /// This binary has no traces in it.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT is set, and this binary was built without the feature `otlp`")]
    Absent,
}

/// What became of spans, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spans {
    /// Taken by the collector.
    pub exported: u64,
    /// Dropped, as too many waited.
    pub queue_full: u64,
    /// Dropped, as the collector did not take them.
    pub not_delivered: u64,
}
