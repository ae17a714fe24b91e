//! The mocked world's state: who is known, what is spent, which faults are to come, what was seen.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::mock::auth;
use crate::mock::journal::{Journal, SeenCall, held};
use crate::mock::quota::{Moment, Quota, Shortage, Tier, Usage};
use crate::mock::script::{Script, Subject, glob};
use crate::mock::settings::Settings;

/// How many projects with a model are counted; beyond them the counts begin anew.
const USAGES_MAX: usize = 10_000;
/// How many scripts may stand at once.
const SCRIPTS_MAX: usize = 1_000;

/// A quota set while the world runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaRule {
    /// Pattern of the project.
    #[serde(default = "all")]
    pub project: String,
    /// Pattern of the model.
    #[serde(default = "all")]
    pub model: String,
    /// What it may use.
    #[serde(default)]
    pub quota: Quota,
}

fn all() -> String {
    "*".to_owned()
}

/// Google as far as its API can show it.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    started: Instant,
    ledger: Mutex<Ledger>,
    journal: Arc<Journal>,
    connections: AtomicU64,
    connections_open: AtomicU64,
    answers: AtomicU64,
}

#[derive(Debug)]
struct Ledger {
    scripts: VecDeque<Standing>,
    usages: HashMap<(String, String), Usage>,
    rules: Vec<QuotaRule>,
    dice: u64,
    /// What time it was when the world began, or what a test says it was.
    dawn: Timestamp,
}

#[derive(Debug)]
struct Standing {
    script: Script,
    left: Option<u64>,
    skip: u64,
}

/// The holder of an accepted key.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) project: String,
    pub(crate) tier: Tier,
    quota: Option<Quota>,
}

impl Holder {
    /// The project as error bodies name it: `projects/` and a number.
    pub(crate) fn consumer(&self) -> String {
        let hash = self.project.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        format!("projects/{}", 100_000_000_000 + hash % 900_000_000_000)
    }
}

impl World {
    /// A world that begins now, with nothing spent.
    pub fn new(settings: Settings) -> Self {
        let ledger = Ledger {
            scripts: settings.scripts.iter().cloned().map(Standing::of).collect(),
            usages: HashMap::new(),
            rules: Vec::new(),
            dice: settings.seed,
            dawn: Timestamp::now(),
        };
        Self {
            started: Instant::now(),
            ledger: Mutex::new(ledger),
            journal: Arc::new(Journal::new(settings.calls_kept)),
            connections: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            settings,
        }
    }

    /// What the world was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds a script behind those that stand. Of the scripts that match a call the first is played.
    pub fn script(&self, script: Script) {
        let mut ledger = held(&self.ledger);
        if ledger.scripts.len() < SCRIPTS_MAX {
            ledger.scripts.push_back(Standing::of(script));
        }
    }

    /// Takes all scripts away, those of the settings too; what was seen and spent stays.
    pub fn clear_scripts(&self) {
        held(&self.ledger).scripts.clear();
    }

    /// The calls seen, oldest first.
    pub fn calls(&self) -> Vec<SeenCall> {
        self.journal.calls()
    }

    /// Waits until `condition` holds for the calls seen, at most `within`. Gives the calls; `None` when time ran out.
    pub async fn until(&self, within: Duration, condition: impl Fn(&[SeenCall]) -> bool) -> Option<Vec<SeenCall>> {
        let mut changes = self.journal.watch();
        let found = async {
            loop {
                changes.borrow_and_update();
                let calls = self.calls();
                if condition(&calls) || changes.changed().await.is_err() {
                    return calls;
                }
            }
        };
        tokio::time::timeout(within, found).await.ok()
    }

    /// Forgets calls, what was spent and quotas that were set; the scripts are again those of the settings.
    pub fn reset(&self) {
        self.journal.clear();
        let mut ledger = held(&self.ledger);
        ledger.scripts = self.settings.scripts.iter().cloned().map(Standing::of).collect();
        ledger.usages.clear();
        ledger.rules.clear();
        ledger.dice = self.settings.seed;
    }

    /// Sets the quota of the projects and models that match; what they have spent stays spent.
    pub fn set_quota(&self, project: &str, model: &str, quota: Quota) {
        let rule = QuotaRule { project: project.to_owned(), model: model.to_owned(), quota };
        let rules = &mut held(&self.ledger).rules;
        rules.retain(|old| old.project != rule.project || old.model != rule.model);
        rules.push(rule);
    }

