//! What is written a few times a call and is no number.

use std::sync::Arc;

use crate::record::cost::Cost;
use crate::record::outcome::Outcome;
use crate::record::tries::Tries;

/// Written and read under one lock.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) tries: Tries,
    pub(crate) fallback: Option<Arc<str>>,
    pub(crate) cost: Cost,
    pub(crate) outcome: Option<Outcome>,
}
