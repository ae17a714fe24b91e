//! A lease: one attempt's right to one key, through which its verdict goes back to the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::endpoint::Surface;
use crate::pool::ask::Avoid;
use crate::pool::ask::Taken;
use crate::pool::first_bytes::FirstBytes;
use crate::pool::health::ladder;
use crate::pool::key::{Key, LastError};
use crate::pool::keys::Keys;
use crate::pool::lane::Lane;
use crate::pool::reason::Reason;
use crate::pool::roster::Rest;
use crate::pool::scene::{Moment, Scene};
use crate::pool::standing::Standing;
use crate::pool::turns::Turns;
use crate::quota;
use crate::refusal::Refusal;
use crate::verdict::Verdict;

/// A lane under its lock, and those who wait for it.
#[derive(Debug)]
pub struct SharedLane {
    /// The model; empty for calls that name none.
    pub model: Arc<str>,
    scene: Arc<Scene>,
    keys: Arc<Keys>,
    lane: Mutex<Lane>,
    /// Mirrors [`Lane::is_soft`], so that a success in good times takes no lock.
    soft: AtomicBool,
    /// Mirrors whether any limit is known, so that an answer's tokens take none either where there is none.
    limited: AtomicBool,
    /// Attempts under way.
    pub in_flight: AtomicU32,
    /// Those of them whose first byte has not come: a stream or session that goes on holds up nobody.
    pub awaited: AtomicU32,
    /// The line of those who wait for any key.
    pub turns: Turns,
    /// The line of those to whom some projects are closed: their wait holds up nobody who may go there.
    pub aside: Turns,
    /// Requests that wait for a key of one project and stand in no line.
    pub bound: AtomicUsize,
    /// Told when a key may have come back.
    pub changed: Notify,
    /// How long answers took to their first byte of late: whole ones, and streams, whose own comes long before their end.
    pub first_bytes: [FirstBytes; 2],
}

impl SharedLane {
    /// Shares a lane of `keys`.
    pub fn new(model: Arc<str>, scene: Arc<Scene>, keys: Arc<Keys>, lane: Lane) -> Self {
        Self {
            model,
            scene,
            keys,
            soft: AtomicBool::new(lane.is_soft()),
            limited: AtomicBool::new(lane.budgets().is_limited()),
            lane: Mutex::new(lane),
            in_flight: AtomicU32::new(0),
            awaited: AtomicU32::new(0),
            turns: Turns::default(),
            aside: Turns::default(),
            bound: AtomicUsize::new(0),
            changed: Notify::new(),
            first_bytes: Default::default(),
        }
    }

    /// Requests that wait for a key, in the lines and beside them.
    pub fn waits(&self) -> usize {
        self.turns.len() + self.aside.len() + self.bound.load(Relaxed)
    }

    /// The line in which such a request waits.
    pub fn line(&self, avoid: Avoid<'_>) -> &Turns {
        if avoid.projects.is_empty() { &self.turns } else { &self.aside }
    }

    /// Told of every change above the models, as `changed` is of those in the lane.
    pub fn changed_above(&self) -> &Notify {
        &self.scene.roster.changed
    }

