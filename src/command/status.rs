//! `geminate status`: how the running gateway is, on one screen.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::command::instance::{Instance, Unheard};
use crate::command::pages::Full;
use crate::command::{exit, table, tell};
use crate::config::Sources;

pub(super) mod verdict;
pub(super) mod sheet;
mod page;

/// Tell on one screen how the running gateway is
///
/// It is asked for /monitor/full at ADMIN_HOST and ADMIN_PORT, or at --url, with ADMIN_TOKEN, else AUTH_TOKEN. Either
/// listener answers.
///
/// Exit codes: 0 all is well; 1 degraded: a key is out, requests fail, or it drains; 2 down: no key can serve; 69 it
/// cannot be asked; 64 the configuration is faulty.
#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// One JSON document in place of the tables
    #[arg(long)]
    json: bool,
    /// The gateway's origin [default: http:// at ADMIN_HOST and ADMIN_PORT]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Status {
    /// Prints how it is; the code tells it as well.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let settings = Sources::of_process(config).settings()?;
        let instance = Instance::new(&settings, self.url.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let full = match runtime.block_on(Full::of(&instance)) {
            Ok(full) => full,
            Err(unheard) => return Ok(unreachable(&unheard)),
        };
        let verdict = verdict::of(&full);
        let text = if self.json {
            serde_json::to_string_pretty(&page::Page::new(&full, &verdict))?
        } else {
            sheet::text(&full, &verdict, instance.at(), table::colour())
        };
        writeln!(std::io::stdout().lock(), "{}", instance.clean(text.trim_end()))?;
        Ok(ExitCode::from(verdict.state.exit_code()))
    }
}

/// Tells that there is nothing to tell.
pub(super) fn unreachable(unheard: &Unheard) -> ExitCode {
    tell::err(format_args!("geminate: the gateway cannot be asked: {unheard}\n"));
    ExitCode::from(exit::UNHEARD)
}
