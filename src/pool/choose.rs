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

/// Classes that are not behind rank after all that are: no rank of those comes near it.
const NOT_BEHIND: f64 = 1e12;

/// The usable keys of one model and their turn. Keys are known by their index in the pool.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// By falling weight.
    classes: Vec<Class>,
    /// The claim of each class, apart from its keys: a choice walks over all of them.
    claims: Vec<Claim>,
    /// The weight each key is entered with; 0 when it is out.
    weights: Vec<u32>,
    total: i64,
    len: usize,
}

/// Keys of one weight.
#[derive(Clone, Debug)]
struct Class {
    weight: u32,
    /// Not yet served in this round.
    waiting: VecDeque<u32>,
    served: VecDeque<u32>,
}

/// What a class is owed.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// The weight of all its keys.
    share: i64,
    /// One over the share.
    per_share: f64,
    /// How far behind its share the class is, in units of the schedule's total.
    credit: i64,
}

impl Claim {
    fn new(weight: u32) -> Self {
        let mut claim = Self { share: 0, per_share: 0.0, credit: 0 };
        claim.grow(i64::from(weight));
        claim
    }

    #[expect(clippy::cast_precision_loss, reason = "weights stay far below 2^52")]
    fn grow(&mut self, weight: i64) {
        self.share += weight;
        self.per_share = 1.0 / self.share as f64;
    }

    /// Another request is due: who is first has the least rank. That is the time to the deadline for whoever is
    /// behind, and for the others, after them, how far ahead they are.
    #[expect(clippy::cast_precision_loss, reason = "weights stay far below 2^52")]
    fn advance(&mut self, total: i64) -> f64 {
        // Shares change while keys come and go: no class carries more than one request of debt or claim over.
        self.credit = (self.credit + self.share).clamp(-total, total);
        let behind = (total - self.credit) as f64 * self.per_share;
        if self.credit > 0 { behind } else { NOT_BEHIND - self.credit as f64 }
    }
}

impl Class {
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
        let Some(at) = self.place(weight).ok() else { return };
        let class = &mut self.classes[at];
        class.waiting.retain(|k| *k != key);
        class.served.retain(|k| *k != key);
        self.total -= i64::from(weight);
        self.len -= 1;
        self.claims[at].grow(-i64::from(weight));
        if self.claims[at].share == 0 {
            self.classes.remove(at);
            self.claims.remove(at);
        }
    }

    fn join(&mut self, key: u32, weight: u32) {
        self.total += i64::from(weight);
        self.len += 1;
        match self.place(weight) {
            Ok(at) => {
                self.classes[at].waiting.push_back(key);
                self.claims[at].grow(i64::from(weight));
            }
            Err(at) => {
                self.classes.insert(at, Class { weight, waiting: [key].into(), served: VecDeque::new() });
                self.claims.insert(at, Claim::new(weight));
            }
        }
    }

    /// Where the class of a weight is, or where it would be.
    fn place(&self, weight: u32) -> Result<usize, usize> {
        self.classes.binary_search_by_key(&Reverse(weight), |class| Reverse(class.weight))
    }

    /// The key whose turn it is among those `allowed`; ties go to the one with the least `load`. Where `any` is, no class
    /// is asked whether one of its keys may be chosen: that costs more than all the ranks.
    pub fn pick(&mut self, any: bool, allowed: impl Fn(u32) -> bool, load: impl Fn(u32) -> u32) -> Option<u32> {
        let total = self.total;
        let mut best: Option<(usize, f64)> = None;
        for (at, claim) in self.claims.iter_mut().enumerate() {
            let rank = claim.advance(total);
            let may = || any || self.classes[at].keys().any(&allowed);
            if best.is_none_or(|(_, least)| rank < least) && may() {
                best = Some((at, rank));
            }
        }
        let Some((at, _)) = best else {
            // Nobody was served, so nobody's claim grew.
            self.claims.iter_mut().for_each(|claim| claim.credit -= claim.share);
            return None;
        };
        self.claims[at].credit -= total;
        Some(self.classes[at].next(allowed, load))
    }
}

impl Class {
    /// The next key of the round. The caller has seen that one is allowed.
    fn next(&mut self, allowed: impl Fn(u32) -> bool, load: impl Fn(u32) -> u32) -> u32 {
        if self.waiting.is_empty() {
            std::mem::swap(&mut self.waiting, &mut self.served);
        }
        let mut least: Option<(usize, u32)> = None;
        let open = self.waiting.iter().enumerate().filter(|(_, key)| allowed(**key)).take(LOAD_WINDOW);
        for (at, load) in open.map(|(at, key)| (at, load(*key))) {
            if least.is_none_or(|(_, least)| load < least) {
                least = Some((at, load));
            }
            // Less than nothing is not to be found.
            if load == 0 {
                break;
            }
        }
        let key = least.and_then(|(at, _)| self.waiting.remove(at)).unwrap_or_else(|| {
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
            counts[schedule.pick(true, |_| true, |_| 0).unwrap() as usize] += 1;
        }
        assert_eq!(counts, [10, 8, 5]);
    }

    #[test]
    fn ties_go_to_the_least_loaded() {
        let mut schedule = schedule(&[1, 1, 1]);
        assert_eq!(schedule.pick(true, |_| true, |key| 5 - key), Some(2));
        assert_eq!(schedule.pick(true, |_| true, |key| 5 - key), Some(1));
        assert_eq!(schedule.pick(true, |_| true, |_| 0), Some(0));
    }

    #[test]
    fn only_allowed_keys_are_chosen() {
        let mut schedule = schedule(&[1, 1, 1000]);
        for _ in 0..10 {
            assert_eq!(schedule.pick(false, |key| key == 1, |_| 0), Some(1));
        }
        assert_eq!(schedule.pick(false, |_| false, |_| 0), None);
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
                counts[schedule.pick(true, |_| true, |_| 0).unwrap() as usize] += 1;
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
                    let chosen = schedule.pick(false, |key| key % 2 == 0, |_| 0);
                    let possible = (0..12).step_by(2).any(|key| model[key] > 0);
                    prop_assert_eq!(chosen.is_some(), possible);
                    prop_assert!(chosen.is_none_or(|key| key % 2 == 0 && model[key as usize] > 0));
                }
            }
        }
    }
}