    /// A look at the lane.
    pub fn lock(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change: those who wait look again.
    pub fn change<T>(&self, change: impl FnOnce(&mut Lane) -> T) -> T {
        let changed = self.pass_time(change);
        self.changed.notify_waiters();
        changed
    }

    /// What time alone brings about, a trial that begins among it: nobody who waits is told.
    pub fn pass_time<T>(&self, look: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lane = self.lock();
        let seen = look(&mut lane);
        let soft = lane.is_soft();
        if soft != self.soft.load(Relaxed) {
            self.soft.store(soft, Relaxed);
        }
        if lane.budgets().is_limited() && !self.limited.load(Relaxed) {
            self.limited.store(true, Relaxed);
        }
        seen
    }
}

/// Dropped without a verdict, it counts as abandoned and frees its trial.
#[derive(Debug)]
pub struct Lease {
    /// Holds the keys and the scene as well: one shared count to raise, not three.
    lane: Arc<SharedLane>,
    index: u32,
    /// Bytes of the prompt, and the input tokens that were taken for it out of the project's budget.
    bytes: u32,
    tokens: u32,
    /// Whether anything was.
    counted: bool,
    /// Whether its first byte has not come.
    awaited: bool,
    began: Instant,
    verdict: Verdict,
}

impl Lease {
    /// A lease from now on of the key at `index`, whatever its budget.
    pub fn new(lane: Arc<SharedLane>, index: u32, now: Instant) -> Self {
        let (bytes, tokens, verdict) = (0, 0, Verdict::Abandoned);
        let lease = Self { lane, index, bytes, tokens, counted: false, awaited: true, began: now, verdict };
        lease.key().traffic.in_flight.fetch_add(1, Relaxed);
        lease.lane.in_flight.fetch_add(1, Relaxed);
        lease.lane.awaited.fetch_add(1, Relaxed);
        lease
    }

    /// The same of a key that has been chosen for a prompt of so many bytes.
    pub fn taken(lane: Arc<SharedLane>, taken: Taken, bytes: u64, now: Instant) -> Self {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let mut lease = Self::new(lane, taken.index, now);
        (lease.bytes, lease.tokens, lease.counted) = (small(bytes), small(taken.tokens), true);
        lease
    }

    /// The key.
    pub fn key(&self) -> &Arc<Key> {
        &self.lane.keys[self.index]
    }

    /// The lane it was chosen for.
    pub fn lane(&self) -> &Arc<SharedLane> {
        &self.lane
    }

    /// The first byte of an answer came: the key serves.
    pub fn succeed(&mut self, now: Instant) {
        self.verdict = Verdict::Success;
        self.came();
        self.lane.scene.roster.connected(self.key().egress());
        if self.key().ailing.load(Relaxed) {
            let well = self.lane.scene.roster.change(|roster| {
                roster.succeeded(self.key(), now);
                roster.is_well(self.key())
            });
            self.key().ailing.store(!well, Relaxed);
        }
        if self.lane.soft.load(Relaxed) {
            self.lane.change(|lane| lane.succeeded(self.key(), self.began, now));
        }
    }

    /// Nobody waits for its first byte any more.
    fn came(&mut self) {
        if std::mem::take(&mut self.awaited) {
            self.lane.awaited.fetch_sub(1, Relaxed);
        }
    }

    /// The answer is a verdict that holds nothing against the key: the caller's own error, or an empty answer.
    pub fn pass(&mut self, verdict: Verdict, now: Instant) {
        self.succeed(now);
        self.verdict = verdict;
    }

    /// The credential's form was refused to a call that cannot be sent again. Nothing is held against the key, as the next
    /// call has the other form; `false`, where that was refused as well: it is for [`Lease::fail`] then.
    pub fn doubt(&mut self, surface: Surface, now: Instant) -> bool {
        self.verdict = Verdict::Unauthorized;
        self.key().doubt(surface, self.began, now)
    }

    /// The client went away, before or after the first byte.
    pub fn abandon(&mut self) {
        self.verdict = Verdict::Abandoned;
    }

    /// The input tokens of the prompt, as the answer tells them: they take the place of what was thought.
    pub fn settle(&mut self, tokens: u64, now: Instant) {
        if self.lane.limited.load(Relaxed) {
            let (bytes, estimate) = (u64::from(self.bytes), u64::from(self.tokens));
            let project = self.key().project();
            let room = self.lane.lock().budgets_mut().settle(project, bytes, estimate, tokens, self.began);
            if room {
                self.lane.change(|lane| lane.look_at_project(project, now));
            }
            // A second telling corrects the first one, and teaches nothing of bytes.
            (self.bytes, self.tokens) = (0, u32::try_from(tokens).unwrap_or(u32::MAX));
        }
    }

