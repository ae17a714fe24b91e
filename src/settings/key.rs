//! A key of the pool: as it is written in `[[keys]]`, and as it is used.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::settings::text::mask;

/// A key that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The name in logs, metrics and `x-geminate-key`: `1`, `2`, .. by position where none was given.
    pub id: Arc<str>,
    /// The key itself.
    pub secret: Secret,
    /// Its share of the traffic, 1 to 1000.
    pub weight: u32,
    /// Keys of one project share its quota; `None`: a project of its own.
    pub project: Option<Arc<str>>,
    /// The proxy it goes through, which may carry a password.
    pub proxy: Option<Secret>,
    /// Requests a minute it may be used for.
    pub rpm: Option<u64>,
    /// Input tokens a minute.
    pub tpm: Option<u64>,
    /// Requests a day.
    pub rpd: Option<u64>,
    /// Whether it takes part.
    pub enabled: bool,
}

/// `[[keys]]`: exactly one of `key_env`, `key_file` and `key`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyTable {
    /// The environment variable that holds the key.
    pub key_env: Option<String>,
    /// The file that holds the key.
    pub key_file: Option<PathBuf>,
    /// The key.
    #[serde(serialize_with = "mask")]
    pub key: Option<Secret>,
    /// A name of its own.
    pub id: Option<String>,
    /// Its share of the traffic. Default 1.
    pub weight: u32,
    /// The project whose quota it shares.
    pub project: Option<String>,
    /// The proxy it goes through.
    #[serde(serialize_with = "mask")]
    pub proxy: Option<Secret>,
    /// Requests a minute; 0 is what Google says.
    pub rpm: u64,
    /// Input tokens a minute; 0 is what Google says.
    pub tpm: u64,
    /// Requests a day; 0 is what Google says.
    pub rpd: u64,
    /// Whether it takes part. Default true.
    pub enabled: bool,
}

impl Default for KeyTable {
    fn default() -> Self {
        Self {
            key_env: None,
            key_file: None,
            key: None,
            id: None,
            weight: 1,
            project: None,
            proxy: None,
            rpm: 0,
            tpm: 0,
            rpd: 0,
            enabled: true,
        }
    }
}

impl KeyTable {
    pub(super) fn bounds(field: &str) -> Option<RangeInclusive<u64>> {
        match field {
            "weight" => Some(1..=1_000),
            "rpm" | "tpm" | "rpd" => Some(0..=1_000_000_000_000),
            _ => None,
        }
    }
}
