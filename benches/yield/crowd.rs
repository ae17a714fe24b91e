//! The clients: each asks as it likes, waits, and comes back or gives up when it is refused.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::sim::dice::Dice;
use crate::sim::{Ask, Server, World};

/// How often a client comes back before it gives up.
const RETURNS_MAX: u32 = 3;
/// How late a client may be that comes back.
const LATE: Duration = Duration::from_millis(500);
/// How the lengths of prompts are spread around their median.
const TOKENS_SPREAD: f64 = 0.5;

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
        for _ in 0..plan.at_once {
            #[expect(clippy::cast_precision_loss, reason = "prompts of a few thousand")]
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "prompts of a few thousand")]
            let tokens = (world.scenario.tokens as f64 * dice.factor(TOKENS_SPREAD)) as u64;
            let late = LATE.mul_f64(dice.throw());
            // The first of them comes when its time has come, the others with it.
            sleep_until(next).await;
            if world.one_more() {
                let ask = Ask { client, model: plan.model, tokens };
                requests.spawn_local(request(Rc::clone(&world), Rc::clone(&server), ask, late));
            }
        }
        while requests.try_join_next().is_some() {}
    }
}

async fn request(world: Rc<World>, server: Rc<Server>, ask: Ask, late: Duration) {
    world.books.borrow_mut().asked(&ask);
    for _ in 0..=RETURNS_MAX {
        let began = Instant::now();
        match server.serve(&world, &ask).await {
            Ok(()) => return,
            Err(denied) => {
                let back = world.books.borrow_mut().denied(&ask, &denied, began);
                match back.filter(|_| world.scenario.come_back) {
                    Some(back) => sleep(back + late).await,
                    None => return,
                }
            }
        }
    }
}
