//! The house: everything that is made once from the configuration, and the work that goes on beside the requests.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::time::{Instant, interval, sleep};
use tracing::{info, warn};

use crate::admin::{self, Lasting, Levers, Room};
use crate::affinity::{self, Affinity};
use crate::alias::Aliases;
use crate::config::Configuration;
use crate::gateway::{self, Shared};
use crate::monitor::access::Listener;
use crate::monitor::{self, Monitor};
use crate::pool::key::{Ceilings, Key, KeySpec};
use crate::pool::memory::{Clocks, Memory};
use crate::pool::roster::Probing;
use crate::pool::{KeyPool, Probe};
use crate::readiness::Readiness;
use crate::refusal::Refusal;
use crate::relay::Eyes;
use crate::scrub::Scrubber;
use crate::secret::Secret;
use crate::server::Stack;
use crate::settings;
use crate::state::StateFile;
use crate::tasks::Tasks;
use crate::telemetry::{Telemetry, clock, profile};
use crate::upstream::{Certificate, Egresses, Upstream, authorities};
use crate::verdict::Verdict;

/// How often histograms are drained.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often the pool's memory is written, when it has changed.
const SAVE: Duration = Duration::from_secs(1);
/// The same where only what was used of a limit has: the end of a run writes it down in any case.
const SAVE_USE: Duration = Duration::from_secs(15);
/// The same for the index of resources.
const SAVE_INDEX: Duration = Duration::from_secs(2);
/// Writing it takes no more than one part of so many of the time.
const SAVE_SHARE: u32 = 20;
/// How often it is looked whether a dead key is due to be asked.
const PROBES: Duration = Duration::from_millis(500);

/// Made once from the configuration.
pub(super) struct House {
    shared: Shared,
    monitor: Arc<Monitor>,
    egresses: Egresses,
    authorities: Arc<Vec<Certificate>>,
    /// The pool's memory.
    memory: StateFile,
    /// The index of resources.
    index: StateFile,
}

/// Everything that could be printed and must not be.
pub(super) fn scrubber(configuration: &Configuration) -> anyhow::Result<Arc<Scrubber>> {
    let settings = &configuration.settings;
    let auth = &settings.auth;
    let keys = configuration.keys.iter().flat_map(|key| [Some(&key.secret), key.proxy.as_ref()]).flatten();
    let secrets: Vec<&Secret> = keys.chain(&auth.tokens).chain(&auth.admin_token).chain(&auth.jwt.secret).collect();
    Ok(Arc::new(Scrubber::new(secrets)?))
}

/// The configured keys, of which nothing is known yet, and their ways out.
pub(super) fn pool(keys: &[settings::Key], clocks: Clocks) -> anyhow::Result<(KeyPool, Egresses)> {
    let mut egresses = Egresses::default();
    let specs: Vec<KeySpec> = keys.iter().map(|key| spec(key, &mut egresses)).collect();
    Ok((KeyPool::new(&specs, clocks)?, egresses))
}

/// Where the pool's memory is.
pub(super) fn memory(settings: &settings::Settings) -> StateFile {
    StateFile::new(&settings.data_dir, "pool.json")
}

