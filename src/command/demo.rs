//! `geminate demo`: the gateway over a mocked Google with three keys, one of them flaky, under light traffic.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::command::{serve, tell};
use crate::config::Sources;
use crate::mock::{Settings, World};
use crate::tasks::Tasks;

/// The keys of the demo: names, not secrets.
const KEYS: &str = "demo-key-steady:10,demo-key-flaky:8,demo-key-small:5";
/// What the second and third key do now and then, and how much the third may.
const SCRIPTS: [&str; 3] = [
    "key=demo-key-flaky probability=0.15 fault=overloaded",
    "key=demo-key-flaky probability=0.05 fault=internal",
    "key=demo-key-flaky probability=0.03 fault=quota_bare",
];
/// What may be set in the environment as for `serve`.
const KEPT: [&str; 6] = ["PORT", "ADMIN_PORT", "LOG_LEVEL", "LOG_FORMAT", "ENABLE_MONITORING", "REQUEST_TIMEOUT"];
const SMALL_QUOTA: &str = "rpm=6,tpm=250000,rpd=1000";
const MODELS: [&str; 3] = ["gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-3.1-pro-preview"];
/// How many clients ask, and how long each rests between two questions.
const CLIENTS: u64 = 3;
const REST: Duration = Duration::from_millis(1_700);
/// The traffic ends by itself, so that a forgotten demo costs nothing; the gateway stays.
const TRAFFIC_LASTS: Duration = Duration::from_hours(8);

/// Show the gateway at work without a key: a mocked Google, three keys, one flaky, light traffic
#[derive(clap::Args, Debug)]
pub(super) struct Demo {
    /// No traffic but yours
    #[arg(long)]
    quiet: bool,
}

impl Demo {
    /// Serves until it is told to stop.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the mock")?;
            let google = format!("http://{}", listener.local_addr()?);
            let scratch = std::env::temp_dir().join(format!("geminate-demo-{}", std::process::id()));
            let dir = scratch.to_string_lossy().into_owned();
            let own = [("GEMINI_API_KEY", KEYS), ("GEMINI_BASE_URL", google.as_str()), ("DATA_DIR", dir.as_str())];
            // Nothing else of the real configuration: its keys have no business here, its tokens would shut us out.
            let kept: Vec<_> = KEPT.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect();
            let kept = kept.iter().map(|(name, value)| (*name, value.as_str()));
            std::fs::create_dir_all(&scratch).context("no place for what the demo keeps")?;
            let file = scratch.join("config.toml");
            std::fs::write(&file, "").context("no place for its configuration")?;
            let sources = Sources::new(own.into_iter().chain(kept), Some((&file.to_string_lossy(), "")));
            let again = sources.clone();
            let read = Box::new(move || again.clone().with_text(&std::fs::read_to_string(&file).unwrap_or_default()));
            let tasks = Tasks::new();
            let world = Arc::new(world()?);
            tasks.spawn(crate::mock::serve(listener, world))?;
            let quiet = self.quiet;
            let ran = serve::serve(sources, read, |data, admin| {
                tell::out(format_args!(
                    "Google is mocked at {google}.\nTry: curl http://{data}/v1beta/models/{}:generateContent -d \
                     '{{\"contents\":[{{\"parts\":[{{\"text\":\"hello\"}}]}}]}}'\nSee: http://{admin}/ and http://{admin}/metrics",
                    MODELS[0]
                ));
                for client in 0..CLIENTS * u64::from(!quiet) {
                    tasks.spawn(ask(format!("http://{data}"), client))?;
                }
                Ok(())
            })
            .await;
            // What the demo remembered is of no use to anyone.
            let _ = std::fs::remove_dir_all(&scratch);
            ran
        })
    }
}

fn world() -> anyhow::Result<World> {
    let keys = ["demo-key-steady", "demo-key-flaky", "demo-key-small@small"];
    let scripts = SCRIPTS.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    let pace = (Duration::from_millis(250), Duration::from_millis(120));
    let base = Settings::with_keys(keys);
    let world = World::new(Settings { scripts, latency: pace.0, chunk_interval: pace.1, chunks: 6, ..base });
    world.set_quota("small", "*", SMALL_QUOTA.parse().map_err(anyhow::Error::msg)?);
    Ok(world)
}

/// One client that asks now and then, in turn by stream and whole.
async fn ask(origin: String, client: u64) {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
    let Ok(http) = http else { return };
    let began = Instant::now();
    for turn in client.. {
        if began.elapsed() > TRAFFIC_LASTS {
            return;
        }
        sleep(REST + Duration::from_millis(211 * client)).await;
        let model = usize::try_from(turn).map_or(MODELS[0], |turn| MODELS[turn % MODELS.len()]);
        let verb = if turn % 2 == 0 { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let body = json!({"contents": [{"parts": [{"text": format!("question {turn} of client {client}")}]}]});
        let asked = http.post(format!("{origin}/v1beta/models/{model}:{verb}")).body(body.to_string());
        // Whatever comes is shown by the gateway's own log and monitor.
        if let Ok(answer) = asked.header("content-type", "application/json").send().await {
            let _ = answer.bytes().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_small_key_meets_its_quota_and_the_steady_one_does_not() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let google = format!("http://{}", listener.local_addr().unwrap());
        let serving = crate::mock::serve(listener, Arc::new(world().unwrap()));
        let asking = async {
            let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
            let mut refused = Vec::new();
            for key in ["demo-key-steady", "demo-key-small"] {
                // Quotas are of a minute by the wall: of so many requests some meet one, even if another minute begins.
                for _ in 0..14 {
                    let asked = http.post(format!("{google}/v1beta/models/{}:generateContent", MODELS[0]));
                    let asked = asked.header("x-goog-api-key", key).body(r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#);
                    let status = asked.send().await.unwrap().status();
                    refused.extend((status == 429).then_some(key));
                }
            }
            refused
        };
        tokio::select! {
            () = serving => unreachable!("it serves until it is dropped"),
            refused = asking => assert!(!refused.is_empty() && refused.iter().all(|key| *key == "demo-key-small"), "{refused:?}"),
        }
    }
}
