//! The ways out: one HTTP client for each proxy, made alike.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Proxy, redirect, retry};

use crate::settings::{Protocol, Upstream};
use crate::upstream::lanes::Lanes;

/// Flow-control windows of an HTTP/2 connection: a slow reader fills its own stream's, never the connection's.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Why the clients cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A proxy's address is none; it may hold a password, so it is not shown.
    #[error("a key's proxy is not a URL such as http://host:port")]
    Proxy,
    /// The TLS backend.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}

/// The connections of one way out; `proxy` replaces what `HTTPS_PROXY` and `NO_PROXY` say.
pub(super) fn lanes(settings: &Upstream, authorities: &[Certificate], proxy: Option<Proxy>) -> Result<Lanes, Unusable> {
    let first = client(settings, authorities, proxy.clone())?;
    Ok(match settings.protocol {
        Protocol::Http1 => Lanes::Open(first),
        Protocol::Http2 => {
            let (settings, authorities) = (settings.clone(), authorities.to_vec());
            let make = move || client(&settings, &authorities, proxy.clone()).map_err(|error| error.to_string());
            Lanes::bounded(first, Box::new(make))
        }
    })
}

/// A client that only carries: no redirects, no retries, no decompression, no time limit on a whole answer.
fn client(settings: &Upstream, authorities: &[Certificate], proxy: Option<Proxy>) -> Result<Client, Unusable> {
    let builder = ClientBuilder::new()
        .redirect(redirect::Policy::none())
        // Without a number it keeps a copy of each request all the same.
        .retry(retry::never().max_retries_per_request(0))
        .referer(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
        .pool_idle_timeout(Duration::from_millis(settings.idle_connection_timeout_ms))
        .pool_max_idle_per_host(settings.idle_connections_max as usize)
        .tls_certs_only(authorities.iter().cloned());
    let builder = match settings.protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder
            .http2_prior_knowledge()
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10)),
    };
    let builder = match proxy {
        Some(proxy) => builder.proxy(proxy),
        None if is_proxied() => builder,
        // Else each request would ask anew.
        None => builder.no_proxy(),
    };
    builder.build().map_err(|error| Unusable::Client(error.without_url().to_string()))
}

/// Whether the environment names a proxy.
fn is_proxied() -> bool {
    let names = ["http_proxy", "https_proxy", "all_proxy"].into_iter();
    names.flat_map(|name| [name.to_owned(), name.to_uppercase()]).any(|name| std::env::var_os(name).is_some())
}
