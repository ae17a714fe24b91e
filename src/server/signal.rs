//! What tells the house to stop, SIGTERM and SIGINT, and what tells it to look again, SIGHUP.

use futures_util::{Stream, stream};
use tokio::signal::unix::{SignalKind, signal};

/// A signal to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor.
    Terminate,
}

impl Stop {
    /// The signal's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// What a process ended by it exits with: 128 and the signal's number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Each SIGHUP that comes from now on: the configuration is to be read again.
pub fn hangups() -> std::io::Result<impl Stream<Item = ()> + Unpin> {
    let hangup = signal(SignalKind::hangup())?;
    Ok(Box::pin(stream::unfold(hangup, |mut hangup| async { hangup.recv().await.map(|()| ((), hangup)) })))
}

/// Each signal to stop that comes from now on.
pub fn stops() -> std::io::Result<impl Stream<Item = Stop> + Unpin> {
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(Box::pin(stream::unfold(signals, |(mut interrupt, mut terminate)| async {
        let stop = tokio::select! {
            _ = interrupt.recv() => Stop::Interrupt,
            _ = terminate.recv() => Stop::Terminate,
        };
        Some((stop, (interrupt, terminate)))
    })))
}
