//! The settings: plain structs, one for each section of `config.toml`, with default and bounds beside each field.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

#[macro_use]
mod section;
mod text;
mod choice;
mod place;
mod web_origin;
mod key;
mod traces;

pub use choice::{Algorithm, Format, Protocol};
pub use key::{Key, KeyTable};
pub use place::{Network, Origin, PublicUrl};
pub use traces::{Batch, Sampler, Traces};
pub use web_origin::WebOrigin;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Everything that can be set. The keys of `[[keys]]` stand in it as written; [`Key`] is one made usable.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Everything kept on disk. Default `./data`.
    pub data_dir: PathBuf,
    /// The listeners.
    pub server: Server,
    /// Who may come in.
    pub auth: Auth,
    /// How much each client may ask.
    pub clients: Clients,
    /// Places on the data plane.
    pub admit: Admit,
    /// How long things may take.
    pub deadline: Deadline,
    /// Further attempts.
    pub retry: Retry,
    /// The pool of keys.
    pub pool: Pool,
    /// Google's side.
    pub upstream: Upstream,
    /// WebSocket sessions.
    pub live: Live,
    /// `/monitor/*` and `/metrics`.
    pub monitoring: Monitoring,
    /// What models are called.
    pub models: Models,
    /// Which project owns what.
    pub affinity: Affinity,
    /// The response cache.
    pub cache: Cache,
    /// The log.
    pub log: Log,
    /// Keys written out, beside those of `GEMINI_API_KEY`.
    pub keys: Vec<KeyTable>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            server: Server::default(),
            auth: Auth::default(),
            clients: Clients::default(),
            admit: Admit::default(),
            deadline: Deadline::default(),
            retry: Retry::default(),
            pool: Pool::default(),
            upstream: Upstream::default(),
            live: Live::default(),
            monitoring: Monitoring::default(),
            models: Models::default(),
            affinity: Affinity::default(),
            cache: Cache::default(),
            log: Log::default(),
            keys: Vec::new(),
        }
    }
}

impl Settings {
    /// The least and the greatest value of the number at `path`; `None` where there is no number.
    pub fn bounds(path: &[&str]) -> Option<RangeInclusive<u64>> {
        match *path {
            ["server", field] => Server::bounds(field),
            ["auth", field] => Auth::bounds(field),
            ["auth", "jwt", field] => Jwt::bounds(field),
            ["clients", field] => Clients::bounds(field),
            ["clients", _, field] => ClientLimits::bounds(field),
            ["admit", field] => Admit::bounds(field),
            ["deadline", field] => Deadline::bounds(field),
            ["retry", field] => Retry::bounds(field),
            ["pool", field] => Pool::bounds(field),
            ["upstream", field] => Upstream::bounds(field),
            ["live", field] => Live::bounds(field),
            ["monitoring", field] => Monitoring::bounds(field),
            ["models", field] => Models::bounds(field),
            ["affinity", field] => Affinity::bounds(field),
            ["cache", field] => Cache::bounds(field),
            ["log", field] => Log::bounds(field),
            ["keys", _, field] => KeyTable::bounds(field),
            _ => None,
        }
    }
}

