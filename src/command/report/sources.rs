//! What a report is made of, as the gateway answers it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::pages::Full;

/// How far back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Span {
    /// The last hour
    #[default]
    Hour,
    /// The last 24 hours
    Day,
}

impl Span {
    /// The word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// All that was heard.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) full: Full,
    /// Where the admin API answers.
    pub(super) series: Option<Series>,
    pub(super) errors: Option<ErrorsOverTime>,
    pub(super) overview: Option<Overview>,
}

/// `/api/series`: columns of equal length, a value for each step.
#[derive(Debug, Deserialize)]
pub(super) struct Series {
    pub(super) step_seconds: u64,
    pub(super) points: Points,
}

/// A step without a value has `null`.
type Column = Vec<Option<f64>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Points {
    /// When each step began, in seconds since 1970.
    pub(super) at: Vec<i64>,
    pub(super) requests: Column,
    pub(super) ok: Column,
    pub(super) failed: Column,
    pub(super) refused: Column,
    /// An older instance has none.
    pub(super) unserved: Column,
    pub(super) attempts: Column,
    pub(super) wasted: Column,
    pub(super) p50_ms: Column,
    pub(super) p95_ms: Column,
    pub(super) p99_ms: Column,
    pub(super) first_byte_p95_ms: Column,
    pub(super) prompt_tokens: Column,
    pub(super) cached_tokens: Column,
    pub(super) answer_tokens: Column,
    pub(super) thought_tokens: Column,
    pub(super) in_flight: Column,
    pub(super) streams: Column,
}

/// `/api/errors`: failed attempts of the last hour, by minute.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorsOverTime {
    pub(super) series: ErrorSeries,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorSeries {
    pub(super) classes: BTreeMap<String, Column>,
}

/// `/api/overview`: what it alone tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    pub(super) waste: FailedStreams,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailedStreams {
    pub(super) tokens_of_failed_streams: Option<u64>,
}
