//! The counts since the start and the gauges of now: as JSON, and as Prometheus reads them.

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::affinity::Affinity;
use crate::layer::remember::Answers;
use crate::monitor::prometheus::Page;
use crate::pool::view::{KeyView, PoolView};
use crate::readiness::Readiness;
use crate::telemetry::process::Process;
use crate::telemetry::{Counts, Telemetry};

/// Series of a day's use: a key and a model. Those of the first keys are shown.
const DAYS_MAX: usize = 10_000;

/// The JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct Metrics {
    started_at: Timestamp,
    uptime_seconds: u64,
    in_flight: u64,
    streams_open: u64,
    connections_open: u64,
    connections_accepted: u64,
    accept_failures: u64,
    pool_waiting: usize,
    /// Resources whose owner is known.
    resources_known: u64,
    cache: Cache,
    /// `null` where conversations are not kept together.
    prefix_affinity: Option<Prefixes>,
    #[serde(flatten)]
    counts: Counts,
    process: Process,
}

/// The answers that are kept.
#[derive(Debug, Serialize)]
struct Cache {
    enabled: bool,
    hits: u64,
    misses: u64,
    shared: u64,
    /// Of the requests that may be answered from memory, the share that cost no call of their own.
    hit_ratio: Option<f64>,
    entries: u64,
    bytes: u64,
}

impl Cache {
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn now(counts: &Counts, answers: Option<&Answers>) -> Self {
        let [hits, misses, shared] = counts.remembered;
        let all = hits + misses + shared;
        let hit_ratio = (all > 0).then(|| (hits + shared) as f64 / all as f64);
        let (entries, bytes) = answers.map_or((0, 0), Answers::size);
        Self { enabled: answers.is_some(), hits, misses, shared, hit_ratio, entries, bytes }
    }
}

/// Requests by whether they went where their prefix was read before, and what that came to.
#[derive(Debug, Serialize)]
struct Prefixes {
    kept: u64,
    moved: u64,
    new: u64,
    /// Input tokens that Google had cached: each costs a tenth.
    cached_tokens: u64,
    /// Their share of all input tokens.
    cached_share: Option<f64>,
}

impl Prefixes {
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn now(counts: &Counts, affinity: &Affinity) -> Option<Self> {
        let [kept, moved, new] = affinity.prefixes()?.counts();
        let (cached_tokens, all) = (counts.tokens.cached_tokens, counts.tokens.prompt_tokens);
        let cached_share = (all > 0).then(|| cached_tokens as f64 / all as f64);
        Some(Self { kept, moved, new, cached_tokens, cached_share })
    }
}

impl Metrics {
    /// As it stands.
    pub(crate) fn now(
        telemetry: &Telemetry,
        readiness: &Readiness,
        view: &PoolView,
        affinity: &Affinity,
        answers: Option<&Answers>,
    ) -> Self {
        let counts = telemetry.counts();
        Self {
            started_at: telemetry.started_at(),
            uptime_seconds: telemetry.uptime(Instant::now()).as_secs(),
            in_flight: telemetry.in_flight(),
            streams_open: telemetry.streams_open(),
            connections_open: readiness.open(),
            connections_accepted: readiness.accepted(),
            accept_failures: readiness.accept_failed(),
            pool_waiting: view.waiting,
            resources_known: affinity.len(),
            cache: Cache::now(&counts, answers),
            prefix_affinity: Prefixes::now(&counts, affinity),
            counts,
            process: Process::now(),
        }
    }
}

