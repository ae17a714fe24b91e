//! What a choice among the keys costs with its report: `cargo bench --bench choose`.
//! Wanted: under 300 ns among 10 keys, under 5 us among 10,000, whatever the threads.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use geminate::pool::ask::Avoid;
use geminate::pool::key::{Ceilings, KeySpec};
use geminate::pool::memory::Clocks;
use geminate::pool::{Choice, KeyPool};
use geminate::secret::Secret;
use jiff::Timestamp;
use tokio::time::Instant;

/// Choices of one thread in one round; of several rounds the best stands, as others use the machine too.
const CHOICES: u32 = 50_000;
const ROUNDS: usize = 3;
const MODEL: &str = "gemini-2.5-flash";

/// How the keys' weights are spread.
type Weights = fn(u32) -> u32;

fn main() {
    println!("{:<34}{:>12}{:>12}{:>12}{:>12}", "ns a choice, by threads", 1, 2, 4, 8);
    let cases: [(&str, u32, Weights); 6] = [
        ("10 keys, one weight", 10, |_| 1),
        ("10 keys, ten weights", 10, |n| n + 1),
        ("10,000 keys, one weight", 10_000, |_| 1),
        ("10,000 keys, ten weights", 10_000, |n| n % 10 + 1),
        ("10,000 keys, a thousand weights", 10_000, |n| n % 1_000 + 1),
        ("10,000 keys, 100 of them tried", 10_000, |n| n % 10 + 1),
    ];
    for (name, keys, weights) in cases {
        let tried: Vec<u32> = if name.ends_with("tried") { (0..100).collect() } else { Vec::new() };
        let pool = pool(keys, weights);
        let times = [1, 2, 4, 8].map(|threads| best(threads, || choices(&pool, &tried)));
        println!("{name:<34}{:>12.0}{:>12.0}{:>12.0}{:>12.0}", times[0], times[1], times[2], times[3]);
    }
}

fn pool(keys: u32, weights: Weights) -> KeyPool {
    let spec = |n: u32| KeySpec {
        id: n.to_string().into(),
        secret: Secret::new(format!("fake-key-{n:06}")),
        weight: weights(n),
        project: None,
        egress: 0,
        ceilings: Ceilings::default(),
        enabled: true,
    };
    let specs: Vec<KeySpec> = (0..keys).map(spec).collect();
    KeyPool::new(&specs, Clocks { now: Instant::now(), wall: Timestamp::now() }).expect("keys of plain text")
}

/// What a request asks of the pool when all is well: its lane, a key, and the report of a success.
fn choices(pool: &KeyPool, tried: &[u32]) {
    let now = Instant::now();
    let avoid = Avoid { keys: tried, ..Avoid::default() };
    for _ in 0..CHOICES {
        let lane = pool.lane(MODEL, now);
        let Choice::Lease(mut lease) = pool.select(lane, avoid, now) else { unreachable!("every key is well") };
        lease.succeed(now);
        drop(black_box(lease));
    }
}

/// Nanoseconds of the whole for one of all threads' choices, in the best round: the keys are shared.
fn best(threads: u32, work: impl Fn() + Sync) -> f64 {
    let round = || {
        let begin = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(&work);
            }
        });
        begin.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX);
    best.as_secs_f64() * 1e9 / f64::from(CHOICES * threads)
}
