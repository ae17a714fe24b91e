//! The configuration: `config.toml` under environment variables, every fault of every source told at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::client::Clients;
use crate::settings::{Key, Settings, Traces};

pub mod key_list;
mod fault;
mod otel;
mod shape;
mod leaf;
mod merge;
mod keys;
mod rules;

pub use fault::{Fault, Faults};
use leaf::Leaf;

/// The file that is read when none is named and it is there.
const FILE: &str = "config.toml";

/// Everything that was configured, fit to be used.
#[derive(Debug)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// The keys of all sources: `GEMINI_API_KEY`, then `GEMINI_API_KEY_FILE`, then `[[keys]]`.
    pub keys: Vec<Key>,
    /// Who may come in.
    pub clients: Arc<Clients>,
    /// Where traces go; `None`: nowhere.
    pub traces: Option<Traces>,
    /// What the operator should know although it is no fault; a line each.
    pub warnings: Vec<String>,
}

/// Where configuration comes from, read but not yet judged.
#[derive(Debug, Default)]
pub struct Sources {
    variables: BTreeMap<String, String>,
    file: Option<(String, String)>,
    faults: Vec<Fault>,
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
                Err(_) if leaf::ours(&name) => sources.faults.push(Fault::new(&name, "it is not UTF-8")),
                Err(_) => {}
            }
        }
        // An empty variable is an unset one: the line of `.env` that it hid counts again.
        let hidden = dotenvy::from_path_iter(".env").into_iter().flatten().filter_map(Result::ok);
        for (name, value) in hidden {
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
        }
    }

    /// The settings alone, for commands that need no keys.
    pub fn settings(self) -> Result<Settings, Faults> {
        let (settings, _, faults) = self.merge();
        if faults.is_empty() { Ok(settings) } else { Err(Faults(faults)) }
    }

    /// Everything, or all that is wrong with it.
    pub fn configuration(self) -> Result<Configuration, Faults> {
        let variables = self.variables.clone();
        let (mut settings, leaves, mut faults) = self.merge();
        let keys = keys::resolve(&settings.keys, &variables, &leaves, &mut faults);
        let traces = otel::traces(&variables, &mut faults);
        let clients = rules::clients(&settings, &leaves, &mut faults);
        rules::aliases(&settings, &leaves, &mut faults);
        rules::fallback(&settings, &leaves, &mut faults);
        rules::exposure(&settings, &leaves, &mut faults);
        // A longer default is a longer ceiling as well.
        let deadline = &mut settings.deadline;
        deadline.request_timeout_ceiling_ms = deadline.request_timeout_ceiling_ms.max(deadline.request_timeout_ms);
        match clients {
            Some(clients) if faults.is_empty() => {
                let warnings = rules::warnings(&settings, &keys);
                Ok(Configuration { settings, keys, clients: Arc::new(clients), traces, warnings })
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
