//! Explaining a choice: who would be chosen for a model now, and why each other key would not. Nothing is changed by it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pool::ask::Avoid;
use crate::pool::key::{Ceilings, Key};
use crate::pool::keypool::KeyPool;
use crate::pool::lane::Lane;
use crate::pool::limits::Windows;
use crate::pool::memory::Clocks;
use crate::pool::reason::Reason;
use crate::pool::roster::{Life, Roster};

/// At this health or below it is said that a key is avoided for it: a tenth at least of its weight is gone.
const AVOIDED: f32 = 0.9;

/// All keys as they stand for one model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Explanation {
    /// The name that was asked for.
    pub asked: String,
    /// Google's name of it.
    pub model: String,
    /// Whether anything is known of the model; if not, nothing is held against any key for it.
    pub known: bool,
    /// When this was so.
    pub at: Timestamp,
    /// The key that the next request would get.
    pub next: Option<Arc<str>>,
    /// Where no key would be chosen: when the first one returns, if waiting helps.
    pub soonest_return: Option<Timestamp>,
    /// Attempts under way.
    pub in_flight: u32,
    /// Requests that wait for a key.
    pub waiting: usize,
    /// How many of them may wait for their first byte at once, for a while after many projects were refused without a
    /// reason.
    pub in_flight_max: Option<u32>,
    /// Overloads of the model in a row.
    pub overloads: u32,
    /// How many keys there are.
    pub total: usize,
    /// In order of configuration; where not all are listed, the next one and those that cannot serve come first.
    pub keys: Vec<KeyExplained>,
}

/// One key as it stands for one model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyExplained {
    /// The name in logs and metrics.
    pub id: Arc<str>,
    /// The last four characters of the key.
    pub tail: Box<str>,
    /// The project's label.
    pub project: Arc<str>,
    /// In one word.
    pub chance: Chance,
    /// Why it would not be chosen, where it is more than another's turn.
    pub reason: Option<Reason>,
    /// Until when; absent where only a person, or for a dead key a probe, can mend it.
    pub until: Option<Timestamp>,
    /// When a dead key is asked again whether it lives.
    pub probe_at: Option<Timestamp>,
    /// Until when requests that ground their answers by search go elsewhere.
    pub grounding_until: Option<Timestamp>,
    /// As configured.
    pub configured_weight: u32,
    /// The weight now: the configured one times health and what is left of the day; 0 while it cannot be chosen.
    pub weight: f64,
    /// The weight over the sum of all.
    pub expected_share: f64,
    /// Between a tenth and 1: what failures left of the trust in it.
    pub health: f32,
    /// Attempts under way, for all models.
    pub in_flight: u32,
    /// The limits that hold: the lower of the operator's and Google's, as far as they are known.
    pub limits: Ceilings,
    /// What is left of them.
    pub left: Ceilings,
    /// Google's limits as refusals told them.
    pub learnt: Ceilings,
}

/// What may become of a key at the next choice.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Chance {
    /// It would be chosen.
    Next,
    /// It has its turn like others.
    Usable,
    /// It has its turn less often, for its failures of the last minute.
    Avoided,
    /// One request is trying whether it serves again.
    Trial,
    /// It rests.
    Resting,
    /// It does not come back by itself.
    Dead,
    /// Switched off by configuration.
    Disabled,
}

impl Explanation {
    /// No more keys than `limit`.
    pub fn cut(&mut self, limit: usize) {
        if self.keys.len() > limit {
            let serves = |chance| matches!(chance, Chance::Usable | Chance::Avoided);
            self.keys.sort_by_key(|key| (key.chance != Chance::Next, serves(key.chance)));
            self.keys.truncate(limit);
        }
    }
}

