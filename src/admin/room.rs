//! The room itself: everything that its doors look at and pull.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tokio::time::Instant;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::admin::drain::Drain;
use crate::admin::live::Live;
use crate::admin::overview::{Now, Overview, Seen};
use crate::admin::sessions::Sessions;
use crate::client::{Clients, DASHBOARD, Presented, Token};
use crate::config::book::{Desk, Running};
use crate::gateway::{self, Shared};
use crate::layer::admit::Places;
use crate::monitor::Monitor;
use crate::pool::memory::Clocks;
use crate::pool::view::PoolView;
use crate::scrub::Scrubber;
use crate::secret::{Digest, Secret};
use crate::tasks::Tasks;
use crate::telemetry::profile::Kept;
use crate::telemetry::{clock, log};
use crate::upstream::Upstream;

/// The cookie that a session is known by.
pub(crate) const COOKIE_NAME: &str = "geminate_session";

/// What an operator may move in the running process.
#[derive(Debug)]
pub struct Levers {
    /// The filter of the log.
    pub log: log::Filter,
    /// The drain.
    pub drain: Drain,
    /// The configuration.
    pub desk: Desk,
}

/// What stays the same however the configuration changes. Made once.
#[derive(Debug)]
pub struct Lasting {
    pub(crate) levers: Levers,
    pub(crate) tasks: Tasks,
    pub(crate) live: Live,
    pub(crate) sessions: Sessions,
    /// What [`DASHBOARD`] is known by. It never leaves the process.
    pub(crate) credential: Secret,
    present: Mutex<Present>,
}

/// What of the present configuration those look at who began under an earlier one.
#[derive(Debug, Default)]
struct Present {
    admin: Option<Digest>,
    /// `None` before there is a room.
    places: Option<Arc<Places>>,
}

impl Lasting {
    /// With nobody known yet. Fails where the system gives no random bytes.
    pub fn new(levers: Levers, tasks: Tasks) -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self {
            levers,
            tasks,
            live: Live::new(),
            sessions: Sessions::default(),
            credential: Secret::new(Digest::from(bytes).to_string()),
            present: Mutex::default(),
        })
    }

    /// Whether who was let in would be now: with another admin token, and with the end of the session, nobody is.
    pub(crate) fn knows(&self, visitor: &Visitor, now: Instant) -> bool {
        let admin = self.present().admin;
        let in_session = |name: &Secret| admin.is_some_and(|token| self.sessions.knows(name.expose(), token, now));
        visitor.admin == admin && visitor.session.as_ref().is_none_or(in_session)
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what somebody was let in who stays.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// The admin token of that time.
    admin: Option<Digest>,
    /// The name of the session; `None`: it was the token itself, or none was needed.
    session: Option<Secret>,
}

/// What the operator's room looks at under one configuration; with another one another room is made.
pub struct Room {
    pub(crate) lasting: Arc<Lasting>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) scrubber: Arc<Scrubber>,
    pub(crate) upstream: Upstream,
    pub(crate) probe_timeout: Duration,
    /// Whether only this machine reaches the listener.
    pub(crate) loopback: bool,
    /// The host of the public URL.
    pub(crate) named: Option<String>,
    pub(crate) profiles: Kept,
    /// The threshold of profiles that are taken by themselves.
    pub(crate) profile_cpu_percent: u32,
    /// The data plane, with [`DASHBOARD`] as its only client.
    pub(crate) gateway: BoxCloneSyncService<Request, Response, Infallible>,
}