impl House {
    /// Builds it. Reads what an earlier run left in `DATA_DIR`.
    pub(super) fn new(
        configuration: Configuration,
        scrubber: Arc<Scrubber>,
        readiness: Arc<Readiness>,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let Configuration { settings, keys, clients, .. } = configuration;
        let clocks = Clocks { now: Instant::now(), wall: clock() };
        let probing = Probing {
            first: Duration::from_millis(settings.pool.probe_after_ms),
            most: Duration::from_millis(settings.pool.probe_after_max_ms),
        };
        let (pool, egresses) = pool(&keys, clocks)?;
        let pool = Arc::new(pool.with_probing(probing));
        let memory = memory(&settings);
        if let Some(remembered) = memory.load::<Memory>() {
            pool.recall(&remembered, clocks);
        }
        let weights: Vec<String> = keys.iter().map(|key| key.weight.to_string()).collect();
        info!("loaded {} keys (weights {})", keys.len(), weights.join(", "));
        let telemetry = Telemetry::new(clocks.now);
        let authorities = Arc::new(authorities(settings.upstream.ca_file.as_deref())?);
        let affinity = Arc::new(
            Affinity::new(&settings.affinity)
                .with_homes(Arc::clone(pool.homes()))
                .with_prefixes(settings.pool.prefix_affinity),
        );
        let index = StateFile::new(&settings.data_dir, "affinity.json");
        if let Some(remembered) = index.load::<affinity::Memory>() {
            affinity.recall(remembered, pool.keys(), clocks.wall, |name| clients.named(name));
        }
        let eyes = Eyes { telemetry: Arc::clone(&telemetry), affinity, scrubber };
        let shared = Shared::new(Arc::new(settings), Arc::clone(&pool), Arc::clone(&clients), eyes, tasks);
        let auth = &shared.settings.auth;
        let monitor = Arc::new(Monitor {
            telemetry,
            pool,
            clients,
            readiness,
            affinity: Arc::clone(&shared.eyes.affinity),
            answers: shared.answers.clone(),
            aliases: Aliases::new(&shared.settings.models.aliases),
            tokens: !auth.tokens.is_empty() || auth.admin_token.is_some(),
            enabled: shared.settings.monitoring.enabled,
        });
        // Whatever is wrong with a proxy is told now, not by the first worker.
        Upstream::new(&shared.settings.upstream, &egresses, &authorities)?;
        Ok(Self { shared, monitor, egresses, authorities, memory, index })
    }

    /// The stack of the data listener, for one worker; to be called within its runtime.
    pub(super) fn data(&self) -> anyhow::Result<impl Stack + use<>> {
        let upstream = self.upstream()?;
        let loopback = self.shared.settings.server.host.is_loopback();
        let pages = monitor::router(Arc::clone(&self.monitor), Listener::Data, loopback);
        Ok(monitor::Front::new(pages, gateway::stack(&self.shared, upstream)))
    }

    /// The router of the admin listener; to be called within its runtime.
    pub(super) fn admin(&self, levers: Levers, tasks: &Tasks) -> anyhow::Result<Router> {
        let lasting = Arc::new(Lasting::new(levers, tasks.clone())?);
        let room = Room::new(&self.shared, Arc::clone(&self.monitor), self.upstream()?, &lasting);
        Ok(admin::router(Arc::new(room)))
    }

    fn upstream(&self) -> anyhow::Result<Upstream> {
        Upstream::new(&self.shared.settings.upstream, &self.egresses, &self.authorities).context("the upstream")
    }

    /// Starts the work beside the requests.
    pub(super) fn start(&self, tasks: &Tasks) -> anyhow::Result<()> {
        let telemetry = Arc::clone(&self.shared.eyes.telemetry);
        until_stopped(tasks, async move {
            let mut ticks = interval(UPKEEP);
            loop {
                ticks.tick().await;
                telemetry.upkeep();
            }
        })?;
        let settings = &self.shared.settings;
        let (percent, kept) = (settings.monitoring.profile_cpu_percent, profile::Kept::new(&settings.data_dir));
        until_stopped(tasks, profile::watch(move || percent, kept))?;
        let (pool, memory) = (Arc::clone(&self.shared.pool), self.memory.clone());
        until_stopped(tasks, async move { save_on_change(&pool, &memory).await })?;
        let (pool, affinity) = (Arc::clone(&self.shared.pool), Arc::clone(&self.shared.eyes.affinity));
        let index = self.index.clone();
        until_stopped(tasks, async move { save_index(&pool, &affinity, &index).await })?;
        let (pool, upstream) = (Arc::clone(&self.shared.pool), self.upstream()?);
        let limits = self.shared.settings.pool.clone();
        until_stopped(tasks, async move { probe_when_due(&pool, &upstream, &limits).await })
    }

