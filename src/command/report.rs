//! `geminate report`: the last hour or day, and what to do about it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::command::instance::{Instance, Unheard};
use crate::command::pages::Full;
use crate::command::report::page::Report;
use crate::command::report::sources::{Seen, Span};
use crate::command::status::unreachable;
use crate::config::Sources;

mod sources;
mod stretch;
mod finding;
mod page;
mod markdown;

/// Report on the last hour or day: requests, times, models, keys, errors, waste, and what to do
///
/// The running gateway is asked at ADMIN_HOST and ADMIN_PORT, or at --url, with ADMIN_TOKEN, else AUTH_TOKEN: for
/// /monitor/full, and for /api/series, /api/errors and /api/overview where they answer. The report says what span each
/// part of it covers; what is only counted from the start on is told so.
///
/// Exit codes: 0 there is a report, whatever it tells; 1 it cannot be written; 69 the gateway cannot be asked; 64 the
/// configuration is faulty.
#[derive(clap::Args, Debug)]
pub(super) struct Paper {
    /// How far back
    #[arg(long, value_enum, default_value_t)]
    span: Span,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write it there in place of the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The gateway's origin [default: http:// at ADMIN_HOST and ADMIN_PORT]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// How it is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    #[default]
    Markdown,
    Json,
}

impl Paper {
    /// Writes the report.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let settings = Sources::of_process(config).settings()?;
        let instance = Instance::new(&settings, self.url.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = match runtime.block_on(look(&instance, self.span)) {
            Ok(seen) => seen,
            Err(unheard) => return Ok(unreachable(&unheard)),
        };
        let report = Report::new(&seen, instance.at(), self.span);
        let text = match self.format {
            Format::Markdown => markdown::text(&report),
            Format::Json => serde_json::to_string_pretty(&report)?,
        };
        let text = instance.clean(text.trim_end()) + "\n";
        match &self.output {
            Some(path) => {
                std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
            }
            None => std::io::stdout().lock().write_all(text.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn look(instance: &Instance, span: Span) -> Result<Seen, Unheard> {
    Ok(Seen {
        full: Full::of(instance).await?,
        series: instance.find(&format!("/api/series?span={}", span.name())).await?,
        errors: instance.find("/api/errors?limit=0").await?,
        overview: instance.find("/api/overview").await?,
    })
}
