//! The Live API: WebSocket sessions, relayed both ways over a leased key.
//!
//! ```text
//! handshake -> rate, place -> 101 -> session, in the connection's own task
//!   session: setup message -> connect (another key where one refuses) -> pump both ways -> both sides closed
//! ```

use std::fmt;
use std::sync::Arc;

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::layer::admit;
use crate::layer::record::Open;
use crate::record::Record;
use crate::relay::Relay;
use crate::secret::Secret;
use crate::sequel::Sequel;
use crate::upstream::{Handshake, headers};

mod handshake;
mod message;
mod close;
mod frames;
mod socket;
mod tally;
mod means;
mod pump;
mod books;
mod connect;
mod session;

pub use means::{Limits, Means};
use session::{Asked, Session};

/// The room of sessions, of one worker.
#[derive(Clone)]
pub struct Live(Arc<Means>);

impl Live {
    /// A room with `means`.
    pub fn new(means: Means) -> Self {
        Self(Arc::new(means))
    }

    /// Answers the handshake. With an ephemeral `token` the session is the token's, and no key's. The session follows on
    /// the connection; whatever refuses it before is plain HTTP.
    pub async fn open(
        &self,
        endpoint: Endpoint,
        client: Client,
        token: Option<Secret>,
        record: Arc<Record>,
        head: &mut Parts,
    ) -> Result<Response<Relay>, Error> {
        let handshake = handshake::read(head)?;
        // Where a credential lets clients in, a page has none that is not its own.
        if client.anonymous() && token.is_none() && handshake::from_elsewhere(&head.headers) {
            return Err(Error::ForeignOrigin);
        }
        // Both are there on HTTP/1.1, the only version whose handshakes are read.
        let (upgrade, sequel) = (head.extensions.remove::<OnUpgrade>(), head.extensions.remove::<Sequel>());
        let (Some(upgrade), Some(sequel)) = (upgrade, sequel) else { return Err(Error::UpgradeRequired) };
        admit::within_rate(&client)?;
        let place = Arc::clone(&self.0.places).take(&record, Instant::now() + self.0.limits.setup).await?;
        let answer = switching(&handshake);
        let headers = headers::up(std::mem::take(&mut head.headers));
        // The wait for the place is told already.
        let began = Instant::now();
        let asked = Asked { endpoint, client, token, record, headers, handshake, began };
        self.follow(asked, upgrade, &sequel, place);
        Ok(answer)
    }

    /// Leaves the session on its connection. From here on it closes the record, and holds the place to its end.
    fn follow(&self, asked: Asked, upgrade: OnUpgrade, sequel: &Sequel, place: OwnedSemaphorePermit) {
        let (means, phase) = (Arc::clone(&self.0), sequel.phase());
        let open = Open::new(Arc::clone(&asked.record), Arc::clone(&means.lease.eyes.telemetry));
        sequel.leave(Box::pin(async move {
            let (mut open, _place) = (open, place);
            if let Ok(upgraded) = upgrade.await {
                Session::new(means, asked, phase).run(upgraded).await;
                open.whole = true;
            }
        }));
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// The answer that ends HTTP on the connection.
fn switching(handshake: &Handshake) -> Response<Relay> {
    let mut answer = Response::new(Relay::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, handshake.accept.clone());
    answer
}
