//! The clients: each asks as it likes, waits, and comes back or gives up when it is refused.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::sim::dice::Dice;
use crate::sim::{Ask, Server, World};

/// How often a client comes back before it gives up.
const RETURNS_MAX: u32 = 3;
/// How late a client may be that comes back.
const LATE: Duration = Duration::from_millis(500);
/// How the lengths of prompts are spread around their median.
const TOKENS_SPREAD: f64 = 0.5;
/// How many bytes make a token in half of them, and how that is spread.
const BYTES_A_TOKEN: f64 = 4.0;
const BYTES_SPREAD: f64 = 0.15;

/// Lets all clients ask until the scenario ends.
pub(crate) async fn ask(world: Rc<World>, server: Rc<Server>) {
    let end = world.started.now + world.scenario.lasts;
    let mut clients = JoinSet::new();
    for client in 0..world.scenario.clients.len() {
        clients.spawn_local(one(Rc::clone(&world), Rc::clone(&server), client));
    }
    if let Some(restart) = world.scenario.restart {
        let (world, server) = (Rc::clone(&world), Rc::clone(&server));
        clients.spawn_local(async move {
            sleep(restart).await;
            if let Server::Pool(gate) = &*server {
                gate.restart(&world);
            }
        });
    }
    let _ended = timeout_at(end, pending::<()>()).await;
    clients.shutdown().await;
}

async fn one(world: Rc<World>, server: Rc<Server>, client: usize) {
    let plan = world.scenario.clients[client];
    let mut dice = Dice::new(world.scenario.seed, 10 + client as u64);
    let mut requests = JoinSet::new();
    let mut next = world.started.now;
    loop {
        next += dice.pause(plan.rate / f64::from(plan.at_once));
        sleep_until(next).await;
        for _ in 0..plan.at_once {
            let ask = prompt(client, plan.model, world.scenario.tokens, &mut dice);
            let late = LATE.mul_f64(dice.throw());
            if world.one_more() {
                requests.spawn_local(request(Rc::clone(&world), Rc::clone(&server), ask, late));
            }
        }
        while requests.try_join_next().is_some() {}
    }
}

/// A prompt whose length is spread around `median` tokens.
#[expect(clippy::cast_precision_loss, reason = "prompts of a few thousand tokens")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "prompts of a few thousand tokens")]
fn prompt(client: usize, model: usize, median: u64, dice: &mut Dice) -> Ask {
    let tokens = median as f64 * dice.factor(TOKENS_SPREAD);
    let bytes = tokens * BYTES_A_TOKEN * dice.factor(BYTES_SPREAD);
    Ask { client, model, tokens: tokens as u64, bytes: bytes as u64 }
}

async fn request(world: Rc<World>, server: Rc<Server>, ask: Ask, late: Duration) {
    world.books.borrow_mut().asked(&ask);
    for _ in 0..=RETURNS_MAX {
        match server.serve(&world, &ask).await {
            Ok(()) => return,
            Err(denied) => {
                let back = world.books.borrow_mut().denied(&ask, &denied);
                match back.filter(|_| world.scenario.come_back) {
                    Some(back) => sleep(back + late).await,
                    None => return,
                }
            }
        }
    }
}
