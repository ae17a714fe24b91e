//! What went wrong: failed attempts by class, key and model, and the last of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::telemetry::{Counts, ErrorSeries, Failure, Telemetry};

/// Failed attempts since the start, and the last ones in full. Most were tried again with success: clients saw few.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Errors {
    total: u64,
    by_class: BTreeMap<String, u64>,
    by_key: BTreeMap<String, u64>,
    by_model: BTreeMap<String, u64>,
    refusals: BTreeMap<&'static str, u64>,
    series: ErrorSeries,
    last: Vec<Failure>,
}

impl Errors {
    /// With up to `limit` of the last ones, and of the keys that failed most.
    pub(crate) fn now(telemetry: &Telemetry, counts: &Counts, limit: usize) -> Self {
        let by_class = counts.failed_by(|attempt| attempt.verdict.name());
        let mut by_key: Vec<_> = counts.failed_by(|attempt| &attempt.key).into_iter().collect();
        by_key.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        by_key.truncate(limit);
        Self {
            total: by_class.values().sum(),
            by_class: owned(by_class),
            by_key: owned(by_key),
            by_model: owned(counts.failed_by(|attempt| &attempt.model)),
            refusals: counts.refusals.clone(),
            series: telemetry.error_series(),
            last: telemetry.failures(limit),
        }
    }
}

fn owned<'n>(counts: impl IntoIterator<Item = (&'n str, u64)>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
