//! `/monitor/full` as these commands read it: what they show of it, and nothing else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::figures;
use crate::command::instance::{Instance, Unheard};
use crate::verdict::ALL;

/// The page.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Full {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) performance: Report,
    pub(super) streams: Streams,
    pub(super) errors: Errors,
    pub(super) keys: Keys,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Health {
    pub(super) at: Timestamp,
    pub(super) version: String,
    pub(super) uptime_seconds: u64,
    pub(super) draining: bool,
    /// An older instance does not say.
    #[serde(default = "well")]
    pub(super) state_saved: bool,
}

const fn well() -> bool {
    true
}

/// Counts since the start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metrics {
    pub(super) in_flight: u64,
    pub(super) streams_open: u64,
    pub(super) connections_open: u64,
    pub(super) pool_waiting: u64,
    pub(super) requests: u64,
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Those that should have been served and were not. An older instance does not say.
    pub(super) unserved: Option<u64>,
    pub(super) tokens: Tokens,
    pub(super) models: BTreeMap<String, Model>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the page")]
pub(super) struct Tokens {
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) answer_tokens: u64,
    pub(super) thought_tokens: u64,
    pub(super) tool_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Model {
    pub(super) requests: u64,
    pub(super) ok: u64,
    pub(super) tokens: Tokens,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    pub(super) last_minute: Performance,
    pub(super) last_five_minutes: Performance,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Performance {
    pub(super) span_seconds: f64,
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) success_ratio: Option<f64>,
    pub(super) first_byte: Quantiles,
    pub(super) total: Quantiles,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

/// The open streams, the oldest first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Streams {
    pub(super) open: u64,
    pub(super) streams: Vec<Stream>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stream {
    pub(super) id: String,
    pub(super) client: Option<String>,
    pub(super) model: Option<String>,
    pub(super) fallback: Option<String>,
    pub(super) key: Option<String>,
    pub(super) age_ms: u64,
    pub(super) idle_ms: u64,
    pub(super) bytes: u64,
}

/// Failed attempts since the start.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Errors {
    pub(super) total: u64,
    pub(super) by_class: BTreeMap<String, u64>,
    pub(super) by_key: BTreeMap<String, u64>,
    pub(super) by_model: BTreeMap<String, u64>,
    pub(super) refusals: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names of the page")]
pub(super) struct Keys {
    pub(super) total: u64,
    pub(super) listed: u64,
    pub(super) usable: u64,
    pub(super) soonest_return: Option<Timestamp>,
    pub(super) keys: Vec<Key>,
}

/// One key.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) tail: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) returns_at: Option<Timestamp>,
    pub(super) configured_weight: u32,
    pub(super) effective_weight: f64,
    pub(super) expected_share: f64,
    pub(super) actual_share: f64,
    pub(super) in_flight: u32,
    pub(super) attempts: u64,
    /// Attempts by verdict.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// The models it rests for.
    pub(super) cooling: Vec<Cooling>,
    /// Keys that are refused together with it.
    pub(super) probably_same_project_as: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Cooling {
    pub(super) model: String,
    pub(super) reason: String,
    pub(super) until: Option<Timestamp>,
}

/// What was spent without an answer for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Waste {
    /// Attempts since the start.
    pub(super) attempts: u64,
    /// Of those, the ones that failed for the pool's or Google's reasons.
    pub(super) wasted_attempts: u64,
    pub(super) wasted_share: Option<f64>,
}

impl Full {
    /// Asks for it; with every key, however many there are.
    pub(super) async fn of(instance: &Instance) -> Result<Self, Unheard> {
        let mut full: Self = instance.look("/monitor/full").await?;
        if full.keys.listed < full.keys.total {
            full.keys = instance.look("/monitor/keys?limit=10000").await?;
        }
        Ok(full)
    }

    /// What was wasted, by all keys' attempts.
    pub(super) fn waste(&self) -> Waste {
        let attempts = self.keys.keys.iter().map(|key| key.attempts).sum();
        let wasted_attempts = self.keys.keys.iter().map(Key::failures).sum();
        Waste { attempts, wasted_attempts, wasted_share: figures::ratio(wasted_attempts, attempts) }
    }
}

impl Key {
    /// Attempts that failed, the caller's own errors apart.
    pub(super) fn failures(&self) -> u64 {
        let failed = |name: &str| ALL.into_iter().any(|verdict| verdict.is_failure() && verdict.name() == name);
        self.outcomes.iter().filter(|(name, _)| failed(name)).map(|(_, count)| count).sum()
    }

    /// Whether it serves no model at all, though it should.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.state.as_str(), "off" | "dead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_did_wrong_is_no_waste() {
        let outcomes = [("success", 5), ("caller", 2), ("overloaded", 2), ("quota_day", 1), ("abandoned", 1)];
        let outcomes: BTreeMap<String, u64> = outcomes.map(|(name, count)| (name.to_owned(), count)).into();
        let key = Key { attempts: 11, outcomes, ..Key::default() };
        assert_eq!(key.failures(), 3);
    }
}
