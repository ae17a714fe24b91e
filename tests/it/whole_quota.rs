//! The whole quota reaches the clients and nearly no call is wasted, whatever shape Google's minutes have: told in virtual
//! time, by the worlds of `benches/yield`.

use std::time::Duration;

use geminate::mock::Shape;

use crate::sim::figures::Figures;
use crate::sim::scenario::{self, Bars, Scenario};
use crate::sim::{Way, play};

/// Of the times that refused clients were told, so many in a hundred are right within two seconds.
const PROMISES_KEPT: f64 = 85.0;

/// The scenario of this name, cut short.
fn short(name: &str, minutes: u64) -> Scenario {
    let scenario = scenario::all().into_iter().find(|scenario| scenario.name == name).expect("a scenario");
    Scenario { lasts: Duration::from_mins(minutes), ..scenario }
}

/// Plays it in every shape; each of its bars must hold.
fn holds(scenario: &Scenario) {
    for shape in Shape::ALL {
        let (books, oracle) = (play(scenario, shape, Way::Pool), play(scenario, shape, Way::Oracle));
        let figures = Figures::of(scenario, &books, &oracle);
        let mut missed = figures.missed(&scenario.bars);
        // A step up or a refusal on the way moves the turn of all who wait: not every promise can come true.
        missed.retain(|bar| *bar != "retry-after");
        let kept = figures.told.is_none_or(|(right, ..)| right >= PROMISES_KEPT);
        assert!(missed.is_empty() && kept, "{}, {shape}: missed {missed:?} with {figures:#?}", scenario.name);
    }
}

#[test]
fn at_85_percent_nobody_is_refused_and_nearly_no_call_is() {
    holds(&short("uneven quotas, 85 %", 6));
}

#[test]
fn at_twice_the_quota_all_of_it_reaches_clients_and_the_refused_mostly_know_when_to_return() {
    holds(&short("3 keys, 200 %", 12));
}

#[test]
fn of_many_projects_with_one_limit_few_are_asked_for_it() {
    let mut scenario = short("1,000 keys, 200 %", 3);
    scenario.keys.truncate(200);
    scenario.clients.iter_mut().for_each(|client| client.rate /= 5.0);
    let books = play(&scenario, Shape::Minute, Way::Pool);
    let (calls, refused) = (books.counts.calls.all(), books.counts.refused.all());
    // One refusal of each to know them would be two hundred.
    assert!(calls > 5_000 && refused < 120, "{refused} of {calls}");
}

#[test]
fn a_spent_day_costs_one_refused_call_or_two_while_it_is_unknown() {
    let scenario = short("day's end, 200 %", 100);
    // Of a day that nobody knows, two calls may be under way when it ends.
    holds(&Scenario { bars: Bars { day_refusals: Some(2), ..scenario.bars }, ..scenario });
}

#[test]
fn the_same_seed_plays_the_same_world_and_round_robin_wastes_more() {
    let scenario = short("3 keys, 200 %", 3);
    let [one, two] = [(); 2].map(|()| play(&scenario, Shape::Sliding, Way::Pool));
    assert_eq!((&one.served, &one.counts.calls, one.refused), (&two.served, &two.counts.calls, two.refused));
    let oracle = play(&scenario, Shape::Sliding, Way::Oracle);
    let turns = Figures::of(&scenario, &play(&scenario, Shape::Sliding, Way::Turns), &oracle);
    let pool = Figures::of(&scenario, &one, &oracle);
    assert!(pool.share > turns.share && pool.wait <= Duration::from_secs(10), "{pool:?} against {turns:?}");
}
