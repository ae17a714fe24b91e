//! Beat: the even pace at which a limit is used while demand presses.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::minute::SPAN;

/// So much slower than the limit is an even pace, in thousandths, that the minute itself seldom holds back: it would do so
/// in lumps.
const SLOWER: u64 = 1_005;
/// What an even pace would have used within this time may be used at once by who comes later, ..
const LATE: Duration = Duration::from_secs(10);
/// .. and so many requests, where a minute has few.
const FEW: u64 = 2;

/// When what was used would be used up at an even pace.
///
/// A window instead, of some seconds, would let all of its part pass at its beginning: in many projects at the same time,
/// since they press together, and then nothing for a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beat {
    due: Option<Instant>,
}

impl Beat {
    /// So much was used at `now`, where a minute has `max`.
    pub fn take(&mut self, used: u64, max: u64, now: Instant) {
        let due = self.due.map_or(now, |due| due.max(now)) + lasts(used, max);
        self.due = Some(due.min(now + SPAN + late(max)));
    }

    /// From when on more may be used.
    pub fn from(&self, max: u64) -> Option<Instant> {
        self.due?.checked_sub(late(max))
    }

    /// How many times as much as `each` may be used at `at`: the last of them may come before its time.
    pub fn room(&self, each: u64, max: u64, at: Instant) -> u64 {
        let Some(left) = (at + late(max)).checked_duration_since(self.due.map_or(at, |due| due.max(at))) else {
            return 0;
        };
        let each = lasts(each, max).as_nanos();
        left.as_nanos().checked_div(each).map_or(u64::MAX, |more| u64::try_from(more).unwrap_or(u64::MAX - 1) + 1)
    }
}

/// How late one may come, where a minute has `max`.
fn late(max: u64) -> Duration {
    LATE.max(lasts(FEW, max))
}

/// How long so much lasts of what a minute has.
fn lasts(used: u64, max: u64) -> Duration {
    let span = u64::try_from(SPAN.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos((span / 1_000 * SLOWER).saturating_mul(used) / max.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_all_the_time_passes_one_by_one() {
        let (mut beat, now) = (Beat::default(), Instant::now() + SPAN);
        let at = |second: u64| now + lasts(second, 60);
        assert_eq!((beat.room(1, 60, now), beat.from(60)), (10, None), "who comes late gets what was not used");
        (0..10).for_each(|_| beat.take(1, 60, now));
        for second in 1..200 {
            let more = beat.room(1, 60, at(second));
            assert_eq!(more, 1, "after {second} seconds");
            beat.take(more, 60, at(second));
            assert!(beat.from(60).unwrap() <= at(second + 1));
        }
        assert_eq!(beat.room(1, 60, at(260)), 10, "an hour's rest gives no more than a moment's");
    }

    #[test]
    fn where_a_minute_has_few_two_may_come_at_once() {
        let (mut beat, now) = (Beat::default(), Instant::now() + SPAN * 2);
        (0..2).for_each(|_| beat.take(1, 3, now));
        assert_eq!((beat.room(1, 3, now), beat.from(3)), (1, Some(now)));
        beat.take(1, 3, now);
        assert_eq!((beat.room(1, 3, now), beat.from(3)), (0, Some(now + lasts(1, 3))));
    }

    #[test]
    fn what_is_larger_than_its_part_passes_and_the_next_waits_for_it() {
        let (mut beat, now) = (Beat::default(), Instant::now() + SPAN);
        beat.take(50, 100, now);
        assert_eq!((beat.room(1, 100, now), beat.from(100)), (0, Some(now + lasts(1, 2) - LATE)));
        beat.take(100_000, 100, now);
        assert_eq!(beat.from(100), Some(now + SPAN), "but never longer than it counts");
        assert_eq!((Beat::default().room(0, 100, now), Beat::default().room(1, 0, now)), (u64::MAX, FEW + 1));
    }
}
