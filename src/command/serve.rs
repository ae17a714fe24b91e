//! `geminate serve`: the whole house.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tracing::{info, warn};

use crate::config::{Configuration, Sources};
use crate::readiness::Readiness;
use crate::server::{Server, stops};
use crate::tasks::Tasks;

/// Serves until it is told to stop. Background work, signals and the admin listener run on this thread's runtime.
pub(super) fn run(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let configuration = Sources::of_process(config).configuration()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(configuration))
}

async fn serve(configuration: Configuration) -> anyhow::Result<ExitCode> {
    for warning in &configuration.warnings {
        warn!("{warning}");
    }
    let stops = stops().context("signals cannot be received")?;
    let (readiness, tasks) = (Arc::new(Readiness::default()), Tasks::new());
    let server = Server::bind(configuration.settings.server, Arc::clone(&readiness), tasks)?;
    info!(data = %server.data_address()?, admin = %server.admin_address()?, "listening");
    let probes = probes(readiness);
    let admin = probes.clone();
    let cut = server.run(move |_| Ok(probes.clone()), admin, stops).await?;
    Ok(cut.map_or(ExitCode::SUCCESS, |stop| ExitCode::from(stop.exit_code())))
}

/// `/healthz`: the process lives. `/readyz`: it takes traffic.
fn probes(readiness: Arc<Readiness>) -> Router {
    let ready = move || {
        let ready = readiness.ready();
        async move { if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}
