//! What sessions need, and their bounds.

use std::sync::Arc;
use std::time::Duration;

use crate::layer::{admit, lease, retry};
use crate::settings;

/// What sessions need. Made once for each worker.
#[derive(Debug)]
pub struct Means {
    /// Shared by all workers.
    pub places: Arc<admit::Places>,
    /// How often another key is tried.
    pub retry: retry::Means,
    /// The keys, and the worker's connections.
    pub lease: lease::Means,
    /// The bounds of a session.
    pub limits: Limits,
}

/// How long a session and its parts may take, and how large a message may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(super) setup: Duration,
    pub(super) idle: Duration,
    pub(super) whole: Option<Duration>,
    pub(super) message_bytes: usize,
}

impl Limits {
    /// As configured.
    pub fn new(settings: &settings::Live) -> Self {
        Self {
            setup: Duration::from_millis(settings.setup_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            whole: Some(settings.session_max_ms).filter(|ms| *ms > 0).map(Duration::from_millis),
            message_bytes: settings.message_bytes_max as usize,
        }
    }
}
