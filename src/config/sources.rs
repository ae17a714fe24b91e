//! The sources of the configuration, and what they come to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::client::Clients;
use crate::config::fault::{Fault, Faults};
use crate::config::keys::{self, Source as KeySource};
use crate::config::leaf::{self, Leaf};
use crate::config::{lasting, merge, otel, proxy, rules};
use crate::settings::{Jwt, Key, Settings, Traces};
use crate::upstream::Authorities;

/// The file that is read when none is named and it is there.
const FILE: &str = "config.toml";

/// Everything that was configured, fit to be used.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// The keys of all sources: `GEMINI_API_KEY`, then `GEMINI_API_KEY_FILE`, then `[[keys]]`.
    pub keys: Vec<Key>,
    /// Where each of them is configured.
    pub key_sources: Vec<KeySource>,
    /// The fields that a variable sets, and its name: what the file says of them does not count.
    pub environment: BTreeMap<String, String>,
    /// The fields that the file sets, with what it says.
    pub written: BTreeMap<String, Value>,
    /// Fields that were changed, and count from the next start on.
    pub needs_restart: Vec<String>,
    /// Who may come in.
    pub clients: Arc<Clients>,
    /// Who is trusted of upstreams.
    pub authorities: Arc<Authorities>,
    /// Where traces go; `None`: nowhere.
    pub traces: Option<Traces>,
    /// What the operator should know although it is no fault; a line each.
    pub warnings: Vec<String>,
}

/// Where configuration comes from, read but not yet judged.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    variables: BTreeMap<String, String>,
    file: Option<(String, String)>,
    faults: Vec<Fault>,
    /// What runs already, and cannot be changed while it does.
    running: Option<Box<Settings>>,
}

