//! The scenarios: which keys there are, what their projects may use, and who asks how much.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use geminate::mock::Quota;

/// A key, as the world has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyPlan {
    /// Its project in truth.
    pub(crate) project: usize,
    /// What the project may use of each model.
    pub(crate) quota: Quota,
    pub(crate) dead: bool,
    pub(crate) weight: u32,
}

/// A client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientPlan {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Which of the models it asks.
    pub(crate) model: usize,
    /// Whether it asks for little, so that its wait is told apart.
    pub(crate) quiet: bool,
    /// How many it sends at once.
    pub(crate) at_once: u32,
}

/// All limits a minute, times `times` by `by`, from `after` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) after: Duration,
    pub(crate) times: u64,
    pub(crate) by: u64,
}

/// What a scenario must come to; `None` is no bar.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bars {
    /// Least share of the quota that reaches clients.
    pub(crate) share: Option<f64>,
    /// Most calls that are refused, of all, in percent.
    pub(crate) wasted: Option<f64>,
    /// The same after the first minute.
    pub(crate) wasted_later: Option<f64>,
    /// Clients refused at most.
    pub(crate) refused: Option<u64>,
    /// Whether every Retry-After is right within two seconds.
    pub(crate) return_told: bool,
    /// Least fairness.
    pub(crate) fair: Option<f64>,
    /// Refusals of one project for one spent day at most.
    pub(crate) day_refusals: Option<u64>,
    /// Longest wait of the quiet clients, in seconds.
    pub(crate) quiet_wait: Option<f64>,
    /// Most that a key's share differs from its weight's, in percent of the whole.
    pub(crate) weights: Option<f64>,
}

/// One world and who asks in it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    /// The local time in Los Angeles at which it begins.
    pub(crate) begins: &'static str,
    pub(crate) lasts: Duration,
    pub(crate) models: &'static [&'static str],
    pub(crate) keys: Vec<KeyPlan>,
    /// Whether the pool is told which keys share a project.
    pub(crate) labelled: bool,
    pub(crate) clients: Vec<ClientPlan>,
    /// Input tokens of half of all prompts.
    pub(crate) tokens: u64,
    /// Whether refused clients come back when they were told to, or give up.
    pub(crate) come_back: bool,
    /// Whether overloads come in waves.
    pub(crate) waves: bool,
    /// How much of each project's requests others use.
    pub(crate) strangers: f64,
    pub(crate) changes: &'static [Change],
    /// When the gateway is started anew.
    pub(crate) restart: Option<Duration>,
    /// Requests after which no more come.
    pub(crate) requests_max: Option<u64>,
    pub(crate) bars: Bars,
}

const MODEL: &[&str] = &["gemini-3.8-flash"];
/// What must hold where less is asked than there is.
const CALM: Bars = Bars { wasted_later: Some(1.0), refused: Some(0), ..NONE };
/// What must hold where more is asked than there is.
const FLOOD: Bars = Bars { share: Some(97.0), wasted: Some(3.0), return_told: true, ..NONE };
const NONE: Bars = Bars {
    share: None,
    wasted: None,
    wasted_later: None,
    refused: None,
    return_told: false,
    fair: None,
    day_refusals: None,
    quiet_wait: None,
    weights: None,
};

const fn rpm(rpm: u64) -> Quota {
    Quota { rpm: Some(rpm), tpm: None, rpd: None }
}

/// As many keys as quotas, each a project of its own.
fn keys(quotas: impl IntoIterator<Item = Quota>) -> Vec<KeyPlan> {
    let key = |(project, quota)| KeyPlan { project, quota, dead: false, weight: 1 };
    quotas.into_iter().enumerate().map(key).collect()
}

/// Two greedy clients, two with their share and three quiet ones, who ask `a_minute` together.
fn clients(a_minute: f64) -> Vec<ClientPlan> {
    let shares = [0.34, 0.26, 0.17, 0.17, 0.02, 0.02, 0.02];
    let client = |share: f64| ClientPlan { rate: a_minute * share / 60.0, model: 0, quiet: share < 0.05, at_once: 1 };
    shares.into_iter().map(client).collect()
}

