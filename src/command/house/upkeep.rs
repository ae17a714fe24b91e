//! The work beside the requests: what is kept on disk, and who is asked whether he lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep};
use tracing::{info, warn};

use crate::affinity::Affinity;
use crate::pool::key::Key;
use crate::pool::memory::{Clocks, Memory};
use crate::pool::{KeyPool, Probe};
use crate::state::StateFile;
use crate::telemetry::{Telemetry, clock};
use crate::upstream::Upstream;

/// How often histograms are drained.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often the pool's memory is written, when it has changed.
const SAVE: Duration = Duration::from_secs(1);
/// The same where only what was used of a limit has: the end of a run writes it down in any case.
const SAVE_USE: Duration = Duration::from_secs(15);
/// The same for the index of resources.
const SAVE_INDEX: Duration = Duration::from_secs(2);
/// How often the history of hour and day is written.
const SAVE_HISTORY: Duration = Duration::from_mins(1);
/// Writing it takes no more than one part of so many of the time.
const SAVE_SHARE: u32 = 20;
/// How often it is looked whether a dead key is due to be asked.
const PROBES: Duration = Duration::from_millis(500);

/// Drains the histograms, again and again.
pub(super) async fn drain_histograms(telemetry: Arc<Telemetry>) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        telemetry.upkeep();
    }
}

/// Tells the pool the time, and writes down what it knows when that has changed.
pub(super) async fn save_on_change(pool: &Arc<KeyPool>, file: &StateFile) {
    let mut saved: Option<Memory> = None;
    let (mut failing, mut at) = (false, Instant::now());
    loop {
        sleep(SAVE).await;
        pool.look_at_clocks(Clocks { now: Instant::now(), wall: clock() });
        let memory = pool.memory(Instant::now());
        let same = saved
            .as_ref()
            .is_some_and(|saved| *saved == memory || at.elapsed() < SAVE_USE && saved.lasting() == memory.lasting());
        if same || saved.is_none() && memory.keys.is_empty() {
            continue;
        }
        let (file, pool) = (file.clone(), Arc::clone(pool));
        let written = tokio::task::spawn_blocking(move || file.save(|| pool.memory(Instant::now()))).await;
        match written {
            Ok(Ok(memory)) => (saved, failing, at) = (Some(memory), false, Instant::now()),
            Ok(Err(error)) if !failing => {
                warn!(%error, "DATA_DIR cannot be written: cool-downs will not survive a restart");
                failing = true;
            }
            _ => {}
        }
    }
}

/// Writes down the last day's history, now and then.
pub(super) async fn save_history(telemetry: &Arc<Telemetry>, file: &StateFile) {
    let mut failing = false;
    loop {
        sleep(SAVE_HISTORY).await;
        let (file, telemetry) = (file.clone(), Arc::clone(telemetry));
        match tokio::task::spawn_blocking(move || file.save(|| telemetry.history_memory(None))).await {
            Ok(Ok(_)) => failing = false,
            Ok(Err(error)) if !failing => {
                warn!(%error, "DATA_DIR cannot be written: the history of the day will not survive a restart");
                failing = true;
            }
            _ => {}
        }
    }
}

/// The index may be large: it is written whole, beside everything else, and for a small part of the time.
pub(super) async fn save_index(pool: &Arc<KeyPool>, affinity: &Arc<Affinity>, file: &StateFile) {
    let (mut saved, mut failing, mut pause) = (0, false, SAVE_INDEX);
    loop {
        sleep(pause).await;
        let changes = affinity.changes();
        if changes == saved {
            continue;
        }
        let (file, pool, affinity) = (file.clone(), Arc::clone(pool), Arc::clone(affinity));
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || file.save(|| affinity.memory(pool.keys()))).await;
        pause = SAVE_INDEX.max(began.elapsed() * SAVE_SHARE);
        match written {
            Ok(Ok(_)) => (saved, failing) = (changes, false),
            Ok(Err(error)) if !failing => {
                warn!(%error, "DATA_DIR cannot be written: who owns which file will not survive a restart");
                failing = true;
            }
            _ => {}
        }
    }
}

/// Dead keys are asked whether they live by listing models, which spends no quota. One at a time.
pub(super) async fn probe_when_due(pool: &KeyPool, upstream: &Upstream, timeout: impl Fn() -> Duration) {
    let mut ticks = interval(PROBES);
    loop {
        ticks.tick().await;
        for key in pool.due_probes(Instant::now()) {
            let found = probe(upstream, &key, timeout()).await;
            info!(
                "probed dead key #{}: {}",
                key.id,
                if found == Probe::Alive { "it serves again" } else { "still dead" }
            );
            pool.probed(&key, found, Instant::now());
        }
    }
}

async fn probe(upstream: &Upstream, key: &Key, timeout: Duration) -> Probe {
    let Ok(answer) = upstream.probe(key, timeout).await else { return Probe::Unclear };
    let status = answer.status().as_u16();
    let body = http_body_util::BodyExt::collect(http_body_util::Limited::new(answer.into_body(), 64 << 10)).await;
    // What did not come whole says nothing.
    body.map_or(Probe::Unclear, |body| Probe::of(status, &body.to_bytes()))
}
