//! Lanes: HTTP/2 connections side by side, each with no more streams than the upstream lets run on one.
//!
//! Google runs about a hundred streams on a connection and a client keeps one connection for each host, so whatever
//! comes beyond them would wait for an answer to end. Over HTTP/1.1 an answer has a connection of its own.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use reqwest::{Body, Client};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// Streams of one connection: below what the upstream allows, so that none ever waits for another to be taken down.
const STREAMS_MAX: usize = 80;
/// Connections of one way out and worker; streams beyond what they carry queue on the last.
const LANES_MAX: usize = 64;

/// Makes another client like the first, or says why it cannot.
pub(super) type Make = Box<dyn Fn() -> Result<Client, String> + Send + Sync>;

/// The connections of one way out.
pub(super) enum Lanes {
    /// HTTP/1.1: the client opens connections as it needs them.
    Open(Client),
    /// HTTP/2: one connection a client, more clients on demand.
    Bounded(Make, Mutex<Vec<Lane>>),
}

/// A client with one connection, and the streams that may still run on it.
pub(super) struct Lane {
    client: Client,
    places: Arc<Semaphore>,
}

impl Lane {
    fn new(client: Client) -> Self {
        Self { client, places: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }
}

impl Lanes {
    /// Lanes that `make` adds to.
    pub(super) fn bounded(first: Client, make: Make) -> Self {
        Self::Bounded(make, Mutex::new(vec![Lane::new(first)]))
    }

    /// The client for the next stream, and its place there: to be held to the end of the answer's body.
    pub(super) fn take(&self) -> (Client, Option<OwnedSemaphorePermit>) {
        let (make, lanes) = match self {
            Self::Open(client) => return (client.clone(), None),
            Self::Bounded(make, lanes) => (make, lanes),
        };
        let mut lanes = lanes.lock().unwrap_or_else(PoisonError::into_inner);
        // The first with room: the last ones fall idle when there is less to do, and their connections close.
        let place = |lane: &Lane| Some((lane.client.clone(), Arc::clone(&lane.places).try_acquire_owned().ok()?));
        if let Some((client, place)) = lanes.iter().find_map(place) {
            return (client, Some(place));
        }
        if lanes.len() < LANES_MAX {
            match make() {
                Ok(client) => lanes.push(Lane::new(client)),
                Err(why) => warn!(why, "no further connection to the upstream"),
            }
        }
        // Never empty: see `bounded`.
        let last = &lanes[lanes.len() - 1];
        (last.client.clone(), Arc::clone(&last.places).try_acquire_owned().ok())
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Open(_)) { "open" } else { "bounded" })
    }
}

/// The answer, holding `place` to the end of its body.
pub(super) fn hold(answer: Response<Body>, place: Option<OwnedSemaphorePermit>) -> Response<Body> {
    match place {
        Some(place) => answer.map(|body| Body::wrap(Held { body, _place: place })),
        None => answer,
    }
}

/// A body that keeps its place.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_connection_gets_more_streams_than_it_may_and_a_place_returns_with_the_body() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = || Client::builder().tls_certs_only([]).build().unwrap();
        let lanes = Lanes::bounded(client(), Box::new(move || Ok(client())));
        let count = || match &lanes {
            Lanes::Bounded(_, lanes) => lanes.lock().unwrap().len(),
            Lanes::Open(_) => 0,
        };
        let mut held: Vec<_> = (0..STREAMS_MAX).map(|_| lanes.take().1.unwrap()).collect();
        assert_eq!(count(), 1);
        let answer = hold(Response::new(Body::from("x")), lanes.take().1);
        assert_eq!(count(), 2, "the first was full");
        held.truncate(STREAMS_MAX - 1);
        drop(answer);
        let _again: Vec<_> = (0..=STREAMS_MAX).map(|_| lanes.take().1.unwrap()).collect();
        assert_eq!(count(), 2, "places are given back");
    }
}
