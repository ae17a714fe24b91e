//! The pool as an operator sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::pool::key::{Ceilings, LastError};

/// All keys and models at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct PoolView {
    /// Keys that could serve some model now.
    pub usable: usize,
    /// When the first of the others returns by itself.
    pub soonest_return: Option<Timestamp>,
    /// Requests that wait for a key.
    pub waiting: usize,
    /// In order of configuration.
    pub keys: Vec<KeyView>,
    /// The models that were asked for.
    pub models: Vec<ModelView>,
}

/// One key.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KeyView {
    /// The name in logs and metrics.
    pub id: Arc<str>,
    /// The last four characters of the key.
    pub tail: Box<str>,
    /// The project's label.
    pub project: Arc<str>,
    /// `projects/N` as Google's errors named it.
    pub consumer: Option<Arc<str>>,
    /// `free`, `paid`, ... as refusals revealed.
    pub tier: Option<&'static str>,
    /// `usable`, `cooling` (for some models), `trial`, `off` (for all), `dead` or `disabled`.
    pub state: &'static str,
    /// Why it is not usable.
    pub reason: Option<&'static str>,
    /// When it returns; absent for ever.
    pub returns_at: Option<Timestamp>,
    /// As configured.
    pub configured_weight: u32,
    /// The configured weight times the least health over the models asked, 0 while it is off or dead.
    pub effective_weight: f64,
    /// The effective weight over the sum of all.
    pub expected_share: f64,
    /// The attempts on this key over all attempts.
    pub actual_share: f64,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts so far.
    pub attempts: u64,
    /// Attempts by verdict.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// The last failure.
    pub last_error: Option<LastError>,
    /// The models it rests for; and `grounding`, where its project has no more requests that ground their answers by search.
    pub cooling: Vec<CoolingView>,
    /// Keys of other projects that are probably of the same one: they are refused together, far below their limits.
    pub probably_same_project_as: Vec<Arc<str>>,
    /// The limits of its project for single models: Google's as refusals told them, and ceilings.
    pub learnt: Vec<LearntView>,
}

/// One key's rest for one model.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CoolingView {
    /// The model; empty for calls that name none, and for `grounding`, which is of no model.
    pub model: Arc<str>,
    /// Why.
    pub reason: &'static str,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// A project's limits for one model, and what was used of them.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LearntView {
    /// The model.
    pub model: Arc<str>,
    /// Google's requests a minute, input tokens a minute, requests a day.
    #[serde(flatten)]
    pub limits: Ceilings,
    /// Requests that a minute may take at present: the pace, or the operator's ceiling.
    pub paced_rpm: Option<u64>,
    /// The same of input tokens.
    pub paced_tpm: Option<u64>,
    /// Requests of the last minute.
    pub minute_requests: u64,
    /// Their input tokens.
    pub minute_tokens: u64,
    /// Requests of Google's day, as far as this gateway made them.
    pub day_requests: u64,
    /// Requests that the day may take, as far as that is known: the lower of Google's limit and the operator's ceiling.
    pub day_requests_max: Option<u64>,
}

/// One model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelView {
    /// Its name; empty for calls that name none.
    pub model: Arc<str>,
    /// Attempts under way.
    pub in_flight: u32,
    /// Requests that wait for a key.
    pub waiting: usize,
    /// Clients with requests in the line of those who wait for any key.
    pub waiting_clients: usize,
    /// Overloads in a row; from ten on, they are not tried again for a while.
    pub overloads: u32,
}
