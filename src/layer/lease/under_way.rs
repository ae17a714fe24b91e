//! An attempt under way: whatever ends it before its first byte, it is counted, and its time is the upstream's.

use std::sync::Arc;

use tokio::time::Instant;

use crate::record::Record;
use crate::telemetry::{AttemptSeen, Telemetry};
use crate::verdict::Verdict;

/// From the moment at which an attempt is sent to its first byte or its failure. Dropped before that, as the client left,
/// the call's time is over or another attempt was faster, the attempt is told as abandoned to those who count.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    telemetry: &'a Telemetry,
    record: &'a Record,
    /// The id of its key.
    key: &'a Arc<str>,
    /// Whether somebody else tells what it came to.
    over: bool,
}

impl<'a> UnderWay<'a> {
    /// It begins at `now`.
    pub(crate) fn begin(telemetry: &'a Telemetry, record: &'a Record, key: &'a Arc<str>, now: Instant) -> Self {
        record.attempt(key, now);
        Self { telemetry, record, key, over: false }
    }

    /// It came to this. `message` must be scrubbed.
    pub(crate) fn came_to(mut self, verdict: Verdict, message: &str) {
        self.over = true;
        self.tell(verdict, message, Instant::now());
    }

    /// It has its first byte, or its verdict has been given.
    pub(crate) fn over(mut self) {
        self.over = true;
    }

    fn tell(&self, verdict: Verdict, message: &str, now: Instant) {
        let (record, key) = (self.record, self.key);
        self.telemetry.attempt(AttemptSeen { record, key, verdict, status: None, message, now });
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.record.answered(now);
        if !self.over {
            self.tell(Verdict::Abandoned, "", now);
        }
    }
}