    /// So many input tokens more, now.
    pub fn spend(&self, tokens: u64, now: Instant) {
        if self.lane.limited.load(Relaxed) {
            self.lane.lock().budgets_mut().spend(self.key().project(), tokens, now);
        }
    }

    /// Keeps the failure for the operator. `message` must be scrubbed.
    pub fn note(&self, verdict: Verdict, message: String, wall: Timestamp) {
        let model = Arc::clone(&self.lane.model);
        self.key().note(LastError { at: wall, verdict: verdict.name(), model, message });
    }

    /// The attempt failed: whatever the verdict says is held against the key, its project, the model or the egress.
    pub fn fail(&mut self, verdict: Verdict, refusal: &Refusal, at: Moment) {
        self.verdict = verdict;
        let counted = std::mem::take(&mut self.counted);
        let (key, began, now) = (&**self.key(), self.began, at.now);
        if counted && uncounted(verdict) {
            let tokens = u64::from(self.tokens);
            self.lane.change(|lane| lane.budgets_mut().give_back(key.project(), tokens, began));
        }
        self.learn(refusal, at);
        match verdict {
            Verdict::KeyInvalid | Verdict::Unauthorized => {
                self.above(|roster| roster.kill(key, Reason::Invalid, false, began, now));
            }
            Verdict::Banned => self.above(|roster| roster.kill(key, Reason::Banned, true, began, now)),
            Verdict::KeyBlocked => self.above(|roster| roster.rest(key, Reason::Blocked, began, now)),
            Verdict::Precondition => self.above(|roster| roster.rest(key, Reason::Precondition, began, now)),
            Verdict::Billing => self.rest_everywhere(Reason::Billing, Duration::from_hours(1), at),
            Verdict::Spend => self.rest_everywhere(Reason::Spend, Duration::from_mins(10), at),
            Verdict::Grounding => {
                let until = now + Duration::from_hours(1);
                self.lane.scene.roster.change(|roster| roster.projects[key.project() as usize].grounding = Some(until));
                self.lane.scene.grounding.store(true, Relaxed);
            }
            Verdict::QuotaDay => {
                let of_yesterday = quota::may_be_of_yesterday(at.wall, now.saturating_duration_since(began));
                let rest = if of_yesterday { quota::YOUNG } else { quota::until_midnight(at.wall) };
                self.rest_project(Reason::QuotaDay, rest, at);
            }
            Verdict::QuotaMinute => {
                let told = refusal.retry_in.map(|delay| delay + Duration::from_secs(1));
                let rest = told.unwrap_or_else(|| at.rest_of_minute()).max(Duration::from_secs(5));
                self.rest_project(Reason::QuotaMinute, rest, at);
            }
            Verdict::NotInTier => self.rest_project(Reason::NotInTier, Duration::from_hours(24), at),
            Verdict::QuotaBare => self.bare(at),
            Verdict::Overloaded => self.lane.change(|lane| {
                lane.overloads.strike(began, now);
                lane.judge(key, now, |standing| standing.health.cut(0.2, now));
            }),
            Verdict::Connect => self.lane.scene.roster.disconnected(key.egress(), began, now),
            Verdict::Success
            | Verdict::Empty
            | Verdict::Caller
            | Verdict::NotOwner
            | Verdict::ForeignSignature
            | Verdict::Abandoned
            | Verdict::DoubleCredential
            | Verdict::Edge
            | Verdict::Deadline
            | Verdict::ModelUnknown => {}
            Verdict::ModelForbidden
            | Verdict::Internal
            | Verdict::Interrupted
            | Verdict::Broken
            | Verdict::Unfinished => self.lane.change(|lane| {
                lane.judge(key, now, |standing| wound(standing, verdict, began, now));
            }),
        }
        self.lane.change(|lane| lane.release(key, began, now));
    }

    fn above(&self, change: impl FnOnce(&mut crate::pool::roster::Roster)) {
        self.key().ailing.store(true, Relaxed);
        self.lane.scene.roster.change(change);
    }

