//! The book: the configuration that runs, its file, and whoever wants it changed. One after the other, whole or not at all.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::interval;
use tracing::{error, info, warn};
use utoipa::ToSchema;

use crate::config::changes::{self, Change};
use crate::config::edit::{self, KeyChange, NewKey, Unfit};
use crate::config::fault::Faults;
use crate::config::file;
use crate::config::history::{Entry, History, version};
use crate::config::masked::Masked;
use crate::config::sources::{Configuration, Sources};
use crate::scrub::Scrubber;
use crate::secret::Secret;
use crate::state::StateFile;

/// Wishes that wait for the one that is being looked at.
const WISHES_MAX: usize = 64;
/// How often it is looked whether a file has changed. One that has is read when it has rested so long.
const LOOK: Duration = Duration::from_secs(1);

/// Takes a configuration up: tries it, and gives back what puts it in the place of the one that runs.
pub type TakeUp = Box<dyn FnMut(Configuration) -> anyhow::Result<Box<dyn FnOnce()>> + Send>;
/// Reads the sources again.
pub type Read = Box<dyn Fn() -> Sources + Send>;

/// What somebody wants.
pub enum Edit {
    /// Another text, with `[secret N]` where secrets stay.
    Text(String),
    /// The text of an earlier version.
    Back(String),
    /// What the file, and the files that it names, say by now.
    Reread,
    /// A key more, and the proxy it is to go through.
    Add(Box<NewKey>, Option<Secret>),
    /// Keys changed, all or none.
    Alter(Vec<KeyChange>),
    /// A key less.
    Remove(String),
}

/// A wish: what is wanted, by whom and why.
pub struct Wish {
    /// What.
    pub edit: Edit,
    /// Who.
    pub author: String,
    /// Why.
    pub comment: Option<String>,
    /// The version that it was made for; `None`: whatever runs.
    pub version: Option<String>,
    /// Whether only to tell what would change.
    pub dry_run: bool,
}

/// What a wish came to, or would.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Taken {
    /// The version that runs now, or would.
    pub version: String,
    /// Every field that changes.
    pub changes: Vec<Change>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The id of the key that was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Why a wish is not granted. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It was made for another version than the one that runs.
    #[error("the configuration is at version {0} by now: look at it again")]
    Stale(String),
    /// There is no such version.
    #[error("no version {0} is kept")]
    NoVersion(String),
    /// It is wrong.
    #[error("{0}")]
    Faults(Faults),
    /// A key cannot be changed so.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// What it comes to cannot be built.
    #[error("{0}")]
    Unusable(String),
    /// The file is not what runs, or cannot be written.
    #[error("{0}")]
    Disk(String),
    /// The process ends.
    #[error("geminate is about to end")]
    Ending,
}

/// The configuration as an operator sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Sheet {
    /// The version of the file's text.
    pub version: String,
    /// The file.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Its text, each secret as `[secret N]`.
    pub toml: String,
    /// Every field but the keys, as it holds.
    pub effective: Value,
    /// The fields that a variable sets.
    pub environment: Vec<Shadow>,
    /// Fields that count from the next start on.
    pub needs_restart: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A field that a variable sets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Shadow {
    /// The field.
    pub field: String,
    /// The variable.
    pub variable: String,
}

/// What runs.
pub struct Running {
    /// By what it was configured.
    pub configuration: Configuration,
    /// The version of the file's text.
    pub version: String,
    text: Option<String>,
}

enum Order {
    Wish(Wish, oneshot::Sender<Result<Taken, Refused>>),
    Entries(oneshot::Sender<Vec<Entry>>),
}

/// Where wishes are brought. Clones are the same desk.
#[derive(Clone)]
pub struct Desk {
    orders: mpsc::Sender<Order>,
    running: watch::Receiver<Arc<Running>>,
    scrubber: Arc<Scrubber>,
    path: Arc<Path>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration at {}", self.running().version)
    }
}

/// The one who grants them.
pub struct Book {
    sources: Sources,
    read: Read,
    path: Arc<Path>,
    history: History,
    scrubber: Arc<Scrubber>,
    orders: mpsc::Receiver<Order>,
    running: watch::Sender<Arc<Running>>,
}

