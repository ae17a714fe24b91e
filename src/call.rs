//! A call: one request as the layers see it, and what one attempt at it comes to.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::affinity::Bound;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::flow::Flow;
use crate::pool::ask::Only;
use crate::pool::key::Key;
use crate::pool::lease::SharedLane;
use crate::pool::outage::Outage;
use crate::prefix::Prefix;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::skim::blobs::blob_bytes;
use crate::verdict::Verdict;

pub mod wish;

use self::wish::Wish;

/// So many bytes of base64 have about the tokens of one byte of text: a photograph of 2 MB a thousand, a second of sound or
/// film 32 to 300, a page of a PDF 260 (Gemini API documentation, "Understand and count tokens", 2026-10).
const BLOB_PER_TEXT: u64 = 128;

/// A request that was read at the edge. Shared by all its attempts.
#[derive(Debug)]
pub struct Call {
    /// What it asks for.
    pub endpoint: Endpoint,
    /// The method.
    pub method: Method,
    /// The headers that go up: cleaned, without any credential.
    pub headers: HeaderMap,
    /// The body.
    pub payload: Payload,
    /// Who asks.
    pub client: Client,
    /// What it wishes of answers that are kept.
    pub wish: Wish,
    /// Where its story is written.
    pub record: Arc<Record>,
    /// The lane whose limits it meets: its model's, or the empty one where Google counts nothing for a model.
    pub lane: Box<str>,
    /// What the resources it names say of the keys that may serve it.
    pub bound: Bound,
    /// How its prompt begins; empty where that does not matter.
    pub prefix: Prefix,
    /// How many attempts that count are left to its model, where that may be asked more than once.
    pub left: Option<Arc<AtomicU32>>,
    /// Whether it waits for its model: in line for a key, and for an overload to pass. Not while another model may serve.
    pub patient: bool,
    /// When it arrived.
    pub arrived: Instant,
    /// By when the answer's first byte is due.
    pub deadline: Instant,
    /// The time until then as it was configured or asked for, to be told where it was too short.
    pub time: Duration,
    /// Whether its answer has begun to come, and is read whole before anything of it goes on: it is in time then.
    pub coming: AtomicBool,
}

impl Call {
    /// Another one in its place, of the same client and within the same time.
    pub fn in_place(&self, endpoint: Endpoint, payload: Payload) -> Self {
        Self {
            endpoint,
            method: self.method.clone(),
            headers: self.headers.clone(),
            payload,
            client: self.client.clone(),
            wish: self.wish,
            record: Arc::clone(&self.record),
            lane: self.lane.clone(),
            bound: self.bound.clone(),
            // Another model has cached nothing of it.
            prefix: Prefix::default(),
            left: None,
            patient: self.patient,
            arrived: self.arrived,
            deadline: self.deadline,
            time: self.time,
            coming: AtomicBool::new(false),
        }
    }

    /// The keys that alone may serve it, by what it names.
    pub const fn only(&self) -> Option<Only> {
        match &self.bound {
            Bound::Free | Bound::Prefers(_) | Bound::Unknown(_) => None,
            Bound::Project(project, _) | Bound::Part(project) => Some(Only::Project(*project)),
            Bound::Key(index, _) => Some(Only::Key(*index)),
        }
    }
}

/// A request's body.
#[derive(Debug)]
pub enum Payload {
    /// In memory, to be sent as often as needed. The permit is its share of the memory set aside for that.
    Kept(Bytes, Option<OwnedSemaphorePermit>),
    /// Passed on as it comes, once: what [`Payload::take`] leaves behind is nothing.
    Streamed(Mutex<Option<axum::body::Body>>, Flow),
}

impl Payload {
    /// Whether it can be sent again.
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(..))
    }

    /// The bytes in memory, as far as there are any.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Kept(bytes, _) => bytes,
            Self::Streamed(..) => &[],
        }
    }

    /// As many bytes of text weigh about as much as a prompt: whatever is base64 in it has few tokens for its size.
    pub fn weight(&self) -> u64 {
        let blobs = blob_bytes(self.bytes());
        (self.bytes().len() as u64).saturating_sub(blobs) + blobs / BLOB_PER_TEXT
    }

    /// How far the stream has come.
    pub const fn flow(&self) -> Option<&Flow> {
        match self {
            Self::Kept(..) => None,
            Self::Streamed(_, flow) => Some(flow),
        }
    }

    /// The stream, for the first who asks.
    pub fn take(&self) -> Option<axum::body::Body> {
        match self {
            Self::Kept(..) => None,
            Self::Streamed(body, _) => body.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

/// One attempt at a call.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The call.
    pub call: Arc<Call>,
    /// Keys this call has tried: others are preferred.
    pub tried: Vec<u32>,
    /// Projects this call must not go to again.
    pub shunned: Vec<u32>,
    /// The one project that this call must go to from now on, beside what it is bound by.
    pub only: Option<u32>,
    /// Whether to wait in line when no key is free.
    pub patient: bool,
    /// Whether the last try cost of a day's quota and came to nothing.
    pub thrifty: bool,
    /// Where it says which key it got, for whoever watches it.
    pub leased: Option<Arc<OnceLock<Leased>>>,
}

/// The key that an attempt got.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The key.
    pub key: Arc<Key>,
    /// Since when.
    pub at: Instant,
}

/// An attempt that gave no answer for the client. Large, so it goes about in a box.
#[derive(Debug)]
pub struct Failure {
    /// What it came to.
    pub verdict: Verdict,
    /// The key it was made with, and for which model; `None`: no attempt was made.
    pub with: Option<(Arc<Key>, Arc<SharedLane>)>,
    /// The index of the key of another attempt, which was made beside it and failed as well.
    pub beside: Option<u32>,
    /// Why no key could be had.
    pub outage: Option<Outage>,
    /// Google's error answer, scrubbed.
    pub answered: Option<Answered>,
    /// The same, read.
    pub refusal: Refusal,
    /// What to tell the client where there is no answer of Google's.
    pub error: Option<Error>,
}

/// An error answer of Google's in memory, scrubbed and with clean headers.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers that may go on.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Attempt {
    /// It got this key, and is sent now.
    pub fn got(&self, key: &Arc<Key>) {
        if let Some(leased) = &self.leased {
            let _one_attempt_gets_one = leased.set(Leased { key: Arc::clone(key), at: Instant::now() });
        }
    }

    /// The first at a call.
    pub fn first(call: Arc<Call>) -> Self {
        let patient = call.patient;
        Self { call, tried: Vec::new(), shunned: Vec::new(), only: None, patient, thrifty: false, leased: None }
    }
}

impl Failure {
    /// No key could be had.
    pub fn out(outage: Outage) -> Box<Self> {
        Box::new(Self { outage: Some(outage), ..Self::of(Verdict::Caller) })
    }

    /// Nothing was tried, and `error` says why.
    pub fn refused(error: Error) -> Box<Self> {
        Box::new(Self { error: Some(error), ..Self::of(Verdict::Caller) })
    }

    /// This, of which no more is known.
    pub fn of(verdict: Verdict) -> Self {
        let refusal = Refusal::default();
        Self { verdict, with: None, beside: None, outage: None, answered: None, refusal, error: None }
    }
}
