//! Room to spare: whether a project could serve a model now that nobody needs.

use std::sync::Arc;

use tokio::time::Instant;

use crate::pool::health::LEVELS;
use crate::pool::key::Key;
use crate::pool::keypool::KeyPool;
use crate::pool::lease::SharedLane;
use crate::pool::limits::Room;

impl KeyPool {
    /// A project that could serve one more request at once, and has so much left of its health and its budgets that
    /// nobody would miss it: at least half. None while anybody waits for the model, while it is overloaded, or while the
    /// pace is slowed. Neither a key of `tried` nor a project of `shunned`; `dice`, between 0 and 1, spreads the choice.
    pub fn spare(&self, shared: &SharedLane, tried: &[u32], shunned: &[u32], dice: f64, now: Instant) -> Option<u32> {
        if shared.waits() > 0 {
            return None;
        }
        let keys: Vec<&Arc<Key>> = self.keys.iter().collect();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place"
        )]
        let from = ((keys.len() as f64 * dice) as usize).min(keys.len());
        shared.pass_time(|lane| {
            lane.refresh(now);
            if lane.lull.most(now).is_some() || lane.overloads.count() > 0 {
                return None;
            }
            let roster = self.scene.roster.lock();
            let known = |key: &&&Arc<Key>| tried.contains(&key.index) || shunned.contains(&key.project());
            for key in keys[from..].iter().chain(&keys[..from]).filter(|key| !known(key)) {
                let (weight, _, blocked) = lane.look(key, &roster, now);
                let well = blocked.is_none() && weight * 2 >= key.weight() * LEVELS;
                let room = lane.budgets_mut().of_mut(key.project()).map(|windows| windows.room(now));
                if well && room.is_none_or(|room| is_half_left(&room)) {
                    return Some(key.project());
                }
            }
            None
        })
    }
}

/// Whether no limit is more than half used.
fn is_half_left(room: &Room) -> bool {
    let left = |used: u64, most: Option<u64>| most.is_none_or(|most| used.saturating_mul(2) <= most);
    let (requests, tokens) = room.minute_max;
    left(room.minute.requests, requests) && left(room.minute.tokens, tokens) && left(room.day, room.day_max)
}