    /// Says what time it is; it goes on from there, by the clock that tests can pause.
    pub fn set_time(&self, now: Timestamp) {
        held(&self.ledger).dawn = now - age_of(self.started);
    }

    /// Connections open now, and ever accepted.
    pub fn connections(&self) -> (u64, u64) {
        (self.connections_open.load(Ordering::Relaxed), self.connections.load(Ordering::Relaxed))
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn connected(&self) -> u64 {
        self.connections_open.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn disconnected(&self) {
        self.connections_open.fetch_sub(1, Ordering::Relaxed);
    }

    /// An id for an answer.
    pub(crate) fn answer_id(&self) -> String {
        format!("mock{:012x}", self.answers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Seconds since 1970 in this world.
    pub(crate) fn unix(&self) -> i64 {
        self.now(&held(&self.ledger)).as_second()
    }

    /// Who holds this key; `None` when nobody does.
    pub(crate) fn holder(&self, key: &str) -> Option<Holder> {
        let Settings { keys, accept_any_key, tier, .. } = &self.settings;
        let listed = keys.iter().find(|known| known.key == key).map(|known| Holder {
            project: if known.project.is_empty() { own_project(key) } else { known.project.clone() },
            tier: known.tier,
            quota: known.quota,
        });
        let stranger = || Holder { project: own_project(key), tier: *tier, quota: None };
        listed.or_else(|| (*accept_any_key || keys.is_empty()).then(stranger))
    }

    /// What becomes of a call that spends `tokens`, or nothing: the script it meets and the quota it takes.
    ///
    /// A script that refuses as Google's front door does comes before the quota; any other waits behind it and is not
    /// used up by a call that the quota refuses.
    pub(crate) fn judge(
        &self,
        call: &Subject<'_>,
        holder: &Holder,
        tokens: Option<u64>,
    ) -> Result<Option<Script>, Shortage> {
        let mut ledger = held(&self.ledger);
        let now = self.moment(&ledger);
        let found = ledger.find(call);
        let uncounted = found.is_some_and(|at| ledger.scripts[at].script.refuses_uncounted());
        if let Some(tokens) = tokens.filter(|_| !uncounted) {
            ledger.spend(call, holder, &self.settings, tokens, &now)?;
        }
        Ok(found.map(|at| ledger.play(at)))
    }

    /// For the control route.
    pub(crate) fn view(&self) -> Value {
        let ledger = held(&self.ledger);
        let (open, ever) = self.connections();
        let scripts: Vec<Value> =
            ledger.scripts.iter().map(|it| json!({"script": it.script.to_string(), "left": it.left})).collect();
        let usages: Vec<Value> = ledger
            .usages
            .iter()
            .map(|((project, model), usage)| {
                let (minute_requests, minute_tokens, day_requests) = usage.counts();
                json!({
                    "project": project,
                    "model": model,
                    "minute_requests": minute_requests,
                    "minute_tokens": minute_tokens,
                    "day_requests": day_requests,
                })
            })
            .collect();
        json!({
            "now": self.now(&ledger).to_string(),
            "keys": self.settings.keys.iter().map(|known| json!({
                "key": auth::tail(&known.key), "project": known.project, "tier": known.tier,
            })).collect::<Vec<_>>(),
            "accept_any_key": self.settings.accept_any_key || self.settings.keys.is_empty(),
            "quota": self.settings.quota,
            "quotas_set": ledger.rules,
            "usages": usages,
            "scripts": scripts,
            "calls_seen": self.journal.seen(),
            "connections_open": open,
            "connections_accepted": ever,
        })
    }

    fn now(&self, ledger: &Ledger) -> Timestamp {
        ledger.dawn + age_of(self.started)
    }

    fn moment(&self, ledger: &Ledger) -> Moment {
        let zone = TimeZone::get("America/Los_Angeles").unwrap_or(TimeZone::UTC);
        Moment { age: self.started.elapsed(), date: self.now(ledger).to_zoned(zone).date() }
    }
}

impl Ledger {
    /// The first script that this call meets; dice are rolled and `skip` is counted on the way.
    fn find(&mut self, call: &Subject<'_>) -> Option<usize> {
        for at in 0..self.scripts.len() {
            let standing = &mut self.scripts[at];
            if !standing.script.matches(call) {
                continue;
            }
            if standing.skip > 0 {
                standing.skip -= 1;
                continue;
            }
            let probability = standing.script.probability;
            if probability >= 1.0 || self.roll() < probability {
                return Some(at);
            }
        }
        None
    }

    fn play(&mut self, at: usize) -> Script {
        let standing = &mut self.scripts[at];
        let script = standing.script.clone();
        if let Some(left) = &mut standing.left {
            *left -= 1;
            if *left == 0 {
                self.scripts.remove(at);
            }
        }
        script
    }

    fn spend(
        &mut self,
        call: &Subject<'_>,
        holder: &Holder,
        settings: &Settings,
        tokens: u64,
        now: &Moment,
    ) -> Result<(), Shortage> {
        let rule = self.rules.iter().rev().find(|it| glob(&it.project, call.project) && glob(&it.model, call.model));
        let quota = rule.map(|rule| rule.quota).or(holder.quota).unwrap_or(settings.quota);
        if self.usages.len() >= USAGES_MAX {
            self.usages.clear();
        }
        let place = (call.project.to_owned(), call.model.to_owned());
        let usage = self.usages.entry(place).or_insert_with(|| Usage::new(now));
        usage.take(&quota, settings.window, tokens, now)
    }

    /// A number in 0..1, the same for the same seed (splitmix64).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn roll(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Standing {
    /// `times` of 0 is a script that never plays; one that plays is taken away after its last time.
    fn of(script: Script) -> Self {
        let skip = if script.times == Some(0) { u64::MAX } else { script.skip };
        Self { left: script.times, skip, script }
    }
}

fn own_project(key: &str) -> String {
    format!("own-{:.12}", crate::secret::Digest::of(key.as_bytes()))
}

fn age_of(started: Instant) -> SignedDuration {
    SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::quota::Measure;

    fn subject(key: &str) -> Subject<'_> {
        Subject { key, project: "p", model: "gemini-2.5-flash", action: "generateContent", path: "/" }
    }

    fn judge(world: &World, key: &str) -> Result<Option<String>, Measure> {
        let holder = world.holder(key).unwrap();
        let judged = world.judge(&subject(key), &holder, Some(10));
        judged.map(|script| script.map(|it| it.faults[0].to_string())).map_err(|short| short.violations[0].measure)
    }

    #[tokio::test]
    async fn scripts_play_in_order_and_as_often_as_they_say() {
        let world = World::new(Settings::default());
        world.script("key=k1 fault=overloaded times=2".parse().unwrap());
        world.script("key=k1 fault=internal skip=1".parse().unwrap());
        let played: Vec<_> = (0..5).map(|_| judge(&world, "k1").unwrap().unwrap_or_default()).collect();
        assert_eq!(played, ["overloaded", "overloaded", "", "internal", "internal"]);
        assert_eq!(judge(&world, "k2"), Ok(None));
    }

    #[tokio::test]
    async fn chances_are_the_same_for_the_same_seed() {
        let play = || {
            let world = World::new(Settings { seed: 7, ..Settings::default() });
            world.script("fault=internal probability=0.5".parse().unwrap());
            (0..200).filter(|_| judge(&world, "k").unwrap().is_some()).count()
        };
        assert!((70..130).contains(&play()));
        assert_eq!(play(), play());
    }

    #[tokio::test]
    async fn an_overload_spends_quota_and_a_dead_key_does_not() {
        let world = World::new(Settings::default());
        world.set_quota("*", "*", Quota { rpd: Some(1), ..Quota::default() });
        world.script("fault=api_key_invalid times=3".parse().unwrap());
        world.script("fault=overloaded".parse().unwrap());
        (0..3).for_each(|_| assert_eq!(judge(&world, "k"), Ok(Some("api_key_invalid".to_owned()))));
        assert_eq!(judge(&world, "k"), Ok(Some("overloaded".to_owned())));
        assert_eq!(judge(&world, "k"), Err(Measure::DayRequests));
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_ends_at_midnight_in_los_angeles() {
        let world = World::new(Settings { quota: Quota { rpd: Some(1), ..Quota::default() }, ..Settings::default() });
        world.set_time("2026-11-21T07:59:00Z".parse().unwrap());
        assert_eq!(judge(&world, "k"), Ok(None));
        assert_eq!(judge(&world, "k"), Err(Measure::DayRequests));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(judge(&world, "k"), Ok(None));
    }

    #[tokio::test]
    async fn keys_of_one_project_share_its_quota() {
        let settings =
            Settings { quota: Quota { rpm: Some(1), ..Quota::default() }, ..Settings::with_keys(["a@p", "b@p"]) };
        let world = World::new(settings);
        assert_eq!(judge(&world, "a"), Ok(None));
        assert_eq!(judge(&world, "b"), Err(Measure::MinuteRequests));
        assert!(world.holder("c").is_none());
    }
}
