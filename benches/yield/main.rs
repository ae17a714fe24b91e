//! How much of Google's quota reaches the clients, and how little of it is wasted: `cargo bench --bench yield`.
//!
//! Everything is played in virtual time and follows from a seed. `-- WORD` plays the scenarios that have the word in their
//! name, `-- --check` fails where a bar is missed, `-- --minutes` prints what each minute came to, `-- --seed=2` plays another
//! course of the same.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "sim.rs"]
mod sim;

use std::cmp::Reverse;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use geminate::mock::Shape;

use crate::sim::books::Books;
use crate::sim::figures::Figures;
use crate::sim::scenario::{self, Scenario};
use crate::sim::{Way, play};

const HEAD: &str = "scenario                              shape    way     share %  waste % later %  refused failed   wait  quiet  told % later %  worst s  fair";

/// A scenario in one shape, played in all three ways.
struct Played {
    pool: (Figures, Books),
    turns: (Figures, Books),
    oracle: Books,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given = |word: &str| words.iter().any(|given| given == word);
    let wanted = |scenario: &Scenario| {
        let mut names = words.iter().filter(|word| !word.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|name| scenario.name.contains(name.as_str()))
    };
    let seed = words.iter().find_map(|word| word.strip_prefix("--seed=")?.parse().ok()).unwrap_or(1);
    let of_seed = |scenario| Scenario { seed, ..scenario };
    let scenarios: Vec<Scenario> = scenario::all().into_iter().filter(wanted).map(of_seed).collect();
    let jobs: Vec<(&Scenario, Shape)> =
        scenarios.iter().flat_map(|scenario| Shape::ALL.map(|shape| (scenario, shape))).collect();
    let all = played(&jobs);
    println!("{HEAD}");
    let mut missed = 0;
    for ((scenario, shape), played) in jobs.iter().zip(&all) {
        let names = played.pool.0.missed(&scenario.bars);
        missed += names.len();
        let mark = if names.is_empty() { String::new() } else { format!("  MISSED: {}", names.join(", ")) };
        row(scenario.name, &shape.to_string(), "pool", &played.pool.0, &mark);
        row("", "", "turns", &played.turns.0, "");
        if given("--minutes") {
            println!("  served a minute by the pool   {:?}", played.pool.1.served);
            println!("  wasted by it                  {:?}", played.pool.1.counts.refused);
            println!("  served by turns               {:?}", played.turns.1.served);
            println!("  served by the oracle          {:?}", played.oracle.served);
        }
    }
    println!("\n{missed} bars missed");
    if given("--check") && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn row(name: &str, shape: &str, way: &str, figures: &Figures, mark: &str) {
    let none = || ["-"; 3].map(str::to_owned);
    let told = |(all, later, worst)| [format!("{all:.1}"), format!("{later:.1}"), format!("{worst:+.1}")];
    let [told, told_later, worst] = figures.told.map_or_else(none, told);
    let days =
        if figures.day_refusals > 0 { format!("  {} for a spent day", figures.day_refusals) } else { String::new() };
    let Figures { share, wasted, wasted_later, refused, failed, fair, .. } = figures;
    let (wait, quiet) = (figures.wait.as_secs_f64(), figures.quiet_wait.as_secs_f64());
    println!(
        "{name:<38}{shape:<9}{way:<7}{share:>8.1}{wasted:>9.2}{wasted_later:>8.2}{refused:>9}{failed:>7}{wait:>7.1}{quiet:>7.1}\
         {told:>8}{told_later:>8}{worst:>9}{fair:>6.3}{days}{mark}"
    );
}

/// Plays all of it on all cores.
fn played(jobs: &[(&Scenario, Shape)]) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    // The longest first, so that no core waits for another at the end.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|at| Reverse(jobs[*at].0.keys.len()));
    let done: Mutex<Vec<(usize, Played)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (scenario, shape) = jobs[*at];
                    let oracle = play(scenario, shape, Way::Oracle);
                    let of = |way| {
                        let books = play(scenario, shape, way);
                        (Figures::of(scenario, &books, &oracle), books)
                    };
                    let played = Played { pool: of(Way::Pool), turns: of(Way::Turns), oracle };
                    done.lock().expect("no player panics").push((*at, played));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no player panics");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, played)| played).collect()
}
