//! How far the house has come.

use tokio::time::Instant;

/// What connections and workers follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Connections come.
    Serving,
    /// Connections finish what they have begun, until then.
    Draining(Instant),
    /// Workers go.
    Over,
}
