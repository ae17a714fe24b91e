//! What is known in a lane moves, where keys and projects turn out to be others or get other names.

use std::sync::Arc;

use tokio::time::Instant;

use crate::pool::lane::Lane;
use crate::pool::standing::{Standing, Trial};

impl Lane {
    /// Projects that turned out to be one share what is held against either of them.
    pub(crate) fn move_home(&mut self, now: Instant) {
        let keys = Arc::clone(&self.keys);
        for (from, into) in keys.homes.moved() {
            self.budgets.merge(from, into, now);
            let standing = self.projects.remove(&from);
            self.join(into, standing);
        }
    }

    /// The first of each of these is the second from now on: what is known of it goes there.
    pub fn carry(&mut self, moved: &[(u32, u32)], now: Instant) {
        let mut leave = |(from, into): &(u32, u32)| (*into, self.budgets.leave(*from), self.projects.remove(from));
        let left: Vec<_> = moved.iter().map(&mut leave).collect();
        for (into, windows, standing) in left {
            windows.into_iter().for_each(|windows| self.budgets.join(into, windows, now));
            self.join(into, standing);
        }
    }

    fn join(&mut self, into: u32, standing: Option<Standing>) {
        let Some(standing) = standing else { return };
        let held = self.projects.entry(into).or_insert(standing);
        standing.rest.into_iter().for_each(|rest| held.rest_until(rest));
    }

    /// The key is of another project than `former` from now on: its trial does not speak for that one.
    pub fn leaves(&mut self, key: u32, former: u32, now: Instant) {
        if let Some(standing) = self.projects.get_mut(&former)
            && matches!(standing.trial, Trial::Taken(index, _) if index == key)
        {
            standing.trial = Trial::Open;
        }
        self.look_at_project(former, now);
    }

    /// What is held against a key is held against another one: the same under another name.
    pub fn hand_over(&mut self, from: u32, to: u32) {
        if let Some(standing) = self.standings.remove(&from) {
            let trial = if let Trial::Taken(..) = standing.trial { Trial::Open } else { standing.trial };
            self.standings.insert(to, Standing { trial, ..standing });
        }
    }
}
