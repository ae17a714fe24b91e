//! The upstream: carries one attempt to Google over reqwest and hands back what came, unjudged.

use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Body, Proxy, Request, Url};

use crate::call::{Call, Payload};
use crate::error::Error;
use crate::pool::key::{Form, Key};
use crate::settings::{self, Protocol};

pub mod headers;
mod lanes;
mod authorities;
mod targets;
mod egress;
mod sockets;
mod onward;

use lanes::Lanes;
use targets::Targets;

pub use authorities::Authorities;
pub use egress::Unusable;
pub use reqwest::{Certificate, Upgraded};
pub use sockets::{Handshake, Opened};

/// What a dead key is asked: it needs a living key and spends no quota.
const PROBE: &str = "/v1beta/models?pageSize=1";
/// What a key is asked to see all that it may use, in pages as large as there are.
const MODELS: &str = "/v1beta/models?pageSize=1000";

/// The connections of one worker to the upstream. Clones are the same connections.
#[derive(Clone)]
pub struct Upstream(Arc<ArcSwap<Ways>>);

/// The ways out, as configured at one time.
struct Ways {
    /// One for each number.
    http: Arc<[Lanes]>,
    /// The same for WebSockets, which begin as HTTP/1.1.
    sockets: Arc<[Lanes]>,
    targets: Targets,
}

/// The ways out that the keys ask for: which proxy each has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Egresses {
    proxies: Vec<crate::secret::Secret>,
}

impl Egresses {
    /// The number of the way out through `proxy`; without one, 0: the common one.
    pub fn number(&mut self, proxy: Option<&crate::secret::Secret>) -> u32 {
        let Some(proxy) = proxy else { return 0 };
        let known = self.proxies.iter().position(|other| other.expose() == proxy.expose());
        let at = known.unwrap_or_else(|| {
            self.proxies.push(proxy.clone());
            self.proxies.len() - 1
        });
        u32::try_from(at + 1).unwrap_or(0)
    }
}

/// Why an attempt brought no answer.
#[derive(Debug)]
pub enum Broken {
    /// No connection: nothing was sent.
    Connect(String),
    /// The connection broke after something was sent.
    Interrupted(String),
    /// The client's own body failed while it was passed on.
    Body(Error),
}

impl Upstream {
    /// Clients of one worker: their connections live on its runtime.
    pub fn new(
        settings: &settings::Upstream,
        egresses: &Egresses,
        authorities: &[Certificate],
    ) -> Result<Self, Unusable> {
        let http = ways(settings, egresses, authorities)?;
        let sockets = match settings.protocol {
            Protocol::Http1 => Arc::clone(&http),
            Protocol::Http2 => {
                ways(&settings::Upstream { protocol: Protocol::Http1, ..settings.clone() }, egresses, authorities)?
            }
        };
        let base = Url::parse(settings.base_url.as_str()).map_err(|error| Unusable::Client(error.to_string()))?;
        Ok(Self(Arc::new(ArcSwap::from_pointee(Ways { http, sockets, targets: Targets::new(base) }))))
    }

