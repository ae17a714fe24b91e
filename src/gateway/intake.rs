//! The intake: a request's head and body become a [`Call`], within bounds of size, time and memory.

use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use http_body_util::BodyExt;
use serde::de::IgnoredAny;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::affinity::{Affinity, Bound};
use crate::alias::Aliases;
use crate::call::wish::Wish;
use crate::call::{Call, Payload};
use crate::client::Client;
use crate::endpoint::{Action, Endpoint};
use crate::error::Error;
use crate::flow::Flow;
use crate::gateway::naming;
use crate::prefix::Prefix;
use crate::record::Record;
use crate::reference::{Finder, REFERENCES_MAX, Reference};
use crate::relay::Eyes;
use crate::scrub::Scrubber;
use crate::settings::Settings;
use crate::upstream::headers;

mod memory;
mod passage;

use memory::Memory;
use passage::Passage;

/// `X-Server-Timeout` is in seconds.
const SERVER_TIMEOUT: HeaderName = HeaderName::from_static("x-server-timeout");

/// A file larger than this is passed on as it comes, and gets one attempt.
const FILE_KEPT_BYTES_MAX: u64 = 8 << 20;

/// A body gets room for so many times what has come of it, up to the length it announced: one that comes is copied seldom,
/// and one that is only announced has no place.
const ROOM_AHEAD: usize = 8;

/// The bounds, and the memory that bodies may take together.
#[derive(Debug)]
pub struct Intake {
    body_max: u64,
    keep_max: u64,
    memory: Memory,
    patience: Duration,
    timeout: Duration,
    timeout_ceiling: Duration,
    affinity: Arc<Affinity>,
    aliases: Aliases,
    scrubber: Arc<Scrubber>,
}

impl Intake {
    /// As configured.
    pub fn new(settings: &Settings, eyes: &Eyes) -> Self {
        Self {
            body_max: settings.server.body_bytes_max,
            keep_max: settings.retry.replay_bytes_max,
            memory: Memory::new(settings.retry.replay_bytes_total),
            patience: Duration::from_millis(settings.server.body_read_timeout_ms),
            timeout: Duration::from_millis(settings.deadline.request_timeout_ms),
            timeout_ceiling: Duration::from_millis(settings.deadline.request_timeout_ceiling_ms),
            affinity: Arc::clone(&eyes.affinity),
            aliases: Aliases::new(&settings.models.aliases),
            scrubber: Arc::clone(&eyes.scrubber),
        }
    }

    /// What clients may call a model.
    pub const fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// A model's name as it may stand in lists and labels: clients may call one anything, a key of the pool too.
    pub fn shown(&self, model: Box<str>) -> Box<str> {
        self.scrubber.name(model)
    }

    /// Reads a request, whose headers are taken. Its time begins now.
    pub async fn read(
        &self,
        mut endpoint: Endpoint,
        client: Client,
        record: Arc<Record>,
        head: &mut Parts,
        body: Body,
    ) -> Result<Arc<Call>, Error> {
        let arrived = Instant::now();
        // What is uploaded may hold anything, and names nothing.
        let is_file = endpoint.is_upload() || endpoint.action == Action::Other && endpoint.collection() == "files";
        let mut finder = (!is_file).then(Box::<Finder>::default);
        let mut payload = self.body(&endpoint, &head.headers, body, &mut finder).await?;
        let read = Instant::now();
        record.add_wait(read - arrived);
        let shown = |model| self.shown(model);
        let model = naming::settle(&mut endpoint, &head.method, &mut payload, &self.aliases, shown).unwrap_or_default();
        if !model.is_empty() {
            record.model(&model);
        }
        if let Some(finder) = &finder
            && self.affinity.isolates(&client)
            && (finder.unclear() || !is_plain(&payload, &head.headers))
        {
            return Err(Error::Unchecked);
        }
        let named = finder.map_or(Ok(Vec::new()), |finder| finder.end());
        let named = named.map_err(|_| Error::TooManyResources { max: REFERENCES_MAX })?;
        let bound = self.bind(&endpoint, &head.method, &client, &named)?;
        let lane = lane(endpoint.action, &head.method, model);
        let prefix = self.prefix(&endpoint, &lane, &payload);
        let time = self.time(&head.headers);
        let wish = Wish::of(&head.headers);
        Ok(Arc::new(Call {
            endpoint,
            method: head.method.clone(),
            headers: headers::up(mem::take(&mut head.headers)),
            payload,
            client,
            wish,
            record,
            lane,
            bound,
            prefix,
            left: None,
            patient: true,
            arrived,
            deadline: read + time,
            time,
            coming: AtomicBool::new(false),
        }))
    }

    /// How the prompt of a generation begins, where conversations are kept together.
    fn prefix(&self, endpoint: &Endpoint, lane: &str, payload: &Payload) -> Prefix {
        let prefixes = self.affinity.prefixes().filter(|_| generates(endpoint));
        prefixes.map(|prefixes| prefixes.of(lane, payload.bytes())).unwrap_or_default()
    }

