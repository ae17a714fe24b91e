//! What one call costs in being seen: `cargo bench --bench record`. Wanted: well under a microsecond, at any number of threads.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use geminate::record::Record;
use geminate::telemetry::{AttemptSeen, Telemetry};
use geminate::usage::Usage;
use geminate::verdict::Verdict;
use http::{HeaderValue, Method};
use tokio::time::Instant;

/// Calls of one thread in one round; of several rounds the best stands, as others use the machine too.
const CALLS: u32 = 50_000;
const ROUNDS: usize = 7;

fn main() {
    println!("{:<10}{:>12}{:>14}", "threads", "ns a call", "ns a chunk");
    for threads in [1, 2, 4, 8] {
        let telemetry = Telemetry::new(Instant::now());
        let (call, chunk) = (best(threads, || calls(&telemetry)), best(threads, chunks));
        println!("{threads:<10}{call:>12.0}{chunk:>14.1}");
        telemetry.upkeep();
    }
}

/// What the layers say of an ordinary call: open, one attempt, one chunk, usage, the end.
fn calls(telemetry: &Arc<Telemetry>) {
    let (key, client, id) = (Arc::from("1"), Arc::from("operator"), HeaderValue::from_static("q"));
    for _ in 0..CALLS {
        let now = Instant::now();
        let record = telemetry.open(Record::new(id.clone(), Method::POST, now));
        record.model("gemini-2.5-flash");
        record.client(&client);
        record.attempt(&key, now);
        record.add_upstream(Duration::from_micros(300));
        let (verdict, status) = (Verdict::Success, Some(200));
        let done = now + Duration::from_micros(349);
        telemetry.attempt(AttemptSeen { record: &record, key: &key, verdict, status, message: "", now: done });
        record.head(200, false);
        record.chunk(1500, now + Duration::from_micros(340));
        record.usage(Usage { prompt_tokens: 100, answer_tokens: 20, ..Usage::default() });
        telemetry.finish(&record, now + Duration::from_micros(350));
    }
}

fn chunks() {
    let now = Instant::now();
    let record = Record::new(HeaderValue::from_static("q"), Method::POST, now);
    for _ in 0..CALLS {
        black_box(&record).chunk(black_box(490), now);
    }
}

/// Nanoseconds of a thread's time for one of its [`CALLS`] turns, in the best round.
fn best(threads: usize, work: impl Fn() + Sync) -> f64 {
    let round = || {
        let slowest = thread::scope(|scope| {
            let timed = || {
                let begin = Instant::now();
                work();
                begin.elapsed()
            };
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
            all.into_iter().filter_map(|thread| thread.join().ok()).max()
        });
        slowest.unwrap_or_default().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
