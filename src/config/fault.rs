//! A fault of the configuration, told so that it can be mended: where, what was read, what is allowed.

use std::fmt;

/// One fault: a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    at: String,
    what: String,
}

impl Fault {
    /// `at` is a variable's name, or a file's name and line; `what` never holds a secret.
    pub fn new(at: &str, what: &str) -> Self {
        Self { at: at.to_owned(), what: what.to_owned() }
    }

    /// The variable's name, or the file's name and line.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong, and what is allowed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The line of the file, to tell faults in its order.
    pub fn line(&self) -> Option<usize> {
        self.at.rsplit_once(':').and_then(|(_, line)| line.parse().ok())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// All faults.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

impl std::error::Error for Faults {}
