//! The schedule: which key comes next, so that every key's share is exact within one request.
//!
//! Keys of equal weight form a class. Among classes the earliest deadline goes first, of those that are behind their
//! share (a single-processor Pfair schedule, of which smooth weighted round robin is the greedy kin): no class is ever
//! a whole request away from its share. Within a class keys are served in rounds, each once a round, so the same
//! holds for every key. A choice costs the number of distinct weights, not the number of keys.

use std::cmp::Reverse;
use std::collections::VecDeque;

/// How many keys of a round are compared by their load.
const LOAD_WINDOW: usize = 8;

/// The usable keys of one model and their turn. Keys are known by their index in the pool.
#[derive(Debug, Default)]
pub struct Schedule {
    classes: Vec<Class>,
    /// The weight each key is entered with; 0 when it is out.
    weights: Vec<u32>,
    total: i64,
    len: usize,
}

/// Keys of one weight.
#[derive(Debug)]
struct Class {
    weight: u32,
    /// How far behind its share the class is, in units of `total`.
    credit: i64,
    /// Not yet served in this round.
    waiting: VecDeque<u32>,
    served: VecDeque<u32>,
}

impl Class {
    fn len(&self) -> usize {
        self.waiting.len() + self.served.len()
    }

    #[expect(clippy::cast_possible_wrap, reason = "fewer keys than fit an i64")]
    fn share(&self) -> i64 {
        i64::from(self.weight) * self.len() as i64
    }

    fn keys(&self) -> impl Iterator<Item = u32> {
        self.waiting.iter().chain(&self.served).copied()
    }
}

impl Schedule {
    /// The number of keys that can be chosen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key can be chosen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of all weights: a key's expected share is its weight over this.
    pub fn total(&self) -> u64 {
        self.total.unsigned_abs()
    }

    /// The weight with which `key` takes part; 0 when it does not.
    pub fn weight(&self, key: u32) -> u32 {
        self.weights.get(key as usize).copied().unwrap_or(0)
    }

    /// Enters `key`, moves it to another weight, or with weight 0 takes it out.
    pub fn set(&mut self, key: u32, weight: u32) {
        let place = key as usize;
        if self.weights.len() <= place {
            self.weights.resize(place + 1, 0);
        }
        let old = std::mem::replace(&mut self.weights[place], weight);
        if old == weight {
            return;
        }
        if old != 0 {
            self.leave(key, old);
        }
        if weight != 0 {
            self.join(key, weight);
        }
    }

    fn leave(&mut self, key: u32, weight: u32) {
        let Some(at) = self.classes.iter().position(|class| class.weight == weight) else { return };
        let class = &mut self.classes[at];
        class.waiting.retain(|k| *k != key);
        class.served.retain(|k| *k != key);
        self.total -= i64::from(weight);
        self.len -= 1;
        if class.len() == 0 {
            self.classes.swap_remove(at);
        }
    }

    fn join(&mut self, key: u32, weight: u32) {
        self.total += i64::from(weight);
        self.len += 1;
        if let Some(class) = self.classes.iter_mut().find(|class| class.weight == weight) {
            class.waiting.push_back(key);
            return;
        }
        self.classes.push(Class { weight, credit: 0, waiting: [key].into(), served: VecDeque::new() });
        // Deterministic whatever the order of arrivals.
        self.classes.sort_unstable_by_key(|class| Reverse(class.weight));
    }

    /// The key whose turn it is among those `allowed`; ties go to the one with the least `load`.
    pub fn pick(&mut self, allowed: impl Fn(u32) -> bool, load: impl Fn(u32) -> u32) -> Option<u32> {
        let total = self.total;
        let mut best: Option<(usize, bool, f64)> = None;
        for (at, class) in self.classes.iter_mut().enumerate() {
            let share = class.share();
            // Shares change while keys come and go: no class carries more than one request of debt or claim over.
            class.credit = (class.credit + share).clamp(-total, total);
            if !class.keys().any(&allowed) {
                continue;
            }
            let behind = class.credit > 0;
            #[expect(clippy::cast_precision_loss, reason = "weights stay far below 2^52")]
            let rank = if behind { (total - class.credit) as f64 / share as f64 } else { -class.credit as f64 };
            let better = best.is_none_or(|(_, was, rank_of_best)| (!behind, rank) < (!was, rank_of_best));
            if better {
                best = Some((at, behind, rank));
            }
        }
        let Some((at, ..)) = best else {
            // Nobody was served, so nobody's claim grew.
            self.classes.iter_mut().for_each(|class| class.credit -= class.share());
            return None;
        };
        let class = &mut self.classes[at];
        class.credit -= total;
        Some(class.next(allowed, load))
    }
}

