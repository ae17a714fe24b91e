//! `geminate check`: is the configuration right, and what does it come to?

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::Sources;

/// Prints the effective settings as TOML, secrets masked, and the keys by id and their last four characters.
pub(super) fn run(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let configuration = Sources::of_process(config).configuration()?;
    let mut settings = configuration.settings;
    // They are shown below with those of the variables.
    settings.keys.clear();
    let mut out = std::io::stdout().lock();
    let text = toml::to_string(&settings).context("the settings cannot be written as TOML")?;
    let sections = text.strip_prefix("keys = []\n").unwrap_or(&text).replace("\nkeys = []\n", "\n");
    write!(out, "{sections}")?;
    for key in &configuration.keys {
        let tail = key.secret.tail();
        writeln!(out, "\n[[keys]] # ends in {tail:?}\nid = {:?}\nweight = {}", key.id, key.weight)?;
        if let Some(project) = &key.project {
            writeln!(out, "project = {project:?}")?;
        }
        for (name, limit) in [("rpm", key.rpm), ("tpm", key.tpm), ("rpd", key.rpd)] {
            if let Some(limit) = limit {
                writeln!(out, "{name} = {limit}")?;
            }
        }
        if key.proxy.is_some() {
            writeln!(out, "proxy = \"[secret]\"")?;
        }
        if !key.enabled {
            writeln!(out, "enabled = false")?;
        }
    }
    for warning in &configuration.warnings {
        writeln!(out, "\n# warning: {warning}")?;
    }
    Ok(ExitCode::SUCCESS)
}
