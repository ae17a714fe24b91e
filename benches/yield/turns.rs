//! Plain round robin with failover, as other gateways do it: the next key after a refusal, and no memory but a minute's
//! rest for the key that was refused.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use crate::sim::google::Said;
use crate::sim::scenario::Scenario;
use crate::sim::{Ask, Denied, World};

/// How long a key rests that was refused.
const REST: Duration = Duration::from_mins(1);
/// Attempts of one request.
const ATTEMPTS_MAX: u32 = 4;

/// The keys and whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns {
    next: Cell<usize>,
    /// Until when each key rests, by model.
    rests: RefCell<Vec<Vec<Option<Instant>>>>,
}

impl Turns {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self { next: Cell::new(0), rests: RefCell::new(vec![vec![None; scenario.keys.len()]; scenario.models.len()]) }
    }

    pub(crate) async fn serve(&self, world: &World, ask: &Ask) -> Result<(), Denied> {
        let began = Instant::now();
        let mut refused = true;
        for _ in 0..ATTEMPTS_MAX {
            let Some(key) = self.turn(ask.model) else { break };
            world.books.borrow_mut().granted(ask, key, began);
            match world.call(key, ask).await {
                Said::Answer(first_byte) => {
                    world.books.borrow_mut().served(ask);
                    world.rest(first_byte).await;
                    return Ok(());
                }
                Said::Refused(503, _) => refused = false,
                Said::Refused(..) => {
                    refused = true;
                    self.rests.borrow_mut()[ask.model][key] = Some(Instant::now() + REST);
                }
            }
        }
        Err(Denied { retry_after: Some(REST), before: 0, refused })
    }

    fn turn(&self, model: usize) -> Option<usize> {
        let (now, rests) = (Instant::now(), self.rests.borrow());
        let rests = &rests[model];
        let order = (0..rests.len()).map(|step| (self.next.get() + step) % rests.len());
        let key = order.into_iter().find(|key| rests[*key].is_none_or(|until| until <= now))?;
        self.next.set(key + 1);
        Some(key)
    }
}
