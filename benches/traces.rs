//! What one call costs in being traced: `cargo bench --bench traces`. Wanted: a few microseconds on the call's own thread,
//! whatever the collector does.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints its table, and fails by a panic")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use geminate::record::Record;
use geminate::scrub::Scrubber;
use geminate::secret::Secret;
use geminate::settings::{Batch, Origin, Sampler, Traces as Settings};
use geminate::telemetry::traces::Traces;
use geminate::telemetry::{AttemptSeen, Telemetry};
use geminate::usage::Usage;
use geminate::verdict::Verdict;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Calls of one round; of several rounds the best stands, as others use the machine too.
const CALLS: u32 = 20_000;
const ROUNDS: usize = 9;
const CLIENT_S: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    println!("{:<44}{:>12}", "", "ns a call");
    let off = Telemetry::new(Instant::now());
    println!("{:<44}{:>12.0}", "not traced", best(&off, 0));
    println!("{:<44}{:>12.0}", "sampled out", best(&traced(&runtime, 0.0, 1_000_000), 1));
    println!("{:<44}{:>12.0}", "traced, one attempt", best(&traced(&runtime, 1.0, 1_000_000), 1));
    println!("{:<44}{:>12.0}", "traced, two attempts", best(&traced(&runtime, 1.0, 1_000_000), 2));
    println!("{:<44}{:>12.0}", "traced, the queue full", best(&traced(&runtime, 1.0, 1), 1));
    runtime.shutdown_background();
}

/// With a collector that takes everything.
fn traced(runtime: &Runtime, share: f64, queue_max: usize) -> Arc<Telemetry> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/v1/traces", post(|_: axum::body::Bytes| async {}));
    runtime.spawn(async { axum::serve(listener, router).await });
    let settings = Settings {
        endpoint: Secret::new(format!("http://{address}/v1/traces")),
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        ca_file: None,
        resource: Vec::new(),
        sampler: Sampler { by_parent: false, share },
        batch: Batch { queue_max, size_max: 512, delay: Duration::from_millis(100) },
    };
    let secrets: Vec<Secret> = (0..8).map(|n| Secret::new(format!("fake-key-{n:030}"))).collect();
    let scrubber = Arc::new(Scrubber::new(&secrets).expect("a scrubber"));
    let (traces, sender) = Traces::new(&settings, &Origin::google(), &[], scrubber).expect("traces");
    runtime.spawn(sender.run(std::future::pending()));
    Telemetry::tracing(Instant::now(), Some(traces))
}

/// What the layers say of an ordinary call, and the header that goes up.
fn call(telemetry: &Arc<Telemetry>, headers: &HeaderMap, attempts: usize) {
    let (key, client, now) = (Arc::from("1"), Arc::from("operator"), Instant::now());
    let record = Record::new(HeaderValue::from_static("q"), Method::POST, now).traced(telemetry.trace(headers));
    let record = telemetry.open(record);
    record.model("gemini-2.5-flash");
    record.client(&client);
    for n in 1..=attempts.max(1) {
        record.attempt(&key, now);
        std::hint::black_box(record.trace().map(|trace| trace.traceparent(&key)));
        let verdict = if n < attempts { Verdict::Overloaded } else { Verdict::Success };
        let seen = AttemptSeen { record: &record, key: &key, verdict, status: Some(200), message: "", now };
        telemetry.attempt(seen);
    }
    record.head(200, false);
    record.chunk(1500, now + Duration::from_micros(340));
    record.usage(Usage { prompt_tokens: 100, answer_tokens: 20, ..Usage::default() });
    telemetry.finish(&record, now + Duration::from_micros(350));
}

/// Nanoseconds of one call in the best round.
fn best(telemetry: &Arc<Telemetry>, attempts: usize) -> f64 {
    let parent = (HeaderName::from_static("traceparent"), HeaderValue::from_static(CLIENT_S));
    let headers = HeaderMap::from_iter([parent]);
    let round = || {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| call(telemetry, &headers, attempts));
        let took = begin.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
        telemetry.upkeep();
        took
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
