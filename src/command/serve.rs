//! `geminate serve`: the whole house.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _};
use tracing::{info, warn};

use crate::admin::{Drain, Levers};
use crate::command::house::{self, House};
use crate::config::Sources;
use crate::config::book::{Book, Read};
use crate::readiness::Readiness;
use crate::scrub::Scrubber;
use crate::server::{Server, Stop, hangups, stops};
use crate::state::StateFile;
use crate::tasks::Tasks;
use crate::telemetry::log;

/// Serves until it is told to stop. Background work, signals and the admin listener run on this thread's runtime.
pub(super) fn run(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let path = config.map(Path::to_owned);
    let read: Read = Box::new(move || Sources::of_process(path.as_deref()));
    // Before any other thread runs: the environment is read.
    let sources = read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(sources, read, |_, _| Ok(())));
    // What may still block, such as a disk, had its time in the drain.
    runtime.shutdown_background();
    ended
}

/// Serves by `sources`, which `read` reads again; `bound` is told the addresses of the data and the admin listener.
pub(super) async fn serve(
    sources: Sources,
    read: Read,
    bound: impl FnOnce(SocketAddr, SocketAddr) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let configuration = sources.clone().configuration()?;
    let scrubber = Arc::new(Scrubber::new(&house::secrets(&configuration))?);
    let log = log::init(&configuration.settings.log, Arc::clone(&scrubber)).context("the log")?;
    for warning in &configuration.warnings {
        warn!("{warning}");
    }
    let (drain, drains) = Drain::new();
    let (signals, hangups) =
        (stops().context("signals cannot be received")?, hangups().context("SIGHUP cannot be received")?);
    let stops = stream::select(signals, drains.map(|()| Stop::Terminate));
    let (readiness, tasks) = (Arc::new(Readiness::default()), Tasks::new());
    let server = Server::bind(configuration.settings.server.clone(), Arc::clone(&readiness), tasks.clone())?;
    let history = StateFile::new(&configuration.settings.data_dir, "configurations.json");
    let (book, desk) = Book::new(sources, read, configuration.clone(), Arc::clone(&scrubber), history);
    let house = Arc::new(House::new(configuration, scrubber, log.clone(), readiness, &tasks)?);
    house.start()?;
    house.follow(book, hangups)?;
    let (data, admin) = (server.data_address()?, server.admin_address()?);
    info!(%data, %admin, "listening");
    bound(data, admin)?;
    let (admin, workers) = (house.admin(Levers { log, drain, desk })?, Arc::clone(&house));
    let telemetry = Arc::clone(&house.shared().eyes.telemetry);
    let cut = server.run(move |_| workers.data(), admin, stops, telemetry).await?;
    house.remember();
    Ok(cut.map_or(ExitCode::SUCCESS, |stop| ExitCode::from(stop.exit_code())))
}