impl KeyPool {
    /// Who would be chosen for `model` by a request that names nothing else, and how all others stand. The choice is
    /// made in a copy of the lane, and a model that has none gets none.
    pub fn explain(&self, model: &str, clocks: Clocks) -> Explanation {
        let now = clocks.now;
        let shared = self.known_lane(model);
        let mut lane = shared.as_ref().map_or_else(|| self.fresh_lane(now), |shared| shared.lock().clone());
        lane.refresh(now);
        let in_flight = shared.as_ref().map_or(0, |shared| shared.in_flight.load(Relaxed));
        let awaited = shared.as_ref().map_or(0, |shared| shared.awaited.load(Relaxed));
        let held = lane.lull.most(now).is_some_and(|most| awaited >= most);
        let next = if held { None } else { lane.clone().pick(Avoid::default(), now).map(|taken| taken.index) };
        let soonest = next.is_none().then(|| lane.outage(Avoid::default(), now).soonest).flatten();
        let roster = self.scene.roster.lock();
        let explained = |key: &Arc<Key>| explained(&lane, key, &roster, next == Some(key.index), clocks);
        let mut keys: Vec<KeyExplained> = self.keys().iter().map(explained).collect();
        let total: f64 = keys.iter().map(|key| key.weight).sum();
        keys.iter_mut().filter(|_| total > 0.0).for_each(|key| key.expected_share = key.weight / total);
        Explanation {
            asked: model.to_owned(),
            model: model.to_owned(),
            known: shared.is_some(),
            at: clocks.wall,
            next: next.map(|index| Arc::clone(&self.keys()[index].id)),
            soonest_return: soonest.map(|at| clocks.wall_at(at)),
            in_flight,
            waiting: shared.as_ref().map_or(0, |shared| shared.waits()),
            in_flight_max: lane.lull.most(now),
            overloads: lane.overloads.count().into(),
            total: keys.len(),
            keys,
        }
    }
}

