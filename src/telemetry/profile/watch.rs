//! The watch: profiles that are taken by themselves when the CPU stays busy.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::telemetry::process::cpu_seconds;
use crate::telemetry::profile::alarm::{Alarm, LOOK};
use crate::telemetry::profile::kept::Kept;
use crate::telemetry::profile::take::take;

/// How long such a profile lasts.
const SPAN: Duration = Duration::from_secs(10);

/// Watches for ever: keeps a profile when the process takes `percent` of one core or more for a minute. While that is 0
/// there are none.
pub async fn watch(percent: impl Fn() -> u32, kept: Kept) {
    let (mut alarm, mut looks) = (Alarm::default(), interval(LOOK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let threshold = percent();
        if threshold == 0 {
            alarm = Alarm::default();
            continue;
        }
        let Some(cpu) = cpu_seconds() else { continue };
        let Some(busy) = alarm.look(cpu, threshold.into(), Instant::now()) else { continue };
        let stacks = match take(SPAN).await {
            Ok(stacks) => stacks,
            Err(error) => {
                warn!(%error, cpu_percent = busy.round(), "the CPU is busy, and no profile could be taken");
                continue;
            }
        };
        let kept = kept.clone();
        match tokio::task::spawn_blocking(move || kept.keep(&stacks, busy)).await {
            Ok(Ok(name)) => info!(name, cpu_percent = busy.round(), "the CPU was busy: a profile was kept"),
            Ok(Err(error)) => warn!(%error, "DATA_DIR cannot be written: a profile is lost"),
            Err(_) => {}
        }
    }
}
