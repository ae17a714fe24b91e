//! The load: threads that ask over blocking sockets, one connection each. No runtime, so that it costs little.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// A thread of the load needs little.
const STACK_BYTES: usize = 128 << 10;
/// Between the openings of two streams, so that what is measured is open streams and not their opening.
pub const RAMP: Duration = Duration::from_millis(2);
/// The width of the number that makes a question another one.
const NUMBER_DIGITS: usize = 16;
/// The number of the next such question.
static QUESTIONS: AtomicU64 = AtomicU64::new(1);
/// A MiB of a file.
static PIECE: [u8; 1 << 20] = [b'x'; 1 << 20];
/// For an answer to go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a gateway listens, and what it wants to see.
#[derive(Clone)]
pub struct Address {
    pub at: SocketAddr,
    pub token: &'static str,
}

/// What is asked.
#[derive(Clone)]
pub enum Load {
    /// Each connection asks again as soon as it has its answer.
    Closed { connections: usize },
    /// So many requests a second over all connections, whatever the answers do.
    Rate { connections: usize, per_second: f64 },
    /// As `Closed`, at temperature 0: always the same question, or each time another one.
    Cold { connections: usize, fresh: bool },
    /// Files of so many MiB, one after the other on each connection.
    Files { connections: usize, mebibytes: usize },
    /// Streams, one after the other on each connection. A stream that has begun is read to its end.
    /// They are opened `ramp` apart.
    Streams { connections: usize, chunks: u64, pause_ms: u64, ramp: Duration },
}

/// What came of it. Times are in nanoseconds.
pub struct Seen {
    pub requests: u64,
    /// Bytes of the files that were sent.
    pub sent: u64,
    pub chunks: u64,
    pub elapsed: Duration,
    /// To the answer's end.
    pub whole: Histogram<u64>,
    /// To the first byte of the answer's body.
    pub first: Histogram<u64>,
}

impl Seen {
    fn new() -> Self {
        let histogram = || Histogram::new(3).expect("three digits");
        Self { requests: 0, sent: 0, chunks: 0, elapsed: Duration::ZERO, whole: histogram(), first: histogram() }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.sent += other.sent;
        self.chunks += other.chunks;
        self.whole.add(&other.whole).expect("the same kind");
        self.first.add(&other.first).expect("the same kind");
    }
}

/// In microseconds.
pub fn quantile_us(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e3
}

impl Load {
    /// Runs for `time`, then waits for the answers that are on their way.
    pub fn run(&self, address: &Address, time: Duration) -> Seen {
        let connections = match self {
            Self::Closed { connections }
            | Self::Rate { connections, .. }
            | Self::Cold { connections, .. }
            | Self::Files { connections, .. }
            | Self::Streams { connections, .. } => *connections,
        };
        let request = self.request(address);
        let begin = Instant::now();
        let one = &|index: usize| self.one(address, &request, begin, time, (index, connections));
        thread::scope(|scope| {
            let spawn = |index| {
                if let Self::Streams { ramp, .. } = self {
                    thread::sleep(*ramp);
                }
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn_scoped(scope, move || one(index)).expect("a thread")
            };
            let threads: Vec<_> = (0..connections).map(spawn).collect();
            let mut all = Seen::new();
            threads.into_iter().for_each(|thread| all.add(&thread.join().expect("a connection")));
            all.elapsed = begin.elapsed();
            all
        })
    }