section! {
    /// `[server]`: the listeners and what a connection may cost.
    Server {
        /// The address of the data listener (`HOST`).
        #[serde(deserialize_with = "text::host")]
        host: IpAddr = Ipv4Addr::LOCALHOST.into();
        /// The port of the data listener (`PORT`); 0 takes a free one.
        port: u16 = 8080, in 0..=65_535;
        /// The address of the admin listener (`ADMIN_HOST`).
        #[serde(deserialize_with = "text::host")]
        admin_host: IpAddr = Ipv4Addr::LOCALHOST.into();
        /// The port of the admin listener (`ADMIN_PORT`); 0 takes a free one.
        admin_port: u16 = 9090, in 0..=65_535;
        /// Where clients find this gateway, for the URLs that it hands out (`PUBLIC_URL`); unset is what each request
        /// says of it.
        public_url: Option<PublicUrl> = None;
        /// Proxies in front of it, whose `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-For` are believed.
        trusted_proxies: Vec<Network> = Vec::new();
        /// The web pages, by their origins, that may call the API from a browser, or `*` for all (`CORS_ORIGINS`); none
        /// may by default.
        cors_origins: Vec<WebOrigin> = Vec::new();
        /// Serves beyond loopback although nothing is there to authenticate by (`ALLOW_ANONYMOUS`).
        allow_anonymous: bool = false;
        /// Worker threads; 0 is one a core.
        workers: u16 = 0, in 0..=1_024;
        /// Open client connections; beyond them new ones wait in the kernel's queue.
        connections_max: u32 = 16_384, in 1..=1_000_000;
        /// Milliseconds for a request's head to arrive, and for a new connection's first one.
        header_read_timeout_ms: u64 = 30 * SECOND, in 1..=10 * MINUTE;
        /// Milliseconds for which a connection without a request is kept.
        idle_timeout_ms: u64 = 90 * SECOND, in 1..=DAY;
        /// Milliseconds for which a client may take no byte of an answer that is ready for it.
        write_timeout_ms: u64 = 2 * MINUTE, in 1..=DAY;
        /// Bytes of a request's head.
        headers_bytes_max: u32 = 65_536, in 8_192..=MIB;
        /// Bytes of a request's body: Google's 2 GiB for a file and a little around it.
        body_bytes_max: u64 = 2 * GIB + MIB, in 1..=1_024 * GIB;
        /// Milliseconds without a byte while a request's body is read.
        body_read_timeout_ms: u64 = MINUTE, in 1..=DAY;
        /// Milliseconds that open streams get to finish when geminate is told to stop.
        drain_timeout_ms: u64 = 30 * SECOND, in 0..=DAY;
    }
}

section! {
    /// `[auth]`: who may come in.
    Auth {
        /// The operator's own tokens: full rights on the data plane (`AUTH_TOKEN`, comma-separated).
        #[serde(serialize_with = "text::mask_all")]
        tokens: Vec<Secret> = Vec::new();
        /// For `/api/*`, and for `/monitor/*` beyond health (`ADMIN_TOKEN`).
        #[serde(serialize_with = "text::mask")]
        admin_token: Option<Secret> = None;
        /// Clients that bring a JSON Web Token.
        jwt: Jwt = Jwt::default();
    }
}

section! {
    /// `[auth.jwt]`: at most one of `secret`, `public_key_file` and `jwks_file`; none turns it off.
    Jwt {
        /// The secret of HS256, at least 32 bytes (`JWT_SECRET`).
        #[serde(serialize_with = "text::mask")]
        secret: Option<Secret> = None;
        /// A public key in PEM for RS256, ES256 or `EdDSA`.
        public_key_file: Option<PathBuf> = None;
        /// A JWK set; the token's `kid` names the key.
        jwks_file: Option<PathBuf> = None;
        /// The one algorithm a token may be signed with; what the token says of it is never believed.
        algorithm: Algorithm = Algorithm::HS256;
        /// The `iss` a token must carry; unset is any.
        issuer: Option<String> = None;
        /// The `aud` a token must carry; unset is any.
        audience: Option<String> = None;
        /// Seconds by which clocks may differ.
        leeway_s: u64 = 30, in 0..=3_600;
    }
}

/// `[clients]`: how much each client may ask; `[clients.NAME]` for one by its id.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Clients {
    /// Requests a minute for each client; 0 is no limit (`RATE_LIMIT_PER_MINUTE`).
    pub rate_limit_per_minute: u32,
    /// Requests a client may send at once after a rest; 0 is the whole minute's number.
    pub burst: u32,
    /// What differs for one client, by its id: `operator` (`operator-2`, .. for further tokens), or its JWT's `sub`.
    #[serde(flatten)]
    pub named: BTreeMap<String, ClientLimits>,
}

impl Clients {
    fn bounds(field: &str) -> Option<RangeInclusive<u64>> {
        ClientLimits::bounds(field)
    }
}

