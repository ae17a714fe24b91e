//! Room: when the n-th request from now on finds a key, over all projects that may serve it.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::limits::Windows;
use crate::pool::minute::SPAN;

/// With more projects than these, single requests that come free are not looked at any more but their rate.
const PLACES_MAX: usize = 64;
/// How exact a time is.
const EXACT: Duration = Duration::from_millis(100);

/// One project that may serve.
#[derive(Clone, Copy, Debug)]
pub struct Place<'w> {
    /// From when on.
    pub from: Instant,
    /// Within these limits, if any is known.
    pub windows: Option<&'w Windows>,
}

impl Place<'_> {
    fn room_at(&self, tokens: u64, at: Instant) -> u64 {
        if at < self.from {
            return 0;
        }
        self.windows.map_or(u64::MAX, |windows| windows.room_at(tokens, at))
    }
}

/// When the `n`-th request of about so many tokens finds room, if all come as soon as they can; `None`: never.
pub fn when(places: &[Place<'_>], n: u64, tokens: u64, now: Instant) -> Option<Instant> {
    let soonest = places.iter().map(|place| place.from).min()?.max(now);
    let latest = places.iter().map(|place| place.from).max().unwrap_or(now).max(now) + SPAN;
    let rate = |at: Instant| {
        let open = places.iter().filter(|place| place.from <= at);
        open.fold(0_u64, |sum, place| sum.saturating_add(place.windows.and_then(Windows::rate).unwrap_or(u64::MAX)))
    };
    let beyond = |from: Instant, n: u64, rate: u64| from + SPAN.mul_f64(ratio(n, rate));
    if places.len() > PLACES_MAX {
        return Some(beyond(soonest, n.saturating_sub(1), rate(soonest)));
    }
    let room = |at: Instant| places.iter().fold(0_u64, |sum, place| sum.saturating_add(place.room_at(tokens, at)));
    let (mut early, mut late) = (soonest, latest);
    if room(early) >= n {
        return Some(early);
    }
    let most = room(late);
    if most < n {
        return Some(beyond(late, n - most, rate(late)));
    }
    while late - early > EXACT {
        let middle = early + (late - early) / 2;
        if room(middle) >= n { late = middle } else { early = middle }
    }
    Some(late)
}

#[expect(clippy::cast_precision_loss, reason = "a time")]
fn ratio(n: u64, rate: u64) -> f64 {
    (n as f64 / rate.max(1) as f64).min(1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::key::Ceilings;
    use crate::pool::memory::Clocks;

    fn windows(rpm: u64, taken: &[u64], now: Instant) -> Windows {
        let clocks = Clocks { now, wall: jiff::Timestamp::UNIX_EPOCH };
        let mut windows = Windows::new(Ceilings { rpm: Some(rpm), ..Ceilings::default() }, clocks, now);
        for at in taken {
            windows.take(0, now + Duration::from_secs(*at)).unwrap();
        }
        windows
    }

    #[test]
    fn the_nth_waits_for_the_nth_that_comes_free() {
        let now = Instant::now();
        let seconds = |at: Option<Instant>| (at.unwrap() - now).as_secs();
        let (one, two) = (windows(2, &[0, 10], now), windows(2, &[5, 20], now));
        let places = [Place { from: now, windows: Some(&one) }, Place { from: now, windows: Some(&two) }];
        let after = now + Duration::from_secs(20);
        let told: Vec<u64> = (1..=4).map(|n| seconds(when(&places, n, 0, after))).collect();
        assert_eq!(told, [60, 65, 70, 80]);
        assert!(seconds(when(&places, 8, 0, after)) > 120, "those who come first take it");
        let resting = [Place { from: now + Duration::from_secs(30), windows: None }];
        assert_eq!(seconds(when(&resting, 500, 0, now)), 30, "without a limit all return at once");
        assert_eq!(when(&[], 1, 0, now), None);
    }

    #[test]
    fn of_many_projects_the_rate_tells() {
        let now = Instant::now();
        let full = windows(60, &[], now);
        let places: Vec<Place<'_>> = (0..100).map(|_| Place { from: now, windows: Some(&full) }).collect();
        assert_eq!(when(&places, 1_001, 0, now), Some(now + SPAN / 6));
    }
}
