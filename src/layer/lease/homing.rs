//! Homing: a conversation goes where its beginning was read before, while there is room and no share is overdrawn.

use std::sync::Arc;

use tokio::time::Instant;

use crate::affinity::prefixes::{Followed, Prefixes};
use crate::call::Attempt;
use crate::pool::ask::{Avoid, Only};
use crate::pool::lease::{Lease, SharedLane};
use crate::pool::{Choice, KeyPool};

/// A key of a project that has the attempt's prefix cached, else one of those that had less than their share; `None`: it
/// has no prefix, or nothing of the kind can be had at once.
pub(super) fn home(
    pool: &KeyPool,
    prefixes: &Prefixes,
    attempt: &Attempt,
    lane: &Arc<SharedLane>,
    avoid: Avoid<'_>,
    now: Instant,
) -> Option<(Lease, Followed)> {
    let prefix = &attempt.call.prefix;
    if prefix.is_empty() {
        return None;
    }
    let chosen = |avoid: Avoid<'_>| match pool.select(Arc::clone(lane), avoid, now) {
        Choice::Lease(lease) => Some(lease),
        Choice::Out(_) => None,
    };
    let over = |project: u32| {
        let share = lane.lock().share(project);
        prefixes.is_over(&lane.model, project, share, now)
    };
    // A key that was tried would be taken again where its project has no other.
    let tried = |project: u32| avoid.keys.iter().any(|index| pool.keys()[*index].project() == project);
    let homes: Vec<u32> = prefixes.homes(prefix).into_iter().map(|project| pool.homes().of(project)).collect();
    let mut fit = homes.iter().copied().filter(|project| !tried(*project) && !over(*project));
    let kept = fit.find_map(|project| chosen(Avoid { only: Some(Only::Project(project)), ..avoid }));
    if let Some(lease) = kept {
        return Some((lease, Followed::Kept));
    }
    let followed = if homes.is_empty() { Followed::New } else { Followed::Moved };
    // Each project once, however many keys it has.
    let all = (0..pool.projects()).filter(|project| pool.homes().of(*project) == *project);
    let mut projects: Vec<u32> = all.filter(|project| over(*project)).collect();
    projects.extend(avoid.projects);
    chosen(Avoid { projects: &projects, ..avoid }).map(|lease| (lease, followed))
}
