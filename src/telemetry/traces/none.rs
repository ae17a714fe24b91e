//! Without the feature there are no traces, and nobody can make any.

use std::convert::Infallible;
use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use crate::record::{Outcome, Record, Trace};
use crate::scrub::Scrubber;
use crate::settings;
use crate::telemetry::traces::fate::{Spans, Unusable};

/// Nothing.
#[derive(Debug)]
pub struct Traces(Infallible);

/// Nothing.
#[derive(Debug)]
pub struct Sender(Infallible);

impl Traces {
    /// Fails.
    pub fn new(
        _: &settings::Traces,
        _: &settings::Origin,
        _: &[reqwest::Certificate],
        _: Arc<Scrubber>,
    ) -> Result<(Self, Sender), Unusable> {
        Err(Unusable::Absent)
    }

    pub(crate) fn begin(&self, _: &HeaderMap) -> Option<Trace> {
        match self.0 {}
    }

    pub(crate) fn finish(&self, _: &Record, _: &Trace, _: Outcome, _: Instant) {
        match self.0 {}
    }

    pub(crate) fn spans(&self) -> Spans {
        match self.0 {}
    }
}

impl Sender {
    /// Never runs.
    #[expect(clippy::unused_async, reason = "as the one that sends")]
    pub async fn run(self, _: impl Future<Output = ()>) {
        match self.0 {}
    }
}
