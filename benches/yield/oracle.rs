//! The best that could be done: an oracle that sees what every project has left, and asks no one in vain.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::sim::scenario::Scenario;
use crate::sim::{Ask, Denied, World};

/// How long a request waits for room, as in the real line.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Overloads are tried again so often, after a pause.
const OVERLOADS_MAX: u32 = 3;
const OVERLOAD_PAUSE: Duration = Duration::from_secs(2);

/// When each project may have room, the first on top; of equals who was asked longest ago; and a key of it.
type Rooms = BinaryHeap<Reverse<(Instant, u64, usize)>>;

/// The rooms of each model.
#[derive(Debug)]
pub(crate) struct Oracle {
    rooms: RefCell<Vec<Rooms>>,
    turns: Vec<Mutex<()>>,
    passed: RefCell<u64>,
}

impl Oracle {
    pub(crate) fn new(scenario: &Scenario, now: Instant) -> Self {
        let mut keys: Vec<usize> = (0..scenario.keys.len()).filter(|key| !scenario.keys[*key].dead).collect();
        keys.dedup_by_key(|key| scenario.keys[*key].project);
        let room: Rooms = keys.into_iter().map(|key| Reverse((now, 0, key))).collect();
        Self {
            rooms: RefCell::new(vec![room; scenario.models.len()]),
            turns: scenario.models.iter().map(|_| Mutex::new(())).collect(),
            passed: RefCell::new(0),
        }
    }

    pub(crate) async fn serve(&self, world: &World, ask: &Ask) -> Result<(), Denied> {
        for overloads in 0..=OVERLOADS_MAX {
            let began = Instant::now();
            let limit = began + WAIT_MAX;
            let refused = Denied { retry_after: Some(WAIT_MAX), before: 0, refused: true };
            let key = {
                let Ok(_turn) = timeout_at(limit, self.turns[ask.model].lock()).await else { return Err(refused) };
                loop {
                    match self.room(world, ask) {
                        Ok(key) => break key,
                        Err(at) if at > limit => return Err(refused),
                        Err(at) => sleep_until(at).await,
                    }
                }
            };
            world.books.borrow_mut().granted(ask, key, began);
            world.google.borrow_mut().counts.calls.add(1, Instant::now() - world.started.now);
            if !world.google.borrow_mut().overloaded(Instant::now()) {
                let first_byte = world.google.borrow_mut().latency();
                sleep(first_byte).await;
                world.books.borrow_mut().served(ask);
                world.rest(first_byte).await;
                return Ok(());
            }
            sleep(OVERLOAD_PAUSE * (1 << overloads)).await;
        }
        Err(Denied { retry_after: None, before: 0, refused: false })
    }

    /// A key whose project had room, which is taken; or when the first may have some.
    fn room(&self, world: &World, ask: &Ask) -> Result<usize, Instant> {
        let now = Instant::now();
        let rooms = &mut self.rooms.borrow_mut()[ask.model];
        let mut passed = self.passed.borrow_mut();
        loop {
            let Some(Reverse((at, _, key))) = rooms.peek().copied() else { return Err(now + WAIT_MAX * 2) };
            if at > now {
                return Err(at);
            }
            rooms.pop();
            *passed += 1;
            let project = world.google.borrow().project(key).unwrap_or_default();
            let taken = world.google.borrow_mut().take(project, ask.model, ask.tokens, now);
            let next = taken.as_ref().err().map_or(now, |shortage| now + shortage.retry.max(Duration::from_millis(1)));
            rooms.push(Reverse((next, *passed, key)));
            if taken.is_ok() {
                return Ok(key);
            }
        }
    }
}
