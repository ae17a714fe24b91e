//! `geminate mock`: Google's API as tests and developers need it, without a key and without quota.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use tokio::net::TcpListener;

use crate::command::tell;
use crate::mock::{MockKey, Quota, Script, Settings, Shape, World, serve};
use crate::server::stops;

/// Serve a fake of the Gemini API with quotas and scripted faults.
///
/// Without --key every key is known. Scripts are `key=K model=M action=A path=P times=N skip=N probability=P
/// fault=NAME[,NAME]`, with * in names; the first that matches plays. They can also be posted to /mock/script while it
/// runs; /mock/calls, /mock/state and /mock/reset show and clear what happened. Quotas are changed while it runs by a
/// POST to /mock/quota, such as `{"project":"p","model":"*","quota":{"rpm":20},"shape":"bucket","tier":"paid"}`; what is
/// left out stays as it was.
///
/// Actions are Google's (generateContent, countTokens, batchGenerateContent, predict and so on); chat, embeddings,
/// images, models, model; a collection and a verb (files.create, files.get, files.list, files.delete, files.download,
/// cachedContents.patch, batches.cancel, fileSearchStores.importFile, documents.list, operations.get,
/// interactions.create, videos.get and so on); upload.start, upload.chunk, upload.query, upload.cancel,
/// upload.multipart, upload.raw. What a key makes belongs to its project.
#[derive(clap::Args, Debug)]
pub(super) struct Mock {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// A key that Google knows, with its project: KEY or KEY@PROJECT. May be repeated
    #[arg(long = "key", value_name = "KEY[@PROJECT]")]
    keys: Vec<MockKey>,
    /// What each project may use of each model, such as rpm=10,tpm=250000,rpd=250
    #[arg(long, value_name = "QUOTA")]
    quota: Option<Quota>,
    /// How a minute's quota comes back: minute (at once, with the wall's minute), sliding (each use after sixty
    /// seconds) or bucket (evenly)
    #[arg(long, default_value_t, value_name = "SHAPE")]
    shape: Shape,
    /// Count no beginning of a prompt as cached
    #[arg(long)]
    forgetful: bool,
    /// Milliseconds before an answer's head
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_ms: u64,
    /// Frames of a streamed answer
    #[arg(long, default_value_t = 4, value_name = "N")]
    chunks: usize,
    /// Milliseconds between two frames
    #[arg(long, default_value_t = 0, value_name = "MS")]
    chunk_interval_ms: u64,
    /// The least length of an answer's text in bytes
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    answer_bytes: usize,
    /// Where upload URLs lead, such as `https://gemini.example`; by default to the host that was called
    #[arg(long, value_name = "ORIGIN")]
    upload_origin: Option<String>,
    /// Leave the key out of upload URLs, where Google puts it
    #[arg(long)]
    keyless_upload_urls: bool,
    /// A scripted fault, such as 'key=k2 model=* fault=overloaded times=3'. May be repeated
    #[arg(long = "fault", value_name = "SCRIPT")]
    scripts: Vec<Script>,
}

impl Mock {
    /// Serves until the process ends.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut stops = stops().context("signals cannot be received")?;
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("cannot have {}", self.listen))?;
            tell::out(format_args!("the mock listens at http://{}", listener.local_addr()?));
            tokio::select! {
                () = serve(listener, Arc::new(World::new(self.settings()))) => {}
                _ = stops.next() => {}
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    fn settings(self) -> Settings {
        Settings {
            keys: self.keys,
            quota: self.quota.unwrap_or_default(),
            shape: self.shape,
            implicit_caching: !self.forgetful,
            latency: Duration::from_millis(self.latency_ms),
            chunks: self.chunks,
            chunk_interval: Duration::from_millis(self.chunk_interval_ms),
            answer_bytes: self.answer_bytes,
            upload_origin: self.upload_origin,
            upload_key: !self.keyless_upload_urls,
            scripts: self.scripts,
            ..Settings::default()
        }
    }
}
