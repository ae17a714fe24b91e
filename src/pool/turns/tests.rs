//! Whose turn it is, whoever comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::pool::turns::{Turns, Waiting};

const MANY: usize = 1_000;
const BYTES: u64 = 7;

/// A line, and requests that arrive a second after each other.
struct Stage {
    turns: Turns,
    clients: BTreeMap<&'static str, Arc<str>>,
    start: Instant,
}

impl Stage {
    fn new() -> Self {
        let clients = ["alice", "bob", "carol", "dave"].map(|name| (name, Arc::from(name)));
        Self { turns: Turns::default(), clients: clients.into(), start: Instant::now() }
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    fn enter(&self, client: &str, second: u64) -> Waiting<'_> {
        self.turns.enter(&self.clients[client], self.at(second), BYTES, MANY).expect("room in the line")
    }

    /// Serves all: the places in `line` in the order in which they had the turn.
    fn drain(&self, line: Vec<Waiting<'_>>) -> Vec<usize> {
        let mut line: Vec<_> = line.into_iter().enumerate().collect();
        let mut order = Vec::new();
        while !line.is_empty() {
            let turn = line.iter().position(|(_, waiting)| waiting.before() == Some(0)).expect("one has the turn");
            order.push(line.remove(turn).0);
        }
        assert!(self.turns.is_empty() && self.turns.clients() == 0);
        order
    }
}

fn was_told(waiting: &Waiting<'_>) -> bool {
    waiting.told().notified().now_or_never().is_some()
}

#[test]
fn the_line_knows_how_large_its_prompts_are() {
    let stage = Stage::new();
    let enter = |client: &str, bytes| stage.turns.enter(&stage.clients[client], stage.at(0), bytes, 3);
    assert_eq!(stage.turns.bytes_each(), 0);
    let [small, large, larger] = [10, 20, 60].map(|bytes| enter("alice", bytes).unwrap());
    assert_eq!(stage.turns.bytes_each(), 30);
    let other = enter("bob", 9).unwrap();
    assert_eq!((larger.before(), stage.turns.bytes_each()), (None, 13), "the newest gave up its place");
    drop((large, larger));
    assert_eq!(stage.turns.bytes_each(), 9);
    drop((small, other));
    assert_eq!(stage.turns.bytes_each(), 0);
}

#[test]
fn one_client_is_served_in_order_of_arrival() {
    let stage = Stage::new();
    let line = vec![stage.enter("alice", 0), stage.enter("alice", 1), stage.enter("alice", 2)];
    assert_eq!(line.iter().map(Waiting::before).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    assert_eq!(stage.drain(line), [0, 1, 2]);
}

#[test]
fn two_clients_alternate() {
    let stage = Stage::new();
    let mut line: Vec<_> = (0..3).map(|n| stage.enter("alice", n)).collect();
    line.extend((3..6).map(|n| stage.enter("bob", n)));
    assert_eq!((stage.turns.len(), stage.turns.clients()), (6, 2));
    assert_eq!(stage.drain(line), [0, 3, 1, 4, 2, 5]);
}

#[test]
fn a_greedy_client_delays_a_quiet_one_by_one_turn_however_often_it_comes() {
    let stage = Stage::new();
    let mut greedy: Vec<_> = (0..100).map(|n| stage.enter("alice", n)).collect();
    for n in 100..150 {
        assert_eq!(stage.turns.before("bob", stage.at(n)), 1);
        let quiet = stage.enter("bob", n);
        assert_eq!(quiet.before(), Some(1), "who has the turn keeps it, and nobody else goes before");
        drop(greedy.remove(0));
        assert!(was_told(&quiet) && quiet.before() == Some(0));
    }
}

#[test]
fn who_arrived_earlier_goes_before_its_own_clients_others_but_not_before_the_turn() {
    let stage = Stage::new();
    let line = vec![stage.enter("alice", 5), stage.enter("bob", 6), stage.enter("alice", 7), stage.enter("alice", 1)];
    assert_eq!(stage.turns.before("alice", stage.at(0)), 2);
    assert_eq!(stage.drain(line), [0, 1, 3, 2]);
}

#[test]
fn who_leaves_with_the_turn_hands_it_on_and_who_leaves_without_it_disturbs_nobody() {
    let stage = Stage::new();
    let [first, middle, last] = [0, 1, 2].map(|n| stage.enter("alice", n));
    let other = stage.enter("bob", 3);
    drop(middle);
    assert!(!was_told(&other) && !was_told(&last) && first.before() == Some(0));
    drop(first);
    assert!(was_told(&other) && !was_told(&last));
    assert_eq!((other.before(), last.before()), (Some(0), Some(1)));
    drop(other);
    assert!(was_told(&last) && last.before() == Some(0));
    drop(last);
    assert!(stage.turns.is_empty());
    assert_eq!(stage.enter("carol", 4).before(), Some(0), "an empty line has a turn to give");
}

#[test]
fn a_full_line_is_shortened_where_it_is_longest_for_whoever_has_at_least_two_fewer() {
    let stage = Stage::new();
    let enter = |client: &str, second, most| stage.turns.enter(&stage.clients[client], stage.at(second), BYTES, most);
    let greedy: Vec<_> = (0..3).map(|n| enter("alice", n, 3).unwrap()).collect();
    assert!(enter("alice", 3, 3).is_none(), "its own newest has come before it");
    let bob = enter("bob", 4, 3).expect("a place");
    assert!(was_told(&greedy[2]) && greedy[2].before().is_none(), "the newest of the longest");
    assert!(enter("bob", 5, 3).is_none() && stage.turns.len() == 3);
    let carol = enter("carol", 6, 3).expect("a place");
    assert!(greedy[1].before().is_none());
    assert!(enter("dave", 7, 3).is_none(), "nobody has two more than it would have");
    assert_eq!([&greedy[0], &bob, &carol].map(Waiting::before), [Some(0), Some(1), Some(2)]);
    drop(greedy);
    assert!(was_told(&bob) && stage.turns.len() == 2, "who was sent away leaves nothing behind");
    assert!(enter("dave", 8, 0).is_none(), "nobody waits where nobody may");
}

/// What happens to a line.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A request of the client comes, which arrived so many seconds ago.
    Enter(usize, u64),
    /// Somebody goes away.
    Leave(prop::sample::Index),
    /// Who has the turn is served.
    Serve,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..4, 0_u64..5).prop_map(|(client, ago)| Step::Enter(client, ago)),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        2 => Just(Step::Serve),
    ];
    prop::collection::vec(step, 1..200)
}