impl Room {
    /// A room over what the workers share; `upstream` is that of the runtime it is used in.
    pub fn new(shared: &Shared, monitor: Arc<Monitor>, upstream: Upstream, lasting: &Arc<Lasting>) -> Self {
        let clients = Arc::new(Clients::of_one(DASHBOARD, &lasting.credential));
        let gateway = gateway::stack(&Shared { clients, ..shared.clone() }, upstream.clone());
        let settings = &shared.settings;
        let public = settings.server.public_url.as_ref().and_then(|url| url.as_str().parse::<Uri>().ok());
        let places = Some(Arc::clone(&shared.places));
        *lasting.present() = Present { admin: monitor.clients.admin(), places };
        Self {
            lasting: Arc::clone(lasting),
            monitor,
            scrubber: Arc::clone(&shared.eyes.scrubber),
            upstream,
            probe_timeout: Duration::from_millis(settings.pool.probe_timeout_ms),
            loopback: settings.server.admin_host.is_loopback(),
            named: public.and_then(|url| url.host().map(str::to_owned)),
            profiles: Kept::new(&settings.data_dir),
            profile_cpu_percent: settings.monitoring.profile_cpu_percent,
            gateway: BoxCloneSyncService::new(gateway.map_response(|answer| answer.map(Body::new))),
        }
    }

    /// The digest of the admin token, where one is configured.
    pub(crate) fn admin(&self) -> Option<Digest> {
        self.monitor.clients.admin()
    }

    /// Whether a request carries the cookie of an open session.
    pub(crate) fn in_session(&self, headers: &HeaderMap, now: Instant) -> bool {
        let Some(token) = self.admin() else { return false };
        cookie(headers).is_some_and(|name| self.lasting.sessions.knows(name, token, now))
    }

    /// Who sent these headers and was let in by them.
    pub(crate) fn visitor(&self, headers: &HeaderMap, now: Instant) -> Visitor {
        let name = cookie(headers).filter(|_| self.in_session(headers, now));
        Visitor { admin: self.admin(), session: name.map(|name| Secret::new(name.to_owned())) }
    }

    /// Looks at the token of a request's headers.
    pub(crate) fn token(&self, request: &Request) -> Token {
        // Not the query's: a URL is kept in too many places.
        let presented = Presented::take(&mut request.headers().clone(), &Uri::default());
        let from = self.monitor.asker(request.extensions(), request.headers());
        self.monitor.judge(&presented, from, |clients| clients.administers(&presented))
    }

    /// Looks at a token that was given otherwise, in a request with this head.
    pub(crate) fn told(&self, token: &Secret, head: &Parts, now: Instant) -> Token {
        let from = self.monitor.asker(&head.extensions, &head.headers);
        let right = || self.admin().is_some_and(|admin| token.digest().matches(&admin));
        self.monitor.guesses.judge(from, now, || if right() { Token::Right } else { Token::Wrong })
    }

    /// What keys are configured.
    pub(crate) fn running(&self) -> Arc<Running> {
        self.lasting.levers.desk.running()
    }

    /// The keys, now.
    pub(crate) fn view(&self) -> PoolView {
        self.monitor.pool.view(Clocks { now: Instant::now(), wall: clock() })
    }

    /// The overview, now, of keys that were just looked at.
    pub(crate) fn overview(&self, view: &PoolView) -> Overview {
        let (now, telemetry, readiness) = (Instant::now(), &self.monitor.telemetry, &self.monitor.readiness);
        Overview::of(Seen {
            at: clock(),
            uptime_seconds: telemetry.uptime(now).as_secs(),
            draining: readiness.draining(),
            saved: self.monitor.is_saved(),
            view,
            tokens: telemetry.tokens(),
            waste: telemetry.waste(),
            now: Now {
                in_flight: telemetry.in_flight(),
                streams: telemetry.streams_open(),
                waiting_for_key: view.waiting,
                waiting_for_place: self.lasting.present().places.as_ref().map_or(0, |places| places.waiting()),
                connections: readiness.open(),
            },
            minute: telemetry.performance(Duration::from_mins(1), now),
            five_minutes: telemetry.performance(Duration::from_mins(5), now),
        })
    }
}

/// The system gives no random bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("monitor", &self.monitor).field("lasting", &self.lasting).finish_non_exhaustive()
    }
}

/// The value of the session's cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}
