//! How a hedge ended: a second attempt that was made beside a slow one.

/// As metrics name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hedged {
    /// It answered first.
    Won,
    /// The slow one did, or the client left: it was made for nothing.
    Lost,
    /// It failed.
    Failed,
}

impl Hedged {
    /// Every name, at its [`Hedged::index`].
    pub const NAMES: [&str; 3] = ["won", "lost", "failed"];

    /// Its place in tables of counts.
    pub const fn index(self) -> usize {
        match self {
            Self::Won => 0,
            Self::Lost => 1,
            Self::Failed => 2,
        }
    }
}
