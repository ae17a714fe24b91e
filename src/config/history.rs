//! The last configurations, with who took them up and why, to go back to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::ToSchema;

use crate::config::masked::Masked;
use crate::scrub::Scrubber;
use crate::secret::Digest;
use crate::state::StateFile;

/// How many are kept.
const KEPT_MAX: usize = 50;
/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// One configuration that was taken up.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Entry {
    /// By which it is known: equal texts are one version.
    pub version: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By whom: `file`, `signal`, `admin`, `start`, ..
    pub author: String,
    /// Why, in the author's words.
    pub comment: Option<String>,
    /// What it changed of the one before: a unified diff, without secrets.
    pub diff: String,
}

/// As it is kept: the text whole, readable by the owner alone like the file itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Kept {
    at: Timestamp,
    author: String,
    comment: Option<String>,
    text: String,
}

/// What was taken up, the oldest first.
#[derive(Debug)]
pub(super) struct History {
    kept: Vec<Kept>,
    file: StateFile,
}

/// The version of a text.
pub(super) fn version(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()[..16].to_owned()
}

impl History {
    /// What an earlier run left in `file`.
    pub(super) fn load(file: StateFile) -> Self {
        Self { kept: file.load().unwrap_or_default(), file }
    }

    /// Whether `text` is the last one that was taken up.
    pub(super) fn is_last(&self, text: &str) -> bool {
        self.kept.last().is_some_and(|last| last.text == text)
    }

    /// The text of a version.
    pub(super) fn text(&self, wanted: &str) -> Option<&str> {
        self.kept.iter().rev().find(|kept| version(&kept.text) == wanted).map(|kept| kept.text.as_str())
    }

    /// Another text was taken up. That it cannot be kept is told, and harms nothing else.
    pub(super) fn push(&mut self, text: &str, author: &str, comment: Option<String>, at: Timestamp) {
        self.kept.push(Kept { at, author: author.to_owned(), comment, text: text.to_owned() });
        let beyond = self.kept.len().saturating_sub(KEPT_MAX);
        self.kept.drain(..beyond);
        if let Err(error) = self.file.save(|| &self.kept) {
            tracing::warn!(%error, "DATA_DIR cannot be written: the configuration's history will not survive a restart");
        }
    }

    /// All of them, the newest first.
    pub(super) fn entries(&self, scrubber: &Scrubber) -> Vec<Entry> {
        let masked: Vec<String> = self.kept.iter().map(|kept| Masked::of(&kept.text, scrubber).text).collect();
        let entry = |(n, kept): (usize, &Kept)| {
            let before = n.checked_sub(1).map_or("", |before| masked[before].as_str());
            Entry {
                version: version(&kept.text),
                at: kept.at,
                author: kept.author.clone(),
                comment: kept.comment.clone(),
                diff: diff(before, &masked[n]),
            }
        };
        self.kept.iter().enumerate().map(entry).rev().collect()
    }
}

/// What changed, line by line.
pub(super) fn diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(CONTEXT_LINES).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifty_are_kept_over_a_restart_and_show_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = || StateFile::new(dir.path(), "configurations.json");
        let mut history = History::load(file());
        for n in 0..60 {
            let text = format!("[[keys]]\nkey = \"fake-key-{n:04}\"\nweight = {n}\n");
            history.push(&text, "admin", None, Timestamp::UNIX_EPOCH);
        }
        let history = History::load(file());
        let entries = history.entries(&Scrubber::new([]).unwrap());
        assert_eq!((entries.len(), entries[0].diff.contains("-weight = 58\n+weight = 59\n")), (50, true));
        assert!(!format!("{entries:?}").contains("fake-key"));
        assert!(history.text(&entries[49].version).unwrap().contains("fake-key-0010"));
        assert_eq!(history.text("0000000000000000"), None);
    }
}
