//! `geminate keys check`: each key with its verdict, what is known of it, and what to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;

use crate::command::keys::ask::{Asked, ask};
use crate::command::keys::sharing;
use crate::config::{Configuration, Fault, Faults};
use crate::pool::KeyPool;
use crate::pool::finding::Finding;
use crate::pool::key::Ceilings;
use crate::pool::memory::Clocks;
use crate::pool::view::{KeyView, LearntView};
use crate::scrub::Scrubber;
use crate::settings;
use crate::upstream::{Egresses, Unusable, Upstream};

/// Keys that are asked at once: many keys at once from one address look like abuse.
const ASKED_AT_ONCE: usize = 4;

/// What an owner of a standard key is told (Gemini API documentation, "API keys", 2026-06).
const STANDARD: &str = "Google announced to reject standard keys (AIza..) from September 2026: make an auth key in AI \
                        Studio and put it in this one's place.";

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// When Google was asked.
    pub(super) at: Timestamp,
    /// The origin that was asked.
    pub(super) google: String,
    /// Why nothing is known of earlier, where nothing is.
    pub(super) memory_note: Option<String>,
    pub(super) keys_total: usize,
    pub(super) keys_enabled: usize,
    pub(super) keys_serving: usize,
    /// Models that one key at least may use.
    pub(super) models: BTreeSet<String>,
    pub(super) keys: Vec<Found>,
}

/// One key.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) id: Arc<str>,
    pub(super) tail: Box<str>,
    /// `standard` (`AIza..`), `auth` (`AQ...`) or `other`.
    pub(super) kind: &'static str,
    pub(super) enabled: bool,
    pub(super) verdict: Finding,
    /// Whether the gateway can use it now, for some models at least.
    pub(super) serves: bool,
    pub(super) reason: &'static str,
    /// Google's own words, or what is wrong with the way to it.
    pub(super) said: Option<String>,
    pub(super) tier: Option<&'static str>,
    pub(super) project: Arc<str>,
    /// `projects/N`, as Google's refusals name it.
    pub(super) consumer: Option<String>,
    /// Enabled keys of the same project, by its label or by Google's name of it.
    pub(super) shares_quota_with: Vec<Arc<str>>,
    /// Keys whose refusals come together with its own, so that they are probably of its project.
    pub(super) probably_shares_with: Vec<Arc<str>>,
    pub(super) models_available: Option<usize>,
    /// Of [`Report::models`].
    pub(super) models_lacking: Vec<String>,
    /// Google's limits as refusals told them.
    pub(super) learnt: Vec<LearntView>,
    pub(super) resting: Vec<Resting>,
    pub(super) to_do: Vec<&'static str>,
}

/// A rest that the gateway remembers.
#[derive(Debug, Serialize)]
pub(super) struct Resting {
    /// `None`: for all models.
    pub(super) model: Option<Arc<str>>,
    pub(super) reason: &'static str,
    /// `None`: until somebody mends it.
    pub(super) until: Option<Timestamp>,
}

/// Asks about every enabled key over its own way out, a few at once; in the order of configuration.
pub(super) async fn ask_all(
    configuration: &Configuration,
    pool: &KeyPool,
    egresses: &Egresses,
    scrubber: &Scrubber,
) -> Result<Vec<Asked>, Faults> {
    let settings = &configuration.settings;
    let fault = |unusable: Unusable| Faults(vec![Fault::new("upstream", &unusable.to_string())]);
    let upstream = &Upstream::new(&settings.upstream, egresses, configuration.authorities.all()).map_err(fault)?;
    let limit = Duration::from_millis(settings.pool.probe_timeout_ms);
    let asked = configuration.keys.iter().zip(pool.keys().iter()).map(|(configured, key)| async move {
        if configured.enabled { ask(upstream, key, scrubber, limit).await } else { Asked::not(Finding::Disabled) }
    });
    Ok(futures_util::stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await)
}

