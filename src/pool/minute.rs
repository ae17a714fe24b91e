//! The last minute: what a project was asked for one model, in a short log that forgets.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long what was used counts: a minute, and what the way to Google may add to the time between two requests.
pub const SPAN: Duration = Duration::from_millis(60_500);
/// Uses within this time are one entry, which leaves when the last of them does.
const GRAIN: Duration = Duration::from_millis(500);
/// Entries of what others used, as a refusal lets one guess.
const GUESSED: u32 = 24;
/// Entries at most: those of the minute, and two guesses.
const ENTRIES_MAX: usize = 192;

/// Requests and their input tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Use {
    /// Requests.
    pub requests: u64,
    /// Tokens of their prompts.
    pub tokens: u64,
}

impl Use {
    fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.tokens += more.tokens;
    }

    fn cut(&mut self, less: Self) {
        self.requests = self.requests.saturating_sub(less.requests);
        self.tokens = self.tokens.saturating_sub(less.tokens);
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    first: Instant,
    last: Instant,
    used: Use,
    /// Whether it is our own use, not the guess of another's.
    own: bool,
}

/// Uses of the last minute, oldest first.
///
/// At most so much in *any* minute is what neither a fixed minute of whatever phase refuses nor a bucket that is refilled
/// evenly: which of them Google has, it does not say.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    entries: VecDeque<Entry>,
    total: Use,
}

impl Minute {
    /// What counts at `now`. Forgets what is older.
    pub fn used(&mut self, now: Instant) -> Use {
        while let Some(entry) = self.entries.front().filter(|entry| entry.last + SPAN <= now) {
            self.total.cut(entry.used);
            self.entries.pop_front();
        }
        self.total
    }

    /// What will still count at `at`, if nothing is added until then.
    pub fn used_at(&self, at: Instant) -> Use {
        let mut left = self.total;
        self.entries.iter().take_while(|entry| entry.last + SPAN <= at).for_each(|entry| left.cut(entry.used));
        left
    }

    /// What we used ourselves.
    pub fn own(&self) -> Use {
        let mut own = Use::default();
        self.entries.iter().filter(|entry| entry.own).for_each(|entry| own.add(entry.used));
        own
    }

    /// Enters a use at `now`.
    pub fn add(&mut self, used: Use, now: Instant) {
        self.total.add(used);
        if let Some(entry) = self.entries.back_mut().filter(|entry| entry.own && now < entry.first + GRAIN) {
            entry.used.add(used);
            entry.last = entry.last.max(now);
            return;
        }
        self.entries.push_back(Entry { first: now, last: now, used, own: true });
    }

