//! Room: when the n-th request from now on finds a key, over all projects that may serve it.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::limits::Windows;
use crate::pool::minute::SPAN;

/// With more projects than these, each is taken to come free evenly, not request by request.
const SINGLY_MAX: usize = 64;
/// How exact a time is.
const EXACT: Duration = Duration::from_millis(100);
/// Nobody looks further ahead.
const FAR: Duration = Duration::from_hours(24);

/// One project that may serve.
#[derive(Clone, Copy, Debug)]
pub struct Place<'w> {
    /// From when on.
    pub from: Instant,
    /// Within these limits, if any is known.
    pub windows: Option<&'w Windows>,
}

/// How a project's room comes.
struct Flow<'w> {
    place: Place<'w>,
    tokens: u64,
    /// Requests that find room when it begins, and in each span of time from then on.
    first: u64,
    whole: u64,
    singly: bool,
}

impl<'w> Flow<'w> {
    fn of(place: Place<'w>, tokens: u64, singly: bool, now: Instant) -> Self {
        let place = Place { from: place.from.max(now), ..place };
        let room = |at| place.windows.map_or(u64::MAX, |windows| windows.room_at(tokens, at));
        Self { place, tokens, first: room(place.from), whole: room(place.from + SPAN), singly }
    }

    /// How many requests will have found room by `at`, if each comes as soon as it can: what a span of time let pass
    /// comes again in the next.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "spans of a day, and a share of a limit"
    )]
    fn by(&self, at: Instant) -> u64 {
        let Some(since) = at.checked_duration_since(self.place.from) else { return 0 };
        let Some(windows) = self.place.windows else { return u64::MAX };
        let spans = (since.as_millis() / SPAN.as_millis()) as u32;
        let rest = since.saturating_sub(SPAN * spans);
        let part = if self.singly {
            windows.room_at(self.tokens, self.place.from + rest)
        } else {
            let later = self.whole.saturating_sub(self.first) as f64;
            self.first.saturating_add((later * rest.div_duration_f64(SPAN)) as u64)
        };
        part.saturating_add(self.whole.saturating_mul(u64::from(spans)))
    }
}

/// When the `n`-th request of about so many tokens finds room, if all come as soon as they can; `None`: never.
pub fn when(places: &[Place<'_>], n: u64, tokens: u64, now: Instant) -> Option<Instant> {
    let singly = places.len() <= SINGLY_MAX;
    let flows: Vec<Flow<'_>> = places.iter().map(|place| Flow::of(*place, tokens, singly, now)).collect();
    let room = |at: Instant| flows.iter().fold(0_u64, |sum, flow| sum.saturating_add(flow.by(at)));
    let soonest = flows.iter().map(|flow| flow.place.from).min()?;
    if room(soonest) >= n {
        return Some(soonest);
    }
    let (mut early, mut late, mut step) = (soonest, soonest + SPAN, SPAN);
    while room(late) < n && step < FAR {
        step *= 2;
        (early, late) = (late, late + step);
    }
    while late - early > EXACT {
        let middle = early + (late - early) / 2;
        if room(middle) >= n { late = middle } else { early = middle }
    }
    Some(late)
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
    fn what_came_in_a_minute_comes_again_in_the_next() {
        let now = Instant::now();
        let one = windows(2, &[0, 1], now);
        let (after, hours) = (now + Duration::from_secs(1), Duration::from_hours(20));
        let places = [Place { from: now, windows: Some(&one) }, Place { from: now + hours, windows: Some(&one) }];
        let told = |n| (when(&places, n, 0, after).unwrap() - now).as_secs();
        assert_eq!([1, 2, 3, 4, 5].map(told), [60, 61, 121, 122, 181], "whatever rests for the day");
        assert_eq!(
            (when(&places[1..], 1, 0, after), when(&places[1..], 2, 0, after)),
            (Some(now + hours), Some(now + hours))
        );
    }

    #[test]
    fn of_many_projects_the_rate_tells() {
        let now = Instant::now();
        let full = windows(60, &(0..60).collect::<Vec<_>>(), now);
        let places: Vec<Place<'_>> = (0..100).map(|_| Place { from: now, windows: Some(&full) }).collect();
        let after = now + Duration::from_secs(59);
        let told = |n| (when(&places, n, 0, after).unwrap() - after).as_secs();
        assert!((9..=12).contains(&told(1_001)) && (69..=72).contains(&told(7_001)));
    }
}
