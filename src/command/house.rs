//! The house: everything that is made from the configuration, and made again when it changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::admin::{self, Lasting, Levers, Room};
use crate::affinity::{self, Affinity};
use crate::alias::Aliases;
use crate::client::Guesses;
use crate::config::Configuration;
use crate::gateway::{self, Shared};
use crate::linger::Linger;
use crate::monitor::access::Listener;
use crate::monitor::{self, Monitor};
use crate::pool::KeyPool;
use crate::pool::key::{Ceilings, KeySpec};
use crate::pool::memory::{Clocks, Memory};
use crate::pool::probing::Probing;
use crate::readiness::Readiness;
use crate::relay::Eyes;
use crate::scrub::Scrubber;
use crate::secret::Secret;
use crate::server::{Renewed, Stack};
use crate::settings;
use crate::state::StateFile;
use crate::tasks::Tasks;
use crate::telemetry::traces::Traces;
use crate::telemetry::{Telemetry, clock, log, profile};
use crate::upstream::{Authorities, Certificate, Egresses, Upstream};

mod upkeep;

/// Keys whose weights are told at the start.
const WEIGHTS_TOLD: usize = 20;

/// Made once. What a change of the configuration makes anew is put in its place by `renewal`.
pub(super) struct House {
    pub(super) tasks: Tasks,
    pub(super) log: log::Filter,
    readiness: Arc<Readiness>,
    guesses: Arc<Guesses>,
    pub(super) shared: ArcSwap<Shared>,
    rooms: Mutex<Rooms>,
    /// The pool's memory.
    memory: StateFile,
    /// The index of resources.
    index: StateFile,
    /// The last day's counts.
    history: StateFile,
}

/// What is to be renewed.
pub(super) struct Rooms {
    pub(super) egresses: Egresses,
    pub(super) authorities: Arc<Authorities>,
    /// Everybody's connections.
    pub(super) upstreams: Vec<Upstream>,
    /// Puts another stack in the place of a worker's, or of the admin listener's.
    pub(super) stacks: Vec<Renew>,
}

/// Renews one of the stacks.
pub(super) type Renew = Box<dyn Fn(&Shared, &Arc<Monitor>) + Send>;

