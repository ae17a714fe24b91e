//! One connection: HTTP/1.1 or HTTP/2, served until it ends, has been quiet too long, or the house drains.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::client::Peer;
use crate::endpoint::Surface;
use crate::error::Error;
use crate::monitor::may_be_page;
use crate::phase::Phase;
use crate::sequel::Sequel;
use crate::server::activity::{Activity, Patience, Quiet, Watched};
use crate::server::porter::Porter;
use crate::server::refused::Between;
use crate::server::stack::Stack;
use crate::server::stream::{Hold, Piece, Streams, Untaken};
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
/// What the other streams of an HTTP/2 connection have to end, once a client does not take one of them.
const PARTING: Duration = Duration::from_mins(10);

/// What one connection may cost.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    patience: Patience,
    headers_bytes_max: u32,
    /// Who is believed on behalf of others.
    proxies: Arc<[settings::Network]>,
    porter: Arc<Porter>,
    /// Whether it is the operator's listener.
    is_admin: bool,
}

impl Limits {
    pub(super) fn new(settings: &settings::Server, porter: Arc<Porter>) -> Self {
        let patience = Patience {
            head: Duration::from_millis(settings.header_read_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            write: Duration::from_millis(settings.write_timeout_ms),
        };
        let proxies = settings.trusted_proxies.as_slice().into();
        Self { patience, headers_bytes_max: settings.headers_bytes_max, proxies, porter, is_admin: false }
    }

    /// The same on the admin listener.
    pub(super) fn of_admin(self) -> Self {
        Self { porter: Porter::new(None), is_admin: true, ..self }
    }

    /// Whether a request is told who is at the other end: all that asks for a token of the operator's.
    fn tells_peer<B>(&self, request: &Request<B>) -> bool {
        self.is_admin || may_be_page(request.uri().path())
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
    let (activity, streams) = (Activity::new(), Streams::default());
    let (trusted, sequel) = (limits.trust(&stream), Sequel::new(phase.clone()));
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let headers_bytes_max = limits.headers_bytes_max as usize;
    let (porter, between) = (&limits.porter, Between::new(Arc::clone(&limits.porter)));
    let io = TokioIo::new(Watched { io: stream, activity: Arc::clone(&activity), between });
    let service = service_fn(|mut request: Request<Incoming>| {
        if trusted {
            request.extensions_mut().insert(ViaProxy);
        }
        if let Some(peer) = peer.filter(|_| limits.tells_peer(&request)) {
            request.extensions_mut().insert(peer);
        }
        let upgrades = request.headers().contains_key(UPGRADE).then(|| Arc::clone(&activity));
        if upgrades.is_some() {
            request.extensions_mut().insert(sequel.clone());
        }
        let hold = streams.hold(activity.begin(request.version()), request.version());
        let answer = if head_bytes(&request) <= headers_bytes_max {
            Ok(app.clone().call(request))
        } else {
            let surface = Surface::of(request.uri(), request.headers());
            Err(porter.refuse(request.method().clone(), surface, &Error::HeadTooLarge))
        };
        async move {
            let answer = match answer {
                Ok(answer) => answer.await?.map(|body| Held { body: Some(body), told: None, hold }),
                Err(refused) => refused.map(|told| Held { body: None, told: Some(told), hold }),
            };
            if let Some(activity) = upgrades.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
                activity.leaves_http1();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let builder = builder(&limits);
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut draining = false;
    let mut lookout = Lookout { activity: &activity, streams: &streams, patience: limits.patience, parting: None };
    loop {
        tokio::select! {
            biased;
            // How a client ends its connection is its own affair; calls that were cut say so in their own record.
            _ = connection.as_mut() => break,
            _ = Phase::drains(&mut phase), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(lookout.next(Instant::now())) => match lookout.look(Instant::now()) {
                Fate::Stays => {}
                Fate::Leaves => connection.as_mut().graceful_shutdown(),
                Fate::Cut => return,
            }
        }
    }
    if let Some(next) = sequel.take() {
        next.await;
    }
}

/// What becomes of a connection that was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Stays,
    /// It takes no more requests and ends with those it has.
    Leaves,
    Cut,
}

/// Looks at a connection from time to time.
struct Lookout<'c> {
    activity: &'c Activity,
    streams: &'c Streams,
    patience: Patience,
    /// Until when a connection that leaves may put it off.
    parting: Option<Instant>,
}

impl Lookout<'_> {
    /// When to look next.
    fn next(&self, now: Instant) -> Instant {
        let Patience { head, idle, write } = self.patience;
        let until = self.activity.until(&self.patience).map(|(at, _)| at);
        let known = [until, self.parting].into_iter().flatten().filter(|at| *at > now);
        known.fold(now + head.min(idle).min(write), Instant::min)
    }

    fn look(&mut self, now: Instant) -> Fate {
        let untaken = self.streams.look(now, self.patience.write);
        let quiet = self.activity.until(&self.patience).filter(|(at, _)| *at <= now).map(|(_, quiet)| quiet);
        let leaves = match (quiet, untaken) {
            (Some(Quiet::Stuck), _) | (_, Untaken::All) => return Fate::Cut,
            (Some(Quiet::Idle), _) => FAREWELL,
            (None, Untaken::Some) => PARTING,
            (None, Untaken::None) => return Fate::Stays,
        };
        match self.parting {
            Some(at) if at <= now => Fate::Cut,
            Some(_) => Fate::Stays,
            None => {
                self.parting = Some(now + leaves);
                Fate::Leaves
            }
        }
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

pin_project_lite::pin_project! {
    /// A body that keeps its request under way to the last byte: the stack's, or what was told in its place.
    struct Held<B> {
        #[pin]
        body: Option<B>,
        told: Option<Bytes>,
        hold: Hold,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Held<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        let this = self.project();
        let frame = match this.body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(this.told.take().map(|told| Ok(Frame::data(told)))),
        };
        frame.map_ok(|frame| frame.map_data(|bytes| this.hold.piece(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().map_or(self.told.is_none(), HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let told = || SizeHint::with_exact(self.told.as_ref().map_or(0, |told| told.len() as u64));
        self.body.as_ref().map_or_else(told, HttpBody::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_crossed_the_goodbye_is_not_cut() {
        let (activity, streams) = (Activity::new(), Streams::default());
        let patience = Limits::new(&settings::Server::default(), Porter::new(None)).patience;
        let mut lookout = Lookout { activity: &activity, streams: &streams, patience, parting: None };
        drop(activity.begin(http::Version::HTTP_2));
        assert_eq!(lookout.look(Instant::now()), Fate::Stays);
        let idle = Instant::now() + patience.idle;
        assert_eq!(lookout.look(idle), Fate::Leaves);
        let crossed = activity.begin(http::Version::HTTP_2);
        assert_eq!(lookout.look(idle + FAREWELL), Fate::Stays);
        drop(crossed);
        assert_eq!(lookout.look(idle + FAREWELL + patience.idle), Fate::Cut);
    }
}
