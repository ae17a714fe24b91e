//! What is told of a load, and how.

use crate::load::{Seen, quantile_us};
use crate::rival::Rival;

/// One column.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    CpuPerRequest,
    CpuPerChunk,
    RequestsPerSecond,
    /// Of files that were sent.
    MegabytesPerSecond,
    CpuPerMegabyte,
    /// The share of its core that the gateway used: near 1 it was the bottleneck.
    Busy,
    P50,
    P99,
    FirstChunk,
}

impl Figure {
    pub fn of(self, seen: &Seen, cpu: f64) -> f64 {
        let seconds = seen.elapsed.as_secs_f64();
        match self {
            Self::CpuPerRequest => cpu * 1e6 / number(seen.requests),
            Self::CpuPerChunk => cpu * 1e6 / number(seen.chunks),
            Self::RequestsPerSecond => number(seen.requests) / seconds,
            Self::MegabytesPerSecond => number(seen.sent) / 1e6 / seconds,
            Self::CpuPerMegabyte => cpu * 1e12 / number(seen.sent),
            Self::Busy => cpu / seconds,
            Self::P50 => quantile_us(&seen.whole, 0.5),
            Self::P99 => quantile_us(&seen.whole, 0.99),
            Self::FirstChunk => quantile_us(&seen.first, 0.5),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU us/request",
            Self::CpuPerChunk => "CPU us/chunk",
            Self::RequestsPerSecond => "requests/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::CpuPerMegabyte => "CPU us/MB",
            Self::Busy => "core used",
            Self::P50 => "p50 us",
            Self::P99 => "p99 us",
            Self::FirstChunk => "first chunk us",
        }
    }
}

/// A row for each rival: the median, and in brackets the median of the rounds' ratios to the first rival's.
pub fn print(title: &str, rivals: &[Rival], figures: &[Figure], all: &[Vec<Vec<f64>>]) {
    print!("\n{title}\n{:<14}", "");
    figures.iter().for_each(|figure| print!("{:>24}", figure.name()));
    println!();
    for (rival, row) in rivals.iter().zip(all) {
        print!("{:<14}", rival.kind.name());
        for (column, first) in row.iter().zip(&all[0]) {
            let middle = median(column);
            let digits = if middle < 10.0 { 2 } else { usize::from(middle < 1_000.0) };
            print!("{:>24}", format!("{middle:.digits$} [{:.2}]", ratio(column, first)));
        }
        println!();
    }
}

/// Of each round's own ratio, the median.
pub fn ratio(column: &[f64], first: &[f64]) -> f64 {
    median(&column.iter().zip(first).map(|(one, other)| one / other).collect::<Vec<_>>())
}

pub fn median(column: &[f64]) -> f64 {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn number(count: impl TryInto<u64, Error: std::fmt::Debug>) -> f64 {
    count.try_into().expect("a count") as f64
}
