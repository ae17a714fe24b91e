//! The overview: whether all is well, in one word with its numbers, and what the first page shows.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pool::view::PoolView;
use crate::telemetry::{Performance, Waste};
use crate::usage::Usage;

/// The success ratio below which the last minute was not well.
const SUCCESS_MIN: f64 = 0.95;
/// Requests below which a minute's ratio says nothing.
const REQUESTS_MIN: u64 = 20;

/// What the overview is made of, all read at one moment.
pub(crate) struct Seen<'s> {
    pub(crate) at: Timestamp,
    pub(crate) uptime_seconds: u64,
    pub(crate) draining: bool,
    /// Whether what is known could be written down.
    pub(crate) saved: bool,
    pub(crate) view: &'s PoolView,
    pub(crate) tokens: Usage,
    pub(crate) waste: Waste,
    pub(crate) now: Now,
    pub(crate) minute: Performance,
    pub(crate) five_minutes: Performance,
}

/// Everything at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// When it was looked at.
    at: Timestamp,
    /// geminate's.
    version: &'static str,
    /// Since the start.
    uptime_seconds: u64,
    /// Whether it is coming to its end.
    draining: bool,
    verdict: Judgement,
    keys: KeyCounts,
    now: Now,
    /// The calls that ended in the last minute.
    minute: Performance,
    /// The calls that ended in the last five minutes.
    five_minutes: Performance,
    /// Since the start.
    tokens: Usage,
    waste: Waste,
}

/// How geminate does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Requests are served.
    Ok,
    /// Most are, or will not be for long.
    Degraded,
    /// None can be.
    Down,
}

/// Why, the gravest reason first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// It comes to its end.
    Draining,
    /// Every key is off, dead or disabled.
    NoUsableKey,
    /// Too many requests of the last minute failed.
    Errors,
    /// What is known cannot be written to `DATA_DIR`, and will not survive a restart.
    StateUnsaved,
    /// Some keys are off or dead.
    KeysOut,
    /// Some keys rest for some models, which is how it should be.
    SomeCooling,
    /// Nothing is wrong.
    AllWell,
}

/// The state, its reason, and the numbers that the words need.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Judgement {
    state: State,
    code: Code,
    counts: Told,
}

/// The numbers of a judgement.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Told {
    /// Keys configured.
    keys_total: usize,
    /// Keys off or dead.
    keys_out: usize,
    /// Keys that rest for some models.
    keys_cooling: usize,
    /// Requests of the last minute.
    requests: u64,
    /// Of those that geminate answers for, the share that failed; `null` without any.
    failed_share: Option<f64>,
}

/// Keys by their state: each counts once, apart from `usable`, which counts all that can serve some model.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct KeyCounts {
    total: usize,
    /// That can serve some model now: the steady, the cooling and those on trial.
    usable: usize,
    /// That rest for some models.
    cooling: usize,
    /// That one request at a time tries after a rest.
    trial: usize,
    /// That rest for all models.
    off: usize,
    dead: usize,
    /// By the operator.
    disabled: usize,
    /// When the first of those that are out returns by itself.
    soonest_return: Option<Timestamp>,
}

/// What goes on.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Now {
    /// Requests whose answer is not over.
    pub(crate) in_flight: u64,
    /// Of those, the streamed ones.
    pub(crate) streams: u64,
    pub(crate) waiting_for_key: usize,
    pub(crate) waiting_for_place: usize,
    /// Of clients, on the data listener.
    pub(crate) connections: u64,
}

impl Overview {
    /// What `seen` comes to.
    pub(crate) fn of(seen: Seen<'_>) -> Self {
        let keys = KeyCounts::of(seen.view);
        Self {
            at: seen.at,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: seen.uptime_seconds,
            draining: seen.draining,
            verdict: Judgement::of(&keys, seen.draining, seen.saved, &seen.minute),
            keys,
            now: seen.now,
            minute: seen.minute,
            five_minutes: seen.five_minutes,
            tokens: seen.tokens,
            waste: seen.waste,
        }
    }
}

impl KeyCounts {
    fn of(view: &PoolView) -> Self {
        let mut counts = Self { total: view.keys.len(), usable: view.usable, ..Self::default() };
        counts.soonest_return = view.soonest_return;
        for key in &view.keys {
            match key.state {
                "cooling" => counts.cooling += 1,
                "trial" => counts.trial += 1,
                "off" => counts.off += 1,
                "dead" => counts.dead += 1,
                "disabled" => counts.disabled += 1,
                _ => {}
            }
        }
        counts
    }
}

impl Judgement {
    fn of(keys: &KeyCounts, draining: bool, saved: bool, minute: &Performance) -> Self {
        let keys_out = keys.off + keys.dead;
        let failed_share = minute.success_ratio.map(|ratio| ((1.0 - ratio) * 10_000.0).round() / 10_000.0);
        let failing = failed_share.is_some_and(|share| share > 1.0 - SUCCESS_MIN) && minute.requests >= REQUESTS_MIN;
        let (state, code) = match () {
            () if draining => (State::Degraded, Code::Draining),
            () if keys.usable == 0 => (State::Down, Code::NoUsableKey),
            () if failing => (State::Degraded, Code::Errors),
            () if !saved => (State::Degraded, Code::StateUnsaved),
            () if keys_out > 0 => (State::Degraded, Code::KeysOut),
            () if keys.cooling > 0 => (State::Ok, Code::SomeCooling),
            () => (State::Ok, Code::AllWell),
        };
        let (keys_total, keys_cooling, requests) = (keys.total, keys.cooling, minute.requests);
        Self { state, code, counts: Told { keys_total, keys_out, keys_cooling, requests, failed_share } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(keys: KeyCounts, draining: bool, requests: u64, success_ratio: Option<f64>) -> (State, Code) {
        let quiet = crate::telemetry::Telemetry::new(tokio::time::Instant::now())
            .performance(std::time::Duration::from_mins(1), tokio::time::Instant::now());
        let minute = Performance { requests, success_ratio, ..quiet };
        let judgement = Judgement::of(&keys, draining, true, &minute);
        (judgement.state, judgement.code)
    }

    #[test]
    fn the_gravest_reason_is_told() {
        let well = KeyCounts { total: 9, usable: 9, ..KeyCounts::default() };
        let out = KeyCounts { usable: 7, dead: 1, off: 1, cooling: 2, ..well };
        let none = KeyCounts { usable: 0, off: 5, dead: 4, ..well };
        for (keys, draining, requests, ratio, told) in [
            (well, false, 0, None, (State::Ok, Code::AllWell)),
            (well, false, 1000, Some(0.96), (State::Ok, Code::AllWell)),
            (KeyCounts { cooling: 1, ..well }, false, 9, Some(1.0), (State::Ok, Code::SomeCooling)),
            (KeyCounts { usable: 8, disabled: 1, ..well }, false, 9, Some(1.0), (State::Ok, Code::AllWell)),
            (out, false, 1000, Some(1.0), (State::Degraded, Code::KeysOut)),
            (out, false, 1000, Some(0.5), (State::Degraded, Code::Errors)),
            (well, false, 3, Some(0.0), (State::Ok, Code::AllWell)),
            (none, false, 1000, Some(0.5), (State::Down, Code::NoUsableKey)),
            (KeyCounts::default(), false, 0, None, (State::Down, Code::NoUsableKey)),
            (none, true, 0, None, (State::Degraded, Code::Draining)),
        ] {
            assert_eq!(judged(keys, draining, requests, ratio), told, "{keys:?} {requests} {ratio:?}");
        }
    }
}
