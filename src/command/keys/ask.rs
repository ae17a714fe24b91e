//! Asking Google about one key: the list of its models, which spends no quota.

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use tokio::time::timeout;

use crate::alias::is_name;
use crate::pool::finding::Finding;
use crate::pool::key::{Form, Key};
use crate::quota;
use crate::refusal::Refusal;
use crate::scrub::Scrubber;
use crate::upstream::{Broken, Upstream};
use crate::verdict::Verdict;

/// Pages of a thousand models each; a list that is longer is cut.
const PAGES_MAX: usize = 10;
/// Bytes of a page, or of a refusal.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Characters of Google's own words that are shown.
const SAID_CHARS_MAX: usize = 200;

/// What came of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) finding: Finding,
    /// Google's words, or what is wrong with the way to it; scrubbed.
    pub(super) said: Option<String>,
    /// `projects/N` as a refusal named it.
    pub(super) consumer: Option<String>,
    /// The models it may use, where the list came.
    pub(super) models: Option<BTreeSet<String>>,
}

impl Asked {
    /// Not asked.
    pub(super) fn not(finding: Finding) -> Self {
        Self { finding, said: None, consumer: None, models: None }
    }
}

/// Why there is no list.
enum Wrong {
    Refused(Refusal),
    Unreachable(String),
    /// An answer that is no list.
    Strange(&'static str),
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    models: Vec<Named>,
    #[serde(default, rename = "nextPageToken")]
    next: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Asks within `limit`, all pages included. A key that is refused in the one form of credential is offered in the other.
pub(super) async fn ask(upstream: &Upstream, key: &Key, scrubber: &Scrubber, limit: Duration) -> Asked {
    let asking = async {
        let refused = match list(upstream, key, Form::ApiKey, limit).await {
            Err(Wrong::Refused(refusal)) if is_form(&refusal) => refusal,
            done => return done,
        };
        match list(upstream, key, Form::Bearer, limit).await {
            Err(Wrong::Refused(again)) if is_form(&again) => Err(Wrong::Refused(refused)),
            done => done,
        }
    };
    let late = || Err(Wrong::Unreachable(format!("no whole answer within {} ms", limit.as_millis())));
    match timeout(limit, asking).await.unwrap_or_else(|_| late()) {
        Ok(models) => Asked { models: Some(models), ..Asked::not(Finding::Alive) },
        Err(Wrong::Refused(refusal)) => {
            let words = if refusal.message.is_empty() { format!("HTTP {}", refusal.code) } else { String::new() };
            let said = Some(clean(scrubber, if words.is_empty() { refusal.summary() } else { &words }));
            let consumer = quota::consumer(&refusal).map(str::to_owned);
            Asked { said, consumer, ..Asked::not(Finding::of(&refusal)) }
        }
        Err(Wrong::Unreachable(why)) => Asked { said: Some(clean(scrubber, &why)), ..Asked::not(Finding::Unreachable) },
        Err(Wrong::Strange(why)) => Asked { said: Some(why.to_owned()), ..Asked::not(Finding::Unclear) },
    }
}

fn is_form(refusal: &Refusal) -> bool {
    Verdict::of_key(refusal) == Verdict::Unauthorized
}

/// Without secrets, on one line and of no great length.
fn clean(scrubber: &Scrubber, text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    scrubber.scrub_str(text).chars().map(plain).take(SAID_CHARS_MAX).collect()
}

/// All pages.
async fn list(upstream: &Upstream, key: &Key, form: Form, limit: Duration) -> Result<BTreeSet<String>, Wrong> {
    let (mut models, mut next) = (BTreeSet::new(), None);
    for _ in 0..PAGES_MAX {
        let page = page(upstream, key, form, next.as_deref(), limit).await?;
        // A name is printed as it is, so that it must be one.
        let names = page.models.iter().map(|model| model.name.strip_prefix("models/").unwrap_or(&model.name));
        models.extend(names.filter(|name| is_name(name)).map(str::to_owned));
        if page.next.is_empty() {
            break;
        }
        next = Some(page.next);
    }
    Ok(models)
}

async fn page(upstream: &Upstream, key: &Key, form: Form, next: Option<&str>, limit: Duration) -> Result<Page, Wrong> {
    let answer = upstream.models(key, form, next, limit).await.map_err(|broken| match broken {
        Broken::Connect(why) => Wrong::Unreachable(format!("no connection: {why}")),
        Broken::Interrupted(why) => Wrong::Unreachable(why),
        Broken::Body(error) => Wrong::Unreachable(error.to_string()),
    })?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
    match body.map(http_body_util::Collected::to_bytes) {
        // What does not come whole says no more than its status.
        body if !status.is_success() => Err(Wrong::Refused(Refusal::read(status.as_u16(), &body.unwrap_or_default()))),
        Ok(body) => serde_json::from_slice(&body).map_err(|_| Wrong::Strange("the answer is no list of models")),
        Err(_) => Err(Wrong::Unreachable("the answer broke off".to_owned())),
    }
}
