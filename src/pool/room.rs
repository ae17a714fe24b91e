//! Room: when the n-th request from now on finds a key, over all projects that may serve it.

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::limits::Windows;
use crate::pool::minute::SPAN;

/// Of more projects than these, these speak for all.
const SINGLY_MAX: usize = 64;
/// How exact a time is.
const EXACT: Duration = Duration::from_millis(20);
/// How long a look serves.
const LOOK_HOLDS: Duration = Duration::from_millis(100);
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

impl Place<'_> {
    /// When it first has room.
    fn first(&self, tokens: u64, now: Instant) -> Instant {
        let from = self.from.max(now);
        let Some(windows) = self.windows else { return from };
        windows.soonest(tokens, windows.open_from(from), now)
    }
}

/// How a project's room comes.
#[derive(Clone, Debug)]
struct Flow {
    from: Instant,
    /// Within a span of time from then on: how many requests have found room by when.
    steps: Vec<(Instant, u64)>,
    /// No more than these until Google's day ends, and when that is.
    day: (u64, Instant),
}

impl Flow {
    fn of(place: Place<'_>, tokens: u64, now: Instant) -> Self {
        let from = place.from.max(now);
        let Some(windows) = place.windows else {
            return Self { from, steps: vec![(from, u64::MAX)], day: (u64::MAX, from) };
        };
        let from = windows.open_from(from);
        let day = (windows.left_of_day(from), windows.day_end().max(from));
        Self { from, steps: windows.supply(tokens, from, now), day }
    }

    /// How many requests will have found room by `at`, if each comes as soon as it can.
    fn by(&self, at: Instant) -> u64 {
        let (most, end) = self.day;
        match at.checked_duration_since(end) {
            Some(since) if self.from < end => most.min(self.flown(end)).saturating_add(self.flown(self.from + since)),
            Some(_) => self.flown(at),
            None => most.min(self.flown(at)),
        }
    }

    /// The same, whatever a day lets pass: what comes in a span of time comes again in the next.
    fn flown(&self, at: Instant) -> u64 {
        let (Some(since), Some((_, all))) = (at.checked_duration_since(self.from), self.steps.last()) else { return 0 };
        let found_by = |at: Instant| {
            let steps = self.steps.partition_point(|(step, _)| *step <= at);
            steps.checked_sub(1).map_or(0, |last| self.steps[last].1)
        };
        let spans = u32::try_from(since.as_millis() / SPAN.as_millis()).unwrap_or(u32::MAX);
        let again = (all - found_by(self.from)).saturating_mul(u64::from(spans));
        found_by(at - SPAN * spans).saturating_add(again)
    }
}

/// Projects, of which some were looked at closely.
#[derive(Clone, Debug)]
struct Crowd {
    /// When each first has room, in that order, where not all were looked at closely.
    firsts: Vec<Instant>,
    flows: Vec<Flow>,
    /// How many projects each of these stands for.
    each: f64,
}

impl Crowd {
    #[expect(clippy::cast_precision_loss, reason = "projects are few for that")]
    fn of(places: &[Place<'_>], tokens: u64, now: Instant) -> Self {
        let flow = |place: &Place<'_>| Flow::of(*place, tokens, now);
        if places.len() <= SINGLY_MAX {
            return Self { firsts: Vec::new(), flows: places.iter().map(flow).collect(), each: 1.0 };
        }
        // Each of some stands for those whose room comes when its own does.
        let mut order: Vec<(Instant, &Place<'_>)> =
            places.iter().map(|place| (place.first(tokens, now), place)).collect();
        order.sort_by_key(|(first, _)| *first);
        let middle = |n: usize| order[(2 * n + 1) * order.len() / (2 * SINGLY_MAX)].1;
        let flows = (0..SINGLY_MAX).map(|n| flow(middle(n))).collect();
        let firsts = order.iter().map(|(first, _)| *first).collect();
        Self { firsts, flows, each: places.len() as f64 / SINGLY_MAX as f64 }
    }

    /// How many requests will have found room by `at`. What each project lets pass first is counted singly: it decides who is
    /// told to wait and who to come back.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate where each is not 1"
    )]
    fn by(&self, at: Instant) -> u64 {
        let singly = u64::from(!self.firsts.is_empty());
        let found = self.flows.iter().fold(0_u64, |sum, flow| sum.saturating_add(flow.by(at).saturating_sub(singly)));
        if self.firsts.is_empty() {
            return found;
        }
        let first = self.firsts.partition_point(|first| *first <= at) as u64;
        first.saturating_add((found as f64 * self.each) as u64)
    }
}

/// What the projects will let pass, as it looked at one moment.
#[derive(Clone, Debug)]
pub struct Outlook {
    soonest: Option<Instant>,
    /// The projects that serve within a span of time, and the others.
    crowds: [Crowd; 2],
}

