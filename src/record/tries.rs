//! The attempts of one call, in their order.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::record::did::{Did, Fate};
use crate::record::outcome::Outcome;
use crate::verdict::Verdict;

/// Attempts kept of one call; of more the first ones and the last one.
pub(crate) const TRIES_MAX: usize = 32;

/// One attempt, as reports show it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Try {
    /// The id of the key it was made with.
    pub key: Arc<str>,
    /// When it began, after the request's arrival.
    pub began_ms: f64,
    /// How long it took: to its failure, or to the answer's last byte. `None` while it runs.
    pub took_ms: Option<f64>,
    /// What it came to. `None` while it runs.
    pub verdict: Option<&'static str>,
    /// The upstream's status, when it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The pause that was made before it.
    pub paused_ms: f64,
    /// The wait in line for its key.
    pub waited_ms: f64,
    /// The upstream's words about a failure, scrubbed and cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
    /// What geminate did then, of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did: Option<&'static str>,
}

/// An attempt that is over.
#[derive(Clone, Copy, Debug)]
pub struct TryOver<'a> {
    /// The id of the key it was made with.
    pub key: &'a Arc<str>,
    /// What it came to.
    pub verdict: Verdict,
    /// The upstream's status, when it answered.
    pub status: Option<u16>,
    /// Of a failure: the upstream's words, scrubbed and cut short.
    pub message: Option<&'a Arc<str>>,
}

/// Most calls make one attempt, which takes no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    first: Option<Made>,
    more: Vec<Made>,
    /// The place of the last one, or of the one that served.
    serving: usize,
    /// What the next one has waited, in microseconds: between attempts, and for its key.
    paused: u64,
    waited: u64,
}

/// Times are microseconds after the call's arrival.
#[derive(Debug)]
struct Made {
    key: Arc<str>,
    began: u64,
    paused: u64,
    waited: u64,
    over: Option<Over>,
}

#[derive(Debug)]
struct Over {
    at: u64,
    verdict: Verdict,
    status: Option<u16>,
    failed: Option<Box<Failed>>,
}

#[derive(Debug)]
struct Failed {
    message: Arc<str>,
    fate: Arc<Fate>,
}

impl Tries {
    pub(crate) fn paused(&mut self, micros: u64) {
        self.paused += micros;
    }

    pub(crate) fn waited(&mut self, micros: u64) {
        self.waited += micros;
    }

    /// Another one begins.
    pub(crate) fn begin(&mut self, key: &Arc<str>, at: u64) {
        let (paused, waited) = (std::mem::take(&mut self.paused), std::mem::take(&mut self.waited));
        let made = Made { key: Arc::clone(key), began: at, paused, waited, over: None };
        if self.first.is_none() {
            self.first = Some(made);
            return;
        }
        let waits = waited > 0;
        self.decide(|failed| match failed {
            _ if waits => Did::Waited,
            same if same == key => Did::Retried,
            _ => Did::SwitchedKey,
        });
        if self.more.len() + 1 >= TRIES_MAX {
            self.more.pop();
        }
        self.more.push(made);
        self.serving = self.more.len();
    }

    /// The one with this key is over. A failure's fate is for whoever tells of it.
    pub(crate) fn end(&mut self, over: &TryOver<'_>, at: u64) -> Option<Arc<Fate>> {
        let TryOver { key, verdict, status, message } = *over;
        let failed = message.map(|message| Failed { message: Arc::clone(message), fate: Arc::default() });
        let fate = failed.as_ref().map(|failed| Arc::clone(&failed.fate));
        if let Some(made) = self.all_mut().rev().find(|made| made.over.is_none() && made.key == *key) {
            made.over = Some(Over { at, verdict, status, failed: failed.map(Box::new) });
        }
        fate
    }

    /// That with this key served, so that the others are given up.
    pub(crate) fn served(&mut self, key: &Arc<str>, at: u64) {
        let of_key = self.all().enumerate().filter(|(_, made)| made.key == *key).last();
        let place = of_key.map_or(self.serving, |(place, _)| place);
        self.serving = place;
        for (n, made) in self.all_mut().enumerate() {
            if n != place {
                made.give_up(Verdict::Abandoned, at);
            }
        }
    }

    /// Another model is asked.
    pub(crate) fn fell_back(&mut self) {
        self.decide(|_| Did::FellBack);
    }

    /// The call is over: so is every attempt, and what was done about each is known.
    pub(crate) fn close(&mut self, outcome: Outcome, at: u64) {
        let verdict = if outcome == Outcome::Ok { Verdict::Success } else { Verdict::Abandoned };
        self.all_mut().for_each(|made| made.give_up(verdict, at));
        self.decide(|_| match outcome {
            Outcome::Ok => Did::Hedged,
            Outcome::Refused(_) | Outcome::Panicked => Did::GaveUp,
            Outcome::ClientGone => Did::ClientLeft,
            Outcome::Cancelled => Did::Cancelled,
            _ => Did::PassedOn,
        });
    }

    /// The key of the last one, or of the one that served.
    pub(crate) fn key(&self) -> Option<&Arc<str>> {
        match self.serving {
            0 => self.first.as_ref(),
            place => self.more.get(place - 1),
        }
        .map(|made| &made.key)
    }

    pub(crate) fn any_with(&self, key: &str) -> bool {
        self.all().any(|made| *made.key == *key)
    }

    /// What they take of memory beside themselves.
    pub(crate) fn bytes(&self) -> usize {
        let failed = self.all().filter_map(|made| made.over.as_ref()?.failed.as_ref());
        let texts = failed.map(|failed| failed.message.len() + size_of::<Failed>() + size_of::<Fate>()).sum::<usize>();
        texts + self.more.capacity() * size_of::<Made>()
    }