section! {
    /// `[clients.NAME]`: what differs for one client.
    ClientLimits {
        /// Requests a minute; 0 is no limit.
        rate_limit_per_minute: u32 = 0, in 0..=1_000_000;
        /// Requests at once after a rest; 0 is the whole minute's number.
        burst: u32 = 0, in 0..=1_000_000;
    }
}

section! {
    /// `[admit]`: places on the data plane.
    Admit {
        /// Requests served at once (`MAX_CONCURRENT_REQUESTS`).
        concurrent_max: u32 = 1_024, in 1..=1_000_000;
        /// Requests that wait for a place.
        queue_max: u32 = 1_024, in 0..=1_000_000;
        /// Milliseconds a request waits for a place.
        queue_wait_ms: u64 = 10 * SECOND, in 0..=10 * MINUTE;
    }
}

section! {
    /// `[deadline]`: how long an answer may take.
    Deadline {
        /// Milliseconds until the answer's first byte, all attempts and waits included (`REQUEST_TIMEOUT`).
        request_timeout_ms: u64 = 5 * MINUTE, in 1..=DAY;
        /// Milliseconds up to which a client's `X-Server-Timeout` may raise it.
        request_timeout_ceiling_ms: u64 = 15 * MINUTE, in 1..=DAY;
        /// Milliseconds without a byte in a streaming answer (`STREAM_IDLE_TIMEOUT`).
        stream_idle_timeout_ms: u64 = 2 * MINUTE, in 1..=DAY;
        /// Milliseconds of silence after which a blank event is sent between two frames; 0 is never.
        heartbeat_interval_ms: u64 = 0, in 0..=10 * MINUTE;
    }
}

section! {
    /// `[retry]`: further attempts on other keys.
    Retry {
        /// Attempts after the first; a switch away from a dead key does not count.
        retries: u32 = 3, in 0..=20;
        /// Attempts after an answer without content (`EMPTY_RETRIES`).
        empty_retries: u32 = 0, in 0..=5;
        /// Attempts after server errors, as a share of all requests.
        budget_percent: u32 = 20, in 0..=1_000;
        /// Such attempts a second that are always allowed.
        budget_floor_per_s: u32 = 1, in 0..=1_000;
        /// Makes a second attempt, on a key of another project with room to spare, beside one whose first byte takes longer
        /// than that of 95 in 100 of the model's latest answers: the first answer counts. What the other one has generated
        /// by then Google bills.
        hedge: bool = false;
        /// Bytes of a body up to which it is kept to be sent again; a larger one is streamed and gets one attempt.
        replay_bytes_max: u64 = 100 * MIB, in 0..=2 * GIB;
        /// Bytes of all bodies kept at once.
        replay_bytes_total: u64 = 512 * MIB, in 0..=1_024 * GIB;
    }
}

section! {
    /// `[pool]`: the keys together.
    Pool {
        /// Milliseconds a request waits for a key when all are cooling.
        max_wait_ms: u64 = 10 * SECOND, in 0..=10 * MINUTE;
        /// Requests that wait so, for each model.
        queue_max: u32 = 1_024, in 0..=1_000_000;
        /// Keeps conversations that share a long prefix on one project while it has room, so that Google's own caching pays;
        /// shares stay within the weights.
        prefix_affinity: bool = false;
        /// Milliseconds until a dead key is probed for the first time; each failure doubles it.
        probe_after_ms: u64 = 10 * MINUTE, in 10..=DAY;
        /// Milliseconds between two probes at most.
        probe_after_max_ms: u64 = 6 * 60 * MINUTE, in 10..=7 * DAY;
        /// Milliseconds a probe may take.
        probe_timeout_ms: u64 = 10 * SECOND, in 1..=10 * MINUTE;
    }
}

