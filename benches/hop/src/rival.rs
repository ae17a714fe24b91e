//! The rivals: a gateway each, started alike, and asked of the kernel what it used.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load::Address;

/// Where gateways run; the load and the upstream have the other.
const GATEWAYS_CORE: &str = "0";
const UPSTREAM_PORT: u16 = 9701;
/// Of geminate's own mock, which speaks the Live API.
const LIVE_UPSTREAM_PORT: u16 = 9702;
/// The bytes of audio that each of its answers begins with.
const LIVE_AUDIO: &str = "fault=huge:16000";
const TOKEN: &str = "bench-token";
/// As long as Google's: 39 bytes.
const KEYS: &str = concat!(
    "fake-key-0001-as-long-as-one-of-googles:10,",
    "fake-key-0002-as-long-as-one-of-googles:8,",
    "fake-key-0003-as-long-as-one-of-googles:5"
);
/// `USER_HZ`, which Linux fixes at 100.
const TICKS_PER_SECOND: f64 = 100.0;

/// Who passes requests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Through,
    Geminate,
    GeminateHttp2,
    GeminateCaching,
    GeminateLive,
    Nginx,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Through => "pass-through",
            Self::Geminate => "geminate",
            Self::GeminateHttp2 => "geminate, h2",
            Self::GeminateCaching => "geminate, cache",
            Self::GeminateLive => "geminate, live",
            Self::Nginx => "nginx",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Through => 9711,
            Self::Geminate => 9712,
            Self::GeminateHttp2 => 9713,
            Self::Nginx => 9714,
            Self::GeminateCaching => 9715,
            Self::GeminateLive => 9716,
        }
    }
}

/// What is started.
pub struct Programs {
    own: PathBuf,
    geminate: PathBuf,
    nginx: Option<PathBuf>,
    scratch: PathBuf,
}

impl Programs {
    /// By the words of the command line.
    pub fn named(mut words: impl Iterator<Item = String>) -> Self {
        let own = words.next().expect("the directory of this crate's binaries").into();
        let geminate = words.next().expect("geminate's binary").into();
        let scratch = std::env::temp_dir().join(format!("hop-{}", std::process::id()));
        fs::create_dir_all(&scratch).expect("a directory for what the rivals keep");
        Self { own, geminate, nginx: words.next().map(PathBuf::from), scratch }
    }

    /// The pass-through first: all others are measured by it.
    pub fn kinds(&self) -> Vec<Kind> {
        let nginx = self.nginx.is_some().then_some(Kind::Nginx);
        [Kind::Through, Kind::Geminate].into_iter().chain(nginx).collect()
    }

    pub fn rivals(&self) -> Vec<Rival> {
        self.kinds().into_iter().map(|kind| self.start(kind)).collect()
    }

    /// The upstream, on the load's core.
    pub fn upstream(&self) -> Running {
        let mut command = Command::new(self.own.join("google"));
        command.arg(UPSTREAM_PORT.to_string());
        Running::start(command, UPSTREAM_PORT)
    }

    /// The upstream of Live sessions, on the load's core as well.
    pub fn live_upstream(&self) -> Running {
        let mut command = Command::new(&self.geminate);
        let listen = format!("127.0.0.1:{LIVE_UPSTREAM_PORT}");
        command.args(["mock", "--listen", &listen, "--chunks", "1", "--fault", LIVE_AUDIO]);
        Running::start(command, LIVE_UPSTREAM_PORT)
    }

