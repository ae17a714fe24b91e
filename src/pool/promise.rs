//! Promises: when a request that finds no key now would find one.

use tokio::time::Instant;

use crate::pool::ask::Avoid;
use crate::pool::lane::Lane;
use crate::pool::outage::Outage;
use crate::pool::reason::Reason;
use crate::pool::room::{Outlook, Place};

impl Lane {
    /// Why nothing can be chosen now, over the keys that a request may go to and those ruled out by what it asks.
    pub fn outage(&self, avoid: Avoid<'_>, now: Instant) -> Outage {
        let roster = self.roster.lock();
        let mut outage = Outage::default();
        let tokens = self.budgets.estimate(avoid.bytes);
        let owners = Avoid { projects: &[], ..avoid };
        for key in self.keys.iter().filter(|key| owners.allows(key)) {
            if avoid.allows(key) {
                let small = || Some((Reason::Budget, Some(self.budgets.of(key.project())?.wait(tokens, now)?)));
                if let Some((reason, until)) = self.blocked(key, &roster, now).or_else(small) {
                    // What ends a rest does not make room in the minute.
                    let room = |at| self.budgets.of(key.project()).and_then(|windows| windows.wait(tokens, at));
                    outage.add(reason, until.map(|until| room(until).map_or(until, |at| at.max(until))));
                }
            } else if let Some(until) = roster.projects[key.project() as usize].grounding.filter(|until| *until > now) {
                outage.add(Reason::Grounding, Some(until));
            }
        }
        outage
    }

    /// When the `n`-th request like this one finds a key, those before it, of `each` bytes, being served as soon as they
    /// can: 1 is the next. `None`: none of the keys that may serve it comes back by itself.
    pub fn room(&mut self, avoid: Avoid<'_>, n: usize, each: u64, now: Instant) -> Option<Instant> {
        let tokens = self.budgets.estimate(if n <= 1 { avoid.bytes } else { each });
        if n <= 1 || !avoid.is_open() {
            return self.outlook(avoid, tokens, now).when(n as u64);
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        let told = ahead.when(n as u64, now, || self.outlook(avoid, tokens, now));
        self.ahead = ahead;
        told
    }

    fn outlook(&self, avoid: Avoid<'_>, tokens: u64, now: Instant) -> Outlook {
        let roster = self.roster.lock();
        let mut places: Vec<(u32, Instant)> = Vec::new();
        for key in self.keys.iter().filter(|key| avoid.allows(key)) {
            // How full a project is, its windows say better than the last who was turned away.
            match self.held(key, &roster, now) {
                Some((_, None)) => {}
                until => places.push((key.project(), until.and_then(|(_, until)| until).unwrap_or(now))),
            }
        }
        places.sort_unstable();
        places.dedup_by_key(|(project, _)| *project);
        let place = |(project, from): (u32, Instant)| Place { from, windows: self.budgets.of(project) };
        let places: Vec<Place<'_>> = places.into_iter().map(place).collect();
        Outlook::of(&places, tokens, now)
    }
}
