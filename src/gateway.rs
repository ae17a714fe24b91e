//! The gateway: the walk of one request, on one page.
//!
//! ```text
//! listener -> front -> [record, catch panic, authenticate] -> handle
//!   handle: Endpoint::named, read -> path(call) -> Reply or Error -> answer
//!   path:   Admit -> Spread -> Deadline -> Remember -> Fallback -> Retry -> Hedge -> Lease -> upstream
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::BoxError;
use tower_http::body::UnsyncBoxBody;
use tower_http::catch_panic::CatchPanicLayer;

use crate::answer;
use crate::budget::Budget;
use crate::call::Call;
use crate::client::{Caller, Client, Clients, Denied};
use crate::endpoint::{Action, Endpoint, Surface};
use crate::error::Error;
use crate::layer::{admit, authenticate, deadline, fallback, hedge, lease, record, remember, retry, spread};
use crate::live::{self, Live};
use crate::pool::KeyPool;
use crate::record::Record;
use crate::relay::{Eyes, Relay};
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::upload::Uploads;
use crate::upstream::Upstream;

mod framing;
mod naming;
mod intake;

use intake::Intake;

const ATTEMPTS: HeaderName = HeaderName::from_static("x-geminate-attempts");
const MODEL: HeaderName = HeaderName::from_static("x-geminate-model");
const KEY: HeaderName = HeaderName::from_static("x-geminate-key");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What all workers share. Made once.
#[derive(Clone, Debug)]
pub struct Shared {
    /// As configured.
    pub settings: Arc<Settings>,
    /// The keys.
    pub pool: Arc<KeyPool>,
    /// The clients.
    pub clients: Arc<Clients>,
    /// Telemetry and scrubber.
    pub eyes: Eyes,
    /// The places of the data plane.
    pub places: Arc<admit::Places>,
    /// The answers that are kept; `None` keeps none.
    pub answers: Option<Arc<remember::Answers>>,
    /// The models to ask in the place of others; `None`: there are none.
    pub lists: Option<Arc<fallback::Lists>>,
    /// The retries and hedges of the data plane.
    pub budget: Arc<Budget>,
    /// The memory for bodies that may be sent again.
    pub intake: Arc<Intake>,
    /// What goes on with the key that began it.
    pub uploads: Arc<Uploads>,
}

impl Shared {
    /// What is derived from the settings, around a pool and its clients.
    pub fn new(settings: Arc<Settings>, pool: Arc<KeyPool>, clients: Arc<Clients>, eyes: Eyes, tasks: &Tasks) -> Self {
        let places = Arc::new(admit::Places::new(&settings.admit));
        let answers = remember::Answers::new(&settings, tasks.clone());
        let lists = fallback::Lists::new(&settings.models);
        let budget = Arc::new(Budget::new(&settings.retry));
        let intake = Arc::new(Intake::new(&settings, &eyes));
        let public_url = settings.server.public_url.clone();
        let uploads = Arc::new(Uploads::new(public_url, Arc::clone(&pool), Arc::clone(&eyes.affinity)));
        Self { settings, pool, clients, eyes, places, answers, lists, budget, intake, uploads }
    }

    /// The same by other settings. What is not touched by them is kept with all that is in it: places and budgets that
    /// are taken, rates, answers.
    pub fn renewed(old: &Self, settings: Arc<Settings>, clients: Arc<Clients>, tasks: &Tasks) -> Self {
        let (was, is) = (Arc::clone(&old.settings), Arc::clone(&settings));
        let new = Self::new(settings, Arc::clone(&old.pool), clients, old.eyes.clone(), tasks);
        let kept = |same: bool| if same { old } else { &new };
        let of_answers = was.cache == is.cache
            && was.models == is.models
            && was.deadline == is.deadline
            && was.upstream.base_url == is.upstream.base_url;
        // What a file says may have changed where its name has not.
        let of_files = is.auth.jwt.public_key_file.is_some() || is.auth.jwt.jwks_file.is_some();
        let of_clients = was.auth == is.auth && was.clients == is.clients && !of_files;
        let of_intake =
            was.server == is.server && was.retry == is.retry && was.deadline == is.deadline && was.models == is.models;
        Self {
            places: Arc::clone(&kept(was.admit == is.admit).places),
            answers: kept(of_answers).answers.clone(),
            budget: Arc::clone(&kept(was.retry == is.retry).budget),
            intake: Arc::clone(&kept(of_intake).intake),
            clients: Arc::clone(&kept(of_clients).clients),
            ..new.clone()
        }
    }