    pub fn start(&self, kind: Kind) -> Rival {
        let origin = format!("http://127.0.0.1:{UPSTREAM_PORT}");
        let mut command = match kind {
            Kind::Through => {
                let mut command = pinned(&self.own.join("through"));
                command.arg(kind.port().to_string()).arg(origin);
                command
            }
            Kind::Geminate => self.geminate(kind, &origin, "http1"),
            Kind::GeminateHttp2 => self.geminate(kind, &origin, "http2"),
            Kind::GeminateCaching => {
                let mut command = self.geminate(kind, &origin, "http1");
                command.env("ENABLE_CACHING", "true");
                command
            }
            Kind::GeminateLive => self.geminate(kind, &format!("http://127.0.0.1:{LIVE_UPSTREAM_PORT}"), "http1"),
            Kind::Nginx => self.nginx(kind),
        };
        // As the image and the service have it, unless told otherwise.
        let delay = std::env::var("MIMALLOC_PURGE_DELAY").unwrap_or_else(|_| "100".to_owned());
        command.env("MIMALLOC_PURGE_DELAY", delay);
        let address = Address { at: SocketAddr::from(([127, 0, 0, 1], kind.port())), token: TOKEN };
        Rival { kind, running: Running::start(command, kind.port()), address }
    }

    /// Everything on: authentication, a pool of three keys, metering, metrics, monitoring, the log at WARN.
    fn geminate(&self, kind: Kind, origin: &str, protocol: &str) -> Command {
        let mut command = pinned(&self.geminate);
        command.current_dir(&self.scratch).env_clear().envs([
            ("PORT", kind.port().to_string().as_str()),
            ("ADMIN_PORT", "0"),
            ("GEMINI_API_KEY", KEYS),
            ("GEMINI_BASE_URL", origin),
            ("AUTH_TOKEN", TOKEN),
            ("ENABLE_MONITORING", "true"),
            ("LOG_LEVEL", "WARN"),
            ("MAX_CONCURRENT_REQUESTS", "4096"),
            ("DATA_DIR", self.scratch.join(kind.name()).to_str().expect("a plain path")),
            ("GEMINATE__UPSTREAM__PROTOCOL", protocol),
        ]);
        command
    }

    fn nginx(&self, kind: Kind) -> Command {
        let scratch = self.scratch.display();
        let text = format!(
            "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
             pid {scratch}/nginx.pid; error_log {scratch}/nginx.log;
             events {{ worker_connections 8192; }}
             http {{
               access_log off; client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
               fastcgi_temp_path {scratch}/f; uwsgi_temp_path {scratch}/u; scgi_temp_path {scratch}/s;
               keepalive_requests 1000000000; tcp_nodelay on;
               upstream google {{ server 127.0.0.1:{UPSTREAM_PORT}; keepalive 512; keepalive_requests 1000000000; }}
               server {{
                 listen 127.0.0.1:{};
                 location / {{
                   proxy_pass http://google; proxy_http_version 1.1; proxy_set_header Connection \"\";
                   proxy_buffering off; proxy_request_buffering off; client_max_body_size 0;
                 }}
               }}
             }}",
            kind.port()
        );
        let file = self.scratch.join("nginx.conf");
        fs::write(&file, text).expect("nginx's configuration");
        let mut command = pinned(self.nginx.as_deref().unwrap_or(Path::new("nginx")));
        command.arg("-p").arg(&self.scratch).arg("-c").arg(file);
        command
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(GATEWAYS_CORE).arg(program);
    command
}

/// A process of ours, ended with its owner.
pub struct Running(Child);

impl Running {
    fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).spawn().expect("a program that starts");
        let (running, begin) = (Self(child), Instant::now());
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "nothing listens on {port}");
            sleep(Duration::from_millis(20));
        }
        running
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("a process that lives")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway that runs.
pub struct Rival {
    pub kind: Kind,
    running: Running,
    address: Address,
}

impl Rival {
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Seconds that all its threads have used, in user and in kernel.
    pub fn cpu(&self) -> f64 {
        let stat = self.running.proc("stat");
        // The name, in parentheses, may hold anything; fields 14 and 15 are counted from behind it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / TICKS_PER_SECOND
    }

    pub fn rss_kib(&self) -> f64 {
        let status = self.running.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("VmRSS")
    }
}
