//! Rows: the keys as the dashboard lists them.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::pool::view::{KeyView, PoolView};

/// Steps of a share: finer ones would change with every request, and no eye would see it.
const SHARE_STEPS: f64 = 10_000.0;
/// Steps of a weight.
const WEIGHT_STEPS: f64 = 100.0;

/// One key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Row {
    #[serde(flatten)]
    view: KeyView,
}

impl Row {
    fn of(mut view: KeyView) -> Self {
        view.expected_share = round(view.expected_share, SHARE_STEPS);
        view.actual_share = round(view.actual_share, SHARE_STEPS);
        view.effective_weight = round(view.effective_weight, WEIGHT_STEPS);
        Self { view }
    }

    /// The name of the key.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.view.id
    }
}

/// All keys, in the order of configuration.
pub(crate) fn rows(view: PoolView) -> Vec<Row> {
    view.keys.into_iter().map(Row::of).collect()
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
