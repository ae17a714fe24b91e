//! A faithful fake of Google's Gemini API: its routes, its quotas, its refusals, and faults by script.
//!
//! A [`World`] holds who is known, what is spent, which faults are to come and what was seen; [`serve`] answers for
//! it on a listener. Tests run it in process on port 0, people run it to develop without spending quota.

mod span;
mod base64;
mod mint;
mod pages;
mod refusals;
mod shape;
mod quota;
mod bodies;
mod fault;
mod script;
mod settings;
mod auth;
mod journal;
mod ledger;
mod content;
mod schema;
mod tools;
mod speech;
mod prefixes;
mod store;
mod operations;
mod files;
mod sessions;
mod world;
mod line;
mod wire;
mod reply;
mod shelf;
mod references;
mod signatures;
mod route;
mod multipart;
mod generate;
mod openai;
mod catalogue;
mod control;
mod door;
mod delivery;
mod question;
mod resources;
mod batches;
mod pictures;
mod openai_files;
mod interactions;
mod methods;
mod upload;
mod answer;
mod live;

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use auth::{Credential, Form};
pub use fault::{Fault, Place};
pub use journal::{BODY_KEPT_MAX, Ending, SeenCall};
pub use ledger::QuotaRule;
pub use quota::{Measure, Moment, Quota, Shortage, Tier, Usage, Violation};
pub use refusals::Refusal;
pub use script::Script;
pub use settings::{MockKey, Settings};
pub use shape::{Level, Shape};
pub use world::World;

/// Connections at once; the next waits for one to end.
const CONNECTIONS_MAX: usize = 16_384;
/// The rest after an accept that failed, as it does when the files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers on `listener`, HTTP/1.1 and HTTP/2 alike, until it is dropped; all connections end with it.
pub async fn serve(listener: TcpListener, world: Arc<World>) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&world)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, world: Arc<World>) {
    let (socket, line) = line::Socket::new(stream, Arc::clone(&world));
    let streams_max = world.settings().max_concurrent_streams;
    let hold = Arc::clone(&line);
    let service = service_fn(move |request| {
        let (world, line) = (Arc::clone(&world), Arc::clone(&line));
        async move {
            if live::owns(&request) {
                return live::answer(world, line, request).await;
            }
            answer::answer(world, line, request).await
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(streams_max);
    // What ends a connection is the caller's doing or a script's; neither is worth a word here.
    tokio::select! {
        _ = builder.serve_connection_with_upgrades(TokioIo::new(socket), service) => {}
        () = hold.over() => return,
    }
    if let Some(session) = hold.next() {
        tokio::select! {
            () = session => {}
            () = hold.over() => {}
        }
    }
}

#[cfg(test)]
mod trial;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod resource_tests;
#[cfg(test)]
mod upload_tests;
#[cfg(test)]
mod interaction_tests;