    /// Which keys may serve what the path names, and the body: `named`.
    fn bind(&self, endpoint: &Endpoint, method: &Method, client: &Client, named: &[Reference]) -> Result<Bound, Error> {
        if endpoint.action == Action::UploadChunk {
            let known = endpoint.resource.as_ref().and_then(|upload| Some((self.affinity.owner(upload)?.key, upload)));
            return known.map(|(key, upload)| Bound::Key(key, upload.clone())).ok_or(Error::NoUpload);
        }
        let of_path = endpoint.resource.clone().map(|resource| Reference { resource, certain: true });
        let bound = self.affinity.bind(of_path.iter().chain(named), client)?;
        let makes = Some(endpoint).filter(|_| matches!(bound, Bound::Free)).and_then(|made| made.makes(method));
        let before = makes.and_then(|makes| self.affinity.sticks(client, makes));
        Ok(before.map_or(bound, Bound::Prefers))
    }

    /// The time until the first byte: as configured, or longer where the client asks, up to the ceiling. Of a body that
    /// streams every byte begins it anew.
    fn time(&self, headers: &HeaderMap) -> Duration {
        let ceiling = self.timeout_ceiling.max(self.timeout);
        let asked = headers.get(SERVER_TIMEOUT).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let asked = asked.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
        asked.clamp(self.timeout, ceiling)
    }

    /// Keeps the body where it fits, else lets it stream.
    async fn body(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        body: Body,
        finder: &mut Option<Box<Finder>>,
    ) -> Result<Payload, Error> {
        let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|len| len > self.body_max) {
            return Err(Error::BodyTooLarge { max: self.body_max });
        }
        if http_body::Body::is_end_stream(&body) {
            return Ok(Payload::Kept(Bytes::new(), None));
        }
        let keep_max = self.keep_max(endpoint.action);
        let may_be_kept = |len| len <= keep_max && self.memory.may_hold(len);
        if keep_max == 0 || !told.is_none_or(may_be_kept) {
            return Ok(self.streamed((Bytes::new(), None), body));
        }
        self.gather(body, told, keep_max, finder).await
    }

    /// How large a body may be to be kept.
    const fn keep_max(&self, action: Action) -> u64 {
        match action {
            // One key takes it, and another attempt is the client's to make.
            Action::UploadChunk => 0,
            Action::Upload if self.keep_max > FILE_KEPT_BYTES_MAX => FILE_KEPT_BYTES_MAX,
            _ => self.keep_max,
        }
    }

    /// Keeps the body as it comes, of the length that was `told`; lets it stream once it finds no room.
    async fn gather(
        &self,
        mut body: Body,
        told: Option<u64>,
        keep_max: u64,
        finder: &mut Option<Box<Finder>>,
    ) -> Result<Payload, Error> {
        let (mut first, mut all, mut held) = (Bytes::new(), BytesMut::new(), None);
        let whole = told.and_then(|told| usize::try_from(told).ok()).unwrap_or(0);
        while !http_body::Body::is_end_stream(&body) {
            let frame = timeout(self.patience, body.frame()).await.map_err(|_| Error::BodyTimeout(self.patience))?;
            let Some(frame) = frame else {
                passage::whole(&body)?;
                break;
            };
            let Ok(data) = frame.map_err(|error| passage::fault(&error))?.into_data() else { continue };
            if let Some(finder) = finder {
                finder.feed(&data);
            }
            if all.is_empty() && first.is_empty() {
                first = data;
            } else {
                let ahead = if all.is_empty() { mem::take(&mut first) } else { Bytes::new() };
                let len = all.len() + ahead.len() + data.len();
                if len > all.capacity() {
                    all.reserve(len.max(whole.min(len.saturating_mul(ROOM_AHEAD))) - all.len());
                }
                all.extend_from_slice(&ahead);
                all.extend_from_slice(&data);
            }
            let len = all.len().max(first.len()) as u64;
            if len > self.body_max {
                return Err(Error::BodyTooLarge { max: self.body_max });
            }
            if len > keep_max || !self.memory.grow(&mut held, len) {
                let ahead = if all.is_empty() { first } else { all.freeze() };
                return Ok(self.streamed((ahead, held), body));
            }
        }
        Ok(Payload::Kept(if all.is_empty() { first } else { all.freeze() }, held))
    }

    /// The body as it comes, `ahead` being what was read of it, and the memory for that; within the same bounds, its faults
    /// being [`Error`]s.
    fn streamed(&self, ahead: (Bytes, Option<OwnedSemaphorePermit>), body: Body) -> Payload {
        let flow = Flow::new(Instant::now());
        let limits = passage::Limits { max: self.body_max, patience: self.patience };
        let passage = Passage::new(ahead, body, limits, flow.clone());
        Payload::Streamed(Mutex::new(Some(Body::new(passage))), flow)
    }
}

/// Whether a body is at hand, and JSON to every reader of it, or empty.
fn is_plain(payload: &Payload, headers: &HeaderMap) -> bool {
    let (body, encoded) = (payload.bytes(), headers.contains_key(CONTENT_ENCODING));
    payload.is_kept() && (body.is_empty() || !encoded && serde_json::from_slice::<IgnoredAny>(body).is_ok())
}

/// Whether a prompt is read whose beginning Google may have cached.
fn generates(endpoint: &Endpoint) -> bool {
    use Action::*;
    matches!(endpoint.action, Generate | StreamSse | StreamArray | Chat | Interaction)
}

/// Counting tokens and looking at models spend nothing of what generations and embeddings are limited by.
fn lane(action: Action, method: &Method, model: Box<str>) -> Box<str> {
    match action {
        Action::CountTokens => format!("{model}:countTokens").into(),
        Action::ModelList | Action::ModelGet => "".into(),
        // To look at an operation below a model, or to take it away, spends nothing of the model's quota.
        Action::Other if *method != Method::POST => "".into(),
        _ => model,
    }
}