impl Report {
    /// Puts together what Google said, what is configured and what is remembered.
    pub(super) fn new(
        configuration: &Configuration,
        pool: &KeyPool,
        asked: Vec<Asked>,
        memory_note: Option<String>,
        clocks: Clocks,
    ) -> Self {
        let models: BTreeSet<String> =
            asked.iter().filter_map(|asked| asked.models.as_ref()).flatten().cloned().collect();
        let views = pool.view(clocks).keys;
        let ties: Vec<Vec<String>> = configuration
            .keys
            .iter()
            .zip(views.iter().zip(&asked))
            .map(|(key, (view, asked))| ties(key, view, asked))
            .collect();
        let ids: Vec<Arc<str>> = configuration.keys.iter().map(|key| Arc::clone(&key.id)).collect();
        let shares =
            sharing::groups(&ties).into_iter().map(|others| others.iter().map(|n| Arc::clone(&ids[*n])).collect());
        let found = configuration.keys.iter().zip(views).zip(asked).zip(shares);
        let keys: Vec<Found> = found
            .map(|(((key, view), asked), shares)| Found {
                shares_quota_with: shares,
                ..Found::new(key, view, asked, &models)
            })
            .collect();
        Self {
            at: clocks.wall,
            google: configuration.settings.upstream.base_url.as_str().to_owned(),
            memory_note,
            keys_total: keys.len(),
            keys_enabled: keys.iter().filter(|key| key.enabled).count(),
            keys_serving: keys.iter().filter(|key| key.serves).count(),
            models,
            keys,
        }
    }

    /// 0: every enabled key serves; 1: some do not; 2: none does.
    pub(super) fn exit_code(&self) -> u8 {
        match self.keys_serving {
            0 => 2,
            serving => u8::from(serving < self.keys_enabled),
        }
    }
}

/// What makes a key one project's with others: nothing does for one that takes no part.
fn ties(key: &settings::Key, view: &KeyView, asked: &Asked) -> Vec<String> {
    if !key.enabled {
        return Vec::new();
    }
    let label = key.project.iter().map(|label| format!("label {label}"));
    let names = [asked.consumer.as_deref(), view.consumer.as_deref()].into_iter().flatten();
    label.chain(names.map(|name| format!("google {name}"))).collect()
}

impl Found {
    fn new(key: &settings::Key, view: KeyView, asked: Asked, all: &BTreeSet<String>) -> Self {
        let resting = resting(&view);
        let out = matches!(view.state, "off" | "dead" | "disabled");
        let verdict = match (asked.finding, view.state) {
            (Finding::Alive, "dead") if view.returns_at.is_none() => Finding::Buried,
            (Finding::Alive, _) if !resting.is_empty() => Finding::Resting,
            (finding, _) => finding,
        };
        let kind = kind(key.secret.expose());
        // Who must make a new one anyway gets an auth key.
        let gone = matches!(verdict, Finding::Expired | Finding::Leaked | Finding::Suspended | Finding::Denied);
        let replace = kind == "standard" && key.enabled && !gone;
        let advice = Some(verdict.advice()).filter(|advice| !advice.is_empty());
        let lacking = asked.models.as_ref().map(|own| all.difference(own).cloned().collect());
        Self {
            id: view.id,
            tail: view.tail,
            kind,
            enabled: key.enabled,
            verdict,
            serves: verdict.is_let_in() && !out,
            reason: verdict.meaning(),
            said: asked.said,
            tier: view.tier,
            project: view.project,
            consumer: asked.consumer.or_else(|| view.consumer.map(|name| name.to_string())),
            shares_quota_with: Vec::new(),
            probably_shares_with: view.probably_same_project_as,
            models_available: asked.models.as_ref().map(BTreeSet::len),
            models_lacking: lacking.unwrap_or_default(),
            learnt: view.learnt.into_iter().filter(|learnt| learnt.limits != Ceilings::default()).collect(),
            resting,
            to_do: advice.into_iter().chain(replace.then_some(STANDARD)).collect(),
        }
    }
}

/// What the gateway holds against the key.
fn resting(view: &KeyView) -> Vec<Resting> {
    if matches!(view.state, "off" | "dead") {
        let reason = view.reason.unwrap_or_default();
        return vec![Resting { model: None, reason, until: view.returns_at }];
    }
    let of = |model: &Arc<str>| Some(Arc::clone(model)).filter(|model| !model.is_empty());
    view.cooling.iter().map(|c| Resting { model: of(&c.model), reason: c.reason, until: c.until }).collect()
}

fn kind(secret: &str) -> &'static str {
    match secret {
        _ if secret.starts_with("AIza") => "standard",
        _ if secret.starts_with("AQ.") => "auth",
        _ => "other",
    }
}
