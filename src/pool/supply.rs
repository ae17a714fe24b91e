//! Supply: how room will come, if as many ask as can be served.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::limits::{Windows, over};
use crate::pool::minute::{SPAN, Use};

/// Two times at which room comes are no nearer than this.
const STEP_MIN: Duration = Duration::from_millis(200);

impl Windows {
    /// When a request of so many tokens first finds room, from `from` on.
    pub fn soonest(&self, tokens: u64, from: Instant, now: Instant) -> Instant {
        let (rpm, tpm) = self.minute_max(from);
        let over = over(self.minute.used_at(from), Use { requests: 1, tokens }, (rpm, tpm));
        let room = (over != Use::default()).then(|| self.minute.left(over, from));
        let held = [self.requests.holds_until(rpm, from, now), self.tokens.holds_until(tpm, from, now)];
        room.into_iter().chain(held.into_iter().flatten()).fold(from, Instant::max)
    }

    /// When requests of so many tokens find room within a span of time from `from` on, if each comes as soon as it can: the
    /// times, and how many have found it by then.
    pub fn supply(&self, tokens: u64, from: Instant, now: Instant) -> Vec<(Instant, u64)> {
        let mut left = self.left_of_day(from);
        let (mut minute, mut paces) = (self.minute.clone(), [self.requests, self.tokens]);
        let (mut at, mut steps) = (from, Vec::<(Instant, u64)>::new());
        while at <= from + SPAN && left > 0 {
            let (used, (rpm, tpm)) = (minute.used(at), self.minute_max(at));
            let by_requests = rpm.map_or(u64::MAX, |max| max.saturating_sub(used.requests));
            let by_tokens = match tpm {
                Some(max) if tokens > 0 => (max.saturating_sub(used.tokens) / tokens).max(u64::from(used.tokens == 0)),
                _ => u64::MAX,
            };
            let at_once = paces[0].at_once(1, rpm, at, now).min(paces[1].at_once(tokens, tpm, at, now));
            let found = by_requests.min(by_tokens).min(at_once).min(left);
            if found == 0 {
                let over = over(used, Use { requests: 1, tokens }, (rpm, tpm));
                let room = (over != Use::default()).then(|| minute.left(over, at));
                let held = [paces[0].holds_until(rpm, at, now), paces[1].holds_until(tpm, at, now)];
                at = room.into_iter().chain(held.into_iter().flatten()).fold(at + STEP_MIN, Instant::max);
                continue;
            }
            let all = steps.last().map_or(0, |(_, all)| *all).saturating_add(found);
            steps.push((at, all));
            if found == u64::MAX {
                break;
            }
            let used = Use { requests: found, tokens: found.saturating_mul(tokens) };
            minute.add(used, at);
            paces[0].used(used.requests, rpm, at);
            paces[1].used(used.tokens, tpm, at);
            left -= found;
        }
        steps
    }
}
