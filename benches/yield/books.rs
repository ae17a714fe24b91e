//! The books of a run: who was served when, who was refused, and what of it was true.

use std::time::Duration;

use geminate::error::seconds;
use tokio::time::Instant;

use crate::sim::google::Counts;
use crate::sim::minutes::Minutes;
use crate::sim::scenario::Scenario;
use crate::sim::{Ask, Denied};

/// So many minutes are for learning.
pub(crate) const LEARNING: usize = 1;

/// What became of one client's requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) asked: u64,
    pub(crate) served: u64,
    pub(crate) longest_wait: Duration,
}

/// Everything that is counted.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) counts: Counts,
    pub(crate) accounts: Vec<Account>,
    /// Requests served, and their tokens.
    pub(crate) served: Minutes,
    pub(crate) tokens: Minutes,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Attempts by key.
    pub(crate) by_key: Vec<u64>,
    started: Instant,
    /// For each model, when leases were granted.
    grants: Vec<Vec<Instant>>,
    promises: Vec<Promise>,
}

/// A refusal that told when to come back.
#[derive(Clone, Copy, Debug)]
struct Promise {
    at: Instant,
    model: usize,
    before: u64,
    back: Duration,
}

impl Books {
    pub(crate) fn new(scenario: &Scenario, started: Instant) -> Self {
        Self {
            counts: Counts::default(),
            accounts: vec![Account::default(); scenario.clients.len()],
            served: Minutes::default(),
            tokens: Minutes::default(),
            refused: 0,
            failed: 0,
            by_key: vec![0; scenario.keys.len()],
            started,
            grants: vec![Vec::new(); scenario.models.len()],
            promises: Vec::new(),
        }
    }

    pub(crate) fn asked(&mut self, ask: &Ask) {
        self.accounts[ask.client].asked += 1;
    }

    /// A key was leased for the request, which began to wait at `began`.
    pub(crate) fn granted(&mut self, ask: &Ask, key: usize, began: Instant) {
        let now = Instant::now();
        self.grants[ask.model].push(now);
        self.by_key[key] += 1;
        let account = &mut self.accounts[ask.client];
        account.longest_wait = account.longest_wait.max(now - began);
    }

    /// The first byte of an answer came.
    pub(crate) fn served(&mut self, ask: &Ask) {
        let since = Instant::now() - self.started;
        self.accounts[ask.client].served += 1;
        self.served.add(1, since);
        self.tokens.add(ask.tokens, since);
    }

    /// A request ended without an answer: in how much time its client is to come back, as it reads on the wire.
    pub(crate) fn denied(&mut self, ask: &Ask, denied: &Denied) -> Option<Duration> {
        self.refused += u64::from(denied.refused);
        self.failed += u64::from(!denied.refused);
        let back = Duration::from_secs(seconds(denied.retry_after?).max(1));
        if denied.refused {
            self.promises.push(Promise { at: Instant::now(), model: ask.model, before: denied.before, back });
        }
        Some(back)
    }

    /// By how many seconds each Retry-After was late (or early, below zero): the truth is when as many leases had been
    /// granted since as stood in line before the refused request, and one more, which would have been its own. What
    /// had not come true when the run ended is left out, unless it should have.
    ///
    /// Each stands with the minute in which it was told.
    pub(crate) fn errors(&self) -> Vec<(usize, f64)> {
        let end = self.grants.iter().filter_map(|grants| grants.last()).max().copied();
        let error = |promise: &Promise| {
            let grants = &self.grants[promise.model];
            let first = grants.partition_point(|at| *at <= promise.at);
            let turn = grants.get(first + usize::try_from(promise.before).unwrap_or(usize::MAX));
            let told = promise.at + promise.back;
            match turn {
                Some(truth) => Some(
                    told.saturating_duration_since(*truth).as_secs_f64()
                        - truth.saturating_duration_since(told).as_secs_f64(),
                ),
                None => end.filter(|end| told < *end).map(|end| -(end - told).as_secs_f64()),
            }
        };
        let minute = |at: Instant| usize::try_from((at - self.started).as_secs() / 60).unwrap_or(usize::MAX);
        self.promises.iter().filter_map(|promise| Some((minute(promise.at), error(promise)?))).collect()
    }
}
