//! One connection: HTTP/1.1 or HTTP/2, served until it ends, has been quiet too long, or the house drains.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::admin::Peer;
use crate::phase::Phase;
use crate::sequel::Sequel;
use crate::server::activity::{Activity, Patience, Quiet, UnderWay, Watched};
use crate::server::stack::Stack;
use crate::settings;
use crate::upload::ViaProxy;

/// What hyper reads of a connection at once at most, as its buffer grows with what comes: a body in larger pieces costs
/// less.
const READ_BYTES: usize = 8_192 + 4_096 * 100;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1_024;
/// Bytes a client may send ahead on one HTTP/2 stream, and on one connection.
const WINDOW_BYTES: [u32; 2] = [256 * 1024, 1024 * 1024];
/// Bytes of answers kept for one HTTP/2 stream that its client does not take.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Silence after which an HTTP/2 client is pinged, and the time it has to answer.
const PING: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(20)];
/// What an idle connection has to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// What one connection may cost.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    patience: Patience,
    headers_bytes_max: u32,
    /// Who is believed on behalf of others.
    proxies: Arc<[settings::Network]>,
    /// Whether requests tell who is at the other end.
    tells_peer: bool,
}

impl Limits {
    pub(super) fn new(settings: &settings::Server) -> Self {
        let patience = Patience {
            head: Duration::from_millis(settings.header_read_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            write: Duration::from_millis(settings.write_timeout_ms),
        };
        let proxies = settings.trusted_proxies.as_slice().into();
        Self { patience, headers_bytes_max: settings.headers_bytes_max, proxies, tells_peer: false }
    }

    /// The same, and each request says from which [`Peer`] it comes.
    pub(super) fn telling_peer(self) -> Self {
        Self { tells_peer: true, ..self }
    }

    fn peer(&self, stream: &TcpStream) -> Option<Peer> {
        stream.peer_addr().ok().filter(|_| self.tells_peer).map(|address| Peer(address.ip()))
    }

    /// Whether a proxy of the operator's is at the other end.
    fn trust(&self, stream: &TcpStream) -> bool {
        let peer = stream.peer_addr().ok().filter(|_| !self.proxies.is_empty());
        peer.is_some_and(|peer| self.proxies.iter().any(|proxy| proxy.contains(peer.ip())))
    }
}

/// Serves `stream` to its end, and lets go of its `_place` then. Dropped, it cuts the connection.
pub(super) async fn serve<A: Stack, P: Send>(
    stream: TcpStream,
    app: A,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
    _place: P,
) {
    let activity = Activity::new();
    let (trusted, sequel) = (limits.trust(&stream), Sequel::new(phase.clone()));
    let peer = limits.peer(&stream);
    let headers_bytes_max = limits.headers_bytes_max as usize;
    let io = TokioIo::new(Watched { io: stream, activity: Arc::clone(&activity) });
    let service = service_fn(|mut request: Request<Incoming>| {
        if trusted {
            request.extensions_mut().insert(ViaProxy);
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(sequel.clone());
        }
        let under_way = activity.begin(request.version());
        let answer = (head_bytes(&request) <= headers_bytes_max).then(|| app.clone().call(request));
        async move {
            let answer = match answer {
                Some(answer) => answer.await?.map(Some),
                None => head_too_large(),
            };
            Ok::<_, Infallible>(answer.map(|body| Held { body, _under_way: under_way }))
        }
    });
    let builder = builder(&limits);
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let (mut draining, mut farewell) = (false, None);
    let patience = limits.patience;
    let look = patience.head.min(patience.idle).min(patience.write);
    loop {
        let next = Instant::now() + look;
        let wake = farewell.or(activity.until(&patience).map(|(at, _)| at)).map_or(next, |at| next.min(at));
        tokio::select! {
            biased;
            // How a client ends its connection is its own affair; calls that were cut say so in their own record.
            _ = connection.as_mut() => break,
            _ = Phase::drains(&mut phase), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(wake) => {
                let now = Instant::now();
                match activity.until(&patience) {
                    _ if farewell.is_some_and(|at| at <= now) => return,
                    Some((at, Quiet::Stuck)) if at <= now => return,
                    Some((at, Quiet::Idle)) if at <= now && farewell.is_none() => {
                        farewell = Some(now + FAREWELL);
                        connection.as_mut().graceful_shutdown();
                    }
                    _ => {}
                }
            }
        }
    }
    if let Some(next) = sequel.take() {
        next.await;
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The head's timeout is watched by `Activity`, see there.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    if limits.headers_bytes_max as usize > READ_BYTES {
        builder.http1().max_buf_size(limits.headers_bytes_max as usize);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING[0])
        .keep_alive_timeout(PING[1])
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES[0])
        .initial_connection_window_size(WINDOW_BYTES[1])
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(limits.headers_bytes_max);
    builder
}

/// What a request's head takes, about as it was written. hyper's own bound is that of its buffer, which bodies want large.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() + line
}

fn head_too_large<B>() -> Response<Option<B>> {
    let mut answer = Response::new(None);
    *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

pin_project_lite::pin_project! {
    /// A body, or none, that keeps its request under way to the last byte.
    struct Held<B> {
        #[pin]
        body: Option<B>,
        _under_way: UnderWay,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Held<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