    fn request(&self, address: &Address) -> Vec<u8> {
        if let Self::Files { mebibytes, .. } = self {
            return format!(
                "POST /upload/v1beta/files HTTP/1.1\r\nhost: {}\r\nx-goog-api-key: {}\r\n\
                 x-goog-upload-protocol: raw\r\ncontent-type: video/mp4\r\ncontent-length: {}\r\n\r\n",
                address.at,
                address.token,
                mebibytes * PIECE.len()
            )
            .into_bytes();
        }
        let number = if matches!(self, Self::Cold { .. }) { "0".repeat(NUMBER_DIGITS) } else { String::new() };
        let config = if number.is_empty() { "" } else { r#","generationConfig":{"temperature":0}"# };
        let body = format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"text":"Why is the sky blue? Answer in two sentences.{number}"}}]}}]{config}}}"#
        );
        let method = match self {
            Self::Streams { chunks, pause_ms, .. } => {
                format!("streamGenerateContent?alt=sse&chunks={chunks}&pause_ms={pause_ms}")
            }
            _ => "generateContent".to_owned(),
        };
        format!(
            "POST /v1beta/models/gemini-2.5-flash:{method} HTTP/1.1\r\nhost: {}\r\nx-goog-api-key: {}\r\n\
             content-type: application/json\r\nuser-agent: google-genai-sdk/1.52.0 gl-python/3.12\r\n\
             x-goog-api-client: google-genai-sdk/1.52.0 gl-python/3.12\r\naccept: */*\r\n\
             accept-encoding: gzip, deflate\r\nconnection: keep-alive\r\ncontent-length: {}\r\n\r\n{body}",
            address.at,
            address.token,
            body.len()
        )
        .into_bytes()
    }

    /// One connection's share.
    fn one(&self, address: &Address, request: &[u8], begin: Instant, time: Duration, share: (usize, usize)) -> Seen {
        let (mut seen, mut connection) = (Seen::new(), Connection::open(address.at));
        let (index, of) = share;
        let mut request = request.to_vec();
        let number_at = memchr::memmem::find(&request, "0".repeat(NUMBER_DIGITS).as_bytes());
        let fresh = number_at.filter(|_| matches!(self, Self::Cold { fresh: true, .. }));
        let pace = match self {
            Self::Rate { per_second, .. } => Some(Duration::from_secs_f64(of as f64 / per_second)),
            _ => None,
        };
        // Connections take turns.
        let mut due = begin + pace.unwrap_or_default().mul_f64(index as f64 / of as f64);
        // Once at least: a thread may start late.
        loop {
            let mut from = Instant::now();
            if let Some(pace) = pace {
                if due > from {
                    thread::sleep(due - from);
                    from = Instant::now();
                } else {
                    // The answer before came late: the client of this request has been waiting since it was due.
                    from = due;
                }
                due += pace;
            }
            if let Some(at) = fresh {
                // No two connections and no two rounds ask the same.
                let number = QUESTIONS.fetch_add(1, Ordering::Relaxed);
                request[at..at + NUMBER_DIGITS].copy_from_slice(format!("{number:0NUMBER_DIGITS$}").as_bytes());
            }
            let pieces = if let Self::Files { mebibytes, .. } = self { *mebibytes } else { 0 };
            let (first, chunks) = connection.ask(&request, pieces);
            seen.requests += 1;
            seen.sent += (pieces * PIECE.len()) as u64;
            seen.chunks += chunks;
            let nanoseconds = |at: Instant| u64::try_from((at - from).as_nanos()).expect("a short time");
            seen.first.record(nanoseconds(first)).expect("a short time");
            seen.whole.record(nanoseconds(Instant::now())).expect("a short time");
            if begin.elapsed() >= time {
                return seen;
            }
        }
    }
}

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).expect("a gateway that listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream, buffer: vec![0; 16 << 10] }
    }

    /// Asks, with a file of so many pieces, and reads the whole answer: when its body began, and how many frames it had.
    fn ask(&mut self, request: &[u8], pieces: usize) -> (Instant, u64) {
        self.stream.write_all(request).expect("a connection");
        for _ in 0..pieces {
            self.stream.write_all(&PIECE).expect("a connection");
        }
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled);
            if let Some(at) = memchr::memmem::find(&self.buffer[..filled], b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head]).expect("a head").to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let mut body = filled - head;
        if body == 0 {
            let more = self.read(head);
            filled += more;
            body += more;
        }
        let first = Instant::now();
        let Some(length) = length else { return (first, self.chunked(head, filled)) };
        while body < length {
            body += self.read(0);
        }
        (first, 1)
    }

    /// Reads to the last chunk; its bytes are nowhere else in the answers of the upstream.
    fn chunked(&mut self, from: usize, filled: usize) -> u64 {
        let count = |bytes: &[u8]| memchr::memmem::find_iter(bytes, b"data: ").count() as u64;
        self.buffer.copy_within(from..filled, 0);
        let mut filled = filled - from;
        let mut frames = count(&self.buffer[..filled]);
        while !self.buffer[..filled].ends_with(b"0\r\n\r\n") {
            // A frame's beginning, or the end's, may be cut.
            let kept = filled.min(5);
            self.buffer.copy_within(filled - kept..filled, 0);
            filled = kept + self.read(kept);
            frames += count(&self.buffer[..filled]);
        }
        frames
    }

    fn read(&mut self, at: usize) -> usize {
        let count = self.stream.read(&mut self.buffer[at..]).expect("an answer in time");
        assert!(count > 0, "the connection ended within an answer");
        count
    }
}
