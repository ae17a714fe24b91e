//! Drives a bare pass-through, geminate, and nginx where it is given, in interleaved rounds, and prints what each costs
//! beside the pass-through. Started by `script/bench`:
//! `hop DIRECTORY_OF_THIS_CRATES_BINARIES GEMINATE [NGINX]`
//!
//! Gateways run on the first core, the load and the upstream on the second. Every figure is the median of its rounds,
//! every ratio the median of the rounds' ratios, so that what else the machine does falls on all alike.

mod live;
mod load;
mod rival;
mod table;

use std::thread::sleep;
use std::time::Duration;

use live::Sessions;
use load::Load;
use rival::{Kind, Programs, Rival};
use table::{Figure, median, number, print, ratio};

/// Connections of the load, as many as a busy client keeps.
const CONNECTIONS: usize = 64;
/// Streams at once where chunks are counted, their chunks, and the time between two of them.
const CHUNKS: (usize, u64, u64) = (64, 200, 5);
/// Files at once, and the MiB of each: more than is kept to be sent again.
const FILES: (usize, usize) = (2, 64);
/// Slow streams that are held open at once.
const SLOW: usize = 2_000;
/// Streams at once against an upstream of 100 a connection.
const MANY: usize = 1_000;
/// Live sessions at once, and the turns of each.
const TALKS: (usize, u64) = (1_000, 4);

fn main() {
    let (rounds, seconds) = (setting("ROUNDS", 7), Duration::from_secs(setting("SECONDS", 3)));
    let only = std::env::var("ONLY").unwrap_or_default();
    let programs = Programs::named(std::env::args().skip(1));
    let _upstream = programs.upstream();
    let plan = Plan { programs, rounds: usize::try_from(rounds).expect("a small number"), seconds };
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|part| part == name);
    if wanted("requests") {
        plan.requests();
    }
    if wanted("streams") {
        plan.streams();
    }
    if wanted("memory") {
        plan.memory();
    }
    if wanted("protocols") {
        plan.protocols();
    }
    if wanted("cache") {
        plan.cache();
    }
    if wanted("uploads") {
        plan.uploads();
    }
    if wanted("live") {
        plan.live();
    }
}

struct Plan {
    programs: Programs,
    rounds: usize,
    seconds: Duration,
}

impl Plan {
    /// One load after the other on each rival, round by round; a row of figures for each rival.
    fn rounds(&self, rivals: &mut [Rival], load: &Load, figures: &[Figure]) -> Vec<Vec<Vec<f64>>> {
        let mut all = vec![vec![Vec::new(); figures.len()]; rivals.len()];
        for round in 0..=self.rounds {
            for (rival, row) in rivals.iter_mut().zip(&mut all) {
                let before = rival.cpu();
                let seen = load.run(rival.address(), self.seconds);
                let cpu = rival.cpu() - before;
                // The first round warms connections and allocators up.
                if round > 0 {
                    row.iter_mut().zip(figures).for_each(|(column, figure)| column.push(figure.of(&seen, cpu)));
                }
            }
        }
        all
    }

    fn requests(&self) {
        let mut rivals = self.programs.rivals();
        let figures = [Figure::CpuPerRequest, Figure::RequestsPerSecond, Figure::Busy];
        let load = Load::Closed { connections: CONNECTIONS };
        let all = self.rounds(&mut rivals, &load, &figures);
        print("requests of 1.5 KB, 64 connections, as many as go", &rivals, &figures, &all);
        // One load for all, at which none is near its knee: half of what the slowest can. At half of what the fastest
        // can, the others' tails would be those of a full queue.
        let slowest = all.iter().map(|row| median(&row[1])).fold(f64::INFINITY, f64::min);
        let half = slowest / 2.0;
        let figures = [Figure::P50, Figure::P99, Figure::CpuPerRequest];
        let all = self.rounds(&mut rivals, &Load::Rate { connections: CONNECTIONS, per_second: half }, &figures);
        print(&format!("the same at {half:.0} requests/s, half of what the slowest can"), &rivals, &figures, &all);
    }

    fn streams(&self) {
        let mut rivals = self.programs.rivals();
        let figures = [Figure::FirstChunk, Figure::P99];
        let load = Load::Streams { connections: 1, chunks: 3, pause_ms: 0, ramp: load::RAMP };
        let all = self.rounds(&mut rivals, &load, &figures);
        print("time to the first chunk of a stream, one at a time", &rivals, &figures, &all);
        let figures = [Figure::CpuPerChunk, Figure::FirstChunk];
        let (connections, chunks, pause_ms) = CHUNKS;
        let all =
            self.rounds(&mut rivals, &Load::Streams { connections, chunks, pause_ms, ramp: load::RAMP }, &figures);
        print("64 streams of 200 chunks, one each 5 ms", &rivals, &figures, &all);
    }