fn explained(lane: &Lane, key: &Key, roster: &Roster, next: bool, clocks: Clocks) -> KeyExplained {
    let now = clocks.now;
    let (weight, health, blocked) = lane.look(key, roster, now);
    let windows = lane.budgets().of(key.project());
    let full = || Some((Reason::Budget, Some(windows?.wait(0, now)?)));
    let blocked = blocked.or_else(full).filter(|_| !next);
    let (life, project) = (roster.life(key), &roster.projects[key.project() as usize]);
    let chance = match (life, blocked) {
        (Life::Dead(Reason::Disabled, _), _) => Chance::Disabled,
        (Life::Dead(..), _) => Chance::Dead,
        (_, Some((Reason::Trial, _))) => Chance::Trial,
        (_, Some(_)) => Chance::Resting,
        _ if next => Chance::Next,
        _ if health <= AVOIDED => Chance::Avoided,
        _ => Chance::Usable,
    };
    let probe = match life {
        Life::Dead(_, at) => at,
        _ => None,
    };
    let wall = |at| clocks.wall_at(at);
    let (mut limits, mut left) = (Ceilings::default(), Ceilings::default());
    if let Some(room) = windows.map(|windows| windows.clone().room(now)) {
        let of = |max: Option<u64>, used: u64| max.map(|max| max.saturating_sub(used));
        let (rpm, tpm) = room.minute_max;
        limits = Ceilings { rpm, tpm, rpd: room.day_max };
        left = Ceilings {
            rpm: of(rpm, room.minute.requests),
            tpm: of(tpm, room.minute.tokens),
            rpd: of(room.day_max, room.day),
        };
    }
    let out = blocked.is_some();
    KeyExplained {
        id: Arc::clone(&key.id),
        tail: key.tail.clone(),
        project: Arc::clone(&project.name),
        chance,
        reason: blocked.map(|(reason, _)| reason),
        until: blocked.and_then(|(_, until)| until).map(wall),
        probe_at: probe.map(wall),
        grounding_until: project.grounding.filter(|until| *until > now).map(wall),
        configured_weight: key.weight(),
        weight: if out { 0.0 } else { f64::from(weight) / f64::from(crate::pool::health::LEVELS) },
        expected_share: 0.0,
        health,
        in_flight: key.in_flight(),
        limits,
        left,
        learnt: windows.map(Windows::learnt).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::pool::key::KeySpec;
    use crate::pool::{Choice, Probe};
    use crate::refusal::Refusal;
    use crate::secret::Secret;
    use crate::verdict::Verdict;

    const MODEL: &str = "gemini-3.8-flash";
    const MOMENT: Duration = Duration::from_millis(1);

    fn clocks() -> Clocks {
        Clocks { now: Instant::now(), wall: "2026-11-25T20:00:00Z".parse().unwrap() }
    }

    /// Keys of these weights, the last of which is disabled; each may be used five times a minute.
    fn pool(weights: &[u32], clocks: Clocks) -> KeyPool {
        let spec = |(n, weight): (usize, &u32)| KeySpec {
            id: (n + 1).to_string().into(),
            secret: Secret::new(format!("fake-key-{n:04}")),
            weight: *weight,
            project: None,
            egress: 0,
            ceilings: Ceilings { rpm: Some(5), ..Ceilings::default() },
            enabled: n + 1 < weights.len(),
        };
        KeyPool::new(&weights.iter().enumerate().map(spec).collect::<Vec<_>>(), clocks).unwrap()
    }

    fn chosen(pool: &KeyPool, at: Instant) -> Option<Arc<str>> {
        match pool.select(pool.lane(MODEL, at), Avoid::default(), at) {
            Choice::Lease(mut lease) => {
                lease.succeed(at);
                Some(Arc::clone(&lease.key().id))
            }
            Choice::Out(_) => None,
        }
    }

    fn chances(explanation: &Explanation) -> Vec<Chance> {
        explanation.keys.iter().map(|key| key.chance).collect()
    }

    #[test]
    fn the_next_is_always_who_is_chosen_and_to_ask_moves_nobodys_turn() {
        let clocks = clocks();
        let (asked, quiet) = (pool(&[3, 2, 1, 1], clocks), pool(&[3, 2, 1, 1], clocks));
        let mut turns = 0;
        loop {
            let explanations: Vec<_> = (0..5).map(|_| asked.explain(MODEL, clocks)).collect();
            assert!(explanations.iter().all(|other| other.next == explanations[0].next));
            let next = chosen(&asked, clocks.now);
            assert_eq!((&explanations[0].next, &next), (&chosen(&quiet, clocks.now), &next), "turn {turns}");
            if next.is_none() {
                break;
            }
            turns += 1;
        }
        assert_eq!(turns, 15, "each of three has spent its five");
        let out = asked.explain(MODEL, clocks);
        assert!(out.keys[..3].iter().all(|key| key.reason == Some(Reason::Budget) && key.left.rpm == Some(0)));
        assert!(out.soonest_return.is_some_and(|at| at > clocks.wall));
    }

    #[test]
    fn an_unknown_model_is_explained_and_gets_no_lane() {
        let clocks = clocks();
        let pool = pool(&[1, 1, 1], clocks);
        let explanation = pool.explain("gemini-made-up", clocks);
        assert!(!explanation.known && explanation.next.as_deref() == Some("1"));
        assert_eq!(chances(&explanation), [Chance::Next, Chance::Usable, Chance::Disabled]);
        assert!(pool.lanes().is_empty());
    }

    #[test]
    fn each_key_that_is_not_next_has_its_reason() {
        let clocks = clocks();
        let Clocks { now, wall } = clocks;
        let pool = pool(&[1, 1, 1, 1, 1, 1], clocks);
        let fail = |verdict| {
            let Choice::Lease(mut lease) = pool.select(pool.lane(MODEL, now), Avoid::default(), now) else { panic!() };
            let moment = crate::pool::scene::Moment { now: now + MOMENT, wall: wall + MOMENT, dice: 0.0 };
            lease.fail(verdict, &Refusal::default(), moment);
        };
        fail(Verdict::QuotaDay);
        fail(Verdict::KeyInvalid);
        fail(Verdict::Overloaded);
        fail(Verdict::Banned);
        let at = Clocks { now: now + MOMENT * 2, wall: wall + MOMENT * 2 };
        let seen = pool.explain(MODEL, at);
        assert_eq!(
            chances(&seen),
            [Chance::Resting, Chance::Dead, Chance::Avoided, Chance::Dead, Chance::Next, Chance::Disabled]
        );
        let reasons: Vec<_> = seen.keys.iter().map(|key| key.reason).collect();
        let off = Some;
        let (day, lost) = (off(Reason::QuotaDay), off(Reason::Invalid));
        assert_eq!(reasons, [day, lost, None, off(Reason::Banned), None, off(Reason::Disabled)]);
        assert_eq!(seen.keys[0].until.unwrap().to_string(), "2026-11-26T08:00:00Z", "midnight in Los Angeles");
        assert!(seen.keys[1].probe_at.is_some() && seen.keys[3].probe_at.is_none());
        assert!(seen.keys[2].health < 0.3 && seen.keys[2].weight < 0.3);
        let total: f64 = seen.keys.iter().map(|key| key.expected_share).sum();
        assert!((total - 1.0).abs() < 1e-9 && seen.keys[4].expected_share > 0.8);
        pool.probed(&pool.keys()[1], Probe::Alive, at.now);
        assert_eq!(pool.explain(MODEL, at).keys[1].chance, Chance::Usable);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), seen);
    }

    #[test]
    fn a_long_list_is_cut_behind_those_that_tell_most() {
        let clocks = clocks();
        let mut seen = pool(&[1, 2, 1, 1], clocks).explain(MODEL, clocks);
        seen.cut(2);
        assert_eq!(chances(&seen), [Chance::Next, Chance::Disabled]);
        assert_eq!((seen.total, &*seen.keys[0].id), (4, "2"));
    }
}
