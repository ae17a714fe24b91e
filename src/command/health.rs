//! `geminate health`: for a container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::config::Sources;
use crate::settings;

/// The time an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running instance whether it takes traffic.
#[derive(clap::Args, Debug)]
pub(super) struct Health {
    /// What to ask [default: /readyz at the configured HOST and PORT]
    #[arg(long)]
    url: Option<String>,
}

impl Health {
    /// Exit 0 when the answer is a success, else 1 with the reason.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let url = match self.url {
            Some(url) => url,
            None => here(&Sources::of_process(config).settings()?.server),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(&url))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn ask(url: &str) -> anyhow::Result<()> {
    // No proxy: the question is about this machine. No certificates: none is to be loaded for plain HTTP.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build()?;
    let answer = client.get(url).send().await.map_err(reqwest::Error::without_url).context("there is no answer")?;
    if !answer.status().is_success() {
        bail!("the answer is {}", answer.status());
    }
    Ok(())
}

/// Where an instance with these settings answers on its own machine.
fn here(server: &settings::Server) -> String {
    format!("http://{}/readyz", reached_at(server.host, server.port))
}

/// Where a listener with this address is reached from its own machine.
pub(super) fn reached_at(host: IpAddr, port: u16) -> SocketAddr {
    let host = match host {
        host if !host.is_unspecified() => host,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(host, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_asked_where_it_answers() {
        for (host, url) in [
            ("0.0.0.0", "http://127.0.0.1:8080/readyz"),
            ("::", "http://[::1]:8080/readyz"),
            ("192.0.2.1", "http://192.0.2.1:8080/readyz"),
        ] {
            let server = settings::Server { host: host.parse().unwrap(), ..settings::Server::default() };
            assert_eq!(here(&server), url);
        }
    }
}
