//! Where the answer of a call comes from that may be answered from memory.

/// As `x-geminate-cache`, metrics and the log name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remembered {
    /// From memory.
    Hit,
    /// From the upstream, by a call of its own.
    Miss,
    /// From the upstream, by the call of another that asked the same at the same time.
    Shared,
}

impl Remembered {
    /// Every name, at its [`Remembered::index`].
    pub const NAMES: [&str; 3] = ["hit", "miss", "shared"];

    /// The label.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Its place in tables of counts.
    pub const fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::Miss => 1,
            Self::Shared => 2,
        }
    }
}
