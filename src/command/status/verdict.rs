//! The verdict: one look at the gateway, in a word and a sentence.

use serde::Serialize;

use crate::command::figures::{many, share};
use crate::command::pages::Full;
use crate::command::words;

/// Of the last minute's requests so many must be served.
const SERVED_MIN: f64 = 0.95;
/// Fewer requests than this tell nothing of how many are served.
const REQUESTS_MIN: u64 = 20;

/// How it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// All is well.
    Ok,
    /// It serves, and somebody should look.
    Degraded,
    /// It cannot serve.
    Down,
}

impl State {
    /// 0, 1, 2.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Degraded => 1,
            Self::Down => 2,
        }
    }
}

/// The verdict.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    pub(crate) code: &'static str,
    pub(crate) words: String,
}

/// The worst that is to be said of it.
pub(crate) fn of(full: &Full) -> Verdict {
    let (keys, minute) = (&full.keys, &full.performance.last_minute);
    let out = keys.keys.iter().filter(|key| key.is_out()).count() as u64;
    let cooling = keys.keys.iter().filter(|key| key.state == "cooling").count() as u64;
    let served = minute.success_ratio.filter(|_| minute.requests >= REQUESTS_MIN).unwrap_or(1.0);
    let (state, code, words) = if full.health.draining {
        (State::Degraded, "draining", "it drains: what runs is finished, and nothing new is taken".to_owned())
    } else if keys.usable == 0 {
        let back = match keys.soonest_return {
            Some(at) => format!("the first returns {}", words::when(at, full.health.at)),
            None => "and none returns by itself".to_owned(),
        };
        (State::Down, "no_usable_key", format!("none of {} can serve; {back}", many(keys.total, "key")))
    } else if served < SERVED_MIN {
        (State::Degraded, "errors", format!("{} of the last minute's requests were not served", share(1.0 - served)))
    } else if !full.health.state_saved {
        let words = "DATA_DIR cannot be written: what is known will not survive a restart";
        (State::Degraded, "state_unsaved", words.to_owned())
    } else if out > 0 {
        let are = if out == 1 { "is" } else { "are" };
        (State::Degraded, "keys_out", format!("{out} of {} {are} out", many(keys.total, "key")))
    } else if cooling > 0 {
        let rest = if cooling == 1 { "rests" } else { "rest" };
        (State::Ok, "some_cooling", format!("all is well; {} {rest} for some models", many(cooling, "key")))
    } else {
        (State::Ok, "all_well", "all is well".to_owned())
    };
    Verdict { state, code, words }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::command::looks::{full, keys};

    fn said(states: &[&str], more: &Value) -> (State, &'static str, String) {
        let verdict = of(&full(&keys(states), more));
        (verdict.state, verdict.code, verdict.words)
    }

    #[test]
    fn the_worst_is_said_first() {
        let minute = |requests: u64, ratio: f64| json!({"last_minute": {"requests": requests, "success_ratio": ratio}});
        let none = json!({});
        let down = ["off", "dead"];
        let soon = json!({"keys": {"soonest_return": "2026-11-25T14:12:00Z"}});
        for (states, more, state, code, words) in [
            (&["usable"][..], &none, State::Ok, "all_well", "all is well"),
            (&["usable", "disabled"], &none, State::Ok, "all_well", "all is well"),
            (&["usable", "cooling"], &none, State::Ok, "some_cooling", "all is well; 1 key rests for some models"),
            (&["usable", "dead", "off"], &none, State::Degraded, "keys_out", "2 of 3 keys are out"),
            (&down, &none, State::Down, "no_usable_key", "none of 2 keys can serve; and none returns by itself"),
            (
                &down,
                &soon,
                State::Down,
                "no_usable_key",
                "none of 2 keys can serve; the first returns in 12 min (14:12 UTC)",
            ),
        ] {
            let expected = (state, code, words.to_owned());
            assert_eq!(said(states, more), expected);
        }
        let unsaved = json!({"health": {"state_saved": false}});
        assert_eq!(said(&["usable"], &unsaved).1, "state_unsaved");
        let failing = json!({"performance": minute(20, 0.8)});
        let words = "20.0 % of the last minute's requests were not served";
        assert_eq!(said(&["usable", "off"], &failing), (State::Degraded, "errors", words.to_owned()));
        assert_eq!(said(&["usable"], &json!({"performance": minute(19, 0.5)})).1, "all_well", "nineteen tell nothing");
        assert_eq!(said(&down, &json!({"health": {"draining": true}})).1, "draining");
    }
}
