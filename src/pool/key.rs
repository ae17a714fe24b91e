//! A key of the pool: what configuration says of it and what is counted of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::endpoint::Surface;
use crate::pool::health::Strikes;
use crate::pool::homes::Homes;
use crate::quota::{LIMIT_MAX, Lesson, Unit, Window};
use crate::secret::{Digest, Secret};
use crate::verdict::{self, Verdict};

/// A key as configured.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// The name in logs, metrics and answers.
    pub id: Arc<str>,
    /// The key itself.
    pub secret: Secret,
    /// Its share against the others', 1 to 1000.
    pub weight: u32,
    /// The project's label; `None`: a project of its own.
    pub project: Option<Arc<str>>,
    /// Which way out it takes: an index into the upstream's proxies, 0 being the common one.
    pub egress: u32,
    /// The operator's ceilings for each model.
    pub ceilings: Ceilings,
    /// Whether it takes part.
    pub enabled: bool,
}

/// Limits for each model of a project: an operator's, set below Google's, or Google's own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Ceilings {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Input tokens a minute.
    pub tpm: Option<u64>,
    /// Requests a day of Google's.
    pub rpd: Option<u64>,
}

impl Ceilings {
    /// Limits that can be counted with.
    #[must_use]
    pub fn countable(self) -> Self {
        let most = |limit: Option<u64>| limit.filter(|limit| *limit > 0).map(|limit| limit.min(LIMIT_MAX));
        Self { rpm: most(self.rpm), tpm: most(self.tpm), rpd: most(self.rpd) }
    }

    /// The limits one by one.
    pub fn lessons(self) -> impl Iterator<Item = Lesson> {
        let minute = |unit| move |limit| Lesson { window: Window::Minute, unit, limit };
        let day = |limit| Lesson { window: Window::Day, unit: Unit::Requests, limit };
        let minutes = self.rpm.map(minute(Unit::Requests)).into_iter().chain(self.tpm.map(minute(Unit::InputTokens)));
        minutes.chain(self.rpd.map(day))
    }

    /// The lower of two ceilings, where both are set.
    pub fn lower(self, other: Self) -> Self {
        let lower = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self { rpm: lower(self.rpm, other.rpm), tpm: lower(self.tpm, other.tpm), rpd: lower(self.rpd, other.rpd) }
    }
}

/// A key at work. Shared by all leases of it.
#[derive(Debug)]
pub struct Key {
    /// The name in logs, metrics and answers.
    pub id: Arc<str>,
    /// Its place in the pool.
    pub index: u32,
    weight: AtomicU32,
    /// The place of its project in the pool, as configured.
    configured: AtomicU32,
    homes: Arc<Homes>,
    egress: AtomicU32,
    /// By which it is remembered on disk.
    pub digest: Digest,
    /// The last four characters.
    pub tail: Box<str>,
    header: HeaderValue,
    bearer: HeaderValue,
    /// For Google's own routes and for its compatible endpoint, whether the other form of credential was seen to work where the usual one was refused.
    swapped: [AtomicBool; 2],
    /// For the same two, the forms that were refused to calls that could not be sent again, since the last success.
    doubts: Mutex<[Strikes; 2]>,
    /// Whether there is a doubt, so that a success takes no lock in good times.
    doubted: AtomicBool,
    pub(crate) traffic: Traffic,
    /// Set while the key's life is anything but alive, so that a success looks there only then.
    pub(crate) ailing: AtomicBool,
    last_error: Mutex<Option<LastError>>,
}

/// What changes with every attempt, on a cache line of its own: attempts under way beside the successes.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Traffic {
    pub(crate) in_flight: AtomicU32,
    counts: [AtomicU64; verdict::ALL.len()],
}

/// The last failure of a key.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// The verdict's name.
    pub verdict: &'static str,
    /// The model that was asked.
    pub model: Arc<str>,
    /// Google's words, scrubbed.
    pub message: String,
}

/// The two ways to present a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `x-goog-api-key`
    ApiKey,
    /// `Authorization: Bearer`
    Bearer,
}

impl Key {
    /// Takes the place `index`, in a project that has one of `homes`. Fails when the key cannot stand in a header.
    pub fn new(spec: &KeySpec, index: u32, project: u32, homes: &Arc<Homes>) -> Result<Self, InvalidHeaderValue> {
        let mut header = HeaderValue::from_str(spec.secret.expose())?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", spec.secret.expose()))?;
        header.set_sensitive(true);
        bearer.set_sensitive(true);
        Ok(Self {
            id: Arc::clone(&spec.id),
            index,
            weight: AtomicU32::new(spec.weight),
            configured: AtomicU32::new(project),
            homes: Arc::clone(homes),
            egress: AtomicU32::new(spec.egress),
            digest: spec.secret.digest(),
            tail: spec.secret.tail().into(),
            header,
            bearer,
            swapped: Default::default(),
            doubts: Mutex::default(),
            doubted: AtomicBool::new(false),
            traffic: Traffic { in_flight: AtomicU32::new(0), counts: std::array::from_fn(|_| AtomicU64::new(0)) },
            ailing: AtomicBool::new(false),
            last_error: Mutex::new(None),
        })
    }

    /// The same key at a place of its own.
    #[must_use]
    pub fn placed(self, index: u32, project: u32) -> Self {
        Self { index, configured: AtomicU32::new(project), ..self }
    }

    /// The place of its project in the pool, by all that is known of it so far.
    pub fn project(&self) -> u32 {
        self.homes.of(self.configured_project())
    }

    /// The place of its project in the pool, as configured.
    pub fn configured_project(&self) -> u32 {
        self.configured.load(Relaxed)
    }