impl Desk {
    /// What runs.
    pub fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running.borrow())
    }

    /// The same as it may be shown.
    pub fn sheet(&self) -> Sheet {
        let running = self.running();
        let Configuration { settings, environment, needs_restart, warnings, .. } = &running.configuration;
        let mut effective = serde_json::to_value(settings).unwrap_or_default();
        effective.as_object_mut().map(|sections| sections.remove("keys"));
        let shadow =
            |(field, variable): (&String, &String)| Shadow { field: field.clone(), variable: variable.clone() };
        Sheet {
            version: running.version.clone(),
            path: self.path.display().to_string(),
            exists: running.text.is_some(),
            toml: Masked::of(running.text.as_deref().unwrap_or_default(), &self.scrubber).text,
            effective,
            environment: environment.iter().map(shadow).collect(),
            needs_restart: needs_restart.clone(),
            warnings: warnings.clone(),
        }
    }

    /// Brings a wish, and waits for what it comes to.
    pub async fn bring(&self, wish: Wish) -> Result<Taken, Refused> {
        let (told, tell) = oneshot::channel();
        self.orders.send(Order::Wish(wish, told)).await.map_err(|_| Refused::Ending)?;
        tell.await.map_err(|_| Refused::Ending)?
    }

    /// The last configurations, the newest first.
    pub async fn history(&self) -> Vec<Entry> {
        let (told, tell) = oneshot::channel();
        let _ending = self.orders.send(Order::Entries(told)).await;
        tell.await.unwrap_or_default()
    }
}

impl Book {
    /// The book of a process that runs by `configuration`, made of `sources`, which `read` reads again. The history is
    /// kept in `file`.
    pub fn new(
        sources: Sources,
        read: Read,
        configuration: Configuration,
        scrubber: Arc<Scrubber>,
        file: StateFile,
    ) -> (Self, Desk) {
        let text = sources.text().map(str::to_owned);
        let version = version(text.as_deref().unwrap_or_default());
        let mut history = History::load(file);
        // Where there is no file yet, the empty one is what can be gone back to.
        let began = text.as_deref().unwrap_or_default();
        if !history.is_last(began) {
            history.push(began, "start", None, Timestamp::now());
        }
        let (running, follow) = watch::channel(Arc::new(Running { configuration, version, text }));
        let (desk, orders) = mpsc::channel(WISHES_MAX);
        let path: Arc<Path> = PathBuf::from(sources.file_name()).into();
        let desk = Desk { orders: desk, running: follow, scrubber: Arc::clone(&scrubber), path: Arc::clone(&path) };
        (Self { sources, read, path, history, scrubber, orders, running }, desk)
    }