    pub(crate) fn shown(&self) -> Vec<Try> {
        self.all().map(Made::shown).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Made> {
        self.first.iter().chain(&self.more)
    }

    fn all_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Made> {
        self.first.iter_mut().chain(&mut self.more)
    }

    /// Says of each failure that was not gone on from what was done, by its key.
    fn decide(&self, did: impl Fn(&Arc<str>) -> Did) {
        for made in self.all() {
            if let Some(failed) = made.over.as_ref().and_then(|over| over.failed.as_ref()) {
                failed.fate.decide(did(&made.key));
            }
        }
    }
}

impl Made {
    /// Over, unless it was before, without a word of the upstream's.
    fn give_up(&mut self, verdict: Verdict, at: u64) {
        self.over.get_or_insert(Over { at, verdict, status: None, failed: None });
    }

    fn shown(&self) -> Try {
        let over = self.over.as_ref();
        let failed = over.and_then(|over| over.failed.as_ref());
        Try {
            key: Arc::clone(&self.key),
            began_ms: millis(self.began),
            took_ms: over.map(|over| millis(over.at.saturating_sub(self.began))),
            verdict: over.map(|over| over.verdict.name()),
            status: over.and_then(|over| over.status),
            paused_ms: millis(self.paused),
            waited_ms: millis(self.waited),
            message: failed.map(|failed| Arc::clone(&failed.message)),
            did: failed.and_then(|failed| failed.fate.did()).map(Did::name),
        }
    }
}

fn millis(micros: u64) -> f64 {
    (Duration::from_micros(micros).as_secs_f64() * 1e4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Arc<str> {
        id.into()
    }

    fn over(tries: &mut Tries, id: &str, verdict: Verdict, at: u64) -> Option<Arc<Fate>> {
        let message = key("busy");
        let message = Some(&message).filter(|_| verdict.is_failure());
        tries.end(&TryOver { key: &key(id), verdict, status: Some(503), message }, at)
    }

    #[test]
    fn a_timeline_tells_pauses_from_waits_and_what_was_done() {
        let mut tries = Tries::default();
        tries.begin(&key("1"), 1_000);
        let fates = [over(&mut tries, "1", Verdict::Overloaded, 81_000)];
        tries.paused(500_000);
        tries.begin(&key("2"), 581_000);
        let fates = fates.into_iter().chain([over(&mut tries, "2", Verdict::QuotaMinute, 600_000)]);
        let fates: Vec<_> = fates.collect();
        tries.waited(2_000_000);
        tries.begin(&key("1"), 2_600_000);
        over(&mut tries, "1", Verdict::Success, 2_700_000);
        tries.close(Outcome::Ok, 2_700_000);
        let shown = tries.shown();
        assert_eq!((shown[0].began_ms, shown[0].took_ms, shown[0].did), (1.0, Some(80.0), Some("switched_key")));
        assert_eq!((shown[1].paused_ms, shown[1].waited_ms, shown[1].did), (500.0, 0.0, Some("waited")));
        assert_eq!((shown[2].paused_ms, shown[2].waited_ms, shown[2].verdict), (0.0, 2000.0, Some("success")));
        assert_eq!((shown[0].message.as_deref(), shown[2].message.as_deref()), (Some("busy"), None));
        let dids: Vec<_> = fates.iter().map(|fate| fate.as_ref().unwrap().did()).collect();
        assert_eq!(dids, [Some(Did::SwitchedKey), Some(Did::Waited)]);
    }

    #[test]
    fn the_first_ones_and_the_last_one_are_kept() {
        let mut tries = Tries::default();
        for n in 0..100 {
            tries.begin(&key(&n.to_string()), n);
        }
        let shown = tries.shown();
        assert_eq!((shown.len(), &*shown[0].key, &*shown[TRIES_MAX - 1].key), (TRIES_MAX, "0", "99"));
        assert_eq!(tries.key(), Some(&key("99")));
    }

    #[test]
    fn of_two_at_once_the_one_that_is_not_needed_is_given_up() {
        let mut tries = Tries::default();
        tries.begin(&key("1"), 0);
        tries.begin(&key("2"), 100_000);
        tries.served(&key("1"), 150_000);
        assert_eq!(tries.key(), Some(&key("1")));
        tries.close(Outcome::Ok, 200_000);
        let shown = tries.shown();
        assert_eq!((shown[0].verdict, shown[0].took_ms), (Some("success"), Some(200.0)));
        assert_eq!((shown[1].verdict, shown[1].took_ms), (Some("abandoned"), Some(50.0)));
    }

    #[test]
    fn how_the_call_ended_says_what_was_done_about_its_last_failure() {
        for (outcome, did) in [
            (Outcome::Refused("exhausted"), Did::GaveUp),
            (Outcome::UpstreamError, Did::PassedOn),
            (Outcome::StreamBroken, Did::PassedOn),
            (Outcome::ClientGone, Did::ClientLeft),
            (Outcome::Cancelled, Did::Cancelled),
            (Outcome::Ok, Did::Hedged),
        ] {
            let mut tries = Tries::default();
            tries.begin(&key("1"), 0);
            let fate = over(&mut tries, "1", Verdict::Overloaded, 10).unwrap();
            assert_eq!(fate.did(), None);
            tries.close(outcome, 20);
            assert_eq!(fate.did(), Some(did), "{outcome:?}");
        }
    }
}
