//! The way to the collector: one task on the main runtime sends what the batch processor's own thread hands over.

use std::error::Error as _;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use reqwest::{Certificate, Client, Url, redirect};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::settings;
use crate::telemetry::traces::counts::Counts;
use crate::telemetry::traces::fate::Unusable;

/// Batches on their way to the task: the processor sends one after the other.
const BATCHES_MAX: usize = 1;
/// How long the last spans may take when geminate is told to stop.
const FLUSH: Duration = Duration::from_secs(3);
/// The same with what it takes to begin.
const END: Duration = Duration::from_secs(4);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// What is read of a collector's answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A batch, and who waits for the answer.
#[derive(Debug)]
struct Batch {
    request: Request<Bytes>,
    answer: oneshot::Sender<Result<Response<Bytes>, String>>,
}

/// The exporter's HTTP client: async reqwest needs a runtime, which the processor's thread does not have.
#[derive(Debug)]
pub(super) struct Handover(mpsc::Sender<Batch>);

#[async_trait]
impl HttpClient for Handover {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Batch { request, answer }).await.map_err(|_| STOPPED)?;
        Ok(answered.await.map_err(|_| STOPPED)??)
    }
}

const STOPPED: &str = "geminate stops";

/// Sends spans until it is told to stop, then what is left. To be run on the runtime that lasts longest.
#[derive(Debug)]
pub struct Sender {
    way: Way,
    batches: mpsc::Receiver<Batch>,
    processor: Arc<BatchSpanProcessor>,
    counts: Arc<Counts>,
}

/// The client and what goes with every batch.
#[derive(Debug)]
pub(super) struct Way {
    client: Client,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the last batch failed: that is told once.
    failing: bool,
}

impl Way {
    /// To the collector of these settings, which is trusted as `authorities` and its own one say.
    pub(super) fn new(settings: &settings::Traces, authorities: &[Certificate]) -> Result<Self, Unusable> {
        let own = settings.ca_file.as_deref().map(authority).transpose()?.unwrap_or_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .timeout(settings.timeout)
            .tls_certs_only(authorities.iter().cloned().chain(own))
            .build()
            .map_err(|error| Unusable::Client(error.without_url().to_string()))?;
        let url = settings.endpoint.expose().parse();
        // The error itself could show a password.
        let url = url.map_err(|_| Unusable::Client("it is no URL".to_owned()))?;
        Ok(Self { client, url, headers: settings.headers.clone(), failing: false })
    }

    async fn send(&mut self, batch: Batch) {
        let answer = self.ask(batch.request).await;
        let fault = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status().as_u16())),
            Err(why) => Some(why.clone()),
        };
        match fault {
            Some(why) if !self.failing => warn!(why, "traces cannot be delivered; told once, until they can again"),
            None if self.failing => info!("traces are delivered again"),
            _ => {}
        }
        self.failing = matches!(&answer, Ok(answer) if !answer.status().is_success()) || answer.is_err();
        // Nobody waits any more when the processor was told to stop.
        let _ = batch.answer.send(answer);
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (parts, body) = request.into_parts();
        let mut headers: HeaderMap = parts.headers;
        headers.extend(self.headers.iter().cloned());
        let asked = self.client.post(self.url.clone()).headers(headers).body(body).send().await;
        let (parts, body) = Response::from(asked.map_err(|error| cause(&error))?).into_parts();
        let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let whole = whole.map_err(|_| "the collector's answer broke off or is too long".to_owned())?;
        Ok(Response::from_parts(parts, whole.to_bytes()))
    }
}

impl Sender {
    /// A task's work, and the client that hands over to it.
    pub(super) fn new(way: Way) -> (Handover, impl FnOnce(Arc<BatchSpanProcessor>, Arc<Counts>) -> Self) {
        let (handover, batches) = mpsc::channel(BATCHES_MAX);
        (Handover(handover), move |processor, counts| Self { way, batches, processor, counts })
    }

    /// Ends a few seconds after `stopping` at the latest, whether the collector takes the last spans or not.
    pub async fn run(self, stopping: impl Future<Output = ()>) {
        let Self { mut way, mut batches, processor, counts } = self;
        let sending = async {
            while let Some(batch) = batches.recv().await {
                way.send(batch).await;
            }
            // The processor has ended: whoever told it to says how.
            pending::<bool>().await
        };
        let last = async {
            stopping.await;
            // It blocks until its thread has sent what is left.
            let flush = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(FLUSH));
            matches!(timeout(END, flush).await, Ok(Ok(Ok(()))))
        };
        let flushed = tokio::select! {
            flushed = sending => flushed,
            flushed = last => flushed,
        };
        if !flushed {
            warn!(spans = counts.waiting(), "the last traces were not delivered within {} s", FLUSH.as_secs());
        }
    }
}

/// The certificates of a file.
fn authority(path: &std::path::Path) -> Result<Vec<Certificate>, Unusable> {
    let fault = |why: String| Unusable::Authority { path: path.display().to_string(), why };
    let pem = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| fault("it is not PEM".to_owned()))?;
    if found.is_empty() { Err(fault("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// The innermost cause of a failure: never the URL, which may hold a password.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    match cause {
        _ if error.is_timeout() => "the collector does not answer in time".to_owned(),
        Some(cause) => cause.to_string(),
        None => "the connection broke".to_owned(),
    }
}
