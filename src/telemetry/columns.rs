//! What is remembered of each step of time, and the columns in which it is shown and kept.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::telemetry::windows::{Quantiles, Window};

macro_rules! columns {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty),+ $(,)?) => {
        /// One step of time. What was not measured is `None`.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub(crate) struct Row { $(pub(crate) $name: Option<$kind>),+ }

        /// Steps of time, the oldest first: a list for each number, all of the same length. Steps in which nobody counted
        /// are `None` throughout.
        #[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
        #[serde(default)]
        pub struct Points {
            /// When the step began, in Unix seconds.
            pub at: Vec<i64>,
            $($(#[doc = $doc])+ pub $name: Vec<Option<$kind>>),+
        }

        impl Points {
            /// Adds a step.
            pub(crate) fn push(&mut self, at: i64, row: Option<&Row>) {
                self.at.push(at);
                $(self.$name.push(row.and_then(|row| row.$name));)+
            }

            /// The steps that are whole: a list may have been cut short, or be one that was not kept yet.
            pub(crate) fn rows(&self) -> impl Iterator<Item = (i64, Row)> {
                self.at.iter().enumerate().map_while(|(n, at)| {
                    Some((*at, Row { $($name: if self.$name.is_empty() { None } else { *self.$name.get(n)? }),+ }))
                })
            }
        }
    };
}

columns! {
    /// Calls that ended.
    requests: u32,
    /// Of those, served.
    ok: u32,
    /// Of those, not served, through nobody's choice.
    failed: u32,
    /// Of those, refused by geminate itself.
    refused: u32,
    /// Of the failed and the refused ones, those that should have been served: refused credentials and rate limits are not
    /// among them.
    unserved: u32,
    /// Attempts at the upstream that ended.
    attempts: u32,
    /// Of those, failed.
    wasted: u32,
    /// Half of the calls took less, from arrival to the last byte.
    p50_ms: f32,
    /// 95 of a hundred took less.
    p95_ms: f32,
    /// 99 of a hundred took less.
    p99_ms: f32,
    /// 95 of a hundred had their first byte in less.
    first_byte_p95_ms: f32,
    /// Tokens of prompts, cached ones included.
    prompt_tokens: u64,
    /// Of those, read from a cache of Google's.
    cached_tokens: u64,
    /// Tokens of answers, without thoughts.
    answer_tokens: u64,
    /// Tokens spent thinking.
    thought_tokens: u64,
    /// The most calls in flight that were seen.
    in_flight: u32,
    /// The most streams open that were seen.
    streams: u32,
}

/// What is looked at now and then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) in_flight: u64,
    pub(crate) streams: u64,
}

impl Gauges {
    pub(crate) fn most(self, other: Self) -> Self {
        Self { in_flight: self.in_flight.max(other.in_flight), streams: self.streams.max(other.streams) }
    }
}

impl Row {
    /// What was counted in `window`.
    pub(crate) fn of(window: &Window, gauges: Gauges) -> Self {
        let (total, first_byte) = (window.total(), window.first_byte());
        let used = window.tokens;
        Self {
            requests: small(window.calls),
            ok: small(window.good),
            failed: small(window.failed),
            refused: small(window.refused),
            unserved: small(window.bad),
            attempts: small(window.attempts),
            wasted: small(window.wasted),
            p50_ms: time(total, total.p50_ms),
            p95_ms: time(total, total.p95_ms),
            p99_ms: time(total, total.p99_ms),
            first_byte_p95_ms: time(first_byte, first_byte.p95_ms),
            prompt_tokens: Some(used.prompt_tokens),
            cached_tokens: Some(used.cached_tokens),
            answer_tokens: Some(used.answer_tokens),
            thought_tokens: Some(used.thought_tokens),
            in_flight: small(gauges.in_flight),
            streams: small(gauges.streams),
        }
    }

    /// The same step as two runs saw it, one after the other. Percentiles cannot be added up: those of the run with more
    /// calls stand.
    pub(crate) fn and(self, later: Self) -> Self {
        let more = if later.requests.unwrap_or(0) >= self.requests.unwrap_or(0) { later } else { self };
        Self {
            requests: sum(self.requests, later.requests),
            ok: sum(self.ok, later.ok),
            failed: sum(self.failed, later.failed),
            refused: sum(self.refused, later.refused),
            unserved: sum(self.unserved, later.unserved),
            attempts: sum(self.attempts, later.attempts),
            wasted: sum(self.wasted, later.wasted),
            prompt_tokens: sum(self.prompt_tokens, later.prompt_tokens),
            cached_tokens: sum(self.cached_tokens, later.cached_tokens),
            answer_tokens: sum(self.answer_tokens, later.answer_tokens),
            thought_tokens: sum(self.thought_tokens, later.thought_tokens),
            in_flight: self.in_flight.max(later.in_flight),
            streams: self.streams.max(later.streams),
            ..more
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a column holds what may be missing")]
fn small(count: u64) -> Option<u32> {
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "a time within one percent needs no more digits")]
fn time(of: Quantiles, ms: f64) -> Option<f32> {
    (of.count > 0).then_some(ms as f32)
}

/// Both together, as far as there are any.
fn sum<T: Add<Output = T> + Copy>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.zip(other).map(|(one, other)| one + other).or(one).or(other)
}
