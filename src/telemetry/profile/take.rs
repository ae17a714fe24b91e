//! Takes a profile, where this binary can.

use std::time::Duration;

use crate::telemetry::profile::sample::{NoProfile, Stacks};
#[cfg(feature = "pprof")]
use crate::telemetry::profile::sampler;

/// Samples where this process spends CPU time for so long, on all threads. Dropped, it ends.
#[cfg(feature = "pprof")]
pub async fn take(span: Duration) -> Result<Stacks, NoProfile> {
    sampler::take(span).await
}

/// See the feature `pprof`.
#[cfg(not(feature = "pprof"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
pub async fn take(_: Duration) -> Result<Stacks, NoProfile> {
    Err(NoProfile::NotBuilt)
}
