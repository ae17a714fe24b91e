//! CPU profiles of this process: taken while it works, kept on disk when it works too hard.

use std::time::Duration;

use jiff::Timestamp;

mod stacks;
mod protobuf;
#[cfg(feature = "pprof")]
mod sampler;
mod alarm;
mod kept;
mod watch;

pub use self::kept::{Kept, Profile};
pub use self::stacks::{Form, Stacks};
pub use self::watch::watch;

/// Samples for each second of CPU time: seldom in step with what recurs.
const SAMPLES_PER_S: i32 = 199;

/// Why there is no profile.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoProfile {
    /// The binary was built without the feature `pprof`.
    #[error("this binary was built without profiles (the feature pprof)")]
    NotBuilt,
    /// One is being taken.
    #[error("a profile is being taken already")]
    Running,
    /// The system or the profiler refused.
    #[error("the profile failed: {0}")]
    Failed(String),
}

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

/// What was sampled.
#[derive(Clone, Copy, Debug)]
struct Span {
    began: Timestamp,
    lasted: Duration,
}
