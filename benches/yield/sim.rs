//! A world in virtual time: clients, a gateway, Google. The pool, its line, the retry plan and the arithmetic of Google's
//! quotas are the real ones; only the network and the people are made up.

pub(crate) mod dice;
pub(crate) mod minutes;
pub(crate) mod scenario;
pub(crate) mod google;
pub(crate) mod books;
mod line;
mod gate;
mod turns;
mod oracle;
mod crowd;
pub(crate) mod figures;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use geminate::mock::Shape;
use geminate::pool::memory::Clocks;
use tokio::runtime;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::sim::books::Books;
use crate::sim::dice::Dice;
use crate::sim::gate::Gate;
use crate::sim::google::{Google, Said};
use crate::sim::oracle::Oracle;
use crate::sim::scenario::Scenario;
use crate::sim::turns::Turns;

/// How long a call is on its way to Google, and a refusal back.
const NETWORK: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];
/// An answer's rest takes so much of the time of its first byte.
const REST: f64 = 0.5;

/// Who stands between clients and Google.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// geminate's own pool.
    Pool,
    /// Round robin: the next key after a refusal, which then rests a minute.
    Turns,
    /// One that sees into Google's books: nobody could do better.
    Oracle,
}

/// What all of a run share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) started: Clocks,
    pub(crate) google: RefCell<Google>,
    pub(crate) books: RefCell<Books>,
    network: RefCell<Dice>,
    left: Cell<u64>,
}

/// One request of a client's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) client: usize,
    pub(crate) model: usize,
    pub(crate) tokens: u64,
    /// Bytes of the prompt, of which some make more tokens than others.
    pub(crate) bytes: u64,
}

/// How a request ended without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denied {
    /// When the client was told to come back.
    pub(crate) retry_after: Option<Duration>,
    /// How many stood in line before it.
    pub(crate) before: u64,
    /// Whether it was refused for want of quota; else it failed.
    pub(crate) refused: bool,
}

impl World {
    /// Sends a call and waits for what Google says to it, and for the first byte.
    pub(crate) async fn call(&self, key: usize, ask: &Ask) -> Said {
        let way = || self.network.borrow_mut().between(NETWORK[0], NETWORK[1]);
        let there = way();
        sleep(there).await;
        let said = self.google.borrow_mut().judge(key, ask.model, ask.tokens, Instant::now());
        match &said {
            Said::Answer(first_byte) => sleep(*first_byte).await,
            Said::Refused(..) => sleep(way()).await,
        }
        said
    }

    /// The rest of an answer whose first byte took `first_byte`.
    pub(crate) async fn rest(&self, first_byte: Duration) {
        sleep(first_byte.mul_f64(REST)).await;
    }

    /// Whether one more request may be made.
    pub(crate) fn one_more(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    pub(crate) fn throw(&self) -> f64 {
        self.network.borrow_mut().throw()
    }
}

/// Whoever serves a request.
#[derive(Debug)]
pub(crate) enum Server {
    Pool(Box<Gate>),
    Turns(Turns),
    Oracle(Oracle),
}

impl Server {
    pub(crate) async fn serve(&self, world: &World, ask: &Ask) -> Result<(), Denied> {
        match self {
            Self::Pool(gate) => gate.serve(world, ask).await,
            Self::Turns(turns) => turns.serve(world, ask).await,
            Self::Oracle(oracle) => oracle.serve(world, ask).await,
        }
    }
}

/// Plays a scenario to its end; the same for the same seed.
pub(crate) fn play(scenario: &Scenario, shape: Shape, way: Way) -> Books {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without sockets");
    runtime.block_on(async {
        let wall = scenario.begins.parse().expect("a time");
        let started = Clocks { now: Instant::now(), wall };
        let world = Rc::new(World {
            google: RefCell::new(Google::new(scenario, shape, way, started)),
            books: RefCell::new(Books::new(scenario, started.now)),
            network: RefCell::new(Dice::new(scenario.seed, 2)),
            left: Cell::new(scenario.requests_max.unwrap_or(u64::MAX)),
            scenario: scenario.clone(),
            started,
        });
        let server = match way {
            Way::Pool => Server::Pool(Box::new(Gate::new(scenario, started))),
            Way::Turns => Server::Turns(Turns::new(scenario)),
            Way::Oracle => Server::Oracle(Oracle::new(scenario, started.now)),
        };
        let local = LocalSet::new();
        local.run_until(crowd::ask(Rc::clone(&world), Rc::new(server))).await;
        drop(local);
        let mut books = world.books.borrow().clone();
        books.counts = world.google.borrow().counts.clone();
        books
    })
}