    fn retry(&self) -> retry::Means {
        let (budget, pool) = (Arc::clone(&self.budget), Arc::clone(&self.pool));
        let affinity = Arc::clone(&self.eyes.affinity);
        retry::Means { settings: self.settings.retry.clone(), budget, pool, affinity }
    }

    fn hedge(&self) -> Option<Arc<hedge::Means>> {
        let (pool, budget) = (Arc::clone(&self.pool), Arc::clone(&self.budget));
        let telemetry = Arc::clone(&self.eyes.telemetry);
        self.settings.retry.hedge.then(|| Arc::new(hedge::Means { pool, budget, telemetry }))
    }

    fn lease(&self, upstream: Upstream) -> lease::Means {
        let (pool, eyes) = (Arc::clone(&self.pool), self.eyes.clone());
        lease::Means { pool, upstream, eyes, limits: lease::Limits::new(&self.settings) }
    }

    fn live(&self, upstream: Upstream) -> Live {
        let (places, limits) = (Arc::clone(&self.places), live::Limits::new(&self.settings.live));
        Live::new(live::Means { places, retry: self.retry(), lease: self.lease(upstream), limits })
    }
}

/// The path of a call, from the outermost layer to the upstream.
fn path(shared: &Shared, upstream: Upstream) -> impl Path + use<> {
    let spread = spread::Means { pool: Arc::clone(&shared.pool), affinity: Arc::clone(&shared.eyes.affinity) };
    ServiceBuilder::new()
        // A place first: who waits for one must not hold a key.
        .layer(admit::layer(Arc::clone(&shared.places)))
        // A list is asked of every project under one place: each part is a call of its own from here on.
        .layer(spread::layer(spread))
        // The clock spans all attempts and the pauses between them.
        .layer(deadline::layer(&shared.settings.deadline))
        // What is known already costs no key; below the clock, which also bounds the wait for another's answer.
        .option_layer(shared.answers.clone().map(remember::layer))
        // Another model where no key can serve this one: below the memory, which keeps answers by the model asked for.
        .option_layer(shared.lists.clone().map(fallback::layer))
        // Another key where this one failed: below the rest, so that everything above sees one call.
        .layer(retry::layer(shared.retry()))
        // A second attempt beside a slow one: below the retries, which see one attempt and one failure.
        .option_layer(shared.hedge().map(hedge::layer))
        // One attempt: a key, the upstream, a verdict.
        .service(lease::Lease::new(shared.lease(upstream)))
}

/// A service from calls to replies.
trait Path:
    Service<Arc<Call>, Response = Response<Relay>, Error = Error, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Path for S where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error, Future: Send> + Clone + Send + Sync + 'static
{
}

/// An answer's body on its way to the client.
pub type Answer = record::RecordedBody<UnsyncBoxBody<Bytes, BoxError>>;

