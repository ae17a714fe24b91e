//! Rows: the keys as the dashboard lists them.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Configuration, KeySource};
use crate::pool::view::{KeyView, PoolView};
use crate::settings::Key;

/// Steps of a share: finer ones would change with every request, and no eye would see it.
const SHARE_STEPS: f64 = 10_000.0;
/// Steps of a weight.
const WEIGHT_STEPS: f64 = 100.0;

/// One key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Row {
    #[serde(flatten)]
    view: KeyView,
    /// Whether it takes part, as configured.
    enabled: bool,
    /// Requests a minute that the operator allows.
    rpm: Option<u64>,
    /// The same of input tokens.
    tpm: Option<u64>,
    /// Requests a day that the operator allows.
    rpd: Option<u64>,
    /// Where it is configured; nothing in the moment in which it comes or goes.
    origin: Option<Origin>,
}

/// Where a key is configured.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Origin {
    /// `environment` or `file`.
    kind: &'static str,
    /// The variable, or the file's name and line.
    name: String,
    /// Whether the API changes it where it stands. One of a variable is adjusted in the file instead, which must be asked
    /// for by `over_environment`.
    editable: bool,
    /// The file's name and line where a key of a variable is adjusted.
    adjusted: Option<String>,
}

impl Origin {
    fn of(source: &KeySource) -> Self {
        let of_file = source.table.is_some() && source.adjusted.is_none();
        Self {
            kind: if of_file { "file" } else { "environment" },
            name: source.name.clone(),
            editable: of_file,
            adjusted: source.adjusted.clone(),
        }
    }
}

impl Row {
    fn of(mut view: KeyView, configured: Option<(&Key, &KeySource)>) -> Self {
        view.expected_share = round(view.expected_share, SHARE_STEPS);
        view.actual_share = round(view.actual_share, SHARE_STEPS);
        view.effective_weight = round(view.effective_weight, WEIGHT_STEPS);
        let (key, source) = configured.unzip();
        Self {
            view,
            enabled: key.is_some_and(|key| key.enabled),
            rpm: key.and_then(|key| key.rpm),
            tpm: key.and_then(|key| key.tpm),
            rpd: key.and_then(|key| key.rpd),
            origin: source.map(Origin::of),
        }
    }

    /// The name of the key.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.view.id
    }
}

/// All keys, in the order of configuration, by which they are known.
pub(crate) fn rows(view: PoolView, configuration: &Configuration) -> Vec<Row> {
    let configured: Vec<(&Key, &KeySource)> = configuration.keys.iter().zip(&configuration.key_sources).collect();
    let by_id = |id: &str| configured.iter().find(|(key, _)| *key.id == *id).copied();
    let of = |(place, view): (usize, KeyView)| {
        // The same order, but in the moment of a change.
        let same = configured.get(place).copied().filter(|(key, _)| key.id == view.id);
        let found = same.or_else(|| by_id(&view.id));
        Row::of(view, found)
    };
    view.keys.into_iter().enumerate().map(of).collect()
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
