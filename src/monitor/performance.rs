//! How fast, how well, and what it takes of the machine.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::telemetry::process::Process;
use crate::telemetry::{Performance, Telemetry};

/// The last minute, the last five, and the process.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    uptime_seconds: u64,
    in_flight: u64,
    streams_open: u64,
    connections_open: u64,
    last_minute: Performance,
    last_five_minutes: Performance,
    process: Process,
}

impl Report {
    /// With the connections that the listeners have open.
    pub(crate) fn now(telemetry: &Telemetry, connections_open: u64, now: Instant) -> Self {
        Self {
            uptime_seconds: telemetry.uptime(now).as_secs(),
            in_flight: telemetry.in_flight(),
            streams_open: telemetry.streams_open(),
            connections_open,
            last_minute: telemetry.performance(Duration::from_mins(1), now),
            last_five_minutes: telemetry.performance(Duration::from_mins(5), now),
            process: Process::now(),
        }
    }
}
