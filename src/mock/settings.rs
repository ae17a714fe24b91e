//! How a mocked world is furnished.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mock::quota::{Quota, Tier};
use crate::mock::script::Script;
use crate::mock::shape::Shape;
use crate::mock::span;

/// A key that Google knows.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MockKey {
    /// The key itself.
    pub key: String,
    /// Its project; keys of one project share its quota.
    #[serde(default)]
    pub project: String,
    /// What the project pays.
    #[serde(default)]
    pub tier: Tier,
    /// The project's quota of each model, where it differs from the world's.
    #[serde(default)]
    pub quota: Option<Quota>,
}

/// `KEY[@PROJECT]`; without a project the key is its own.
impl FromStr for MockKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, named) = text.split_once('@').map_or((text, None), |(key, project)| (key, Some(project)));
        if key.is_empty() || named.is_some_and(str::is_empty) {
            return Err("a key is KEY or KEY@PROJECT".to_owned());
        }
        let project = named.unwrap_or_default();
        Ok(Self { key: key.to_owned(), project: project.to_owned(), ..Self::default() })
    }
}

/// What a world is made with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The keys Google knows. None listed: every key is known and is a project of its own.
    pub keys: Vec<MockKey>,
    /// Whether keys beside the listed ones are known too, each a project of its own.
    pub accept_any_key: bool,
    /// The models there are. None listed: a catalogue, and every name of Google's families answers.
    pub models: Vec<String>,
    /// What each project may use of each model.
    pub quota: Quota,
    /// How minutes are counted.
    pub shape: Shape,
    /// The tier of keys that are not listed.
    pub tier: Tier,
    /// Whether a prompt that begins as an earlier one of its project did counts that beginning as cached.
    pub implicit_caching: bool,
    /// Time before an answer's head.
    #[serde(with = "span")]
    pub latency: Duration,
    /// Frames of a streamed answer.
    pub chunks: usize,
    /// Time between two frames.
    #[serde(with = "span")]
    pub chunk_interval: Duration,
    /// The least length of an answer's text; words are repeated to reach it.
    pub answer_bytes: usize,
    /// Streams allowed at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// What the dice of `probability` begin with.
    pub seed: u64,
    /// How many calls are remembered.
    pub calls_kept: usize,
    /// Where upload URLs lead, such as `https://generativelanguage.googleapis.com`; without one, to the host that was
    /// called.
    pub upload_origin: Option<String>,
    /// Whether upload URLs carry the key they were asked for with, as Google's do.
    pub upload_key: bool,
    /// Scripts that stand from the start.
    pub scripts: Vec<Script>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            accept_any_key: false,
            models: Vec::new(),
            quota: Quota::default(),
            shape: Shape::Minute,
            tier: Tier::Free,
            implicit_caching: true,
            latency: Duration::ZERO,
            chunks: 4,
            chunk_interval: Duration::ZERO,
            answer_bytes: 0,
            max_concurrent_streams: 100,
            seed: 1,
            calls_kept: 10_000,
            upload_origin: None,
            upload_key: true,
            scripts: Vec::new(),
        }
    }
}

impl Settings {
    /// A world that knows these keys, each in the project after its `@`.
    pub fn with_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let keys = keys.into_iter().filter_map(|key| key.parse().ok()).collect();
        Self { keys, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_project_of_a_name_or_none() {
        let read = |text: &str| text.parse::<MockKey>().map(|key| (key.key, key.project));
        assert_eq!(read("k"), Ok(("k".to_owned(), String::new())));
        assert_eq!(read("k@p"), Ok(("k".to_owned(), "p".to_owned())));
        for text in ["", "@", "@p", "k@"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