impl Class {
    /// The next key of the round. The caller has seen that one is allowed.
    fn next(&mut self, allowed: impl Fn(u32) -> bool, load: impl Fn(u32) -> u32) -> u32 {
        if self.waiting.is_empty() {
            std::mem::swap(&mut self.waiting, &mut self.served);
        }
        let open = self.waiting.iter().enumerate().filter(|(_, key)| allowed(**key)).take(LOAD_WINDOW);
        let least = open.min_by_key(|(_, key)| load(**key)).map(|(at, _)| at);
        let key = least.and_then(|at| self.waiting.remove(at)).unwrap_or_else(|| {
            // All who wait are ruled out for this request: one that was served goes again.
            let at = self.served.iter().position(|key| allowed(*key)).unwrap_or(0);
            self.served.remove(at).unwrap_or_default()
        });
        self.served.push_back(key);
        key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(weights: &[u32]) -> Schedule {
        let mut schedule = Schedule::default();
        for (key, weight) in (0..).zip(weights) {
            schedule.set(key, *weight);
        }
        schedule
    }

    #[test]
    fn ten_eight_five_interleaves() {
        let mut schedule = schedule(&[10, 8, 5]);
        let mut counts = [0; 3];
        for _ in 0..23 {
            counts[schedule.pick(|_| true, |_| 0).unwrap() as usize] += 1;
        }
        assert_eq!(counts, [10, 8, 5]);
    }

    #[test]
    fn ties_go_to_the_least_loaded() {
        let mut schedule = schedule(&[1, 1, 1]);
        assert_eq!(schedule.pick(|_| true, |key| 5 - key), Some(2));
        assert_eq!(schedule.pick(|_| true, |key| 5 - key), Some(1));
        assert_eq!(schedule.pick(|_| true, |_| 0), Some(0));
    }

    #[test]
    fn only_allowed_keys_are_chosen() {
        let mut schedule = schedule(&[1, 1, 1000]);
        for _ in 0..10 {
            assert_eq!(schedule.pick(|key| key == 1, |_| 0), Some(1));
        }
        assert_eq!(schedule.pick(|_| false, |_| 0), None);
        schedule.set(2, 0);
        assert_eq!(schedule.total(), 2);
    }

    proptest! {
        #[test]
        fn shares_are_exact_within_one_request(weights in prop::collection::vec(1_u32..=1000, 1..40)) {
            let mut schedule = schedule(&weights);
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0_u32; weights.len()];
            for turn in 1..=2000_u32 {
                counts[schedule.pick(|_| true, |_| 0).unwrap() as usize] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let due = f64::from(turn) * f64::from(*weight) / f64::from(total);
                    prop_assert!((f64::from(*count) - due).abs() < 1.0 + 1e-9, "turn {turn}: {count} of {due}");
                }
            }
        }

        #[test]
        fn any_coming_and_going_leaves_the_schedule_whole(
            steps in prop::collection::vec((0_u32..12, 0_u32..4, any::<bool>()), 1..300),
        ) {
            let mut schedule = Schedule::default();
            let mut model = [0_u32; 12];
            for (key, weight, pick) in steps {
                schedule.set(key, weight);
                model[key as usize] = weight;
                prop_assert_eq!(schedule.len(), model.iter().filter(|w| **w > 0).count());
                prop_assert_eq!(schedule.total(), u64::from(model.iter().sum::<u32>()));
                if pick {
                    let chosen = schedule.pick(|key| key % 2 == 0, |_| 0);
                    let possible = (0..12).step_by(2).any(|key| model[key] > 0);
                    prop_assert_eq!(chosen.is_some(), possible);
                    prop_assert!(chosen.is_none_or(|key| key % 2 == 0 && model[key as usize] > 0));
                }
            }
        }
    }
}
