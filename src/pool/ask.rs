//! What a choice is asked, and what it took.

use crate::pool::key::Key;

/// What one choice is for, and what it may not take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avoid<'a> {
    /// Keys this request has tried: taken again only when nothing else is left.
    pub keys: &'a [u32],
    /// Projects this request must not go to.
    pub projects: &'a [u32],
    /// All that it may go to, where it names something that lives there.
    pub only: Option<Only>,
    /// Whether the key with most of its day left is the best one: the try before cost of it and came to nothing.
    pub thrifty: bool,
    /// Bytes of its prompt, as far as it is text.
    pub bytes: u64,
}

/// The owner of what a request names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Only {
    /// Any key of a project.
    Project(u32),
    /// One key.
    Key(u32),
}

impl Avoid<'_> {
    /// Whether any key may serve the request, tried or not.
    pub const fn is_open(&self) -> bool {
        self.only.is_none() && self.projects.is_empty()
    }

    /// Whether the key may serve the request, tried or not.
    pub fn allows(&self, key: &Key) -> bool {
        let owner = match self.only {
            None => true,
            Some(Only::Project(project)) => key.project() == project,
            Some(Only::Key(index)) => key.index == index,
        };
        owner && !self.projects.contains(&key.project())
    }
}

/// What a choice took.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// The key.
    pub index: u32,
    /// The input tokens that were thought of.
    pub tokens: u64,
}