    /// Its share against the others', as configured.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Which way out it takes, as configured.
    pub fn egress(&self) -> u32 {
        self.egress.load(Relaxed)
    }

    /// What is configured of it has changed: all but its id and the key itself.
    pub fn change(&self, spec: &KeySpec, project: u32) {
        self.weight.store(spec.weight, Relaxed);
        self.configured.store(project, Relaxed);
        self.egress.store(spec.egress, Relaxed);
    }

    /// The form that `surface` wants: Google's own routes the header, its compatible endpoint Bearer, unless the key
    /// was seen to need the other.
    pub fn form(&self, surface: Surface) -> Form {
        let swapped = self.swapped[side(surface)].load(Relaxed);
        if (surface == Surface::OpenAi) == swapped { Form::ApiKey } else { Form::Bearer }
    }

    /// Remembers that `form` is what `surface` accepts of this key.
    pub fn accept(&self, surface: Surface, form: Form) {
        let usual = if surface == Surface::OpenAi { Form::Bearer } else { Form::ApiKey };
        self.swapped[side(surface)].store(form != usual, Relaxed);
        self.let_in(surface);
    }

    /// `surface` refused the form of a call that began then and cannot be sent again: the next one has the other form.
    /// `false`: that one was refused as well, and no call was let in since.
    pub fn doubt(&self, surface: Surface, began: Instant, now: Instant) -> bool {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let doubt = &mut doubts[side(surface)];
        match doubt.strike(began, now) {
            None => {}
            Some(1) => {
                self.swapped[side(surface)].fetch_xor(true, Relaxed);
                self.doubted.store(true, Relaxed);
            }
            Some(_) => {
                doubt.clear();
                return false;
            }
        }
        true
    }

    /// `surface` let a call in: there is no doubt of the form any more.
    #[inline]
    pub fn let_in(&self, surface: Surface) {
        if self.doubted.load(Relaxed) {
            let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
            doubts[side(surface)].clear();
            self.doubted.store(doubts.iter().any(|doubt| doubt.count() > 0), Relaxed);
        }
    }

    /// The same key in another place knows what `former` found.
    pub fn inherit(&self, former: &Self) {
        for (own, found) in self.swapped.iter().zip(&former.swapped) {
            own.store(found.load(Relaxed), Relaxed);
        }
    }

    /// The one credential of a call. Marked sensitive.
    pub fn credential(&self, form: Form) -> (http::HeaderName, HeaderValue) {
        match form {
            Form::ApiKey => (http::HeaderName::from_static("x-goog-api-key"), self.header.clone()),
            Form::Bearer => (http::header::AUTHORIZATION, self.bearer.clone()),
        }
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.traffic.in_flight.load(Relaxed)
    }

    /// Attempts so far, those under way included.
    pub fn attempts(&self) -> u64 {
        self.counts().map(|(_, count)| count).sum::<u64>() + u64::from(self.in_flight())
    }

    /// Counts an attempt that came to `verdict`.
    pub fn count(&self, verdict: Verdict) {
        self.traffic.counts[verdict as usize].fetch_add(1, Relaxed);
    }

    /// The attempts counted so far, by verdict.
    pub fn counts(&self) -> impl Iterator<Item = (Verdict, u64)> {
        verdict::ALL.into_iter().zip(&self.traffic.counts).map(|(v, n)| (v, n.load(Relaxed))).filter(|(_, n)| *n > 0)
    }

    /// Keeps a failure for the operator. `error.message` must be scrubbed.
    pub fn note(&self, error: LastError) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The last failure.
    pub fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Google's own routes, or its compatible endpoint.
fn side(surface: Surface) -> usize {
    usize::from(surface == Surface::OpenAi)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key() -> Key {
        let spec = KeySpec {
            id: "1".into(),
            secret: Secret::new("fake-key-0001".into()),
            weight: 1,
            project: None,
            egress: 0,
            ceilings: Ceilings::default(),
            enabled: true,
        };
        Key::new(&spec, 0, 0, &Arc::new(Homes::new(1))).unwrap()
    }

    #[test]
    fn each_surface_gets_its_form_until_a_key_shows_otherwise() {
        let key = key();
        assert_eq!((key.form(Surface::Gemini), key.form(Surface::OpenAi)), (Form::ApiKey, Form::Bearer));
        key.accept(Surface::OpenAi, Form::ApiKey);
        assert_eq!((key.form(Surface::Gemini), key.form(Surface::OpenAi)), (Form::ApiKey, Form::ApiKey));
        let (_, value) = key.credential(Form::Bearer);
        assert!(value.is_sensitive());
        assert!(!format!("{key:?}").contains("fake-key-0001"));
    }

    #[test]
    fn a_form_is_in_doubt_until_a_call_is_let_in_or_the_other_one_is_refused_too() {
        let (key, start, second) = (key(), Instant::now(), Duration::from_secs(1));
        let form = || key.form(Surface::OpenAi);
        assert!(key.doubt(Surface::OpenAi, start, start + second));
        assert!(key.doubt(Surface::OpenAi, start, start + second * 2), "it was sent in the form that is in doubt");
        assert_eq!((form(), key.form(Surface::Gemini)), (Form::ApiKey, Form::ApiKey));
        key.let_in(Surface::OpenAi);
        assert!(key.doubt(Surface::OpenAi, start + second * 3, start + second * 4), "begins anew");
        assert_eq!(form(), Form::Bearer);
        key.let_in(Surface::Gemini);
        assert!(!key.doubt(Surface::OpenAi, start + second * 5, start + second * 6), "both forms were refused");
    }
}
