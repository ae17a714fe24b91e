//! Which projects have read which prefix lately, so that conversations go where Google has them cached.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::prefix::{Digester, Prefix};

/// Prefixes that are known at a time.
const KNOWN_MAX: u64 = 200_000;
/// How long one is known that nobody asks with. How long Google keeps what it caches by itself is not published.
const IDLE: Duration = Duration::from_mins(30);
/// Projects that are remembered of one prefix, the latest first.
const HOMES: usize = 4;
/// The time over which shares are held within the weights.
const SPAN: Duration = Duration::from_mins(10);
/// A project may be so much over its share, and so many requests.
const SLACK: f64 = 1.05;
const SLACK_REQUESTS: f64 = 4.0;
/// Models whose shares are kept; beyond them nothing is held to its place.
const MODELS_MAX: usize = 256;

/// The latest projects first.
type Homes = [Option<u32>; HOMES];

/// What a request's prefix came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Followed {
    /// It went where it was read before.
    Kept,
    /// It was known, and went elsewhere: no room there, or more than its share.
    Moved,
    /// Nobody had read it.
    New,
}

/// The memory of prefixes. Made once, shared; in memory alone.
#[derive(Debug)]
pub struct Prefixes {
    digester: Digester,
    homes: Cache<u64, Homes>,
    served: Mutex<HashMap<Box<str>, Served>>,
    counts: [AtomicU64; 3],
}

impl Default for Prefixes {
    fn default() -> Self {
        Self {
            digester: Digester::default(),
            homes: Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(IDLE).build(),
            served: Mutex::default(),
            counts: Default::default(),
        }
    }
}

impl Prefixes {
    /// The prefix of a prompt for a model.
    pub fn of(&self, model: &str, body: &[u8]) -> Prefix {
        self.digester.prefix(model, body)
    }

    /// The projects that read a beginning of the prompt: those of the longest one first, and of one the latest.
    pub fn homes(&self, prefix: &Prefix) -> Vec<u32> {
        let mut homes = Vec::new();
        for digest in prefix.longest_first() {
            for home in self.homes.get(&digest).into_iter().flatten().flatten() {
                if !homes.contains(&home) {
                    homes.push(home);
                }
            }
        }
        homes
    }

    /// The prompt goes to `project`, whose share of the model's requests should be `share`.
    pub fn goes(&self, prefix: &Prefix, model: &str, project: u32, followed: Followed, now: Instant) {
        for digest in prefix.longest_first() {
            let before = self.homes.get(&digest).unwrap_or_default();
            let others = before.into_iter().filter(|home| *home != Some(project));
            let mut homes = [Some(project), None, None, None];
            homes[1..].iter_mut().zip(others).for_each(|(place, home)| *place = home);
            if homes != before {
                self.homes.insert(digest, homes);
            }
        }
        self.counts[followed as usize].fetch_add(1, Relaxed);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.len() < MODELS_MAX || served.contains_key(model) {
            served.entry(model.into()).or_insert_with(|| Served::new(now)).add(project, now);
        }
    }

    /// Whether a project has had more than its `share` of the model's requests in the last minutes.
    pub fn is_over(&self, model: &str, project: u32, share: f64, now: Instant) -> bool {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.get_mut(model).is_some_and(|served| served.is_over(project, share, now))
    }

    /// Requests that were kept, moved and new.
    pub fn counts(&self) -> [u64; 3] {
        [0, 1, 2].map(|place: usize| self.counts[place].load(Relaxed))
    }
}

/// Requests of one model by project, those long ago counting less.
#[derive(Debug)]
struct Served {
    at: Instant,
    all: f64,
    by_project: HashMap<u32, f64>,
}

impl Served {
    fn new(now: Instant) -> Self {
        Self { at: now, all: 0.0, by_project: HashMap::new() }
    }

    fn age(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        // A second is exact enough, and spares a round over all projects for each request.
        if passed >= 1.0 {
            let left = (-passed / SPAN.as_secs_f64()).exp();
            self.all *= left;
            self.by_project.values_mut().for_each(|count| *count *= left);
            self.at = now;
        }
    }

    fn add(&mut self, project: u32, now: Instant) {
        self.age(now);
        self.all += 1.0;
        *self.by_project.entry(project).or_default() += 1.0;
    }

    fn is_over(&mut self, project: u32, share: f64, now: Instant) -> bool {
        self.age(now);
        let had = self.by_project.get(&project).copied().unwrap_or(0.0);
        had + 1.0 > share * (self.all + 1.0) * SLACK + SLACK_REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MODEL: &str = "gemini-a";

    fn prompt(prefixes: &Prefixes, topic: &str, turns: usize) -> Prefix {
        let turns: Vec<_> =
            (0..turns).map(|n| json!({"parts": [{"text": format!("{n} {topic}").repeat(500)}]})).collect();
        prefixes.of(MODEL, json!({ "contents": turns }).to_string().as_bytes())
    }

    #[test]
    fn a_conversation_is_led_to_who_read_most_of_it() {
        let (prefixes, now) = (Prefixes::default(), Instant::now());
        let first = prompt(&prefixes, "of the sea and the sky", 1);
        assert!(prefixes.homes(&first).is_empty());
        prefixes.goes(&first, MODEL, 3, Followed::New, now);
        let second = prompt(&prefixes, "of the sea and the sky", 2);
        assert_eq!(prefixes.homes(&second), [3]);
        prefixes.goes(&second, MODEL, 5, Followed::Moved, now);
        let third = prompt(&prefixes, "of the sea and the sky", 3);
        assert_eq!(prefixes.homes(&third), [5, 3], "the one that read more of it first");
        assert!(prefixes.homes(&prompt(&prefixes, "of nothing of the kind", 3)).is_empty());
        assert_eq!(prefixes.counts(), [0, 1, 1]);
    }

    #[test]
    fn a_share_is_held_and_forgotten_with_time() {
        let (prefixes, now) = (Prefixes::default(), Instant::now());
        let prefix = prompt(&prefixes, "of the sea and the sky", 1);
        assert!(!prefixes.is_over(MODEL, 0, 0.5, now));
        for _ in 0..20 {
            prefixes.goes(&prefix, MODEL, 0, Followed::Kept, now);
        }
        assert!(prefixes.is_over(MODEL, 0, 0.5, now) && !prefixes.is_over(MODEL, 1, 0.5, now));
        assert!(!prefixes.is_over(MODEL, 0, 1.0, now), "all of it is its share");
        assert!(!prefixes.is_over(MODEL, 0, 0.5, now + SPAN * 3));
    }
}