    fn rest_everywhere(&self, reason: Reason, rest: Duration, at: Moment) {
        let until = at.now + rest + at.jitter();
        self.above(|roster| roster.rest_project(self.key().project(), Rest { until, reason }));
    }

    fn rest_project(&self, reason: Reason, rest: Duration, at: Moment) {
        let until = at.now + rest + at.jitter();
        self.lane.change(|lane| lane.rest_project(self.key().project(), Rest { until, reason }, at.now));
    }

    /// A refusal without details: a rung up the ladder, unless so many projects got one that it is not their fault.
    fn bare(&self, at: Moment) {
        let now = at.now;
        let is_storm = || {
            let mut storms = self.lane.scene.storms.lock().unwrap_or_else(PoisonError::into_inner);
            storms.bare(self.key().project(), now)
        };
        self.lane.change(|lane| {
            // One cause counts once, however many were under way when it was seen.
            if lane.lull.covers(self.began) {
                return;
            }
            if is_storm() {
                lane.forgive(Reason::QuotaBare, now);
                lane.lull.begin(self.lane.awaited.load(Relaxed), now);
                let rest = Rest { until: now + ladder(1) + at.jitter(), reason: Reason::Storm };
                return lane.rest_all(rest, now);
            }
            lane.judge(self.key(), now, |standing| {
                if let Some(strikes) = standing.bare.strike(self.began, now) {
                    let until = now + ladder(strikes) + at.jitter();
                    standing.rest_until(Rest { until, reason: Reason::QuotaBare });
                }
            });
        });
    }

    /// Limits, tier and consumer, as far as the refusal names them.
    fn learn(&self, refusal: &Refusal, at: Moment) {
        let project = self.key().project();
        for lesson in quota::lessons(refusal) {
            let surprise = self.lane.change(|lane| lane.budgets_mut().refuse(project, lesson, self.began, at.now));
            if surprise {
                self.lane.scene.twins.lock().unwrap_or_else(PoisonError::into_inner).surprised(project, at.now);
            }
        }
        if let Some(tier) = quota::tier(refusal) {
            self.lane.scene.roster.lock().projects[project as usize].tier = Some(tier);
        }
        if let Some(consumer) = quota::consumer(refusal) {
            self.lane.scene.roster.meet(project, consumer, &self.lane.keys.homes);
        }
    }
}

/// Whether Google did not count the request: it never came there, or the key was not let in. What is refused for a minute's
/// quota is not given back either: it was counted when the minute was found to be full.
const fn uncounted(verdict: Verdict) -> bool {
    use Verdict::*;
    matches!(verdict, Connect | NotInTier | KeyInvalid | Unauthorized | Banned)
}

/// What a failure of a key for one model costs it.
fn wound(standing: &mut Standing, verdict: Verdict, began: Instant, now: Instant) {
    match verdict {
        Verdict::Internal => {
            standing.health.cut(0.7, now);
            if standing.failing.strike(began, now).is_some_and(|strikes| strikes >= 3) {
                standing.rest_until(Rest { until: now + Duration::from_secs(30), reason: Reason::Failing });
            }
        }
        Verdict::ModelForbidden => {
            if standing.forbidden.strike(began, now).is_some_and(|strikes| strikes >= 2) {
                standing.rest_until(Rest { until: now + Duration::from_hours(1), reason: Reason::Forbidden });
            }
        }
        Verdict::Interrupted => standing.health.cut(0.8, now),
        _ => standing.health.cut(0.9, now),
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.key().traffic.in_flight.fetch_sub(1, Relaxed);
        self.lane.in_flight.fetch_sub(1, Relaxed);
        self.came();
        self.key().count(self.verdict);
        if self.lane.soft.load(Relaxed) {
            // A trial that ended without a verdict is free again, and a pace may have room.
            self.lane.change(|lane| lane.release(self.key(), self.began, Instant::now()));
        }
    }
}