    /// Grants wishes, follows the files, and reads them again at each of `signals`, until every desk is gone.
    pub async fn run(mut self, mut take_up: TakeUp, mut signals: impl Stream<Item = ()> + Unpin) {
        let mut ticks = interval(LOOK);
        // What was written since the file was read is a change. The marks first: they may be older than the text, not newer.
        let marks = file::marks(&self.files());
        let same = file::read(&self.path).as_deref() == self.sources.text();
        let mut taken = if same { marks } else { Vec::new() };
        let mut last = taken.clone();
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Wish(wish, tell)) => {
                        // Whoever brought it may have left; the wish stands.
                        let _left = tell.send(self.grant(wish, &mut take_up));
                        taken = file::marks(&self.files());
                    }
                    Some(Order::Entries(tell)) => drop(tell.send(self.history.entries(&self.scrubber))),
                    None => return,
                },
                Some(()) = signals.next() => {
                    self.reread("signal", &mut take_up);
                    taken = file::marks(&self.files());
                }
                _ = ticks.tick() => {
                    let marks = file::marks(&self.files());
                    // One that is still being written changes again.
                    if marks != taken && marks == last {
                        self.reread("file", &mut take_up);
                        taken = file::marks(&self.files());
                    }
                    last = marks;
                }
            }
        }
    }

    fn reread(&mut self, author: &str, take_up: &mut TakeUp) {
        let wish = Wish { edit: Edit::Reread, author: author.to_owned(), comment: None, version: None, dry_run: false };
        if let Err(refused) = self.grant(wish, take_up) {
            let why = refused.to_string();
            error!(why = why.trim_end(), "the configuration cannot be taken up: what ran before goes on");
        }
    }

    fn grant(&mut self, wish: Wish, take_up: &mut TakeUp) -> Result<Taken, Refused> {
        let Wish { edit, author, comment, version: made_for, dry_run } = wish;
        let running = Arc::clone(&self.running.borrow());
        if made_for.is_some_and(|made_for| made_for != running.version) {
            return Err(Refused::Stale(running.version.clone()));
        }
        let (sources, key) = self.edited(edit, &running)?;
        let settings = &running.configuration.settings;
        let new = sources.clone().beside(settings).configuration().map_err(Refused::Faults)?;
        let text = sources.text().map(str::to_owned);
        let version = version(text.as_deref().unwrap_or_default());
        let changes = changes::between(&running.configuration, &new);
        let taken = Taken { version: version.clone(), changes, warnings: new.warnings.clone(), key };
        if dry_run {
            return Ok(taken);
        }
        let put = take_up(new.clone()).map_err(|error| Refused::Unusable(format!("{error:#}")))?;
        if let Some(text) = text.as_deref().filter(|text| file::read(&self.path).as_deref() != Some(*text)) {
            let refused = |error| Refused::Disk(format!("{} cannot be written: {error}", self.path.display()));
            file::write(&self.path, text).map_err(refused)?;
        }
        put();
        for change in taken.changes.iter().filter(|change| change.needs_restart) {
            warn!(field = change.field, "it counts from the next start on");
        }
        info!(author, version, changes = taken.changes.len(), "the configuration has changed");
        if let Some(text) = text.as_deref().filter(|text| !self.history.is_last(text)) {
            self.history.push(text, &author, comment, Timestamp::now());
        }
        self.sources = sources;
        self.running.send_replace(Arc::new(Running { configuration: new, version, text }));
        Ok(taken)
    }

    /// The sources as they would be, and the id of a key that is new in them.
    fn edited(&self, edit: Edit, running: &Running) -> Result<(Sources, Option<String>), Refused> {
        if matches!(edit, Edit::Reread) {
            return Ok(((self.read)(), None));
        }
        let text = running.text.as_deref().unwrap_or_default();
        let now = &running.configuration;
        let on_disk = file::read(&self.path);
        if on_disk.is_some() && on_disk != running.text {
            let path = self.path.display();
            return Err(Refused::Disk(format!("{path} was changed and is not what runs: mend it, or reload it")));
        }
        let (text, key) = match edit {
            Edit::Text(masked) => {
                let restored = Masked::of(text, &self.scrubber).restore(&masked, &self.sources.file_name());
                (restored.map_err(|faults| Refused::Faults(Faults(faults)))?, None)
            }
            Edit::Back(version) => {
                let text = self.history.text(&version).ok_or(Refused::NoVersion(version))?;
                (text.to_owned(), None)
            }
            Edit::Add(new, proxy) => {
                let (text, id) = edit::add(text, now, &new, proxy.as_ref())?;
                (text, Some(id))
            }
            Edit::Alter(changes) => (edit::alter(text, now, &changes)?, None),
            Edit::Remove(id) => (edit::remove(text, now, &id)?, None),
            Edit::Reread => (text.to_owned(), None),
        };
        Ok((self.sources.clone().with_text(&text), key))
    }

    /// Every file that the configuration was read from.
    fn files(&self) -> Vec<PathBuf> {
        let running = self.running.borrow();
        let settings = &running.configuration.settings;
        let named = [&settings.auth.jwt.public_key_file, &settings.auth.jwt.jwks_file, &settings.upstream.ca_file];
        let keys = settings.keys.iter().filter_map(|key| key.key_file.clone());
        let list = self.sources.variable("GEMINI_API_KEY_FILE").map(PathBuf::from);
        let own = [self.path.to_path_buf(), PathBuf::from(".env")];
        own.into_iter().chain(named.into_iter().flatten().cloned()).chain(keys).chain(list).collect()
    }
}