    /// Each rival fresh: at rest, and with many slow streams open.
    fn memory(&self) {
        println!(
            "\n{:<12}{:>14}{:>26}{:>20}",
            "memory", "at rest, MiB", "KiB a slow stream of 2,000", "opened over, ms"
        );
        let ramps = [load::RAMP, Duration::ZERO];
        for (kind, ramp) in self.programs.kinds().into_iter().flat_map(|kind| ramps.map(|ramp| (kind, ramp))) {
            let rival = self.programs.start(kind);
            sleep(Duration::from_secs(2));
            let rest = rival.rss_kib();
            let load = Load::Streams { connections: SLOW, chunks: 32, pause_ms: 1_000, ramp };
            let address = rival.address().clone();
            let held = std::thread::spawn(move || load.run(&address, Duration::from_secs(1)));
            // Until what opening them took has been given back.
            sleep(Duration::from_secs(20));
            let open = rival.rss_kib();
            let seen = held.join().expect("the load");
            let over = ramp.as_millis() * SLOW as u128;
            println!("{:<12}{:>14.1}{:>26.1}{over:>20}", kind.name(), rest / 1024.0, (open - rest) / number(SLOW));
            assert!(seen.requests >= SLOW as u64, "{} of {SLOW} streams were served", seen.requests);
        }
    }

    /// The two ways to the upstream, which carries 100 streams on an HTTP/2 connection.
    fn protocols(&self) {
        let kinds = [Kind::Geminate, Kind::GeminateHttp2];
        let mut rivals: Vec<Rival> = kinds.map(|kind| self.programs.start(kind)).into();
        let rest: Vec<f64> = rivals.iter().map(Rival::rss_kib).collect();
        let load = Load::Streams { connections: MANY, chunks: 60, pause_ms: 100, ramp: load::RAMP };
        println!("\n1,000 streams at once, a chunk each 100 ms");
        println!("{:<12}{:>14}{:>18}{:>18}", "", "us a chunk", "first chunk p99 ms", "KiB a stream");
        for (rival, rest) in rivals.iter_mut().zip(rest) {
            let address = rival.address().clone();
            let before = rival.cpu();
            let load = load.clone();
            let held = std::thread::spawn(move || load.run(&address, Duration::from_secs(1)));
            sleep(Duration::from_secs(5));
            let open = rival.rss_kib();
            let seen = held.join().expect("the load");
            let each = (rival.cpu() - before) * 1e6 / number(seen.chunks);
            let late = load::quantile_us(&seen.first, 0.99) / 1000.0;
            println!("{:<12}{each:>14.1}{late:>18.1}{:>18.1}", rival.kind.name(), (open - rest) / number(MANY));
        }
        let figures = [Figure::CpuPerRequest, Figure::RequestsPerSecond, Figure::P99];
        let all = self.rounds(&mut rivals, &Load::Closed { connections: CONNECTIONS }, &figures);
        print("requests of 1.5 KB, 64 connections, by the protocol upstream", &rivals, &figures, &all);
        let shares = ratio(&all[1][0], &all[0][0]);
        println!("http2 takes {shares:.2} of http1's CPU a request");
    }

    /// One gateway that keeps answers: questions that are new each time, and one that is always the same.
    fn cache(&self) {
        let rival = self.programs.start(Kind::GeminateCaching);
        let mut all = [Vec::new(), Vec::new()];
        for round in 0..=self.rounds {
            for (fresh, column) in [true, false].into_iter().zip(&mut all) {
                let before = rival.cpu();
                let seen = Load::Cold { connections: CONNECTIONS, fresh }.run(rival.address(), self.seconds);
                let figure = Figure::CpuPerRequest.of(&seen, rival.cpu() - before);
                // The first round warms up, and is the one in which the same question is new.
                if round > 0 {
                    column.push(figure);
                }
            }
        }
        let [miss, hit] = &all;
        println!("\nrequests of 1.5 KB at temperature 0, 64 connections, with the cache on");
        println!("{:<12}{:>18}", "", "CPU us/request");
        println!("{:<12}{:>18.1}\n{:<12}{:>18.1}", "miss", median(miss), "hit", median(hit));
        println!("a miss takes {:.1} times the CPU of a hit (wanted: 5)", ratio(miss, hit));
    }

    /// Files that are passed on as they come.
    fn uploads(&self) {
        let mut rivals = self.programs.rivals();
        let figures = [Figure::MegabytesPerSecond, Figure::CpuPerMegabyte, Figure::Busy];
        let (connections, mebibytes) = FILES;
        let all = self.rounds(&mut rivals, &Load::Files { connections, mebibytes }, &figures);
        print("files of 64 MiB, two at a time", &rivals, &figures, &all);
        println!(
            "geminate takes them at {:.2} of the pass-through's pace (wanted: 0.9)",
            ratio(&all[1][0], &all[0][0])
        );
    }

    /// Live sessions that are open at once: what each holds while nobody speaks, and what a message takes.
    fn live(&self) {
        let _google = self.programs.live_upstream();
        let rival = self.programs.start(Kind::GeminateLive);
        let quiet = || {
            // Until what was done has been given back.
            sleep(Duration::from_secs(5));
            rival.rss_kib()
        };
        let rest = quiet();
        let (count, turns) = TALKS;
        let each = |open: f64| (open - rest) / number(count);
        let mut sessions = Sessions::open(rival.address(), count);
        let begun = each(quiet());
        let before = rival.cpu();
        let messages: u64 = (0..turns).map(|_| sessions.turn()).sum();
        let took = (rival.cpu() - before) * 1e6 / number(messages);
        let spoken = each(quiet());
        println!("\n1,000 Live sessions; {turns} turns of 5 messages of 6 KB up, and one of 16 KB and its end down");
        println!("{:<12}{:>22}{:>26}{:>18}", "", "KiB each, after setup", "KiB each, after its turns", "us a message");
        println!("{:<12}{begun:>22.1}{spoken:>26.1}{took:>18.1}", rival.kind.name());
        println!("a session that was spoken in holds {spoken:.1} KiB (wanted: under 64)");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
