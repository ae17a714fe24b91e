//! Google as far as quotas show it: what it does with a call, by the same arithmetic as the mock's.

use std::collections::BTreeMap;
use std::time::Duration;

use geminate::mock::{Measure, Moment, Quota, Refusal, Shape, Shortage, Tier, Usage, Violation};
use geminate::pool::memory::Clocks;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use crate::sim::Way;
use crate::sim::dice::Dice;
use crate::sim::minutes::Minutes;
use crate::sim::scenario::{Change, Scenario};

/// Every few minutes an overload lasts for one, and takes this share of all calls.
const WAVE_EVERY: Duration = Duration::from_mins(5);
const WAVE: Duration = Duration::from_mins(1);
const WAVE_SHARE: f64 = 0.2;
/// Half of all answers begin within this time.
const FIRST_BYTE: Duration = Duration::from_millis(900);
const FIRST_BYTE_BOUNDS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(3)];

/// What Google says to a call.
#[derive(Debug)]
pub(crate) enum Said {
    /// An answer, whose first byte takes this long.
    Answer(Duration),
    /// A refusal: the status and the body.
    Refused(u16, Vec<u8>),
}

/// What Google counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: Minutes,
    /// Calls refused for want of quota.
    pub(crate) refused: Minutes,
    pub(crate) overloaded: u64,
    /// Refusals for a spent day, by project and day.
    pub(crate) days: BTreeMap<(usize, Date), u64>,
}

#[derive(Debug)]
struct Project {
    quota: Quota,
    usages: Vec<Usage>,
    /// When somebody else uses it next.
    stranger: Option<Instant>,
}

/// The projects, and what they used.
#[derive(Debug)]
pub(crate) struct Google {
    pub(crate) counts: Counts,
    shape: Shape,
    started: Clocks,
    projects: Vec<Project>,
    /// The project of each key; none is known of a dead one.
    keys: Vec<Option<usize>>,
    models: &'static [&'static str],
    waves: bool,
    /// How much of each project's requests others use.
    strangers: f64,
    changes: Vec<Change>,
    dice: Dice,
    day: (Date, Instant),
}

impl Google {
    pub(crate) fn new(scenario: &Scenario, shape: Shape, way: Way, started: Clocks) -> Self {
        let mut google = Self {
            counts: Counts::default(),
            shape,
            started,
            projects: Vec::new(),
            keys: scenario.keys.iter().map(|key| (!key.dead).then_some(key.project)).collect(),
            models: scenario.models,
            waves: scenario.waves,
            strangers: 0.0,
            changes: scenario.changes.to_vec(),
            dice: Dice::new(scenario.seed, 1),
            day: (Date::default(), started.now),
        };
        let now = google.moment(started.now);
        let usages = vec![Usage::new(&now); scenario.models.len()];
        let projects = scenario.keys.iter().map(|key| key.project + 1).max().unwrap_or(0);
        let quota = |project: usize| scenario.keys.iter().find(|key| key.project == project).map(|key| key.quota);
        // An oracle would take it all before others can: it gets what they leave.
        let leaves = way == Way::Oracle;
        let strangers = if leaves { 0.0 } else { scenario.strangers };
        let left = |quota: Quota| Quota {
            rpm: quota.rpm.map(|rpm| if leaves { rest(rpm, scenario.strangers) } else { rpm }),
            ..quota
        };
        google.strangers = strangers;
        google.projects = (0..projects)
            .map(|project| Project {
                quota: left(quota(project).unwrap_or_default()),
                usages: usages.clone(),
                stranger: (strangers > 0.0).then_some(started.now),
            })
            .collect();
        google
    }

    /// The project of a key that is known.
    pub(crate) fn project(&self, key: usize) -> Option<usize> {
        self.keys[key]
    }

    /// What becomes of a call that arrives now.
    pub(crate) fn judge(&mut self, key: usize, model: usize, tokens: u64, now: Instant) -> Said {
        let since = now - self.started.now;
        self.counts.calls.add(1, since);
        let Some(project) = self.keys[key] else { return self.words(Refusal::ApiKeyInvalid, model) };
        match self.take(project, model, tokens, now) {
            Ok(()) if self.overloaded(now) => self.words(Refusal::Overloaded, model),
            Ok(()) => Said::Answer(self.latency()),
            Err(shortage) => {
                self.counts.refused.add(1, since);
                let of_day = |violation: &Violation| violation.measure == Measure::DayRequests;
                if shortage.violations.iter().any(of_day) {
                    *self.counts.days.entry((project, self.day.0)).or_default() += 1;
                }
                Said::Refused(429, shortage.body(Tier::Free, self.models[model]).to_string().into())
            }
        }
    }

    /// Takes a call's worth of a project's quota.
    pub(crate) fn take(&mut self, project: usize, model: usize, tokens: u64, now: Instant) -> Result<(), Shortage> {
        while let Some(change) = self.changes.first().filter(|change| self.started.now + change.after <= now) {
            for project in &mut self.projects {
                project.quota.rpm = project.quota.rpm.map(|rpm| rpm * change.times / change.by);
            }
            self.changes.remove(0);
        }
        self.let_strangers(project, model, now);
        let moment = self.moment(now);
        let Project { quota, usages, .. } = &mut self.projects[project];
        usages[model].take(quota, self.shape, tokens, &moment)
    }

    /// Others use the project of their own accord: what they used since the last look is made up for.
    fn let_strangers(&mut self, project: usize, model: usize, now: Instant) {
        while let Some(at) = self.projects[project].stranger.filter(|at| *at <= now) {
            let moment = self.moment(at);
            let Project { quota, usages, stranger } = &mut self.projects[project];
            // Refused or not is their own affair.
            let _ = usages[model].take(quota, self.shape, 1_000, &moment);
            #[expect(clippy::cast_precision_loss, reason = "a limit of a few hundred")]
            let rate = quota.rpm.unwrap_or(1) as f64 * self.strangers / 60.0;
            *stranger = Some(at + self.dice.pause(rate));
        }
    }

    /// Whether a call that was counted meets an overload.
    pub(crate) fn overloaded(&mut self, now: Instant) -> bool {
        let into = (now - self.started.now).as_secs() % WAVE_EVERY.as_secs();
        let second = WAVE.as_secs()..2 * WAVE.as_secs();
        let meets = self.waves && second.contains(&into) && self.dice.throw() < WAVE_SHARE;
        self.counts.overloaded += u64::from(meets);
        meets
    }

    /// How long an answer's first byte takes.
    pub(crate) fn latency(&mut self) -> Duration {
        FIRST_BYTE.mul_f64(self.dice.factor(0.5)).clamp(FIRST_BYTE_BOUNDS[0], FIRST_BYTE_BOUNDS[1])
    }

    fn words(&self, refusal: Refusal, model: usize) -> Said {
        let (status, body) = refusal.body(self.models[model]);
        Said::Refused(status, body.to_string().into())
    }

    fn moment(&mut self, now: Instant) -> Moment {
        let wall = self.started.wall_at(now);
        if now >= self.day.1 {
            let zone = TimeZone::get("America/Los_Angeles").expect("the zone is inside the binary");
            self.day = (wall.to_zoned(zone).date(), now + geminate::quota::until_midnight(wall));
        }
        let since = wall.duration_since(Timestamp::UNIX_EPOCH);
        Moment { wall: Duration::try_from(since).unwrap_or_default(), date: self.day.0 }
    }
}

/// What others leave of a limit who use this share of it.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small limit"
)]
fn rest(limit: u64, share: f64) -> u64 {
    (limit as f64 * (1.0 - share)).round() as u64
}
