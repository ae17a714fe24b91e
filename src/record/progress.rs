//! The numbers of one call that change as it goes on.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64};

/// Written and read from any thread, each by itself.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) attempts: AtomicU32,
    pub(crate) status: AtomicU16,
    pub(crate) streaming: AtomicBool,
    /// Whether another model is asked, so that nobody takes the lock for nothing.
    pub(crate) fell_back: AtomicBool,
    pub(crate) bytes: AtomicU64,
    pub(crate) chunks: AtomicU64,
}