impl Outlook {
    /// Of these projects, for requests of about so many tokens.
    pub fn of(places: &[Place<'_>], tokens: u64, now: Instant) -> Self {
        // A few that serve now must not be lost among many that rest for the day.
        let (near, far): (Vec<Place<'_>>, Vec<Place<'_>>) = places.iter().partition(|place| place.from <= now + SPAN);
        let soonest = places.iter().map(|place| place.from.max(now)).min();
        Self { soonest, crowds: [near, far].map(|places| Crowd::of(&places, tokens, now)) }
    }

    /// When the `n`-th request since then finds room, if all come as soon as they can; `None`: never.
    pub fn when(&self, n: u64) -> Option<Instant> {
        let room = |at: Instant| self.crowds.iter().fold(0_u64, |sum, crowd| sum.saturating_add(crowd.by(at)));
        let soonest = self.soonest?;
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
}

/// The last look, which serves those who ask a moment later too: where many are refused, a look each would cost more than the
/// refusals.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// How many requests were given a key.
    pub served: u64,
    /// When, after how many of them, and what was seen.
    last: Option<(Instant, u64, Outlook)>,
}

impl Ahead {
    /// When the `n`-th request from now on finds room; `look` looks again.
    pub fn when(&mut self, n: u64, now: Instant, look: impl FnOnce() -> Outlook) -> Option<Instant> {
        let served = self.served;
        // Where nobody serves, whoever returns is seen at once.
        let holds = |(at, _, outlook): &(Instant, u64, Outlook)| {
            outlook.soonest.is_some() && now.saturating_duration_since(*at) < LOOK_HOLDS
        };
        let (_, before, outlook) = match self.last.take().filter(holds) {
            Some(last) => self.last.insert(last),
            None => self.last.insert((now, served, look())),
        };
        Some(outlook.when(n + served - *before)?.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(places: &[Place<'_>], n: u64, tokens: u64, now: Instant) -> Option<Instant> {
        Outlook::of(places, tokens, now).when(n)
    }
    use crate::pool::daring::Daring;
    use crate::pool::key::Ceilings;
    use crate::pool::memory::Clocks;

    fn windows(rpm: u64, taken: &[u64], now: Instant) -> Windows {
        let clocks = Clocks { now, wall: jiff::Timestamp::UNIX_EPOCH };
        let mut windows = Windows::new(Ceilings { rpm: Some(rpm), ..Ceilings::default() }, clocks, now);
        for at in taken {
            windows.take(0, &mut Daring::new(now), now + Duration::from_secs(*at)).unwrap();
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
    fn what_a_day_has_no_more_comes_with_the_next() {
        let now = Instant::now();
        // The clock of these windows stands at midnight in Greenwich, eight hours before that of Los Angeles.
        let clocks = Clocks { now, wall: "2026-11-22T00:00:00Z".parse().unwrap() };
        let mut one = Windows::new(Ceilings { rpd: Some(5), ..Ceilings::default() }, clocks, now);
        let told = |one: &Windows, n| {
            let places = [Place { from: now, windows: Some(one) }];
            (when(&places, n, 0, now).unwrap() - now).as_secs() / 3_600
        };
        assert_eq!([told(&one, 5), told(&one, 6)], [0, 8]);
        (0..5).for_each(|_| one.take(0, &mut Daring::new(now), now).unwrap());
        assert_eq!(told(&one, 1), 8);
    }

    #[test]
    fn a_look_serves_for_a_moment_and_knows_who_was_served_since() {
        let now = Instant::now();
        let full = windows(2, &[0, 10], now);
        let (mut ahead, at) = (Ahead::default(), now + Duration::from_secs(20));
        let look = |at| Outlook::of(&[Place { from: at, windows: Some(&full) }], 0, at);
        let first = ahead.when(1, at, || look(at)).unwrap();
        ahead.served += 1;
        let moment = at + Duration::from_millis(50);
        let next = ahead.when(1, moment, || unreachable!("it has just been looked")).unwrap();
        assert_eq!([first, next].map(|at| (at - now).as_secs()), [60, 70]);
        let later = at + Duration::from_secs(1);
        let again = ahead.when(1, later, || look(later)).unwrap();
        assert_eq!((again - now).as_secs(), 60, "another look sees what was taken by itself");
        let mut ahead = Ahead::default();
        assert_eq!(ahead.when(2, at, || Outlook::of(&[], 0, at)), None);
        assert!(ahead.when(2, at, || look(at)).is_some(), "that nobody serves is looked at again");
    }

    #[test]
    fn of_many_projects_every_first_room_is_counted() {
        let now = Instant::now();
        let (full, open) = (windows(2, &[0, 10], now), windows(2, &[5], now));
        let after = now + Duration::from_secs(10);
        let place = |n: u32| Place { from: now, windows: Some(if n.is_multiple_of(97) { &open } else { &full }) };
        let places: Vec<Place<'_>> = (0..1_000).map(place).collect();
        let told = |n| (when(&places, n, 0, after).unwrap() - now).as_secs();
        assert_eq!([1, 11, 12, 990].map(told), [10, 10, 60, 60]);
    }

    #[test]
    fn of_many_projects_some_speak_for_all() {
        let now = Instant::now();
        let full = windows(60, &(0..60).collect::<Vec<_>>(), now);
        let places: Vec<Place<'_>> = (0..100).map(|_| Place { from: now, windows: Some(&full) }).collect();
        let after = now + Duration::from_secs(59);
        let told = |n| (when(&places, n, 0, after).unwrap() - after).as_secs();
        assert!((9..=12).contains(&told(1_001)) && (69..=72).contains(&told(7_001)));
        let few = [Place { from: after, windows: None }];
        let day = Place { from: after + Duration::from_hours(9), windows: None };
        let resting: Vec<Place<'_>> = few.into_iter().chain((0..1_000).map(|_| day)).collect();
        assert_eq!(when(&resting, 5_000, 0, after), Some(after), "one that serves is not lost among those that rest");
    }
}
