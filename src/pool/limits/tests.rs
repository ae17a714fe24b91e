//! What limits hold back, and what they let pass.

use super::*;

const MINUTE: Duration = Duration::from_millis(60_500);
const DAY: Duration = Duration::from_hours(24);

/// Windows of a project at eleven in the evening in Los Angeles.
fn windows(ceilings: Ceilings) -> (Windows, Instant) {
    let now = Instant::now() + DAY;
    let clocks = Clocks { now, wall: "2026-11-22T07:00:00Z".parse().unwrap() };
    (Windows::new(ceilings, clocks, now), now)
}

fn dares(now: Instant) -> Daring {
    Daring::new(now)
}

fn lesson(window: Window, unit: Unit, limit: u64) -> Lesson {
    Lesson { window, unit, limit }
}

#[test]
fn a_ceiling_holds_in_any_minute() {
    let (mut windows, now) = windows(Ceilings { rpm: Some(2), ..Ceilings::default() });
    let at = |s| now + Duration::from_secs(s);
    assert!(windows.take(0, &mut dares(now), at(0)).is_ok() && windows.take(0, &mut dares(now), at(30)).is_ok());
    assert_eq!(windows.take(0, &mut dares(now), at(40)), Err(Full { until: at(0) + MINUTE, for_this_size: false }));
    assert_eq!(windows.full_until(at(41)), Some(at(0) + MINUTE));
    assert!(windows.take(0, &mut dares(now), at(61)).is_ok());
    assert_eq!(windows.take(0, &mut dares(now), at(62)).unwrap_err().until, at(30) + MINUTE);
}

#[test]
fn a_day_ends_at_midnight_in_los_angeles() {
    let (mut windows, now) = windows(Ceilings { rpd: Some(2), ..Ceilings::default() });
    let midnight = now + Duration::from_hours(1);
    assert!(windows.take(0, &mut dares(now), now).is_ok() && windows.take(0, &mut dares(now), now + MINUTE).is_ok());
    assert_eq!(windows.take(0, &mut dares(now), now + MINUTE * 2).unwrap_err().until, midnight);
    assert_eq!(windows.wait(0, now + MINUTE * 3), Some(midnight));
    assert!(windows.take(0, &mut dares(now), midnight).is_ok());
}

#[test]
fn what_a_day_got_back_is_there_for_others() {
    let (mut windows, now) = windows(Ceilings { rpd: Some(2), ..Ceilings::default() });
    assert!((0..2).all(|_| windows.take(0, &mut dares(now), now).is_ok()));
    assert!(windows.take(0, &mut dares(now), now).is_err());
    windows.give_back(0, now);
    assert_eq!((windows.full_until(now), windows.wait(0, now)), (None, None));
    assert!(windows.take(0, &mut dares(now), now).is_ok() && windows.take(0, &mut dares(now), now).is_err());
}

#[test]
fn tokens_turn_large_requests_away_and_leave_small_ones_in() {
    let (mut windows, now) = windows(Ceilings { tpm: Some(100), ..Ceilings::default() });
    assert!(windows.take(60, &mut dares(now), now).is_ok());
    assert!(windows.take(60, &mut dares(now), now).unwrap_err().for_this_size);
    assert!(windows.take(30, &mut dares(now), now).is_ok(), "what fits goes");
    let room = |tokens| windows.supply(tokens, now, now).first().map(|(at, found)| ((*at - now).as_secs(), *found));
    assert_eq!((room(5), room(50)), (Some((0, 2)), Some((60, 1))), "by then demand has pressed for a minute");
    let later = now + MINUTE;
    assert!(windows.take(5_000, &mut dares(now), later).is_ok(), "alone, any size is let pass: Google judges it");
    windows.settle(5_000, 7, later);
    assert!(windows.take(60, &mut dares(now), later).is_ok(), "the truth replaces the estimate");
}

