//! `geminate load`: a load test of any endpoint that speaks Gemini's or OpenAI's API.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Url;

use crate::command::figures;
use crate::command::health::reached_at;
use crate::command::load::crew::{Crew, Ended};
use crate::command::load::plan::{AT_ONCE_MAX, DURATION_S_MAX, Pace, Plan, REQUESTS_MAX};
use crate::command::load::target::{Api, Question, Target, is_loopback};
use crate::command::{exit, table, tell};
use crate::config::Sources;
use crate::secret::Secret;
use crate::server::stops;
use crate::telemetry::clock;

mod plan;
mod tally;
mod target;
mod shot;
mod crew;
mod bar;
mod sheet;

/// The variable that holds the credential, so that no list of processes shows it.
const TOKEN: &str = "GEMINATE_TOKEN";
/// Requests and seconds where neither was asked for.
const REQUESTS: u64 = 200;
const DURATION_S: u64 = 10;
/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// Put load on an endpoint of the Gemini or the OpenAI API, and measure how it answers
///
/// With --rate, requests leave on time whether or not earlier ones have been answered, and each is measured from the
/// moment it was due: a server that stalls cannot hide behind the requests that it kept from being sent. With
/// --concurrency, each of so many callers asks again when its answer is over.
///
/// Every request carries another question, so that no cache answers for the model. Connections are HTTP/1.1 and used
/// again. A load costs what its requests cost: without --yes only an address of this machine is asked, and a gateway
/// there passes the load on to Google. It is bounded: by 200 requests and 10 seconds, whichever comes first, unless
/// --requests or --duration say otherwise.
///
/// Ctrl-C ends it early; what was measured is reported. Exit codes: 0 every request was answered; 1 some failed; 2 none
/// was answered; 64 it was not allowed to begin; 130 it was interrupted.
#[derive(clap::Args, Debug)]
pub(super) struct Load {
    /// Where the API is, such as http://127.0.0.1:8080; with the path that it lies below, if that is not the usual one
    #[arg(value_name = "URL")]
    url: String,
    /// Which API it speaks
    #[arg(long, value_enum, default_value_t)]
    api: Api,
    /// The model that is asked
    #[arg(long, default_value = "gemini-3.5-flash-lite")]
    model: String,
    /// The credential [default: the variable GEMINATE_TOKEN; for the gateway that is configured here its AUTH_TOKEN]
    #[arg(long)]
    token: Option<String>,
    /// Requests a second, sent on time
    #[arg(long, value_name = "R", value_parser = plan::rate, conflicts_with = "concurrency")]
    rate: Option<f64>,
    /// Callers that ask one after the other [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(AT_ONCE_MAX)))]
    concurrency: Option<u32>,
    /// End after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
    requests: Option<u64>,
    /// Send for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=DURATION_S_MAX))]
    duration: Option<u64>,
    /// Ask for streamed answers
    #[arg(long)]
    stream: bool,
    /// What is asked; each question has its number before it
    #[arg(long, value_name = "TEXT", default_value = target::PROMPT, conflicts_with = "prompt_bytes")]
    prompt: String,
    /// Ask a question of this length in place of a text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8_000_000))]
    prompt_bytes: Option<u32>,
    /// The most tokens that an answer may have [default: the model's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// Seconds that one answer may take, to its end
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=DURATION_S_MAX))]
    timeout: u64,
    /// One JSON document in place of the tables
    #[arg(long)]
    json: bool,
    /// Ask an endpoint that is not of this machine
    #[arg(long)]
    yes: bool,
}

impl Load {
    /// Puts the load on and prints what was measured.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let (plan, json) = (self.plan(), self.json);
        // Not by clap, which would show what was given: it may be a URL that holds a password.
        let url = match target::base(&self.url) {
            Ok(url) => url,
            Err(why) => return Ok(refuse(&format!("the URL is not one that can be asked: {why}"))),
        };
        if !is_loopback(&url) && !self.yes {
            let (requests, at) = (figures::many(plan.most(), "request"), target::shown(&url));
            let money = "which may cost money; add --yes if that is meant";
            return Ok(refuse(&format!("this would send up to {requests} to {at}, {money}")));
        }
        let token = self.token(&url, config)?;
        let question = match self.prompt_bytes {
            Some(bytes) => Question::Bytes(bytes as usize),
            None => Question::Text(self.prompt),
        };
        let run = u64::try_from(clock().as_second()).unwrap_or_default();
        let target = Target::new(&url, self.api, &self.model, self.stream, token)?;
        let target = target.asking(question, self.max_tokens, run);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = runtime.block_on(put(plan, target, !json))?;
        runtime.shutdown_background();
        let text = if json { serde_json::to_string_pretty(&report)? } else { sheet::text(&report, table::colour()) };
        writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
        Ok(ExitCode::from(report.exit_code()))
    }

    fn plan(&self) -> Plan {
        let pace = match (self.rate, self.concurrency) {
            (Some(rate), _) => Pace::Rate(rate),
            (None, callers) => Pace::Callers(callers.unwrap_or(10)),
        };
        let (requests, duration_s) = match (self.requests, self.duration) {
            (None, None) => (REQUESTS, DURATION_S),
            (requests, duration) => (requests.unwrap_or(REQUESTS_MAX), duration.unwrap_or(DURATION_S_MAX)),
        };
        let seconds = Duration::from_secs;
        Plan { pace, requests, duration: seconds(duration_s), timeout: seconds(self.timeout) }
    }

    /// The credential that was given, or the own gateway's.
    fn token(&self, url: &Url, config: Option<&Path>) -> anyhow::Result<Option<Secret>> {
        let given = self.token.clone().or_else(|| std::env::var(TOKEN).ok()).filter(|token| !token.is_empty());
        if given.is_some() {
            return Ok(given.map(Secret::new));
        }
        // No other's port is told the token of the gateway.
        let sources = Sources::of_process(config);
        let Ok(settings) = sources.settings() else { return Ok(None) };
        let server = &settings.server;
        let own = reached_at(server.host, server.port);
        let at = url.socket_addrs(|| None)?;
        Ok(settings.auth.tokens.first().filter(|_| at.contains(&own)).cloned())
    }
}

/// Sends, shows how far it is, and comes back when all is over or Ctrl-C was pressed.
async fn put(plan: Plan, target: Target, shown: bool) -> anyhow::Result<sheet::Report> {
    let mut stops = stops()?;
    let shown = shown && std::io::stderr().is_terminal();
    let (began_at, crew) = (clock(), Crew::hire(plan, target)?);
    let mut ticks = tokio::time::interval(REDRAW);
    let ended = loop {
        tokio::select! {
            () = crew.done() => break Ended::Done,
            _ = stops.next() => break Ended::Interrupted,
            _ = ticks.tick(), if shown => tell::err(bar::line(&crew.progress())),
        }
    };
    if shown {
        tell::err(bar::GONE);
    }
    let (progress, tally) = crew.dismiss().await;
    Ok(sheet::Report::new(plan, crew.target(), began_at, ended, progress, &tally))
}

/// Why nothing is done.
fn refuse(why: &str) -> ExitCode {
    tell::err(format_args!("geminate: {why}\n"));
    ExitCode::from(exit::CONFIGURATION)
}
