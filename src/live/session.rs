//! One session, from the client's first message to the close of both sides.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::affinity::{Affinity, Bound};
use crate::call::wish::Wish;
use crate::call::{Call, Payload};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, seconds};
use crate::live::books::Books;
use crate::live::close::{Close, NORMAL, POLICY};
use crate::live::connect::{Connected, connect, connect_by_token};
use crate::live::means::{Limits, Means};
use crate::live::message::Setup;
use crate::live::pump::{self, Clock, Side};
use crate::live::socket::{self, ClientSocket, Message};
use crate::phase::Phase;
use crate::prefix::Prefix;
use crate::record::{Outcome, Record};
use crate::reference::{Finder, REFERENCES_MAX, Reference};
use crate::resource::Resource;
use crate::secret::Secret;
use crate::upstream::Handshake;

/// Messages of the client's that are read before its session has begun, so that its close behind them is seen; what
/// follows them waits in the network ...
const AHEAD_MAX: usize = 256;
/// ... as does what follows so many bytes.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// A session as it was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) endpoint: Endpoint,
    pub(super) client: Client,
    pub(super) token: Option<Secret>,
    pub(super) record: Arc<Record>,
    pub(super) headers: HeaderMap,
    pub(super) handshake: Handshake,
    pub(super) began: Instant,
}

/// A session, its handshake answered.
pub(super) struct Session {
    means: Arc<Means>,
    asked: Asked,
    phase: watch::Receiver<Phase>,
}

/// Why a session did not begin.
enum Unbegun {
    /// The client went away.
    Gone,
    /// The client sent what is no first message, or none.
    Fault(Close),
    /// No key could serve, or Google refused.
    Refused(Error),
}

impl Session {
    pub(super) fn new(means: Arc<Means>, asked: Asked, phase: watch::Receiver<Phase>) -> Self {
        Self { means, asked, phase }
    }

    /// Serves it to its end. Dropped before, it ends both sides at once; the key is not to blame.
    pub(super) async fn run(self, upgraded: hyper::upgrade::Upgraded) {
        let Self { means, asked, phase } = self;
        let (record, who) = (Arc::clone(&asked.record), asked.client.clone());
        let mut client = socket::on(TokioIo::new(upgraded), Role::Server, means.limits.message_bytes).await;
        let clock = Clock::new(means.limits, phase.clone(), Arc::clone(&record));
        // Boxed, so that a session under way does not carry what its beginning took.
        let begun = Box::pin(async {
            tokio::select! {
                begun = begin(&means, asked, &mut client) => begun,
                () = clock.cut() => Err(Unbegun::Refused(Error::Draining)),
                () = clock.cancelled() => Err(Unbegun::Refused(Error::Cancelled)),
            }
        });
        let (connected, ahead) = match begun.await {
            Ok(begun) => begun,
            Err(unbegun) => return turn_away(&record, client, unbegun).await,
        };
        let Connected { lease, key, socket: google, first } = connected;
        let clock = Clock::new(means.limits, phase, Arc::clone(&record));
        let mut books = Books::new(means.lease.eyes.clone(), record, who.clone(), lease, key);
        let (to, from) = client.split();
        let mut client = Side { from, to, ahead };
        let (to, from) = google.split();
        let mut google = Side { from, to, ahead: VecDeque::from([first]) };
        let seen = |message: &Message| books.read(message);
        let check = |message: &Message| checked(&means.lease.eyes.affinity, &who, message);
        let ending = pump::run(&mut client, &mut google, &clock, seen, check, go_away).await;
        let (to_client, to_google) = books.end(ending, &means.limits);
        if let (Ok(client), Ok(google)) = (client.to.reunite(client.from), google.to.reunite(google.from)) {
            tokio::join!(socket::close(client, &to_client), socket::close(google, &to_google));
        }
    }
}

/// Reads the first message and connects. The client's next messages may be read meanwhile: they wait for Google.
async fn begin(
    means: &Means,
    asked: Asked,
    client: &mut ClientSocket,
) -> Result<(Connected, VecDeque<Message>), Unbegun> {
    let setup = first(client, &means.limits).await?;
    asked.record.add_wait(asked.began.elapsed());
    let token = asked.token.clone();
    let (call, handshake) = call(means, asked, &setup).map_err(Unbegun::Refused)?;
    let call = Arc::new(call);
    let mut ahead = VecDeque::new();
    let connecting = async {
        match &token {
            Some(token) => connect_by_token(means, &call, &handshake, &setup, token).await,
            None => connect(means, &call, &handshake, &setup).await,
        }
    };
    let connected = tokio::select! {
        connected = connecting => connected.map_err(Unbegun::Refused)?,
        unbegun = watch(client, &mut ahead, &means.limits) => return Err(unbegun),
    };
    Ok((connected, ahead))
}

