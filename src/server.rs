//! The server: binds, deals connections to workers, and drains when it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::phase::Phase;
use crate::readiness::Readiness;
use crate::settings;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

use self::porter::Porter;

mod signal;
mod listen;
mod stack;
mod renewed;
mod porter;
mod refused;
mod activity;
mod stream;
mod connection;
mod worker;
mod accept;

pub use renewed::Renewed;
pub use signal::{Stop, hangups, stops};
pub use stack::Stack;
pub use worker::Worker;

/// Connections of the admin listener.
const ADMIN_CONNECTIONS_MAX: usize = 1_024;
/// What connections have to take the last words of calls that the drain ended, before they are cut.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What the drain gives to tasks after the last connection, and to the admin listener after them.
const LAST_GRACE: Duration = Duration::from_secs(5);

/// Both listeners, bound.
#[derive(Debug)]
pub struct Server {
    data: TcpListener,
    admin: TcpListener,
    settings: settings::Server,
    readiness: Arc<Readiness>,
    tasks: Tasks,
}

impl Server {
    /// Binds both, so that a taken port is known before anything else begins; raises the limit of open files.
    /// Needs a runtime: the one that [`Server::run`] will run on.
    pub fn bind(settings: settings::Server, readiness: Arc<Readiness>, tasks: Tasks) -> anyhow::Result<Self> {
        listen::raise_open_files();
        let bind = |name: &str, variables: &str, host, port| {
            let address = SocketAddr::new(host, port);
            listen::bind(address).with_context(|| format!("the {name} listener cannot have {address} ({variables})"))
        };
        let data = bind("data", "HOST, PORT", settings.host, settings.port)?;
        let admin = bind("admin", "ADMIN_HOST, ADMIN_PORT", settings.admin_host, settings.admin_port)?;
        Ok(Self { data, admin, settings, readiness, tasks })
    }

    /// Where the data listener is.
    pub fn data_address(&self) -> std::io::Result<SocketAddr> {
        self.data.local_addr()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `stops` gives the first item, then drains: the data listener is closed, requests that have
    /// begun finish within `drain_timeout_ms`, tasks end, the admin listener goes last. A second item ends it at
    /// once and is given back; the process should then exit with [`Stop::exit_code`].
    ///
    /// By `telemetry` the calls are ended that still run, and those that come later: once the drain's time is over, soon
    /// before connections are cut; or when the last one has ended, for what the admin listener has. It also counts what
    /// no stack is asked.
    ///
    /// `stack` makes the stack of one worker, on that worker's thread and within its runtime.
    pub async fn run<F, A>(
        self,
        stack: F,
        admin: impl Stack,
        mut stops: impl Stream<Item = Stop> + Unpin,
        telemetry: Arc<Telemetry>,
    ) -> anyhow::Result<Option<Stop>>
    where
        F: Fn(Worker) -> anyhow::Result<A> + Send + Sync + 'static,
        A: Stack,
    {
        let limits = connection::Limits::new(&self.settings, Porter::new(Some(Arc::clone(&telemetry))));
        let (phase, follow) = watch::channel(Phase::Serving);
        let (admin_phase, admin_follow) = watch::channel(Phase::Serving);
        let mut workers = worker::start(self.workers(), stack, &limits, &follow).await?;
        let (dealer, admin_desk) = worker::desk();

        let places = self.settings.connections_max as usize;
        let data = accept::run(self.data, places, workers.dealers(), Arc::clone(&self.readiness), follow);
        let uncounted = Arc::new(Readiness::default());
        let admin_accept =
            accept::run(self.admin, ADMIN_CONNECTIONS_MAX, vec![dealer], uncounted, admin_follow.clone());
        let admin_served = worker::serve(admin_desk, admin, limits.of_admin(), admin_follow);

        let life = async {
            self.readiness.set_ready();
            notify(sd_notify::NotifyState::Ready);
            // Whoever could say stop is gone: that is a stop as well.
            let stop = stops.next().await.unwrap_or(Stop::Terminate);
            notify(sd_notify::NotifyState::Stopping);
            self.readiness.set_draining();
            let deadline = Instant::now() + Duration::from_millis(self.settings.drain_timeout_ms);
            info!(signal = stop.name(), connections = self.readiness.open(), "draining");
            let cut_at = deadline + LAST_WORDS;
            phase.send_replace(Phase::Draining(cut_at));
            let drained = async {
                let _ = timeout_at(deadline, workers.drained()).await;
                let calls = telemetry.drain();
                if calls > 0 {
                    warn!(calls, "the drain's time is over: calls are ended");
                }
                // Workers cut what is left themselves.
                let _ = timeout_at(cut_at + LAST_GRACE, workers.drained()).await;
                self.tasks.stop();
                if timeout(LAST_GRACE, self.tasks.finished()).await.is_err() {
                    warn!(tasks = self.tasks.running(), "tasks did not end in time");
                }
            };
            let cut = tokio::select! {
                () = drained => None,
                Some(second) = stops.next() => Some(second),
            };
            phase.send_replace(Phase::Over);
            admin_phase.send_replace(Phase::Draining(Instant::now() + Duration::from_millis(200)));
            cut
        };
        let serving = async { tokio::join!(data, admin_accept, admin_served, life).3 };
        let cut = serving.await;
        admin_phase.send_replace(Phase::Over);
        Ok(cut)
    }

    fn workers(&self) -> usize {
        match self.settings.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => usize::from(workers),
        }
    }
}

/// Tells systemd, when it asked to be told.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd was not notified");
    }
}
