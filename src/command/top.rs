//! `geminate top`: the running gateway as it lives.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::command::instance::{Instance, Unheard};
use crate::command::pages::Full;
use crate::command::status::unreachable;
use crate::command::table;
use crate::command::top::rates::Rates;
use crate::command::top::screen::{Screen, Size};
use crate::command::top::sheet::Scene;
use crate::config::Sources;
use crate::server::stops;

mod rates;
mod screen;
mod sheet;

/// Seconds between two looks.
const INTERVAL_S: f64 = 2.0;
/// Between the two looks of a single print.
const ONCE: Duration = Duration::from_secs(1);
/// What is printed has no height to keep to, but an end.
const LINES_PRINTED: u16 = 2_000;
const COLUMNS_PRINTED: u16 = 1_000;

/// Watch the running gateway: its keys, its streams, and how fast they go
///
/// It is asked for /monitor/full at ADMIN_HOST and ADMIN_PORT, or at --url, with ADMIN_TOKEN, else AUTH_TOKEN. Rates
/// are differences of two looks. q or Ctrl-C ends it; a gateway that cannot be asked is waited for. Where the output is
/// no terminal, one view is printed. NO_COLOR is respected.
///
/// Exit codes: 0 it was ended; with --once, or where the output is no terminal, 69 the gateway cannot be asked; 64 the
/// configuration is faulty.
#[derive(clap::Args, Debug)]
pub(super) struct Top {
    /// Seconds between two looks, from 0.2 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = INTERVAL_S, value_parser = seconds)]
    interval: f64,
    /// Print one view, and end
    #[arg(long)]
    once: bool,
    /// The gateway's origin [default: http:// at ADMIN_HOST and ADMIN_PORT]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds.filter(|seconds| (0.2..=3_600.0).contains(seconds)).ok_or_else(|| "from 0.2 to 3600".to_owned())
}

impl Top {
    /// Shows it until it is ended.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let settings = Sources::of_process(config).settings()?;
        let instance = Instance::new(&settings, self.url.as_deref())?;
        let every = Duration::from_secs_f64(self.interval);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if self.once || !std::io::stdout().is_terminal() {
            let (full, rates) = match runtime.block_on(twice(&instance, every.min(ONCE))) {
                Ok(seen) => seen,
                Err(unheard) => return Ok(unreachable(&unheard)),
            };
            let size = Size { columns: COLUMNS_PRINTED, lines: LINES_PRINTED };
            let scene = Scene { full: &full, rates: &rates, trouble: None };
            let text = instance.clean(&scene.text(instance.at(), size, table::colour()));
            let note = if self.once { "" } else { "\nThe output is no terminal: this is one view.\n" };
            write!(std::io::stdout().lock(), "{text}{note}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let shown = runtime.block_on(watch(&instance, every));
        // The keyboard is still waited for.
        runtime.shutdown_background();
        shown.map(|()| ExitCode::SUCCESS)
    }
}

/// Two looks, and what changed between them.
async fn twice(instance: &Instance, pause: Duration) -> Result<(Full, Rates), Unheard> {
    let before = Full::of(instance).await?;
    sleep(pause).await;
    let after = Full::of(instance).await?;
    let rates = Rates::between(&before, &after);
    Ok((after, rates))
}

/// What is known at the moment.
#[derive(Default)]
struct Sight {
    full: Option<Full>,
    rates: Rates,
    trouble: Option<String>,
}

impl Sight {
    /// Takes in what a look came to.
    fn take(&mut self, look: Result<Full, Unheard>) {
        match look {
            Ok(full) => {
                self.rates = self.full.as_ref().map(|before| Rates::between(before, &full)).unwrap_or_default();
                (self.full, self.trouble) = (Some(full), None);
            }
            Err(unheard) => self.trouble = Some(unheard.to_string()),
        }
    }

    fn draw(&self, screen: &Screen, instance: &Instance, colour: bool) -> std::io::Result<()> {
        let (at, size, trouble) = (instance.at(), screen.size(), self.trouble.as_deref());
        let text = match &self.full {
            Some(full) => Scene { full, rates: &self.rates, trouble }.text(at, size, colour),
            None => sheet::nothing(at, trouble),
        };
        screen.draw(&instance.clean(&text), size)
    }
}

async fn watch(instance: &Instance, every: Duration) -> anyhow::Result<()> {
    let mut stops = stops()?;
    let mut resized = signal(SignalKind::window_change())?;
    let colour = table::colour();
    let screen = Screen::open()?;
    let (pressed, mut keys) = mpsc::channel(1);
    screen.listen(pressed);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sight = Sight::default();
    sight.draw(&screen, instance, colour)?;
    loop {
        tokio::select! {
            _ = stops.next() => return Ok(()),
            Some(()) = keys.recv() => return Ok(()),
            _ = resized.recv() => {}
            look = async { ticks.tick().await; Full::of(instance).await } => sight.take(look),
        }
        sight.draw(&screen, instance, colour)?;
    }
}
