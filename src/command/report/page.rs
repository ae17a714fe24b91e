//! The report, as JSON has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::command::figures;
use crate::command::pages::{Key, Model, Waste};
use crate::command::report::finding::{self, Finding};
use crate::command::report::sources::{ErrorsOverTime, Seen, Span};
use crate::command::report::stretch::Stretch;
use crate::command::status::verdict::{self, Verdict};

/// Everything that is reported.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) at: Timestamp,
    pub(super) gateway: String,
    pub(super) version: String,
    pub(super) uptime_seconds: u64,
    pub(super) started_at: Timestamp,
    /// What was asked for; what is covered stands in `stretch`.
    pub(super) span: Span,
    pub(super) verdict: Verdict,
    pub(super) findings: Vec<Finding>,
    pub(super) stretch: Stretch,
    /// Failed attempts of the last hour by class; `null` where that is not known.
    pub(super) errors_of_hour: Option<BTreeMap<String, u64>>,
    pub(super) since_start: SinceStart,
}

/// What is only counted from the start on.
#[derive(Debug, Serialize)]
pub(super) struct SinceStart {
    /// By model, the most asked first.
    pub(super) models: Vec<OfModel>,
    /// In the order of configuration.
    pub(super) keys: Vec<OfKey>,
    /// Failed attempts by class.
    pub(super) errors: BTreeMap<String, u64>,
    /// The same by model.
    pub(super) errors_by_model: BTreeMap<String, u64>,
    /// geminate's own refusals by reason.
    pub(super) refusals: BTreeMap<String, u64>,
    pub(super) waste: Waste,
    /// Tokens that were paid for and never reached the end of their stream; `null` where that is not known.
    pub(super) tokens_of_failed_streams: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct OfModel {
    pub(super) model: String,
    #[serde(flatten)]
    pub(super) counts: Model,
}

#[derive(Debug, Serialize)]
pub(super) struct OfKey {
    pub(super) id: String,
    pub(super) tail: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) returns_at: Option<Timestamp>,
    pub(super) attempts: u64,
    pub(super) failures: u64,
    pub(super) failed_share: Option<f64>,
    pub(super) expected_share: f64,
    pub(super) actual_share: f64,
}

impl Report {
    /// Puts together what was heard from the gateway at `gateway`.
    pub(super) fn new(seen: &Seen, gateway: &str, span: Span) -> Self {
        let full = &seen.full;
        let stretch = Stretch::of(full, seen.series.as_ref(), span);
        let (at, uptime_seconds) = (full.health.at, full.health.uptime_seconds);
        let age = jiff::SignedDuration::from_secs(i64::try_from(uptime_seconds).unwrap_or(i64::MAX));
        let models = full.metrics.models.iter();
        let mut models: Vec<OfModel> =
            models.map(|(model, counts)| OfModel { model: model.clone(), counts: *counts }).collect();
        models.sort_by_key(|model| std::cmp::Reverse(model.counts.requests));
        let verdict = verdict::of(full);
        let known = |counts: &BTreeMap<String, u64>| counts.clone();
        Self {
            at,
            gateway: gateway.to_owned(),
            version: full.health.version.clone(),
            uptime_seconds,
            started_at: at.checked_sub(age).unwrap_or(at),
            span,
            findings: finding::all(full, &stretch, &verdict),
            verdict,
            errors_of_hour: seen.errors.as_ref().map(of_hour),
            since_start: SinceStart {
                models,
                keys: full.keys.keys.iter().map(OfKey::new).collect(),
                errors: known(&full.errors.by_class),
                errors_by_model: known(&full.errors.by_model),
                refusals: known(&full.errors.refusals),
                waste: full.waste(),
                tokens_of_failed_streams: seen.overview.as_ref().and_then(|page| page.waste.tokens_of_failed_streams),
            },
            stretch,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive and below 2^52")]
fn of_hour(errors: &ErrorsOverTime) -> BTreeMap<String, u64> {
    let sum = |column: &Vec<Option<f64>>| column.iter().flatten().sum::<f64>().round() as u64;
    let classes = errors.series.classes.iter().map(|(class, column)| (class.clone(), sum(column)));
    classes.filter(|(_, number)| *number > 0).collect()
}

impl OfKey {
    fn new(key: &Key) -> Self {
        let failures = key.failures();
        Self {
            id: key.id.clone(),
            tail: key.tail.clone(),
            state: key.state.clone(),
            reason: key.reason.clone(),
            returns_at: key.returns_at,
            attempts: key.attempts,
            failures,
            failed_share: figures::ratio(failures, key.attempts),
            expected_share: key.expected_share,
            actual_share: key.actual_share,
        }
    }
}
