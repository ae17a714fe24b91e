//! The mocked world's state: who is known, what is spent, which faults are to come, what was seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::mock::auth;
use crate::mock::journal::{Journal, SeenCall, held};
use crate::mock::ledger::{Holder, Ledger, QuotaRule};
use crate::mock::prefixes::Prefixes;
use crate::mock::quota::{Moment, Quota, Shortage, Tier};
use crate::mock::script::{Script, Subject};
use crate::mock::sessions::Sessions;
use crate::mock::settings::{MockKey, Settings};
use crate::mock::store::Store;
use crate::secret::Digest;

/// Handles of Live sessions that are known at once; beyond them all are forgotten.
const HANDLES_MAX: usize = 10_000;

/// Google as far as its API can show it.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    started: Instant,
    /// What time it was when the world began, or what a test says it was.
    dawn: Mutex<Timestamp>,
    ledger: Mutex<Ledger>,
    store: Mutex<Store>,
    uploads: Mutex<Sessions>,
    journal: Arc<Journal>,
    connections: AtomicU64,
    connections_open: AtomicU64,
    answers: AtomicU64,
    /// Handles of Live sessions, each with its project.
    handles: Mutex<HashMap<String, String>>,
    /// Beginnings of prompts, for implicit caching.
    prefixes: Mutex<Prefixes>,
}

impl World {
    /// A world that begins now, with nothing spent.
    pub fn new(settings: Settings) -> Self {
        Self {
            started: Instant::now(),
            dawn: Mutex::new(Timestamp::now()),
            ledger: Mutex::new(Ledger::new(&settings)),
            store: Mutex::default(),
            uploads: Mutex::default(),
            journal: Arc::new(Journal::new(settings.calls_kept)),
            connections: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            handles: Mutex::default(),
            prefixes: Mutex::default(),
            settings,
        }
    }

    /// What the world was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds a script behind those that stand; of the scripts that match a call the first is played. Says whether there
    /// was room for it.
    pub fn script(&self, script: Script) -> bool {
        held(&self.ledger).script(script)
    }

    /// Takes all scripts away, those of the settings too; what was seen and spent stays.
    pub fn clear_scripts(&self) {
        held(&self.ledger).clear_scripts();
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

    /// Forgets calls, prompts, what projects own, uploads under way, what was spent and quotas that were set; the scripts are
    /// again those of the settings.
    pub fn reset(&self) {
        self.journal.clear();
        *held(&self.store) = Store::default();
        *held(&self.uploads) = Sessions::default();
        *held(&self.prefixes) = Prefixes::default();
        *held(&self.ledger) = Ledger::new(&self.settings);
    }

    /// Sets the quota of the projects and models that match; what they have spent stays spent.
    pub fn set_quota(&self, project: &str, model: &str, quota: Quota) {
        let (project, model) = (project.to_owned(), model.to_owned());
        self.set_rule(QuotaRule { project, model, quota: Some(quota), ..QuotaRule::default() });
    }

    /// Sets quota, shape or tier of the projects and models that match; what they have spent stays spent, unless it is
    /// counted in another shape from now on.
    pub fn set_rule(&self, rule: QuotaRule) {
        held(&self.ledger).rule(rule);
    }

    /// Says what time it is; it goes on from there, by the clock that tests can pause.
    pub fn set_time(&self, now: Timestamp) {
        *held(&self.dawn) = now - age_of(self.started);
    }

    /// Connections open now, and ever accepted.
    pub fn connections(&self) -> (u64, u64) {
        (self.connections_open.load(Ordering::Relaxed), self.connections.load(Ordering::Relaxed))
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What the projects own.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        held(&self.store)
    }

    /// Resumable uploads.
    pub(crate) fn uploads(&self) -> &Mutex<Sessions> {
        &self.uploads
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
        self.now().as_second()
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

    /// What the holder's project pays, as far as the model is concerned.
    pub(crate) fn tier(&self, holder: &Holder, model: &str) -> Tier {
        held(&self.ledger).tier(&holder.project, model).unwrap_or(holder.tier)
    }

    /// The tokens that count as cached because the project began an earlier prompt to the model with the same words.
    pub(crate) fn met_before(&self, project: &str, model: &str, body: &Value) -> u64 {
        if self.settings.implicit_caching { held(&self.prefixes).met(project, model, body) } else { 0 }
    }

    /// What becomes of a call that spends `tokens`, or nothing: the script it meets, or the quota it exceeds.
    pub(crate) fn judge(
        &self,
        call: &Subject<'_>,
        holder: &Holder,
        tokens: Option<u64>,
    ) -> Result<Option<Script>, Shortage> {
        let zone = TimeZone::get("America/Los_Angeles").unwrap_or(TimeZone::UTC);
        let now = self.now();
        let wall = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        let now = Moment { wall, date: now.to_zoned(zone).date() };
        held(&self.ledger).judge(call, holder, &self.settings, tokens, &now)
    }

    /// The script of those `wanted` that a call meets which spends nothing.
    pub(crate) fn played(&self, call: &Subject<'_>, wanted: impl Fn(&Script) -> bool) -> Option<Script> {
        held(&self.ledger).played(call, wanted)
    }

    /// A handle by which `project` may go on with a Live session.
    pub(crate) fn make_resumable(&self, project: &str) -> String {
        let handle = format!("resume-{}", self.answer_id());
        let mut handles = held(&self.handles);
        if handles.len() >= HANDLES_MAX {
            handles.clear();
        }
        handles.insert(handle.clone(), project.to_owned());
        handle
    }

    /// Whose session a handle goes on with.
    pub(crate) fn resumable(&self, handle: &str) -> Option<String> {
        held(&self.handles).get(handle).cloned()
    }

    /// Who holds an ephemeral token; `None` when nobody does.
    pub(crate) fn token_holder(&self, token: &str) -> Option<Holder> {
        let project = self.store().owner(token, self.now())?.to_owned();
        Some(Holder { project, tier: self.settings.tier, quota: None })
    }

    /// For the control route.
    pub(crate) fn view(&self) -> Value {
        let Settings { keys, accept_any_key, quota, .. } = &self.settings;
        let key =
            |known: &MockKey| json!({"key": auth::tail(&known.key), "project": known.project, "tier": known.tier});
        let (open, ever) = self.connections();
        let mut view = held(&self.ledger).view();
        view["now"] = json!(self.now().to_string());
        view["keys"] = keys.iter().map(key).collect();
        view["accept_any_key"] = json!(*accept_any_key || keys.is_empty());
        view["quota"] = json!(quota);
        view["owned"] = json!(self.store().counts());
        view["calls_seen"] = json!(self.journal.seen());
        view["connections_open"] = json!(open);
        view["connections_accepted"] = json!(ever);
        view
    }

    /// What time it is in this world.
    pub(crate) fn now(&self) -> Timestamp {
        *held(&self.dawn) + age_of(self.started)
    }
}

/// The project of a key that names none.
fn own_project(key: &str) -> String {
    let digest = Digest::of(key.as_bytes()).to_string();
    format!("own-{}", digest.get(..12).unwrap_or_default())
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
