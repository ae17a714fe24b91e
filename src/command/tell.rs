//! What a command says, to whoever still listens: a pipe that is closed ends nothing, and is no news to the one who closed it.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// To standard output, a line.
pub(super) fn out(line: impl Display) {
    let _closed = writeln!(io::stdout().lock(), "{line}");
}

/// To standard error, as it is.
pub(super) fn err(text: impl Display) {
    let mut err = io::stderr().lock();
    let _closed = write!(err, "{text}").and_then(|()| err.flush());
}

/// Whether all that went wrong is that the reader of the output has seen enough.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