/// Exactly one has the turn and was told of it, and everybody's place is another.
fn is_whole(stage: &Stage, line: &[(usize, Waiting<'_>)], told: &mut BTreeSet<usize>) -> Result<(), TestCaseError> {
    let places: BTreeSet<usize> = line.iter().filter_map(|(_, waiting)| waiting.before()).collect();
    prop_assert_eq!(&places, &(0..line.len()).collect(), "places follow each other without a gap");
    prop_assert_eq!(stage.turns.len(), line.len());
    let clients: BTreeSet<&str> = line.iter().map(|(_, waiting)| &*waiting.client).collect();
    prop_assert_eq!(stage.turns.clients(), clients.len());
    for client in &clients {
        let own = line.iter().filter(|(_, waiting)| &*waiting.client == *client);
        let first = own.filter_map(|(_, waiting)| waiting.before()).min();
        prop_assert!(first < Some(clients.len()), "a client waits for one turn of each other at most");
    }
    for (id, waiting) in line.iter().filter(|(_, waiting)| waiting.before() == Some(0)) {
        let first_look = !told.contains(id);
        prop_assert!(!first_look || was_told(waiting), "a turn that nobody knows of is lost");
        told.insert(*id);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_coming_and_going_leaves_the_line_whole(steps in steps()) {
        const MOST: usize = 12;
        let stage = Stage::new();
        let names = ["alice", "bob", "carol", "dave"];
        let (mut line, mut told) = (Vec::new(), BTreeSet::new());
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter(client, ago) => {
                    let (name, arrived) = (names[client], stage.at(id as u64 + 5 - ago));
                    let before = stage.turns.before(name, arrived);
                    if let Some(waiting) = stage.turns.enter(&stage.clients[name], arrived, BYTES, MOST) {
                        prop_assert!(waiting.before() <= Some(before), "a place that was told holds");
                        if line.is_empty() {
                            told.insert(id);
                        }
                        line.push((id, waiting));
                    } else {
                        prop_assert_eq!(line.len(), MOST);
                    }
                }
                Step::Leave(which) if !line.is_empty() => drop(line.swap_remove(which.index(line.len()))),
                Step::Serve => line.retain(|(_, waiting): &(usize, Waiting<'_>)| waiting.before() != Some(0)),
                Step::Leave(_) => {}
            }
            for (_, waiting) in line.extract_if(.., |(_, waiting)| waiting.before().is_none()) {
                prop_assert!(was_told(&waiting), "who is sent away knows");
            }
            is_whole(&stage, &line, &mut told)?;
        }
        let places: Vec<_> = line.iter().filter_map(|(_, waiting)| waiting.before()).collect();
        let order = stage.drain(line.into_iter().map(|(_, waiting)| waiting).collect());
        prop_assert_eq!(order.iter().map(|n| places[*n]).collect::<Vec<_>>(), (0..places.len()).collect::<Vec<_>>());
    }
}
