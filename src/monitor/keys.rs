//! Every key: its state and reason, its time of return, its weight and share, what it met.

use serde::Serialize;

use crate::pool::view::PoolView;

/// The pool, with no more keys than were asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Keys {
    total: usize,
    listed: usize,
    #[serde(flatten)]
    pool: PoolView,
}

impl Keys {
    /// In the order of configuration; when not all fit, those that cannot serve come first.
    pub(crate) fn of(mut pool: PoolView, limit: usize) -> Self {
        let total = pool.keys.len();
        if total > limit {
            pool.keys.sort_by_key(|key| key.reason.is_none());
            pool.keys.truncate(limit);
        }
        pool.models.truncate(limit);
        Self { total, listed: pool.keys.len(), pool }
    }
}