/// The data plane of one worker: every path that is not the house's own.
pub fn stack(
    shared: &Shared,
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Response<Answer>, Error = Infallible, Future: Send> + Clone + Send + Sync + use<>
{
    let rooms = Rooms { intake: Arc::clone(&shared.intake), uploads: Arc::clone(&shared.uploads) };
    let (path, live) = (path(shared, upstream.clone()), shared.live(upstream));
    let walk = Arc::new(Walk { path, live, rooms });
    ServiceBuilder::new()
        // Whatever happens below is counted and logged, refusals and panics too.
        .layer(record::layer(Arc::clone(&shared.eyes.telemetry), Arc::clone(&shared.eyes.scrubber), cancelled))
        // One request's panic is that request's 500.
        .layer(CatchPanicLayer::custom(panicked))
        // Who asks is known before anything is read of what they ask.
        .layer(authenticate::layer(Arc::clone(&shared.clients), Arc::clone(&shared.eyes.affinity), denied))
        // In a box, so that the layers and the connection move a pointer.
        .service(service_fn(move |request: Request<Body>| {
            let (parts, body) = request.into_parts();
            Box::pin(handle(Arc::clone(&walk), parts, body))
        }))
}

/// What a worker's requests are walked by: counted by them alone, so that no two threads write one count.
struct Walk<P> {
    path: P,
    live: Live,
    rooms: Rooms,
}

struct Rooms {
    intake: Arc<Intake>,
    uploads: Arc<Uploads>,
}

/// Reads the request, walks it down the path, and answers. A block, since it keeps what it is given once: an `async fn`
/// has room for its arguments and for what becomes of them.
#[expect(clippy::manual_async_fn, reason = "said above")]
fn handle<P: Path>(
    walk: Arc<Walk<P>>,
    mut parts: Parts,
    body: Body,
) -> impl Future<Output = Result<Response<Relay>, Infallible>> {
    async move {
        let (Some(caller), Some(record)) = (parts.extensions.get::<Caller>(), parts.extensions.get::<Arc<Record>>())
        else {
            // Both layers stand above this handler.
            return Ok(answer::refuse(Surface::Gemini, &Error::Panicked));
        };
        let Caller { client, surface, token } = caller.clone();
        let record = Arc::clone(record);
        record.client(client.id());
        let operator = client.operator();
        let named = || Ok(Endpoint::named(&parts.method, &parts.uri, surface, walk.rooms.intake.aliases())?);
        let reply = match framing::judge(&parts).and_then(|()| named()) {
            Ok(endpoint) => {
                let mut endpoint = endpoint.with_headers(&parts.headers);
                endpoint.model = endpoint.model.map(|model| walk.rooms.intake.shown(model));
                record.endpoint(&endpoint);
                match endpoint.action {
                    // A session has a walk of its own: see `live`. Rare, so that it has no room in every request's future.
                    Action::Live => {
                        let opened = Box::pin(walk.live.open(endpoint, client, token, record, &mut parts)).await;
                        return Ok(opened.unwrap_or_else(|error| answer::refuse(surface, &error)));
                    }
                    Action::Realtime => return Ok(answer::refuse(surface, &Error::NoRealtime)),
                    _ => {}
                }
                send(&walk, (endpoint, client, Arc::clone(&record)), &mut parts, body).await
            }
            Err(error) => {
                record.asks(surface, Action::Other);
                Err(error)
            }
        };
        let mut answer = match reply {
            Ok(reply) => decorate(reply),
            Err(error) => answer::refuse(surface, &error),
        };
        let served = answer.status().is_success();
        let headers = answer.headers_mut();
        headers.insert(ATTEMPTS, number(record.attempts()));
        if let Some(model) = record.fallback().filter(|_| served).and_then(|model| HeaderValue::from_str(&model).ok()) {
            headers.insert(MODEL, model);
        }
        if let Some(key) = record.key().filter(|_| operator).and_then(|id| HeaderValue::from_str(&id).ok()) {
            headers.insert(KEY, key);
        }
        Ok(answer)
    }
}

/// The way of all but sessions.
async fn send<P: Path>(
    walk: &Walk<P>,
    (endpoint, client, record): (Endpoint, Client, Arc<Record>),
    head: &mut Parts,
    body: Body,
) -> Result<Response<Relay>, Error> {
    let Rooms { intake, uploads } = &walk.rooms;
    let said = uploads.said(&endpoint, head)?;
    let call = intake.read(endpoint, client, record, head, body).await?;
    let upload = said.map(|said| uploads.of(said, &call));
    let mut path = walk.path.clone();
    let reply = path.ready().await?.call(call).await?;
    match upload {
        Some(upload) => upload.answered(reply),
        None => Ok(reply),
    }
}

/// Streams are told to every proxy on the way as such, and may be cancelled.
fn decorate(mut reply: Response<Relay>) -> Response<Relay> {
    reply.body_mut().goes_down();
    let headers = reply.headers_mut();
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // A heartbeat or a last error frame may come to what was promised.
        headers.remove(CONTENT_LENGTH);
    }
    reply
}

/// A number as a header says it: the few that most calls take are no new text.
fn number(attempts: u32) -> HeaderValue {
    const FEW: [&str; 4] = ["0", "1", "2", "3"];
    FEW.get(attempts as usize).map_or_else(|| HeaderValue::from(attempts), |few| HeaderValue::from_static(few))
}

fn denied(surface: Surface, denied: Denied) -> Response<Relay> {
    let error = match denied {
        Denied::Upload => Error::NoUpload,
        denied => Error::Unauthenticated(denied.to_string()),
    };
    answer::refuse(surface, &error)
}

/// The answer to a call that the operator ended before it had one.
fn cancelled(record: &Record) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
    let mut answer: Response<Relay> = answer::refuse(record.asked().0, &Error::Cancelled);
    answer.headers_mut().insert(ATTEMPTS, number(record.attempts()));
    answer.map(|body| UnsyncBoxBody::new(body.map_err(BoxError::from)))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature tower-http asks for")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response<Relay> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("of unknown kind"), "a request panicked");
    let mut answer: Response<Relay> = answer::refuse(Surface::Gemini, &Error::Panicked);
    answer.extensions_mut().insert(crate::record::Outcome::Panicked);
    answer
}
