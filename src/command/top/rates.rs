//! Rates: the difference of two looks over the time between them.

use std::collections::HashMap;

use crate::command::pages::{Full, Key};

/// What changed between two looks; nothing is known of a gateway that began anew.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Attempts and failures a second, by key.
    keys: HashMap<String, (f64, f64)>,
    /// Bytes a second, by stream.
    streams: HashMap<String, f64>,
}

impl Rates {
    /// The difference, by the gateway's own clock: how long its answers took does not matter.
    pub(super) fn between(before: &Full, after: &Full) -> Self {
        let seconds = after.health.at.duration_since(before.health.at).as_secs_f64();
        if seconds <= 0.0 || after.health.uptime_seconds < before.health.uptime_seconds {
            return Self::default();
        }
        let counts = |key: &Key| (key.attempts, key.failures());
        let old: HashMap<&str, _> = before.keys.keys.iter().map(|key| (key.id.as_str(), counts(key))).collect();
        let keys = after.keys.keys.iter().filter_map(|key| {
            let (was, now) = (old.get(key.id.as_str())?, counts(key));
            Some((key.id.clone(), (rate(was.0, now.0, seconds)?, rate(was.1, now.1, seconds)?)))
        });
        let old: HashMap<&str, u64> = before.streams.streams.iter().map(|s| (s.id.as_str(), s.bytes)).collect();
        let streams = after.streams.streams.iter().filter_map(|stream| {
            let was = *old.get(stream.id.as_str())?;
            Some((stream.id.clone(), rate(was, stream.bytes, seconds)?))
        });
        Self { keys: keys.collect(), streams: streams.collect() }
    }

    /// Attempts and failures a second; `None` for a key that was not there before.
    pub(super) fn of_key(&self, id: &str) -> Option<(f64, f64)> {
        self.keys.get(id).copied()
    }

    /// Bytes a second; `None` for a stream that was not there before.
    pub(super) fn of_stream(&self, id: &str) -> Option<f64> {
        self.streams.get(id).copied()
    }
}

/// A count that went back is another's count.
#[expect(clippy::cast_precision_loss, reason = "a rate to be looked at")]
fn rate(was: u64, now: u64, seconds: f64) -> Option<f64> {
    now.checked_sub(was).map(|more| more as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::looks;

    /// A look at a second of the day, at a gateway of that age.
    fn look(second: u64, uptime: u64, attempts: u64, failed: u64, bytes: u64) -> Full {
        let outcomes = json!({"success": attempts - failed, "overloaded": failed});
        let keys = json!([{"id": "1", "state": "usable", "attempts": attempts, "outcomes": outcomes}]);
        let at = format!("2026-11-25T14:00:{second:02}Z");
        let health = json!({"at": at, "uptime_seconds": uptime});
        let streams = json!({"streams": [{"id": "stream-1", "bytes": bytes}]});
        looks::full(&keys, &json!({"health": health, "streams": streams}))
    }

    #[test]
    fn a_rate_is_what_was_added_over_the_time_between() {
        let rates = Rates::between(&look(0, 100, 10, 2, 1_000), &look(4, 104, 30, 4, 9_000));
        assert_eq!((rates.of_key("1"), rates.of_stream("stream-1")), (Some((5.0, 0.5)), Some(2_000.0)));
        assert_eq!((rates.of_key("3"), rates.of_stream("stream-2")), (None, None));
    }

    #[test]
    fn a_gateway_that_began_anew_or_a_clock_that_went_back_has_no_rates() {
        for (before, after) in [
            (look(0, 100, 10, 0, 9), look(4, 3, 30, 0, 10)),
            (look(4, 100, 10, 0, 9), look(4, 100, 30, 0, 10)),
            (look(4, 100, 10, 0, 9), look(0, 101, 30, 0, 10)),
        ] {
            assert_eq!(Rates::between(&before, &after).of_key("1"), None);
        }
        let fewer = Rates::between(&look(0, 100, 10, 0, 9), &look(4, 104, 5, 0, 1));
        assert_eq!((fewer.of_key("1"), fewer.of_stream("stream-1")), (None, None));
    }
}
