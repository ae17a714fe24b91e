//! What it costs to look for resources in a prompt: `cargo bench --bench references`.
//! Wanted: under 2 us for one of 2 KB, under 1 ms for one of 20 MB.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use geminate::reference::{Finder, references};
use geminate::skim::peek;
use serde_json::{Value, json};

/// How long one figure is measured; of several rounds the best stands, as others use the machine too.
const ROUND: Duration = Duration::from_millis(100);
const ROUNDS: usize = 7;
/// About what a connection gives at once.
const PIECE: usize = 64 << 10;

fn main() {
    println!("{:<44}{:>12}{:>12}{:>12}", "prompt", "bytes", "us", "found");
    let text = |bytes: usize| "A plain sentence of a question, all of it words. ".repeat(bytes / 49);
    let file = json!({"fileData": {"mimeType": "video/mp4",
        "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abcdef012345"}});
    let image =
        json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoAAAANSUhEUgAA".repeat(20_000_000 / 24)}});
    let turn = |parts: &[Value]| json!({"role": "user", "parts": parts});
    let turns = |count: usize| json!({"contents": vec![turn(&[json!({"text": text(200)})]); count]});
    for (name, body) in [
        ("2 KB of text", json!({"contents": [turn(&[json!({"text": text(1_900)})])]})),
        ("2 KB of short turns", turns(8)),
        (
            "2 KB of text that speaks of files",
            json!({"contents": [turn(&[json!({"text": format!("my file: {}", text(1_900))})])]}),
        ),
        ("2 KB with a file", json!({"contents": [turn(&[json!({"text": text(1_800)}), file.clone()])]})),
        ("20 MB inline image", json!({"contents": [turn(&[image.clone(), json!({"text": "what is it?"})])]})),
        ("20 MB inline image and a file", json!({"contents": [turn(&[image, file])]})),
        ("2 MB of short turns", turns(8_000)),
    ] {
        let body = body.to_string();
        let found = references(body.as_bytes()).map_or(0, |found| found.len());
        let us = best(|| drop(black_box(references(black_box(body.as_bytes())))));
        println!("{name:<44}{:>12}{us:>12.2}{found:>12}", body.len());
        // As a body arrives: in pieces that the reader has just written, so that they are near.
        if body.len() > 1_000_000 {
            let piece = &body.as_bytes()[..PIECE];
            let pieces = body.len() / PIECE;
            let fed = best(|| {
                let mut finder = Finder::default();
                (0..pieces).for_each(|_| finder.feed(black_box(piece)));
                drop(black_box(finder.end()));
            });
            println!("{:<44}{:>12}{fed:>12.2}", "  in pieces of 64 KiB that are near", "");
        }
        // For comparison: what any single pass over the bytes costs that skips strings.
        if body.len() > 1_000_000 {
            let pass = best(|| drop(black_box(peek(black_box(body.as_bytes())))));
            println!("{:<44}{:>12}{pass:>12.2}", "  one pass over its bytes", "");
        }
    }
}

/// The best time of some rounds, in microseconds.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn best(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut runs = 0_u32;
        while begin.elapsed() < ROUND {
            run();
            runs += 1;
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(runs));
    }
    best
}
