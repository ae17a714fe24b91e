//! A call: one request as the layers see it, and what one attempt at it comes to.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::affinity::Bound;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::flow::Flow;
use crate::pool::key::Key;
use crate::pool::lease::SharedLane;
use crate::pool::outage::Outage;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::verdict::Verdict;

pub mod wish;

use self::wish::Wish;

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
    /// When it arrived.
    pub arrived: Instant,
    /// By when the answer's first byte is due.
    pub deadline: Instant,
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
}

/// An attempt that gave no answer for the client.
#[derive(Debug)]
pub struct Failure {
    /// What it came to.
    pub verdict: Verdict,
    /// The key it was made with, and for which model; `None`: no attempt was made.
    pub with: Option<(Arc<Key>, Arc<SharedLane>)>,
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
    /// The first at a call.
    pub const fn first(call: Arc<Call>) -> Self {
        Self { call, tried: Vec::new(), shunned: Vec::new(), only: None, patient: true, thrifty: false }
    }
}

impl Failure {
    /// No key could be had.
    pub fn out(outage: Outage) -> Self {
        let error = None;
        Self {
            verdict: Verdict::Caller,
            with: None,
            outage: Some(outage),
            answered: None,
            refusal: Refusal::default(),
            error,
        }
    }

    /// Nothing was tried, and `error` says why.
    pub fn refused(error: Error) -> Self {
        let error = Some(error);
        Self { verdict: Verdict::Caller, with: None, outage: None, answered: None, refusal: Refusal::default(), error }
    }
}
