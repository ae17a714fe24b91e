//! What was counted since the start, added up over all threads.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use crate::record::{Hedged, Outcome, Remembered};
use crate::telemetry::desk::Desk;
use crate::usage::Usage;
use crate::verdict::Verdict;

/// Counts since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Calls that ended.
    pub requests: u64,
    /// The same by how they ended; every name of [`Outcome::NAMES`] is there.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Of the calls that ended, those that should have been served and were not: callers' own errors, refused credentials
    /// and rate limits are not among them.
    pub unserved: u64,
    /// Refusals of geminate's own, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Tokens of all models.
    pub tokens: Usage,
    /// Pieces of streamed answers.
    pub stream_chunks: u64,
    /// Bytes of streamed answers.
    pub stream_bytes: u64,
    /// Calls that may be answered from memory, by where their answer came from: in the order of [`Remembered::NAMES`].
    #[serde(skip)]
    pub remembered: [u64; Remembered::NAMES.len()],
    /// Second attempts beside slow ones, by how they ended; every name of [`Hedged::NAMES`] is there.
    pub hedges: BTreeMap<&'static str, u64>,
    /// Answers of one model in the place of another: by the model asked for, then by the one that served.
    pub fallbacks: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u64>>,
    /// By model label.
    pub models: BTreeMap<Arc<str>, ModelSummary>,
    /// Attempts, by key, model and verdict.
    #[serde(skip)]
    pub attempts: Vec<AttemptCount>,
}

/// One model's counts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ModelSummary {
    /// Calls that ended.
    pub requests: u64,
    /// Of those, answered to the last byte.
    pub ok: u64,
    /// What they cost.
    pub tokens: Usage,
}

/// How often attempts with one key at one model met one verdict.
#[derive(Clone, Debug)]
pub struct AttemptCount {
    /// The key's id, or `other`.
    pub key: Arc<str>,
    /// The model's label.
    pub model: Arc<str>,
    /// What they came to.
    pub verdict: Verdict,
    /// How often.
    pub count: u64,
}

impl Counts {
    /// Adds up the desks of all threads.
    pub(crate) fn of<D: Deref<Target = Desk>>(desks: impl Iterator<Item = D>) -> Self {
        let mut sum = Self { outcomes: Outcome::NAMES.map(|name| (name, 0)).into(), ..Self::default() };
        sum.hedges = Hedged::NAMES.map(|name| (name, 0)).into();
        let mut attempts = HashMap::<_, u64>::new();
        for desk in desks {
            for (name, count) in Outcome::NAMES.iter().zip(desk.outcomes) {
                *sum.outcomes.entry(name).or_default() += count;
                sum.requests += count;
            }
            sum.unserved += desk.unserved;
            for refusal in &desk.refusals {
                *sum.refusals.entry(refusal.name).or_default() += refusal.count;
            }
            sum.stream_chunks += desk.streamed[0].count;
            sum.stream_bytes += desk.streamed[1].count;
            sum.remembered.iter_mut().zip(&desk.remembered).for_each(|(sum, tally)| *sum += tally.count);
            for tally in &desk.hedges {
                *sum.hedges.entry(tally.name).or_default() += tally.count;
            }
            for fallback in &desk.fallbacks {
                let from = sum.fallbacks.entry(Arc::clone(&fallback.from)).or_default();
                *from.entry(Arc::clone(&fallback.to)).or_default() += fallback.tally.count;
            }
            for counts in &desk.models {
                let label = &counts.label;
                let model = sum.models.entry(Arc::clone(label)).or_default();
                model.requests += counts.requests;
                model.ok += counts.ok;
                model.tokens += counts.usage();
                sum.tokens += counts.usage();
                for (key, tallies) in &counts.attempts {
                    for (verdict, tally) in tallies {
                        let name = (Arc::clone(key), Arc::clone(label), *verdict);
                        *attempts.entry(name).or_default() += tally.count;
                    }
                }
            }
        }
        let flat = |((key, model, verdict), count)| AttemptCount { key, model, verdict, count };
        sum.attempts = attempts.into_iter().map(flat).collect();
        sum
    }

    /// Failed attempts by what `name` takes from each: their class, key or model.
    pub fn failed_by<'c>(&'c self, name: impl Fn(&'c AttemptCount) -> &'c str) -> BTreeMap<&'c str, u64> {
        let mut by = BTreeMap::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.verdict.is_failure()) {
            *by.entry(name(attempt)).or_default() += attempt.count;
        }
        by
    }
}
