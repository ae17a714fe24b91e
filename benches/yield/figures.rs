//! What a run came to, in figures, and which bars it missed.

use std::time::Duration;

use crate::sim::books::{Books, LEARNING};
use crate::sim::scenario::{Bars, KeyPlan, Scenario};

/// A Retry-After is right within this.
const RIGHT_S: f64 = 2.0;

/// The figures of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Of what could have reached clients after the first minute, how much did, in percent: tokens where tokens bind.
    pub(crate) share: f64,
    /// Calls that Google refused for want of quota, in percent of all.
    pub(crate) wasted: f64,
    /// The same after the first minute.
    pub(crate) wasted_later: f64,
    /// Requests refused for want of quota, and those that failed otherwise.
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) wait: Duration,
    pub(crate) quiet_wait: Duration,
    /// Of all Retry-Afters, how many were right, in percent; of those after the first minute; and the worst of all, in
    /// seconds late, or early below zero.
    pub(crate) told: Option<(f64, f64, f64)>,
    /// Jain's index over what each client got of what an even hand would have given it.
    pub(crate) fair: f64,
    /// The most refusals of one project for one spent day.
    pub(crate) day_refusals: u64,
    /// The most that a key's share differs from its weight's, in percent of the whole.
    pub(crate) weights: f64,
}

impl Figures {
    /// Of a run, beside that of the oracle.
    pub(crate) fn of(scenario: &Scenario, books: &Books, oracle: &Books) -> Self {
        let tokens = scenario.keys.iter().any(|key| key.quota.tpm.is_some());
        let amount = |books: &Books| if tokens { books.tokens.after(LEARNING) } else { books.served.after(LEARNING) };
        let wait = |quiet: bool| {
            let clients = scenario.clients.iter().zip(&books.accounts).filter(|(client, _)| client.quiet == quiet);
            clients.map(|(_, account)| account.longest_wait).max().unwrap_or_default()
        };
        let errors = books.errors();
        let told = |from: usize| {
            let told = errors.iter().filter(|(minute, _)| *minute >= from);
            let right = told.clone().filter(|(_, error)| error.abs() <= RIGHT_S).count();
            percent(right as u64, told.count() as u64)
        };
        let worst = errors.iter().map(|(_, error)| *error).max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let counts = &books.counts;
        Self {
            share: percent(amount(books), amount(oracle)),
            wasted: percent(counts.refused.all(), counts.calls.all()),
            wasted_later: percent(counts.refused.after(LEARNING), counts.calls.after(LEARNING)),
            refused: books.refused,
            failed: books.failed,
            wait: wait(false).max(wait(true)),
            quiet_wait: wait(true),
            told: worst.map(|worst| (told(0), told(LEARNING), worst)),
            fair: fairness(books),
            day_refusals: counts.days.values().copied().max().unwrap_or(0),
            weights: weights(scenario, books),
        }
    }

    /// The names of the bars that were missed.
    pub(crate) fn missed(&self, bars: &Bars) -> Vec<&'static str> {
        let told = !bars.return_told || self.told.is_none_or(|(right, ..)| right >= 100.0);
        let held = [
            ("share", bars.share.is_none_or(|least| self.share >= least)),
            ("wasted", bars.wasted.is_none_or(|most| self.wasted <= most)),
            ("wasted later", bars.wasted_later.is_none_or(|most| self.wasted_later <= most)),
            ("refused", bars.refused.is_none_or(|most| self.refused + self.failed <= most)),
            ("retry-after", told),
            ("fair", bars.fair.is_none_or(|least| self.fair >= least)),
            ("day", bars.day_refusals.is_none_or(|most| self.day_refusals <= most)),
            ("quiet wait", bars.quiet_wait.is_none_or(|most| self.quiet_wait.as_secs_f64() <= most)),
            ("weights", bars.weights.is_none_or(|most| self.weights <= most)),
        ];
        held.into_iter().filter(|(_, held)| !held).map(|(name, _)| name).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// What each client got, of what it would have got had all been served evenly up to what each asked.
#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn fairness(books: &Books) -> f64 {
    let mut asked: Vec<f64> = books.accounts.iter().map(|account| account.asked as f64).collect();
    let mut left = books.accounts.iter().map(|account| account.served).sum::<u64>() as f64;
    asked.sort_by(f64::total_cmp);
    let mut level = 0.0;
    for (n, ask) in asked.iter().enumerate() {
        level = left / (asked.len() - n) as f64;
        if *ask > level {
            break;
        }
        left -= ask;
    }
    let got = books
        .accounts
        .iter()
        .filter(|account| account.asked > 0)
        .map(|account| account.served as f64 / (account.asked as f64).min(level.max(1.0)));
    let got: Vec<f64> = got.collect();
    let (sum, squares) = (got.iter().sum::<f64>(), got.iter().map(|got| got * got).sum::<f64>());
    if squares == 0.0 { 1.0 } else { sum * sum / (got.len() as f64 * squares) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn weights(scenario: &Scenario, books: &Books) -> f64 {
    let weights: u32 = scenario.keys.iter().map(|key| key.weight).sum();
    let all: u64 = books.by_key.iter().sum();
    let off = |(key, count): (&KeyPlan, &u64)| {
        (f64::from(key.weight) / f64::from(weights) - *count as f64 / all.max(1) as f64).abs() * 100.0
    };
    scenario.keys.iter().zip(&books.by_key).map(off).fold(0.0, f64::max)
}