/// The text form: what the calls counted, then what is read just now.
pub(crate) fn text(
    telemetry: &Telemetry,
    readiness: &Readiness,
    view: &PoolView,
    affinity: &Affinity,
    answers: Option<&Answers>,
) -> String {
    let mut page = Page::from(telemetry.render());
    let (entries, bytes) = answers.map_or((0, 0), Answers::size);
    page.family("geminate_build_info", "gauge", "Always 1; the version is a label");
    page.sample("geminate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    for (name, help, value) in [
        ("geminate_in_flight", "Requests whose answer is not over", telemetry.in_flight()),
        ("geminate_streams_open", "Streamed answers that are not over", telemetry.streams_open()),
        ("geminate_connections_open", "Connections of clients", readiness.open()),
        ("geminate_pool_waiting", "Requests that wait for a key", view.waiting as u64),
        ("geminate_resources_known", "Resources of single projects whose owner is known", affinity.len()),
        ("geminate_cache_entries", "Answers that are kept", entries),
        ("geminate_cache_bytes", "Bytes that kept answers take", bytes),
        ("geminate_keys", "Keys configured", view.keys.len() as u64),
        ("geminate_keys_usable", "Keys that can serve", view.usable as u64),
    ] {
        page.one(name, "gauge", help, Some(value));
    }
    let accepted = "Connections of clients that were accepted";
    page.one("geminate_connections_total", "counter", accepted, Some(readiness.accepted()));
    let failed = "Times that the system could not give a connection";
    page.one("geminate_accept_failures_total", "counter", failed, Some(readiness.accept_failed()));
    prefixes(&mut page, affinity);
    keys(&mut page, view);
    days(&mut page, telemetry, view);
    process(&mut page, Process::now(), telemetry.started_at());
    page.text()
}

fn prefixes(page: &mut Page, affinity: &Affinity) {
    let Some(prefixes) = affinity.prefixes() else { return };
    let name = "geminate_prefix_requests_total";
    page.family(name, "counter", "Requests by whether they went where their prefix was read before");
    for (outcome, count) in ["kept", "moved", "new"].into_iter().zip(prefixes.counts()) {
        page.sample(name, &[("outcome", outcome)], count);
    }
}

fn keys(page: &mut Page, view: &PoolView) {
    page.family("geminate_key_state", "gauge", "1 for the state that the key is in");
    for key in &view.keys {
        page.sample("geminate_key_state", &[("key", &key.id), ("state", key.state)], 1);
    }
    page.family("geminate_key_effective_weight", "gauge", "The weight by which the key is chosen now");
    for key in &view.keys {
        page.sample("geminate_key_effective_weight", &[("key", &key.id)], key.effective_weight);
    }
    page.family("geminate_key_in_flight", "gauge", "Requests that run on the key");
    for key in &view.keys {
        page.sample("geminate_key_in_flight", &[("key", &key.id)], key.in_flight);
    }
}

/// What each key's project used of Google's day, and may use, where that is known. Keys that are out for good have none.
fn days(page: &mut Page, telemetry: &Telemetry, view: &PoolView) {
    let mut days = Vec::new();
    for key in view.keys.iter().filter(|key| !matches!(key.state, "dead" | "disabled")) {
        for learnt in &key.learnt {
            let Some(max) = learnt.day_requests_max else { continue };
            // A ceiling of the operator's holds for whatever name a client makes up; a limit of Google's is of a real model.
            let Some(model) = telemetry.model_label(&learnt.model, learnt.limits.rpd.is_some()) else { continue };
            days.push((key, model, learnt.day_requests, max));
        }
    }
    days.truncate(DAYS_MAX);
    page.family("geminate_key_day_requests", "gauge", "Requests of Google's day on the key's project, as made here");
    for (key, model, used, _) in &days {
        page.sample("geminate_key_day_requests", &of_day(key, model), used);
    }
    page.family("geminate_key_day_requests_max", "gauge", "Requests that Google's day may take, where that is known");
    for (key, model, _, max) in &days {
        page.sample("geminate_key_day_requests_max", &of_day(key, model), max);
    }
}

fn of_day<'l>(key: &'l KeyView, model: &'l str) -> [(&'static str, &'l str); 3] {
    [("key", &key.id), ("project", &key.project), ("model", model)]
}

fn process(page: &mut Page, process: Process, started_at: Timestamp) {
    let Process { resident_memory_bytes, memory_limit_bytes, cpu_seconds, open_fds, max_fds, threads } = process;
    page.one("process_cpu_seconds_total", "counter", "CPU time taken, user and system", cpu_seconds);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory that is resident", resident_memory_bytes),
        ("process_memory_limit_bytes", "Memory that the control groups allow", memory_limit_bytes),
        ("process_open_fds", "File descriptors open", open_fds),
        ("process_max_fds", "File descriptors allowed", max_fds),
        ("process_threads", "Threads", threads),
    ] {
        page.one(name, "gauge", help, value);
    }
    let help = "When the process began, in seconds since 1970";
    page.one("process_start_time_seconds", "gauge", help, Some(started_at.as_millisecond() / 1000));
}