/// A world of these keys, in which `load` of what they may use is asked for.
fn scenario(name: &'static str, keys: Vec<KeyPlan>, load: f64, bars: Bars) -> Scenario {
    let mut rpms = BTreeMap::new();
    for key in keys.iter().filter(|key| !key.dead) {
        rpms.insert(key.project, key.quota.rpm.unwrap_or(0));
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let a_minute = rpms.values().sum::<u64>() as f64 * load;
    Scenario {
        name,
        seed: 1,
        begins: "2026-11-21T11:40:17-08:00",
        lasts: Duration::from_mins(21),
        models: MODEL,
        keys,
        labelled: true,
        clients: clients(a_minute),
        tokens: 1_500,
        come_back: false,
        waves: false,
        strangers: 0.0,
        changes: &[],
        restart: None,
        requests_max: None,
        bars,
    }
}

/// All scenarios.
pub(crate) fn all() -> Vec<Scenario> {
    let ten = || keys([rpm(60); 10]);
    let uneven = || keys([rpm(10), rpm(50), rpm(200)]);
    let mut all = vec![
        scenario("10 keys, 85 %", ten(), 0.85, CALM),
        Scenario { bars: Bars { fair: Some(0.98), ..FLOOD }, ..scenario("10 keys, 200 %", ten(), 2.0, FLOOD) },
        Scenario { come_back: true, ..scenario("10 keys, 200 %, clients come back", ten(), 2.0, FLOOD) },
        scenario("uneven quotas, 85 %", uneven(), 0.85, CALM),
        scenario("uneven quotas, 200 %", uneven(), 2.0, FLOOD),
        scenario("3 keys, 200 %", keys([rpm(100); 3]), 2.0, FLOOD),
        scenario("30 keys, 85 %", keys([rpm(20); 30]), 0.85, CALM),
        scenario("30 keys, 200 %", keys([rpm(20); 30]), 2.0, FLOOD),
    ];
    let thousand = || keys(iter::repeat_n(rpm(10), 1_000));
    let short = Duration::from_mins(6);
    all.push(Scenario { lasts: short, ..scenario("1,000 keys, 85 %", thousand(), 0.85, CALM) });
    all.push(Scenario { lasts: short, ..scenario("1,000 keys, 200 %", thousand(), 2.0, FLOOD) });
    all.extend(projects());
    all.extend(troubles());
    all.extend(limits());
    all
}

/// Keys that share projects.
fn projects() -> Vec<Scenario> {
    let shared = || {
        let mut keys = keys([rpm(60); 6]);
        keys.iter_mut().enumerate().for_each(|(n, key)| key.project = n / 2);
        keys
    };
    let mut twins = keys([rpm(60); 6]);
    twins[5].project = 4;
    vec![
        scenario("shared projects, 85 %", shared(), 0.85, CALM),
        scenario("shared projects, 200 %", shared(), 2.0, FLOOD),
        Scenario { labelled: false, ..scenario("two keys, one project, untold, 85 %", twins.clone(), 0.85, NONE) },
        Scenario { labelled: false, ..scenario("two keys, one project, untold, 200 %", twins, 2.0, FLOOD) },
    ]
}

/// Dead keys, overloads, restarts, a model that is spent, weights.
fn troubles() -> Vec<Scenario> {
    let ten = || keys([rpm(60); 10]);
    let mut one_dead = ten();
    one_dead[3].dead = true;
    let mut weighted = keys([Quota::default(); 5]);
    weighted.iter_mut().zip([1, 2, 3, 5, 9]).for_each(|(key, weight)| key.weight = weight);
    let spent = Bars { quiet_wait: Some(0.5), ..NONE };
    let other = ClientPlan { rate: 0.5, model: 1, quiet: true, at_once: 1 };
    let mut two_models = scenario("one model spent, another calm", ten(), 3.0, spent);
    two_models.models = &["gemini-3.8-flash", "gemini-3.5-flash"];
    two_models.clients.retain(|client| !client.quiet);
    two_models.clients.push(other);
    let mut bursts = scenario("greedy clients in bursts, 60 %", ten(), 0.6, CALM);
    bursts.clients[..2].iter_mut().for_each(|client| client.at_once = 20);
    let weights = Bars { weights: Some(1.0), refused: Some(0), ..NONE };
    vec![
        scenario("one key dead, 85 %", one_dead.clone(), 0.85, CALM),
        scenario("one key dead, 200 %", one_dead, 2.0, FLOOD),
        Scenario {
            waves: true,
            ..scenario("overload waves, 70 %", ten(), 0.7, Bars { wasted_later: Some(1.0), ..NONE })
        },
        Scenario { waves: true, ..scenario("overload waves, 200 %", ten(), 2.0, Bars { wasted: Some(3.0), ..NONE }) },
        Scenario { restart: Some(Duration::from_mins(10)), ..scenario("restart, 85 %", ten(), 0.85, CALM) },
        Scenario { restart: Some(Duration::from_mins(10)), ..scenario("restart, 200 %", ten(), 2.0, FLOOD) },
        two_models,
        bursts,
        Scenario { strangers: 0.5, ..scenario("others use half, 200 %", ten(), 2.0, NONE) },
        Scenario {
            requests_max: Some(1_000),
            clients: clients(600.0),
            ..scenario("weights 1 2 3 5 9", weighted, 1.0, weights)
        },
    ]
}

/// Limits that change, of tokens, of days.
fn limits() -> Vec<Scenario> {
    const RAISED: &[Change] = &[Change { after: Duration::from_mins(8), times: 2, by: 1 }];
    const LOWERED: &[Change] = &[Change { after: Duration::from_mins(8), times: 1, by: 2 }];
    let ten = || keys([rpm(60); 10]);
    let tokens = || keys([Quota { rpm: Some(1_000), tpm: Some(120_000), rpd: None }; 5]);
    let bound = |load: f64| clients(5.0 * 120_000.0 / 1_700.0 * load);
    let day = Quota { rpm: Some(10), tpm: None, rpd: Some(250) };
    // Before a day is known to be spent, nobody can tell that it ends the minute's promises.
    let days = Bars { day_refusals: Some(1), share: Some(97.0), ..NONE };
    vec![
        Scenario { changes: RAISED, lasts: Duration::from_mins(25), ..scenario("limit x2", ten(), 4.0, FLOOD) },
        Scenario { changes: LOWERED, lasts: Duration::from_mins(25), ..scenario("limit x0.5", ten(), 2.0, FLOOD) },
        Scenario { clients: bound(0.85), ..scenario("tokens bind, 85 %", tokens(), 1.0, CALM) },
        Scenario { clients: bound(2.0), ..scenario("tokens bind, 200 %", tokens(), 1.0, FLOOD) },
        Scenario {
            begins: "2026-11-21T23:10:17-08:00",
            lasts: Duration::from_mins(100),
            ..scenario("day's end, 200 %", keys([day; 6]), 2.0, days)
        },
    ]
}
