//! What the pool remembers over a restart: rests and deaths, by the digest of their key.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::pool::key::Ceilings;
use crate::pool::reason::Reason;

/// The pool's memory, as it stands on disk. What another version wrote of a key and this one does not understand, an
/// unknown reason say, is left out, and all else is read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Memory {
    /// By the digest of the key, in hex.
    #[serde(deserialize_with = "those_known")]
    pub keys: BTreeMap<String, KeyMemory>,
}

/// What is remembered of one key. Rests of its project stand with each of the project's keys.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct KeyMemory {
    /// Why it is dead, and when it is due to be asked again; without a time, never.
    #[serde(deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    pub dead: Option<(Reason, Option<Timestamp>)>,
    /// Why it rests for all models, and until when.
    #[serde(deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    pub off: Option<(Reason, Timestamp)>,
    /// The same for its project.
    #[serde(deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    pub project_off: Option<(Reason, Timestamp)>,
    /// Until when its project's grounded requests go elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grounding: Option<Timestamp>,
    /// Its rests for single models.
    #[serde(deserialize_with = "each_known", skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelMemory>,
    /// Google's limits of its project, by model, as refusals told them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub learnt: BTreeMap<String, Ceilings>,
    /// What its project used of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, UseMemory>,
    /// `projects/N` as Google's errors named its project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Its project's tier, as refusals revealed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// What a project had used of one model at a moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct UseMemory {
    /// When it was last used.
    pub at: Timestamp,
    /// Requests of the last minute.
    pub requests: u64,
    /// Their input tokens.
    pub tokens: u64,
    /// Requests of Google's day.
    pub day: u64,
}

/// A rest for one model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ModelMemory {
    /// The model; empty for calls that name none.
    pub model: String,
    /// Whether the whole project rests.
    pub project: bool,
    /// Why.
    pub reason: Reason,
    /// Until when.
    pub until: Timestamp,
}

impl UseMemory {
    /// The more of two that tell of the same project.
    #[must_use]
    pub fn more(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            requests: self.requests.max(other.requests),
            tokens: self.tokens.max(other.tokens),
            day: self.day.max(other.day),
        }
    }

    /// Whether anything was used.
    pub fn is_any(&self) -> bool {
        [self.requests, self.tokens, self.day].iter().any(|count| *count > 0)
    }
}

impl Memory {
    /// Without what changes with every request.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        lasting.keys.values_mut().for_each(|key| key.used.clear());
        lasting
    }
}

impl KeyMemory {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Both clocks at one moment, to carry times over a restart.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The clock that never jumps.
    pub now: Instant,
    /// The clock on the wall.
    pub wall: Timestamp,
}

impl Clocks {
    /// The time on the wall at `instant`.
    pub fn wall_at(&self, instant: Instant) -> Timestamp {
        let ahead = instant.saturating_duration_since(self.now);
        let behind = self.now.saturating_duration_since(instant);
        self.wall.checked_add(ahead).and_then(|at| at.checked_sub(behind)).unwrap_or(self.wall)
    }

    /// When it is what would have been at `instant` by the clock on the wall as it went `before`; now, if that is past.
    pub fn moved(&self, before: Self, instant: Instant) -> Instant {
        self.instant_at(before.wall_at(instant)).unwrap_or(self.now)
    }

    /// The instant of a time on the wall that is still to come, at most 25 hours away: a clock that was set wrong
    /// must not bury a key.
    pub fn instant_at(&self, time: Timestamp) -> Option<Instant> {
        let ahead = Duration::try_from(time.duration_since(self.wall)).ok()?;
        Some(self.now + ahead.min(Duration::from_hours(25)))
    }
}

fn understood<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn if_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Value>::deserialize(from)?.and_then(understood))
}

fn each_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Value>::deserialize(from)?.into_iter().filter_map(understood).collect())
}

fn those_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<BTreeMap<String, T>, D::Error> {
    let all = BTreeMap::<String, Value>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, understood(value)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_only_another_version_knows_costs_no_more_than_its_own_rest() {
        let text = r#"{"keys": {
            "a": {"dead": ["asleep", null], "off": ["blocked", "2026-11-21T11:00:00Z"], "tier": "free", "models": [
                {"model": "m", "project": true, "reason": "eclipse", "until": "2026-11-21T11:00:00Z"},
                {"model": "n", "project": true, "reason": "quota_day", "until": "2026-11-21T11:00:00Z"}
            ]},
            "b": {"used": 7},
            "c": {"dead": ["banned", null], "moon": "full"}
        }}"#;
        let Memory { keys } = serde_json::from_str(text).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["a", "c"]);
        let a = &keys["a"];
        assert_eq!((a.dead, a.off.map(|(why, _)| why), a.tier.as_deref()), (None, Some(Reason::Blocked), Some("free")));
        assert_eq!(a.models.iter().map(|rest| rest.reason).collect::<Vec<_>>(), [Reason::QuotaDay]);
        assert_eq!(keys["c"].dead, Some((Reason::Banned, None)));
        assert!(serde_json::from_str::<Memory>("{rubbish").is_err());
    }
}
