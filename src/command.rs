//! The command line.
#![expect(clippy::doc_markdown, reason = "clap shows these lines as they are written")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod exit;
mod tell;
mod house;
mod renewal;
mod serve;
mod check;
mod demo;
mod mock;
mod health;
mod token;
mod words;
mod figures;
mod table;
mod instance;
mod keys;
mod pages;
#[cfg(test)]
mod looks;
mod status;
mod top;
mod report;
mod load;

/// A gateway that serves Google's Gemini API from a pool of keys.
///
/// Without a command it serves:
///
///   GEMINI_API_KEY=key1:10,key2:8 geminate
///
/// Clients change their base URL to http://127.0.0.1:8080 and nothing else. Settings come from
/// environment variables and from config.toml; .env.example and config.toml.example have all of them.
#[derive(Debug, Parser)]
#[command(name = "geminate", version, verbatim_doc_comment)]
pub struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    from: From,
}

/// Where the configuration is.
#[derive(clap::Args, Clone, Debug, Default)]
struct From {
    /// The configuration file [default: GEMINATE_CONFIG, else config.toml where it is present]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway: this is the default
    Serve,
    /// Check the configuration and print what it comes to, secrets masked
    Check,
    /// Serve a fake of the Gemini API, with quotas and scripted faults
    Mock(mock::Mock),
    /// Show the gateway at work without a key: a mocked Google, three keys, one flaky, light traffic
    Demo(demo::Demo),
    /// Tell on one screen how the running gateway is: exit 0 if all is well
    Status(status::Status),
    /// Watch the running gateway: its keys, its streams, and how fast they go
    Top(top::Top),
    /// Report on the last hour or day: requests, times, models, keys, errors, waste, and what to do
    Report(report::Paper),
    /// Ask Google about each key, or explain which key a model would get now
    Keys(keys::Keys),
    /// Put load on an endpoint of the Gemini or the OpenAI API, and measure how it answers
    Load(load::Load),
    /// Issue a token for a client, signed with JWT_SECRET or a private key
    Token(token::Token),
    /// Ask a running instance whether it takes traffic: exit 0 if so, else 1
    Health(health::Health),
}

/// Runs the command; the code is the process's.
pub fn run(line: Line) -> ExitCode {
    let from = line.from.config;
    let done = match line.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(from.as_deref()),
        Command::Check => check::run(from.as_deref()),
        Command::Mock(mock) => mock.run(),
        Command::Demo(demo) => demo.run(),
        Command::Token(token) => token.run(from.as_deref()),
        Command::Keys(keys) => keys.run(from.as_deref()),
        Command::Health(health) => health.run(from.as_deref()),
        Command::Status(status) => status.run(from.as_deref()),
        Command::Top(top) => top.run(from.as_deref()),
        Command::Report(report) => report.run(from.as_deref()),
        Command::Load(load) => load.run(from.as_deref()),
    };
    done.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(faults) = error.downcast_ref::<crate::config::Faults>() {
        tell::err(faults);
        return ExitCode::from(exit::CONFIGURATION);
    }
    if tell::is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    tell::err(format_args!("geminate: {error:#}\n"));
    ExitCode::FAILURE
}