#[test]
fn a_refusal_fills_the_minute_and_is_taken_back_itself() {
    let (mut windows, now) = windows(Ceilings::default());
    assert!(windows.take(0, &mut dares(now), now).is_ok());
    windows.give_back(0, now);
    assert!(!windows.refuse(lesson(Window::Minute, Unit::Requests, 10), now, now));
    assert!(windows.take(0, &mut dares(now), now).is_err(), "others used it");
    let steps = windows.supply(0, now, now);
    let half = steps.iter().take_while(|(at, _)| *at <= now + MINUTE / 2).last().map(|(_, found)| *found);
    assert!(half.is_some_and(|half| (4..=6).contains(&half)), "{steps:?}");
    assert_eq!(windows.learnt().rpm, Some(10));
}

#[test]
fn a_burst_of_refusals_is_one() {
    let (mut windows, now) = windows(Ceilings::default());
    let told = lesson(Window::Minute, Unit::Requests, 10);
    let late = now + MINUTE * 2;
    windows.refuse(told, now, now);
    assert!(windows.refuse(told, late, late), "far below what is known");
    for _ in 0..20 {
        assert!(!windows.refuse(told, late, late));
    }
    assert_eq!(windows.room(late).minute_max.0, Some(10), "one surprise cuts nothing");
}

#[test]
fn a_learnt_day_is_no_ceiling_but_its_end_is_felt_for() {
    let (mut windows, now) = windows(Ceilings::default());
    let clocks = windows.clocks;
    let learnt = Ceilings { rpd: Some(10), ..Ceilings::default() };
    windows.recall(learnt, UseMemory { at: clocks.wall, day: 8, ..UseMemory::default() }, clocks);
    assert!(!windows.day_is_short(now) && windows.level(now) == 2);
    assert!(windows.take(0, &mut dares(now), now).is_ok() && windows.take(0, &mut dares(now), now).is_ok());
    assert!(windows.day_is_short(now) && !windows.is_day_over());
    assert!(windows.take(0, &mut dares(now), now).is_ok() && windows.is_day_over());
    windows.refuse(lesson(Window::Day, Unit::Requests, 10), now, now);
    assert_eq!(windows.level(now + DAY), LEVELS, "another day");
}

#[test]
fn demand_that_presses_is_spread_over_the_minute() {
    for ceilings in
        [Ceilings { rpm: Some(60), ..Ceilings::default() }, Ceilings { tpm: Some(60_000), ..Ceilings::default() }]
    {
        let (mut windows, now) = windows(ceilings);
        let mut taken = [0; 300];
        for tenth in 0..3_000_u64 {
            while windows.take(1_000, &mut dares(now), now + Duration::from_millis(tenth * 100)).is_ok() {
                taken[usize::try_from(tenth / 10).unwrap()] += 1;
            }
        }
        assert_eq!(taken[0], 60, "nobody waits while none presses");
        let most = taken[61..].iter().filter(|taken| **taken > 2).count();
        assert!(most <= 4, "once a minute what came late: {taken:?}");
        assert!((115..=120).contains(&taken[180..].iter().sum::<u64>()), "{taken:?}");
        let (end, mut later) = (now + Duration::from_mins(5), windows.clone());
        let supply = windows.supply(1_000, end, end);
        let mut found = 0;
        for tenth in 0..600 {
            let at = end + Duration::from_millis(tenth * 100);
            while later.take(1_000, &mut dares(now), at).is_ok() {
                found += 1;
            }
            let told = supply.iter().rev().find(|(step, _)| *step <= at).map_or(0, |(_, found)| *found);
            assert!(told.abs_diff(found) <= 1, "{told} were told and {found} found in {tenth} tenths of a second");
        }
    }
}

#[test]
fn a_project_is_quiet_while_little_of_its_minute_and_its_day_is_used() {
    for (ceilings, quiet) in [
        (Ceilings::default(), 30),
        (Ceilings { rpm: Some(10), ..Ceilings::default() }, 5),
        (Ceilings { rpd: Some(10), ..Ceilings::default() }, 6),
        (Ceilings { tpm: Some(1_000), ..Ceilings::default() }, 5),
    ] {
        let (mut windows, now) = windows(ceilings);
        let mut used = 0;
        while windows.is_quiet(now) {
            assert!(windows.take(100, &mut dares(now), now).is_ok());
            used += 1;
        }
        assert_eq!(used, quiet, "{used}");
        assert_eq!(
            windows.is_quiet(now + MINUTE),
            ceilings.rpd.is_none(),
            "a minute comes back, a day does not so soon"
        );
    }
}
