//! How far the house has come.

use tokio::sync::watch;
use tokio::time::Instant;

/// What connections, workers and sessions follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Connections come.
    Serving,
    /// Connections finish what they have begun; then they are cut.
    Draining(Instant),
    /// Workers go.
    Over,
}

impl Phase {
    /// Ends when the drain begins: with the time by which all must be over.
    pub async fn drains(follow: &mut watch::Receiver<Self>) -> Instant {
        match follow.wait_for(|phase| *phase != Self::Serving).await.map(|phase| *phase) {
            Ok(Self::Draining(deadline)) => deadline,
            // Without a sender the house is gone, which is the same as over.
            _ => Instant::now(),
        }
    }
}
