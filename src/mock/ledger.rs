//! What is spent and which scripts are to come.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::mock::quota::{Moment, Quota, Shortage, Tier, Usage};
use crate::mock::script::{Script, Subject, glob};
use crate::mock::settings::Settings;
use crate::mock::shape::Shape;

/// How many projects with a model are counted; beyond them the counts begin anew.
const USAGES_MAX: usize = 10_000;
/// How many scripts may stand at once.
const SCRIPTS_MAX: usize = 1_000;
/// How many quotas may be set; beyond them the oldest goes.
const RULES_MAX: usize = 1_000;

/// What is set of quotas while the world runs. What a rule leaves out stays as it was.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaRule {
    /// Pattern of the project.
    #[serde(default = "all")]
    pub project: String,
    /// Pattern of the model.
    #[serde(default = "all")]
    pub model: String,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How its minutes are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// What it pays: its quotas go by other names then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

fn all() -> String {
    "*".to_owned()
}

/// The holder of an accepted key.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) project: String,
    pub(crate) tier: Tier,
    /// What the project may use, where it differs from the world's.
    pub(crate) quota: Option<Quota>,
}

impl Holder {
    /// The project as error bodies name it: `projects/` and a number.
    pub(crate) fn consumer(&self) -> String {
        let hash = self.project.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        format!("projects/{}", 100_000_000_000 + hash % 900_000_000_000)
    }
}

/// The scripts and quotas of one world.
#[derive(Debug)]
pub(crate) struct Ledger {
    scripts: VecDeque<Standing>,
    usages: HashMap<(String, String), Usage>,
    rules: Vec<QuotaRule>,
    dice: u64,
}

#[derive(Debug)]
struct Standing {
    script: Script,
    left: Option<u64>,
    skip: u64,
}

impl Ledger {
    /// The settings' scripts stand, nothing is spent.
    pub(crate) fn new(settings: &Settings) -> Self {
        let scripts = settings.scripts.iter().cloned().map(Standing::of).collect();
        Self { scripts, usages: HashMap::new(), rules: Vec::new(), dice: settings.seed }
    }

    /// Adds a script behind the others; says whether there was room.
    pub(crate) fn script(&mut self, script: Script) -> bool {
        let room = self.scripts.len() < SCRIPTS_MAX;
        if room {
            self.scripts.push_back(Standing::of(script));
        }
        room
    }

    /// Takes all scripts away.
    pub(crate) fn clear_scripts(&mut self) {
        self.scripts.clear();
    }

    /// Adds a rule, which goes before older ones. What an older one of the same patterns says beside it still holds.
    pub(crate) fn rule(&mut self, mut rule: QuotaRule) {
        let same = self.rules.iter().position(|old| old.project == rule.project && old.model == rule.model);
        if let Some(old) = same.map(|at| self.rules.remove(at)) {
            rule.quota = rule.quota.or(old.quota);
            rule.shape = rule.shape.or(old.shape);
            rule.tier = rule.tier.or(old.tier);
        }
        if self.rules.len() == RULES_MAX {
            self.rules.remove(0);
        }
        self.rules.push(rule);
    }

    /// What becomes of a call that spends `tokens`, or nothing: the script it meets and the quota it takes.
    ///
    /// A script that refuses as Google's front door does comes before the quota; any other waits behind it and is not
    /// used up by a call that the quota refuses.
    pub(crate) fn judge(
        &mut self,
        call: &Subject<'_>,
        holder: &Holder,
        settings: &Settings,
        tokens: Option<u64>,
        now: &Moment,
    ) -> Result<Option<Script>, Shortage> {
        let found = self.find(call, |_| true);
        let uncounted = found.is_some_and(|at| self.scripts[at].script.refuses_uncounted());
        if let Some(tokens) = tokens.filter(|_| !uncounted) {
            self.spend(call, holder, settings, tokens, now)?;
        }
        Ok(found.map(|at| self.play(at)))
    }

    /// Plays the first script that this call meets among those `wanted`.
    pub(crate) fn played(&mut self, call: &Subject<'_>, wanted: impl Fn(&Script) -> bool) -> Option<Script> {
        self.find(call, wanted).map(|at| self.play(at))
    }

    /// The scripts that stand, the quotas set and what is spent, for the control route.
    pub(crate) fn view(&self) -> Value {
        let script = |it: &Standing| json!({"script": it.script.to_string(), "left": it.left});
        let usage = |((project, model), usage): (&(String, String), &Usage)| {
            let (minute_requests, minute_tokens, day_requests) = usage.counts();
            json!({
                "project": project,
                "model": model,
                "minute_requests": minute_requests,
                "minute_tokens": minute_tokens,
                "day_requests": day_requests,
            })
        };
        json!({
            "scripts": self.scripts.iter().map(script).collect::<Vec<_>>(),
            "quotas_set": self.rules,
            "usages": self.usages.iter().map(usage).collect::<Vec<_>>(),
        })
    }

    /// The first script that this call meets; dice are rolled and `skip` is counted on the way.
    fn find(&mut self, call: &Subject<'_>, wanted: impl Fn(&Script) -> bool) -> Option<usize> {
        for at in 0..self.scripts.len() {
            let standing = &mut self.scripts[at];
            if !wanted(&standing.script) || !standing.script.matches(call) {
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
        let quota = self.said(call.project, call.model, |rule| rule.quota).or(holder.quota).unwrap_or(settings.quota);
        let shape = self.said(call.project, call.model, |rule| rule.shape).unwrap_or(settings.shape);
        if self.usages.len() >= USAGES_MAX {
            self.usages.clear();
        }
        let place = (call.project.to_owned(), call.model.to_owned());
        let usage = self.usages.entry(place).or_insert_with(|| Usage::new(now));
        usage.take(&quota, shape, tokens, now)
    }

    /// The tier that a rule gives the project for the model.
    pub(crate) fn tier(&self, project: &str, model: &str) -> Option<Tier> {
        self.said(project, model, |rule| rule.tier)
    }

    /// What the newest rule says that matches and says anything.
    fn said<T>(&self, project: &str, model: &str, says: impl Fn(&QuotaRule) -> Option<T>) -> Option<T> {
        let matches = |it: &&QuotaRule| glob(&it.project, project) && glob(&it.model, model);
        self.rules.iter().rev().filter(matches).find_map(says)
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
