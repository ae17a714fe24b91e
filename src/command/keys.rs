//! `geminate keys`: what the keys are worth, and which of them serves.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use crate::command::{house, table};
use crate::config::{Configuration, Sources};
use crate::pool::KeyPool;
use crate::pool::memory::{Clocks, Memory};
use crate::scrub::Scrubber;
use crate::telemetry::clock;
use crate::upstream::Egresses;

mod sharing;
mod ask;
mod check;
mod sheet;
mod explain;

/// Ask Google about each key, or explain which key a model would get now.
#[derive(clap::Args, Debug)]
pub(super) struct Keys {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Ask Google for each key's models: which keys serve, and what to do about the others
    ///
    /// Each enabled key is asked by GET /v1beta/models over its own proxy, a few at once: that spends no quota. Beside it
    /// stands what the gateway remembers in DATA_DIR: tier, limits that Google's refusals told, rests. Nothing is written.
    ///
    /// Exit codes: 0 every enabled key serves; 1 some do not; 2 none does; 64 the configuration is faulty.
    Check {
        /// One JSON document in place of the table
        #[arg(long)]
        json: bool,
    },
    /// Explain which key a request for MODEL would get now, and why each other key not
    ///
    /// The running gateway is asked, at ADMIN_HOST and ADMIN_PORT with ADMIN_TOKEN or AUTH_TOKEN. Where none answers, the
    /// memory in DATA_DIR is explained, and the answer says so. The choice is only looked at: nobody's turn changes.
    ///
    /// Exit codes: 0 a key would be chosen; 1 none would; 64 the configuration is faulty.
    Explain {
        /// The model, or an alias of [models.aliases]
        #[arg(value_parser = explain::model)]
        model: String,
        /// One JSON document in place of the table
        #[arg(long)]
        json: bool,
    },
}

impl Keys {
    /// Prints what was asked for; the code tells how it stands.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let configuration = Sources::of_process(config).configuration()?;
        let scrubber = Scrubber::new(&house::secrets(&configuration))?;
        let clocks = Clocks { now: tokio::time::Instant::now(), wall: clock() };
        let (pool, egresses, note) = remembered(&configuration, clocks)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (text, code) = match self.question {
            Question::Check { json } => {
                let asking = check::ask_all(&configuration, &pool, &egresses, &scrubber);
                let report = check::Report::new(&configuration, &pool, runtime.block_on(asking)?, note, clocks);
                (if json { json_of(&report)? } else { sheet::text(&report, table::colour()) }, report.exit_code())
            }
            Question::Explain { model, json } => {
                let told = runtime.block_on(explain::ask(&configuration, &pool, &model, note, clocks));
                (if json { json_of(&told)? } else { told.text(table::colour()) }, told.exit_code())
            }
        };
        // Whatever came from Google was scrubbed where it came in; this is the last door.
        writeln!(std::io::stdout().lock(), "{}", scrubber.scrub_str(&text).trim_end())?;
        Ok(ExitCode::from(code))
    }
}

fn json_of(page: &impl serde::Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(page)
}

/// The configured keys with what the last run of the gateway knew of them; why that could not be read, if so.
fn remembered(configuration: &Configuration, clocks: Clocks) -> anyhow::Result<(KeyPool, Egresses, Option<String>)> {
    let (pool, egresses) = house::pool(&configuration.keys, clocks)?;
    let note = match house::memory(&configuration.settings).look::<Memory>() {
        Ok(memory) => {
            memory.iter().for_each(|memory| pool.recall(memory, clocks));
            memory.is_none().then(|| "DATA_DIR holds no memory of the keys yet".to_owned())
        }
        Err(error) => Some(format!("the memory of the keys in DATA_DIR cannot be read: {error}")),
    };
    Ok((pool, egresses, note))
}