impl Sources {
    /// The sources of this process: `.env` where it is present, the environment, and the file at `path`, at
    /// `GEMINATE_CONFIG`, or `config.toml` where it is present. Call it before any thread is started.
    pub fn of_process(path: Option<&Path>) -> Self {
        let mut sources = Self::default();
        sources.read_dot_env();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(sources.variables.insert(name, value)),
                Err(_) if leaf::ours(&name) || proxy::names(&name) => {
                    sources.faults.push(Fault::new(&name, "it is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        // An empty variable is an unset one: the line of `.env` that it hid counts again. What cannot be read, which was
        // told above, fails anew at each line that is asked for, without end.
        let lines = dotenvy::from_path_iter(".env").into_iter().flatten();
        let readable = lines.take_while(|line| !matches!(line, Err(dotenvy::Error::Io(_))));
        for (name, value) in readable.filter_map(Result::ok) {
            let held = sources.variables.entry(name).or_default();
            if held.trim().is_empty() {
                *held = value;
            }
        }
        sources.variables.retain(|_, value| !value.trim().is_empty());
        let named = path.map(Path::to_owned).or_else(|| sources.variables.get("GEMINATE_CONFIG").map(Into::into));
        match (&named, std::fs::read_to_string(named.as_deref().unwrap_or(Path::new(FILE)))) {
            (_, Ok(text)) => sources.file = Some((named.map_or(FILE.into(), |path| path.display().to_string()), text)),
            (None, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            (_, Err(error)) => {
                let name = named.map_or(FILE.into(), |path| path.display().to_string());
                sources.faults.push(Fault::new(&name, &format!("it cannot be read: {error}")));
            }
        }
        sources
    }

    /// Given sources: `file` is a name and a text.
    pub fn new<'v>(variables: impl IntoIterator<Item = (&'v str, &'v str)>, file: Option<(&str, &str)>) -> Self {
        let filled = variables.into_iter().filter(|(_, value)| !value.trim().is_empty());
        Self {
            variables: filled.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            file: file.map(|(name, text)| (name.to_owned(), text.to_owned())),
            faults: Vec::new(),
            running: None,
        }
    }

    /// The same with another text in the file.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        let name = self.file_name();
        Self { file: Some((name, text.to_owned())), ..self }
    }

    /// For a process that runs by these settings: what cannot change while it does stays as it is.
    #[must_use]
    pub fn beside(self, running: &Settings) -> Self {
        Self { running: Some(Box::new(running.clone())), ..self }
    }

    /// The file's text, where there is one.
    pub fn text(&self) -> Option<&str> {
        self.file.as_ref().map(|(_, text)| text.as_str())
    }

    /// The file that is read, whether it is there or not.
    pub fn file_name(&self) -> String {
        let named = || self.variables.get("GEMINATE_CONFIG").cloned();
        self.file.as_ref().map(|(name, _)| name.clone()).or_else(named).unwrap_or_else(|| FILE.to_owned())
    }

    /// A variable, where it is set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The settings alone, for commands that need no keys.
    pub fn settings(self) -> Result<Settings, Faults> {
        let (settings, _, faults) = self.merge();
        if faults.is_empty() { Ok(settings) } else { Err(Faults(faults)) }
    }

    /// What tokens are signed by, by the rules of those who verify them.
    pub fn signing(self) -> Result<Jwt, Faults> {
        let (settings, leaves, mut faults) = self.merge();
        rules::secret(&settings.auth.jwt, &leaves, &mut faults);
        if faults.is_empty() { Ok(settings.auth.jwt) } else { Err(Faults(faults)) }
    }

    /// Everything, or all that is wrong with it.
    pub fn configuration(self) -> Result<Configuration, Faults> {
        let variables = self.variables.clone();
        let running = self.running.clone();
        let (mut settings, leaves, mut faults) = self.merge();
        let needs_restart = running.map(|running| lasting::keep(&mut settings, &running)).unwrap_or_default();
        let keys = keys::resolve(&settings.keys, &variables, &leaves, &mut faults);
        let traces = otel::traces(&variables, &mut faults);
        let clients = rules::clients(&settings, &leaves, &mut faults);
        let authorities = rules::authorities(&settings.upstream, &leaves, &mut faults);
        rules::aliases(&settings, &leaves, &mut faults);
        rules::fallback(&settings, &leaves, &mut faults);
        rules::exposure(&settings, &leaves, &mut faults);
        rules::listeners(&settings.server, &leaves, &mut faults);
        proxy::judge(&settings, &variables, &mut faults);
        // A longer default is a longer ceiling as well.
        let deadline = &mut settings.deadline;
        deadline.request_timeout_ceiling_ms = deadline.request_timeout_ceiling_ms.max(deadline.request_timeout_ms);
        match clients {
            Some(clients) if faults.is_empty() => {
                let (key_sources, keys): (Vec<KeySource>, Vec<Key>) = keys.into_iter().unzip();
                let mut warnings = rules::warnings(&settings, &keys);
                warnings.extend(key_sources.iter().filter_map(rules::adjusted));
                let (environment, written) = leaf::by_source(&leaves);
                let (clients, authorities) = (Arc::new(clients), Arc::new(authorities));
                Ok(Configuration {
                    settings,
                    keys,
                    key_sources,
                    environment,
                    written,
                    needs_restart,
                    clients,
                    authorities,
                    traces,
                    warnings,
                })
            }
            _ => Err(Faults(faults)),
        }
    }

    fn merge(self) -> (Settings, Vec<Leaf>, Vec<Fault>) {
        let mut faults = self.faults;
        let file = self.file.as_ref().map(|(name, text)| leaf::of_file(name, text, &mut faults)).unwrap_or_default();
        let variables = leaf::of_variables(&self.variables, &mut faults);
        let settings = merge::settings(&file, &variables).unwrap_or_else(|fault| {
            faults.push(fault);
            Settings::default()
        });
        (settings, file.into_iter().chain(variables).collect(), faults)
    }

    fn read_dot_env(&mut self) {
        // The line itself may be a secret, so dotenvy's own message is not shown.
        match dotenvy::from_path(".env") {
            Err(dotenvy::Error::Io(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                self.faults.push(Fault::new(".env", &format!("it cannot be read: {error}")));
            }
            Err(dotenvy::Error::LineParse(..)) => {
                self.faults
                    .push(Fault::new(".env", "a line is not NAME=value; quote values that hold spaces or quotes"));
            }
            _ => {}
        }
    }
}
