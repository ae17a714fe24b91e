//! What a profile is made of: how often each stack was met, and when.

use std::time::Duration;

use jiff::Timestamp;

/// Samples for each second of CPU time: seldom in step with what recurs.
pub(super) const SAMPLES_PER_S: i32 = 199;

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

/// A profile: how often each stack was met.
#[derive(Clone, Debug)]
pub struct Stacks {
    pub(super) span: Span,
    pub(super) all: Vec<Stack>,
}

/// One stack of one thread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stack {
    pub(super) thread: String,
    /// The outermost first.
    pub(super) frames: Vec<String>,
    pub(super) count: u64,
}

/// What was sampled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) began: Timestamp,
    pub(super) lasted: Duration,
}

impl Stacks {
    /// How many samples there are.
    pub fn samples(&self) -> u64 {
        self.all.iter().map(|stack| stack.count).sum()
    }
}