/// The client's first message.
async fn first(client: &mut ClientSocket, limits: &Limits) -> Result<Message, Unbegun> {
    let setup = timeout(limits.setup, data(client, limits)).await;
    setup.unwrap_or_else(|_| {
        let wait = seconds(limits.setup);
        let reason = format!("no setup message came within {wait} s (live.setup_timeout_ms)");
        Err(Unbegun::Fault(Close::new(POLICY, &reason)))
    })
}

/// The next message that is no control frame.
async fn data(client: &mut ClientSocket, limits: &Limits) -> Result<Message, Unbegun> {
    loop {
        match client.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
            Some(Ok(Message::Close(_))) | None => return Err(Unbegun::Gone),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                return Err(Close::of_fault(&error, limits.message_bytes).map_or(Unbegun::Gone, Unbegun::Fault));
            }
        }
    }
}

/// Watches whether the client is still there, past a bounded number of messages that it may have sent before it left.
async fn watch(client: &mut ClientSocket, ahead: &mut VecDeque<Message>, limits: &Limits) -> Unbegun {
    let mut bytes = 0;
    while ahead.len() < AHEAD_MAX && bytes < AHEAD_BYTES_MAX {
        match data(client, limits).await {
            Ok(message) => {
                bytes += message.len();
                ahead.push_back(message);
            }
            Err(unbegun) => return unbegun,
        }
    }
    pending().await
}

/// The session as a call: the pool and the retries see it as they see every other.
fn call(means: &Means, asked: Asked, setup: &Message) -> Result<(Call, Handshake), Error> {
    let Asked { mut endpoint, client, record, headers, handshake, .. } = asked;
    let bytes = setup.clone().into_data();
    let mut named = Setup::read(&bytes);
    let scrubber = &means.lease.eyes.scrubber;
    // It may be anything, a key of the pool too.
    named.model = named.model.map(|model| scrubber.scrub_str(&model).into_owned());
    if let Some(model) = &named.model {
        record.model(model);
    }
    let bound = bind(&means.lease.eyes.affinity, &client, &named, &bytes)?;
    endpoint.model = named.model.map(Into::into);
    let arrived = Instant::now();
    let call = Call {
        lane: endpoint.model.clone().unwrap_or_default(),
        endpoint,
        method: Method::GET,
        headers,
        payload: Payload::Kept(bytes, None),
        client,
        record,
        bound,
        prefix: Prefix::default(),
        wish: Wish::default(),
        left: None,
        patient: true,
        arrived,
        deadline: arrived + means.limits.setup,
        time: means.limits.setup,
        coming: AtomicBool::new(false),
    };
    Ok((call, handshake))
}

/// Which keys may serve it: those of the project where the session began that is to go on, and where what the message
/// names lives.
fn bind(affinity: &Affinity, client: &Client, setup: &Setup, message: &[u8]) -> Result<Bound, Error> {
    let mut finder = Finder::default();
    finder.feed(message);
    if affinity.isolates(client) && finder.unclear() {
        return Err(Error::Unchecked);
    }
    let named = finder.end().map_err(|_| Error::TooManyResources { max: REFERENCES_MAX })?;
    let session = match setup.handle.as_deref().map(Resource::session) {
        None if setup.unreadable => return Err(Error::Handle),
        None => None,
        Some(session) => Some(Reference { resource: session.ok_or(Error::Handle)?, certain: true }),
    };
    Ok(affinity.bind(session.iter().chain(&named), client)?)
}

/// Whether a message may go up: an isolated client names what is its own, whenever in the session it does.
fn checked(affinity: &Affinity, client: &Client, message: &Message) -> Result<(), Close> {
    if !affinity.isolates(client) {
        return Ok(());
    }
    let bytes = message.clone().into_data();
    bind(affinity, client, &Setup::read(&bytes), &bytes).map(drop).map_err(|error| Close::of(&error))
}

/// Closes a session that did not begin, and records it as the same answer over HTTP would be.
async fn turn_away(record: &Record, client: ClientSocket, unbegun: Unbegun) {
    let close = match unbegun {
        Unbegun::Gone => {
            record.outcome(Outcome::ClientGone);
            Close::new(NORMAL, "")
        }
        Unbegun::Fault(close) => {
            record.head(StatusCode::BAD_REQUEST.as_u16(), true);
            record.outcome(Outcome::CallerError);
            close
        }
        Unbegun::Refused(error) => {
            record.head(error.status().as_u16(), true);
            record.outcome(Outcome::from(&error));
            Close::of(&error)
        }
    };
    socket::close(client, &close).await;
}

/// What Google sends before it closes a connection: clients know it, and come back with a session's handle.
fn go_away(left: Duration) -> String {
    json!({"goAway": {"timeLeft": format!("{}s", left.as_secs())}}).to_string()
}
