//! An open record, to be closed when its call is over, however that comes about.

use std::sync::Arc;
use std::thread;

use tokio::time::Instant;

use crate::record::{Ender, Outcome, Record};
use crate::telemetry::Telemetry;

/// A call whose record is open. Dropped before the end it is over: the client has gone, or something panicked.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) record: Arc<Record>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Stays set when what is polled panics: runtimes drop it only after they caught the panic.
    pub(crate) polling: bool,
    /// Set once everything went out, though the body may not have been asked for its end.
    pub(crate) whole: bool,
    /// Set once the record is closed, or another will close it.
    over: bool,
}

impl Open {
    /// Will close `record`. To be made for each record once, or after the one before was handed over.
    pub(crate) fn new(record: Arc<Record>, telemetry: Arc<Telemetry>) -> Self {
        Self { record, telemetry, polling: false, whole: false, over: false }
    }

    /// Leaves it to another to close the record: to what the connection goes on with after HTTP.
    pub(crate) fn hand_over(mut self) {
        self.over = true;
    }

    /// Closes the record: the call is over in order.
    pub(crate) fn end(mut self, now: Instant) {
        self.over = true;
        self.telemetry.finish(&self.record, now);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.polling || thread::panicking() {
            self.record.outcome(Outcome::Panicked);
        }
        if !self.whole {
            // A client that takes nothing is not told that its call was ended: its connection is cut some time later.
            let ended = |ender: Ender| Outcome::from(&ender.error());
            self.record.outcome_unless_known(self.record.cancelled().map_or(Outcome::ClientGone, ended));
        }
        self.telemetry.finish(&self.record, Instant::now());
    }
}

/// Notes that what is below is being polled, or no longer.
pub(crate) fn set_polling(open: &mut Option<Open>, polling: bool) {
    if let Some(open) = open {
        open.polling = polling;
    }
}