    /// Writes down what the next run should know.
    pub(super) fn remember(&self) {
        if let Err(error) = self.memory.save(&self.shared.pool.memory(Instant::now())) {
            warn!(%error, "DATA_DIR cannot be written: cool-downs will not survive a restart");
        }
        let affinity = &self.shared.eyes.affinity;
        if affinity.changes() > 0
            && let Err(error) = self.index.save(&affinity.memory(self.shared.pool.keys()))
        {
            warn!(%error, "DATA_DIR cannot be written: who owns which file will not survive a restart");
        }
    }
}

fn until_stopped(tasks: &Tasks, work: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    let stopping = tasks.clone();
    Ok(tasks.spawn(async move {
        tokio::select! {
            () = work => {}
            () = stopping.stopping() => {}
        }
    })?)
}

async fn save_on_change(pool: &KeyPool, file: &StateFile) {
    let mut saved: Option<Memory> = None;
    let (mut failing, mut at) = (false, Instant::now());
    loop {
        sleep(SAVE).await;
        let memory = pool.memory(Instant::now());
        let same = saved
            .as_ref()
            .is_some_and(|saved| *saved == memory || at.elapsed() < SAVE_USE && saved.lasting() == memory.lasting());
        if same || saved.is_none() && memory.keys.is_empty() {
            continue;
        }
        let (file, copy) = (file.clone(), memory.clone());
        let written = tokio::task::spawn_blocking(move || file.save(&copy)).await;
        match written {
            Ok(Ok(())) => (saved, failing, at) = (Some(memory), false, Instant::now()),
            Ok(Err(error)) if !failing => {
                warn!(%error, "DATA_DIR cannot be written: cool-downs will not survive a restart");
                failing = true;
            }
            _ => {}
        }
    }
}

/// The index may be large: it is written whole, beside everything else, and for a small part of the time.
async fn save_index(pool: &Arc<KeyPool>, affinity: &Arc<Affinity>, file: &StateFile) {
    let (mut saved, mut failing, mut pause) = (0, false, SAVE_INDEX);
    loop {
        sleep(pause).await;
        let changes = affinity.changes();
        if changes == saved {
            continue;
        }
        let (file, pool, affinity) = (file.clone(), Arc::clone(pool), Arc::clone(affinity));
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || file.save(&affinity.memory(pool.keys()))).await;
        pause = SAVE_INDEX.max(began.elapsed() * SAVE_SHARE);
        match written {
            Ok(Ok(())) => (saved, failing) = (changes, false),
            Ok(Err(error)) if !failing => {
                warn!(%error, "DATA_DIR cannot be written: who owns which file will not survive a restart");
                failing = true;
            }
            _ => {}
        }
    }
}

/// Dead keys are asked whether they live by listing models, which spends no quota. One at a time.
async fn probe_when_due(pool: &KeyPool, upstream: &Upstream, limits: &settings::Pool) {
    let timeout = Duration::from_millis(limits.probe_timeout_ms);
    let mut ticks = interval(PROBES);
    loop {
        ticks.tick().await;
        for key in pool.due_probes(Instant::now()) {
            let found = probe(upstream, &key, timeout).await;
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
    let status = answer.status();
    if status.is_success() {
        return Probe::Alive;
    }
    let body = http_body_util::BodyExt::collect(http_body_util::Limited::new(answer.into_body(), 64 << 10)).await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match Verdict::of_key(&Refusal::read(status.as_u16(), &body)) {
        Verdict::KeyInvalid | Verdict::Unauthorized => Probe::Dead,
        Verdict::Banned => Probe::Banned,
        // It was let in, whatever else is wrong.
        Verdict::Caller | Verdict::QuotaMinute | Verdict::QuotaDay | Verdict::QuotaBare => Probe::Alive,
        _ => Probe::Unclear,
    }
}

fn spec(key: &settings::Key, egresses: &mut Egresses) -> KeySpec {
    KeySpec {
        id: Arc::clone(&key.id),
        secret: key.secret.clone(),
        weight: key.weight,
        project: key.project.clone(),
        egress: egresses.number(key.proxy.as_ref()),
        ceilings: Ceilings { rpm: key.rpm, tpm: key.tpm, rpd: key.rpd },
        enabled: key.enabled,
    }
}