section! {
    /// `[upstream]`: Google's side.
    Upstream {
        /// The origin: scheme, host and port (`GEMINI_BASE_URL`).
        base_url: Origin = Origin::google();
        /// Milliseconds to connect, TLS included.
        connect_timeout_ms: u64 = 10 * SECOND, in 1..=10 * MINUTE;
        /// Milliseconds of one attempt until its first byte; 0 leaves it to the request's deadline.
        first_byte_timeout_ms: u64 = 0, in 0..=DAY;
        /// Connections kept without a request.
        idle_connections_max: u32 = 512, in 0..=1_000_000;
        /// Milliseconds for which such a connection is kept.
        idle_connection_timeout_ms: u64 = 90 * SECOND, in 1..=DAY;
        /// HTTP's version; `http1` never queues behind the limit of streams of one connection.
        protocol: Protocol = Protocol::Http1;
        /// A further CA in PEM to trust (`SSL_CERT_FILE`).
        ca_file: Option<PathBuf> = None;
    }
}

section! {
    /// `[live]`: WebSocket sessions, the Live API's.
    Live {
        /// Milliseconds for a client's setup message to come, and again for its answer, all attempts and waits included.
        setup_timeout_ms: u64 = 30 * SECOND, in 1..=10 * MINUTE;
        /// Milliseconds without a message either way.
        idle_timeout_ms: u64 = 10 * MINUTE, in 1..=DAY;
        /// Milliseconds a session may last; 0 leaves it to Google, which ends a connection after some ten minutes.
        session_max_ms: u64 = 0, in 0..=7 * DAY;
        /// Bytes of one message, either way; a longer one closes the session by 1009.
        message_bytes_max: u32 = 16 << 20, in 1_024..=GIB;
    }
}

section! {
    /// `[monitoring]`
    Monitoring {
        /// Serves `/monitor/*`, `/metrics` and the dashboard (`ENABLE_MONITORING`); the admin API stays.
        enabled: bool = true;
        /// Percent of one core that the process takes in each ten seconds of a minute for a CPU profile to be kept below
        /// `DATA_DIR`: 150 is one core and a half. 0 is never.
        profile_cpu_percent: u32 = 0, in 0..=100_000;
    }
}

section! {
    /// `[models]`: what clients may call them, and which serve in the place of others.
    Models {
        /// Further names, and the model that Google knows each one by.
        aliases: BTreeMap<String, String> = BTreeMap::new();
        /// The models to ask, in this order, where one is exhausted or overloaded.
        fallback: BTreeMap<String, Vec<String>> = BTreeMap::new();
    }
}

section! {
    /// `[affinity]`: files, caches, batches and whatever else lives in one Google project.
    Affinity {
        /// Resources whose owner is remembered; beyond them those that were named longest ago are forgotten.
        resources_max: u64 = 100_000, in 1..=1_000_000;
        /// Milliseconds for which what a client makes to name it later (files, caches, stores and the like) goes to the
        /// project of the last such thing, so that several can stand in one prompt; 0 spreads them.
        uploads_stick_ms: u64 = 48 * 60 * MINUTE, in 0..=30 * DAY;
        /// A client may name, list and use only what it made through this gateway; the operator may all. Bodies that
        /// cannot be checked and lists that cannot be cut down are refused. Agents and environments made elsewhere stay open.
        isolate_clients: bool = false;
    }
}

section! {
    /// `[cache]`: answers that are kept in memory to be given again.
    Cache {
        /// Whether any are (`ENABLE_CACHING`).
        enabled: bool = false;
        /// Milliseconds for which one is kept.
        ttl_ms: u64 = 60 * MINUTE, in 1..=30 * DAY;
        /// Bytes that all of them take; at most as many are gathered at once.
        bytes_max: u64 = 64 * MIB, in MIB..=64 * GIB;
        /// Bytes of one answer up to which it is kept and shared.
        answer_bytes_max: u64 = MIB, in 1_024..=256 * MIB;
    }
}

section! {
    /// `[log]`
    Log {
        /// ERROR, WARN, INFO, DEBUG, TRACE or OFF, or a filter such as `info,geminate::pool=debug` (`LOG_LEVEL`).
        #[serde(deserialize_with = "text::filter")]
        level: String = "INFO".to_owned();
        /// `text` or `json` (`LOG_FORMAT`); unset is text on a terminal, else json.
        format: Option<Format> = None;
    }
}
