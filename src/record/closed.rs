//! What a record that was just closed says of its call.

use crate::record::outcome::Outcome;
use crate::usage::Usage;

/// The last word, for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// How the call ended.
    pub outcome: Outcome,
    /// What it cost.
    pub usage: Usage,
    /// What the record takes of memory.
    pub bytes: usize,
}