    /// What goes out from now on goes out by the ways of `other`. What is under way ends where it began.
    pub fn renew(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// Sends the call with one credential of `key`, and returns with the answer's head.
    pub async fn send(&self, call: &Call, key: &Key, form: Form) -> Result<Response<Body>, Broken> {
        let mut request = Request::new(call.method.clone(), self.0.load().targets.url(&call.endpoint.target));
        *request.headers_mut() = call.headers.clone();
        let (name, value) = key.credential(form);
        request.headers_mut().insert(name, value);
        headers::trace(request.headers_mut(), &call.record, &key.id);
        *request.body_mut() = match &call.payload {
            Payload::Kept(bytes, _) if bytes.is_empty() && call.method == Method::GET => None,
            Payload::Kept(bytes, _) => Some(Body::from(bytes.clone())),
            Payload::Streamed(..) => call.payload.take().map(|body| Body::wrap(Lone::new(body))),
        };
        if tells_length(&call.method) && matches!(&call.payload, Payload::Kept(bytes, _) if bytes.is_empty()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.execute(key, request).await
    }

    /// Asks for the list of models: proves that a key lives and spends no quota.
    pub async fn probe(&self, key: &Key, limit: Duration) -> Result<Response<Body>, Broken> {
        let mut request = Request::new(Method::GET, self.0.load().targets.url(&PathAndQuery::from_static(PROBE)));
        let (name, value) = key.credential(Form::ApiKey);
        request.headers_mut().insert(name, value);
        *request.timeout_mut() = Some(limit);
        self.execute(key, request).await
    }

    /// Asks for a page of the models that a key may use, the credential in this form: spends no quota either. `page` is
    /// the token of a further page.
    pub async fn models(
        &self,
        key: &Key,
        form: Form,
        page: Option<&str>,
        limit: Duration,
    ) -> Result<Response<Body>, Broken> {
        let token = page.map(|page| format!("&pageToken={}", utf8_percent_encode(page, NON_ALPHANUMERIC)));
        let target = format!("{MODELS}{}", token.unwrap_or_default()).parse();
        let target = target.map_err(|_| Broken::Interrupted("the next page has no address".to_owned()))?;
        let mut request = Request::new(Method::GET, self.0.load().targets.fresh(&target));
        let (name, value) = key.credential(form);
        request.headers_mut().insert(name, value);
        *request.timeout_mut() = Some(limit);
        self.execute(key, request).await
    }

    /// Asks for a WebSocket at `target` by the way out number `egress`, with the one `credential`, if the target holds
    /// none.
    pub async fn open(
        &self,
        target: &PathAndQuery,
        mut headers: HeaderMap,
        handshake: &Handshake,
        egress: u32,
        credential: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Opened, Broken> {
        let ways = self.0.load();
        let (client, _) = ways.sockets.get(egress as usize).unwrap_or(&ways.sockets[0]).take();
        headers.extend(credential.map(|(name, value)| (Some(name), value)));
        let url = ways.targets.fresh(target);
        drop(ways);
        let opened = sockets::open(&client, url, headers, handshake).await;
        opened.map_err(|error| broken(&error))
    }

    async fn execute(&self, key: &Key, request: Request) -> Result<Response<Body>, Broken> {
        let (client, place) = {
            let ways = self.0.load();
            ways.http.get(key.egress() as usize).unwrap_or(&ways.http[0]).take()
        };
        match client.execute(request).await {
            Ok(mut answer) => {
                onward::lead(&mut answer);
                Ok(lanes::hold(answer.into(), place))
            }
            Err(error) => Err(broken(&error)),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ways out", self.0.load().http.len())
    }
}

/// The ways out, in the order of their numbers.
fn ways(
    settings: &settings::Upstream,
    egresses: &Egresses,
    authorities: &[Certificate],
) -> Result<Arc<[Lanes]>, Unusable> {
    let mut ways = vec![egress::lanes(settings, authorities, None)?];
    for proxy in &egresses.proxies {
        let proxy = Proxy::all(proxy.expose()).map_err(|_| Unusable::Proxy)?;
        ways.push(egress::lanes(settings, authorities, Some(proxy))?);
    }
    Ok(ways.into())
}

/// Whether a request of this method says that it has no body (RFC 9110, 8.6): Google's edge answers 411 to one that does
/// not, and hyper tells no length of a body that is over.
const fn tells_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// A streamed body. reqwest asks for one that threads could share; nobody does, so nobody ever waits for the lock.
struct Lone {
    body: Mutex<axum::body::Body>,
    begun: bool,
}

impl Lone {
    fn new(body: axum::body::Body) -> Self {
        Self { body: Mutex::new(body), begun: false }
    }
}

impl HttpBody for Lone {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.begun = true;
        Pin::new(this.body.get_mut().unwrap_or_else(PoisonError::into_inner)).poll_frame(cx)
    }

    /// Not before it was asked for anything: what is over by then without a byte is told by its length, or in chunks.
    fn is_end_stream(&self) -> bool {
        self.begun && self.body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// Sorts a failure of reqwest's. Its own text would hold the URL, so only its causes are told.
fn broken(error: &reqwest::Error) -> Broken {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(fault) = inner.downcast_ref::<Error>() {
            return Broken::Body(fault.clone());
        }
        cause = inner.source();
    }
    let why = causes(error);
    if error.is_connect() { Broken::Connect(why) } else { Broken::Interrupted(why) }
}

/// What is said of such a body.
pub const CUT_SHORT: &str = "it ended before the length that it promised";

/// Whether a body that has ended gave less than its head promised: over HTTP/2 an upstream can let go of a stream without
/// calling it a fault.
pub fn cut_short(body: &Body) -> bool {
    body.size_hint().lower() > 0 && !body.is_end_stream()
}

/// The innermost cause of a failure: never the URL.
pub fn causes(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    match cause {
        Some(cause) => cause.to_string(),
        None if error.is_timeout() => "timed out".to_owned(),
        None => "broken".to_owned(),
    }
}