    /// A use entered at `at` turns out to have been `truth` instead of `estimate`.
    pub fn correct(&mut self, estimate: Use, truth: Use, at: Instant) {
        let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.own && entry.first <= at) else { return };
        if at > entry.last {
            return;
        }
        let before = entry.used;
        entry.used.cut(estimate);
        entry.used.add(truth);
        self.total.cut(before);
        self.total.add(entry.used);
    }

    /// So much more was used, nobody knows when: spread evenly over the past minute, so that it leaves bit by bit. `own`:
    /// by ourselves.
    pub fn guess(&mut self, missing: Use, own: bool, now: Instant) {
        if missing.is_nothing() || self.entries.len() + GUESSED as usize > ENTRIES_MAX {
            return;
        }
        let parts = u64::from(GUESSED);
        let share = |whole: u64, n: u64| whole * (n + 1) / parts - whole * n / parts;
        for n in 0..GUESSED {
            let age = SPAN * (GUESSED - 1 - n) / GUESSED;
            let at = now.checked_sub(age).unwrap_or(now);
            let n = u64::from(n);
            let used = Use { requests: share(missing.requests, n), tokens: share(missing.tokens, n) };
            if !used.is_nothing() {
                self.total.add(used);
                self.entries.push_back(Entry { first: at, last: at, used, own });
            }
        }
        self.entries.make_contiguous().sort_by_key(|entry| entry.last);
    }

    /// What `other` knows of the same project counts here too. What either guessed that others used may be what the other
    /// one used itself.
    pub fn merge(&mut self, other: &Self, now: Instant) {
        let mut other = other.clone();
        let (mut mine, mut theirs) = (self.used(now), other.used(now));
        let (own, added) = (self.own(), other.own());
        for guess in [&mut mine, &mut theirs] {
            guess.cut(own);
            guess.cut(added);
        }
        self.entries.retain(|entry| entry.own);
        self.total = own;
        self.guess(added, true, now);
        let strangers = Use { requests: mine.requests.max(theirs.requests), tokens: mine.tokens.max(theirs.tokens) };
        self.guess(strangers, false, now);
    }

    /// When `over` will have left.
    pub fn left(&self, over: Use, now: Instant) -> Instant {
        let mut over = over;
        for entry in &self.entries {
            over.cut(entry.used);
            if over.is_nothing() {
                return (entry.last + SPAN).max(now);
            }
        }
        now + SPAN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Use = Use { requests: 1, tokens: 10 };

    #[test]
    fn a_use_counts_for_a_minute_and_is_corrected_where_it_stands() {
        let (mut minute, now) = (Minute::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        minute.add(ONE, at(0));
        minute.add(ONE, at(10));
        assert_eq!(minute.used(at(10)), Use { requests: 2, tokens: 20 });
        minute.correct(ONE, Use { requests: 1, tokens: 500 }, at(0));
        assert_eq!(minute.used_at(at(61)), ONE);
        assert_eq!(minute.left(Use { requests: 1, tokens: 500 }, at(10)), at(0) + SPAN);
        assert_eq!(minute.used(at(61)), ONE);
        minute.correct(ONE, Use::default(), at(0));
        assert_eq!(minute.used(at(61)), ONE, "what is forgotten is not corrected");
        assert_eq!(minute.used(at(71)), Use::default());
    }

    #[test]
    fn what_two_guessed_of_each_other_counts_once() {
        let now = Instant::now() + SPAN * 2;
        let [mut one, mut two] = [3, 4].map(|own| {
            let mut minute = Minute::default();
            (0..own).for_each(|_| minute.add(ONE, now));
            minute.guess(Use { requests: 10 - own, tokens: 0 }, false, now);
            minute
        });
        one.merge(&two, now);
        assert_eq!((one.used(now), one.own()), (Use { requests: 10, tokens: 70 }, Use { requests: 7, tokens: 70 }));
        two.merge(&Minute::default(), now);
        assert_eq!((two.used(now).requests, two.own().requests), (10, 4));
    }

    #[test]
    fn what_others_used_leaves_bit_by_bit() {
        let (mut minute, now) = (Minute::default(), Instant::now() + SPAN * 2);
        minute.add(ONE, now - SPAN / 2);
        minute.guess(Use { requests: 9, tokens: 0 }, false, now);
        assert_eq!((minute.used(now).requests, minute.own().requests), (10, 1));
        let half = minute.used_at(now + SPAN / 2).requests;
        assert!((4..=5).contains(&half), "{half}");
        assert_eq!(minute.used(now + SPAN), Use::default());
    }

    proptest! {
        #[test]
        fn the_total_is_that_of_the_entries_and_they_are_few(steps in prop::collection::vec((0_u64..5_000, 0_u8..4), 1..400)) {
            let (mut minute, mut now) = (Minute::default(), Instant::now() + SPAN * 2);
            for (wait, what) in steps {
                now += Duration::from_millis(wait);
                minute.used(now);
                match what {
                    0 => minute.guess(Use { requests: 5, tokens: 100 }, false, now),
                    1 => minute.correct(ONE, Use::default(), now),
                    _ => minute.add(ONE, now),
                }
                let mut sum = Use::default();
                minute.entries.iter().for_each(|entry| sum.add(entry.used));
                prop_assert_eq!(sum, minute.total);
                prop_assert!(minute.entries.len() <= ENTRIES_MAX + 1);
                prop_assert!(minute.entries.iter().is_sorted_by_key(|entry| entry.last));
            }
        }
    }
}
