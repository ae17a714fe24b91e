//! Every key: its state and reason, its time of return, its weight and share, what it met.

use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::alias::{Aliases, is_name};
use crate::pool::KeyPool;
use crate::pool::explain::Explanation;
use crate::pool::memory::Clocks;
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

/// How all keys stand for a model, by any name that clients may call it; `None` for what can be no model's name.
pub(crate) fn explained(
    pool: &KeyPool,
    aliases: &Aliases,
    asked: &str,
    limit: usize,
    clocks: Clocks,
) -> Option<Explanation> {
    let asked = percent_decode_str(asked).decode_utf8().ok()?;
    let model = aliases.model(&asked);
    if !is_name(model) {
        return None;
    }
    let mut explanation = Explanation { asked: asked.clone().into_owned(), ..pool.explain(model, clocks) };
    explanation.cut(limit);
    Some(explanation)
}