/// Everything that could be printed and must not be.
pub(super) fn secrets(configuration: &Configuration) -> Vec<Secret> {
    let auth = &configuration.settings.auth;
    let keys = configuration.keys.iter().flat_map(|key| [Some(&key.secret), key.proxy.as_ref()]).flatten();
    let traces = configuration.traces.as_ref().map(settings::Traces::secrets).unwrap_or_default();
    let known = keys.chain(&auth.tokens).chain(&auth.admin_token).chain(&auth.jwt.secret);
    known.cloned().chain(traces).collect()
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
        log: log::Filter,
        readiness: Arc<Readiness>,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let Configuration { settings, keys, clients, authorities, traces, .. } = configuration;
        let clocks = Clocks { now: Instant::now(), wall: clock() };
        let (pool, egresses) = pool(&keys, clocks)?;
        let pool = Arc::new(pool.with_probing(probing(&settings.pool)));
        let memory = memory(&settings);
        if let Some(remembered) = memory.load::<Memory>() {
            pool.recall(&remembered, clocks);
        }
        let weights: Vec<String> = keys.iter().take(WEIGHTS_TOLD).map(|key| key.weight.to_string()).collect();
        let more = if keys.len() > WEIGHTS_TOLD { ", .." } else { "" };
        info!("loaded {} keys (weights {}{more})", keys.len(), weights.join(", "));
        let opened = |traces| self::traces(traces, &settings, authorities.all(), &scrubber, tasks);
        let telemetry = Telemetry::tracing(clocks.now, traces.as_ref().map(opened).transpose()?);
        let history = StateFile::new(&settings.data_dir, "history.json");
        if let Some(remembered) = history.load() {
            telemetry.recall_history(&remembered);
        }
        let affinity = Arc::new(
            Affinity::new(&settings.affinity)
                .with_homes(Arc::clone(pool.homes()))
                .with_prefixes(settings.pool.prefix_affinity),
        );
        let index = StateFile::new(&settings.data_dir, "affinity.json");
        if let Some(remembered) = index.load::<affinity::Memory>() {
            affinity.recall(remembered, pool.keys(), clocks.wall, |name| clients.named(name));
        }
        // Whatever is wrong with a proxy is told now, not by the first worker.
        Upstream::new(&settings.upstream, &egresses, authorities.all())?;
        let eyes = Eyes { telemetry, affinity, scrubber };
        let shared = ArcSwap::from_pointee(Shared::new(Arc::new(settings), pool, clients, eyes, tasks));
        let rooms = Mutex::new(Rooms { egresses, authorities, upstreams: Vec::new(), stacks: Vec::new() });
        let guesses = Arc::default();
        Ok(Self { tasks: tasks.clone(), log, readiness, guesses, shared, rooms, memory, index, history })
    }

    /// The stack of the data listener, for one worker; to be called within its runtime.
    pub(super) fn data(&self) -> anyhow::Result<impl Stack + use<>> {
        let mut rooms = self.rooms();
        let upstream = rooms.upstream(&self.shared())?;
        let linger = Linger::new(self.tasks.clone());
        let stack = move |shared: &Shared, monitor: &Arc<Monitor>| {
            let loopback = shared.settings.server.host.is_loopback();
            let pages = monitor::router(Arc::clone(monitor), Listener::Data, loopback);
            monitor::Front::new(pages, gateway::open_stack(shared, upstream.clone()), linger.clone())
        };
        Ok(self.renewed(&mut rooms, stack))
    }

    /// The stack of the admin listener; to be called within its runtime.
    pub(super) fn admin(&self, levers: Levers) -> anyhow::Result<impl Stack + use<>> {
        let shared = self.shared();
        let mut rooms = self.rooms();
        let upstream = rooms.upstream(&shared)?;
        let lasting = Arc::new(Lasting::new(levers, self.tasks.clone())?);
        let stack = move |shared: &Shared, monitor: &Arc<Monitor>| -> Router {
            admin::router(Arc::new(Room::new(shared, Arc::clone(monitor), upstream.clone(), &lasting)))
        };
        Ok(self.renewed(&mut rooms, stack))
    }

    /// What `make` makes now, and makes again with every change.
    fn renewed<S: Stack>(
        &self,
        rooms: &mut Rooms,
        make: impl Fn(&Shared, &Arc<Monitor>) -> S + Send + 'static,
    ) -> Renewed<S> {
        let shared = self.shared();
        let stack = Renewed::new(make(&shared, &self.monitor(&shared)));
        let place = stack.clone();
        rooms.stacks.push(Box::new(move |shared, monitor| place.renew(make(shared, monitor))));
        stack
    }

    pub(super) fn monitor(&self, shared: &Shared) -> Arc<Monitor> {
        let auth = &shared.settings.auth;
        Arc::new(Monitor {
            telemetry: Arc::clone(&shared.eyes.telemetry),
            pool: Arc::clone(&shared.pool),
            clients: Arc::clone(&shared.clients),
            guesses: Arc::clone(&self.guesses),
            proxies: shared.settings.server.trusted_proxies.as_slice().into(),
            readiness: Arc::clone(&self.readiness),
            affinity: Arc::clone(&shared.eyes.affinity),
            answers: shared.answers.clone(),
            aliases: Aliases::new(&shared.settings.models.aliases),
            files: [&self.memory, &self.index, &self.history].map(StateFile::clone).into(),
            tokens: !auth.tokens.is_empty() || auth.admin_token.is_some(),
            enabled: shared.settings.monitoring.enabled,
        })
    }

    /// Starts the work beside the requests.
    pub(super) fn start(self: &Arc<Self>) -> anyhow::Result<()> {
        let shared = self.shared();
        let (pool, affinity) = (Arc::clone(&shared.pool), Arc::clone(&shared.eyes.affinity));
        self.until_stopped(upkeep::drain_histograms(Arc::clone(&shared.eyes.telemetry)))?;
        let kept = profile::Kept::new(&shared.settings.data_dir);
        let house = Arc::clone(self);
        let percent = move || house.shared().settings.monitoring.profile_cpu_percent;
        self.until_stopped(profile::watch(percent, kept))?;
        let (memory, index) = (self.memory.clone(), self.index.clone());
        let kept = Arc::clone(&pool);
        self.until_stopped(async move { upkeep::save_on_change(&kept, &memory).await })?;
        let kept = Arc::clone(&pool);
        self.until_stopped(async move { upkeep::save_index(&kept, &affinity, &index).await })?;
        let (telemetry, history) = (Arc::clone(&shared.eyes.telemetry), self.history.clone());
        self.until_stopped(async move { upkeep::save_history(&telemetry, &history).await })?;
        let upstream = self.rooms().upstream(&shared).context("the upstream")?;
        let house = Arc::clone(self);
        let timeout = move || Duration::from_millis(house.shared().settings.pool.probe_timeout_ms);
        self.until_stopped(async move { upkeep::probe_when_due(&pool, &upstream, timeout).await })
    }

    /// Writes down what the next run should know.
    pub(super) fn remember(&self) {
        let shared = self.shared();
        if let Err(error) = self.memory.save(|| shared.pool.memory(Instant::now())) {
            warn!(%error, "DATA_DIR cannot be written: cool-downs will not survive a restart");
        }
        if let Err(error) = self.history.save(|| shared.eyes.telemetry.history_memory(Some(Instant::now()))) {
            warn!(%error, "DATA_DIR cannot be written: the history of the day will not survive a restart");
        }
        let affinity = &shared.eyes.affinity;
        if affinity.changes() > 0
            && let Err(error) = self.index.save(|| affinity.memory(shared.pool.keys()))
        {
            warn!(%error, "DATA_DIR cannot be written: who owns which file will not survive a restart");
        }
    }

    pub(super) fn until_stopped(&self, work: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let stopping = self.tasks.clone();
        Ok(self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stopping.stopping() => {}
            }
        })?)
    }

    /// What is shared by all workers at present.
    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.load_full()
    }

    pub(super) fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    /// Further connections to the upstream, which follow every change.
    fn upstream(&mut self, shared: &Shared) -> anyhow::Result<Upstream> {
        let upstream = Upstream::new(&shared.settings.upstream, &self.egresses, self.authorities.all())?;
        self.upstreams.push(upstream.clone());
        Ok(upstream)
    }
}

pub(super) fn probing(settings: &settings::Pool) -> Probing {
    Probing {
        first: Duration::from_millis(settings.probe_after_ms),
        most: Duration::from_millis(settings.probe_after_max_ms),
    }
}

pub(super) fn spec(key: &settings::Key, egresses: &mut Egresses) -> KeySpec {
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

/// Sends traces beside the requests, from now on and until the drain has ended them.
fn traces(
    traces: &settings::Traces,
    settings: &settings::Settings,
    authorities: &[Certificate],
    scrubber: &Arc<Scrubber>,
    tasks: &Tasks,
) -> anyhow::Result<Traces> {
    let (traces, sender) = Traces::new(traces, &settings.upstream.base_url, authorities, Arc::clone(scrubber))?;
    let stopping = tasks.clone();
    info!("traces are sent to the collector");
    tasks.spawn(async move { sender.run(stopping.stopping()).await })?;
    Ok(traces)
}
