//! geminate without its sockets: the pool, its line and the retry plan around Google.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use geminate::alias::Aliases;
use geminate::backoff::{Facts, Next, Plan, removes_its_key};
use geminate::endpoint::{Endpoint, Surface};
use geminate::pool::KeyPool;
use geminate::pool::ask::Avoid;
use geminate::pool::key::{Ceilings, KeySpec};
use geminate::pool::lease::Lease;
use geminate::pool::memory::{Clocks, Memory};
use geminate::pool::scene::Moment;
use geminate::refusal::Refusal;
use geminate::secret::Secret;
use geminate::settings::Settings;
use geminate::verdict::Verdict;
use http::Method;
use tokio::time::{Instant, sleep};
use tower::retry::budget::{Budget, TpsBudget};

use crate::sim::google::Said;
use crate::sim::line::{self, Place};
use crate::sim::scenario::{KeyPlan, Scenario};
use crate::sim::{Ask, Denied, World};

/// Over which time the budget's share of retries is taken.
const BUDGET_SPAN: Duration = Duration::from_secs(10);
/// What a client is told whose answer failed.
const FAILED: Duration = Duration::from_secs(10);

/// The gateway, with the settings that everyone begins with.
pub(crate) struct Gate {
    settings: Settings,
    budget: TpsBudget,
    pool: RefCell<Arc<KeyPool>>,
    specs: Vec<KeySpec>,
    clients: Vec<Arc<str>>,
    endpoint: Endpoint,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

impl Gate {
    pub(crate) fn new(scenario: &Scenario, started: Clocks) -> Self {
        let spec = |(n, key): (usize, &KeyPlan)| KeySpec {
            id: (n + 1).to_string().into(),
            secret: Secret::new(format!("fake-key-{n:06}")),
            weight: key.weight,
            project: scenario.labelled.then(|| format!("project-{}", key.project).into()),
            egress: 0,
            ceilings: Ceilings::default(),
            enabled: true,
        };
        let specs: Vec<KeySpec> = scenario.keys.iter().enumerate().map(spec).collect();
        let pool = KeyPool::new(&specs, started).expect("keys of plain text");
        let settings = Settings::default();
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let percent = settings.retry.budget_percent as f32 / 100.0;
        let budget = TpsBudget::new(BUDGET_SPAN, settings.retry.budget_floor_per_s, percent);
        let path = "/v1beta/models/gemini-3.8-flash:generateContent".parse().expect("a path");
        let endpoint = Endpoint::named(&Method::POST, &path, Surface::Gemini, &Aliases::default());
        let endpoint = endpoint.expect("a path of Google's");
        let clients = (0..scenario.clients.len()).map(|n| format!("client-{n}").into()).collect();
        Self { settings, budget, pool: RefCell::new(Arc::new(pool)), specs, clients, endpoint }
    }

    /// The process ends and begins anew, with what it wrote down.
    pub(crate) fn restart(&self, world: &World) {
        let now = Instant::now();
        let clocks = Clocks { now, wall: world.started.wall_at(now) };
        let written = serde_json::to_string(&self.pool.borrow().memory(now)).expect("a memory of plain text");
        let memory: Memory = serde_json::from_str(&written).expect("what was written");
        let pool = KeyPool::new(&self.specs, clocks).expect("keys of plain text");
        pool.recall(&memory, clocks);
        self.pool.replace(Arc::new(pool));
    }

    pub(crate) async fn serve(&self, world: &World, ask: &Ask) -> Result<(), Denied> {
        let arrived = Instant::now();
        let pool = Arc::clone(&self.pool.borrow());
        let deadline = arrived + Duration::from_millis(self.settings.deadline.request_timeout_ms);
        let mut plan = Plan::new(self.settings.retry.retries, self.settings.retry.empty_retries, pool.keys().len());
        self.budget.deposit();
        let (mut tried, mut shunned, mut patient, mut thrifty) = (Vec::new(), Vec::new(), true, false);
        loop {
            let began = Instant::now();
            let place = Place {
                client: &self.clients[ask.client],
                model: world.scenario.models[ask.model],
                avoid: Avoid { keys: &tried, projects: &shunned, only: None, thrifty, bytes: ask.bytes },
                patient,
                arrived,
                limit: deadline.min(began + Duration::from_millis(self.settings.pool.max_wait_ms)),
                queue_max: self.settings.pool.queue_max as usize,
            };
            let lease = match line::obtain(&pool, &place).await {
                Ok(lease) => lease,
                Err(denied) => return Err(denied),
            };
            let key = lease.key().index;
            world.books.borrow_mut().granted(ask, key as usize, began);
            let Some((verdict, next)) = self.attempt(world, ask, lease, &mut plan, (arrived, deadline), &tried).await
            else {
                return Ok(());
            };
            let Next::Again { pause, elsewhere, budgeted } = next else {
                return Err(Self::end(&pool, verdict, ask, world));
            };
            if budgeted && !self.budget.withdraw() {
                return Err(Self::end(&pool, verdict, ask, world));
            }
            tried.push(key);
            if elsewhere {
                shunned.push(pool.keys()[key].project());
            }
            thrifty = verdict == Verdict::Overloaded;
            patient = !elsewhere || removes_its_key(verdict);
            sleep(pause).await;
        }
    }

    /// One attempt; what it came to and what follows, where it gave no answer.
    async fn attempt(
        &self,
        world: &World,
        ask: &Ask,
        mut lease: Lease,
        plan: &mut Plan,
        (arrived, deadline): (Instant, Instant),
        tried: &[u32],
    ) -> Option<(Verdict, Next)> {
        let key = lease.key().index;
        let (status, body) = match world.call(key as usize, ask).await {
            Said::Answer(first_byte) => {
                lease.succeed(Instant::now());
                world.books.borrow_mut().served(ask);
                world.rest(first_byte).await;
                lease.settle(ask.tokens, Instant::now());
                return None;
            }
            Said::Refused(status, body) => (status, body),
        };
        let refusal = Refusal::read(status, &body);
        let verdict = Verdict::of(&refusal, &self.endpoint);
        let now = Instant::now();
        lease.fail(verdict, &refusal, Moment { now, wall: world.started.wall_at(now), dice: world.throw() });
        let (breaker_open, unknown_lately) = lease.lane().lock().doubts(lease.key().project(), now);
        let facts = Facts {
            kept: true,
            patient: true,
            replayable: true,
            long_prompt: false,
            tried: tried.contains(&key),
            breaker_open,
            unknown_lately,
            maker_known: false,
            left: deadline.saturating_duration_since(now),
            whole: deadline - arrived,
            dice: world.throw(),
        };
        Some((verdict, plan.after(verdict, &facts)))
    }

    /// What the client is told when no other attempt can help.
    fn end(pool: &KeyPool, verdict: Verdict, ask: &Ask, world: &World) -> Denied {
        if !removes_its_key(verdict) {
            return Denied { retry_after: Some(FAILED), before: 0, refused: false };
        }
        let now = Instant::now();
        let lane = pool.lane(world.scenario.models[ask.model], now);
        let outage = lane.lock().outage(Avoid::default(), now);
        let whole = outage.len() >= pool.keys().len();
        let soonest = outage.soonest.filter(|_| whole).map(|at| at.saturating_duration_since(now));
        Denied { retry_after: soonest.or(Some(Duration::from_secs(1))), before: lane.waits() as u64, refused: true }
    }
}
