//! What the world has seen: every call with its credentials, and how its answer ended.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::mock::auth::{self, Credential};
use crate::secret::Digest;

/// How much of a request's body is kept.
pub const BODY_KEPT_MAX: usize = 64 << 10;

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It has not yet.
    Open,
    /// All of it was handed to the connection.
    Complete,
    /// The caller went away first.
    Gone,
    /// A script cut or reset it.
    Broken,
}

/// One call, as it arrived and as it was answered.
#[derive(Clone, Debug)]
pub struct SeenCall {
    /// Counts from 1, in order of arrival.
    pub id: u64,
    /// When the head arrived.
    pub at: Instant,
    /// The connection it came on; counts from 1.
    pub connection: u64,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// Path and query as they were sent.
    pub path_and_query: String,
    /// All headers as they were sent.
    pub headers: HeaderMap,
    /// Every credential that came, in whatever form.
    pub credentials: Vec<Credential>,
    /// The key that was accepted.
    pub key: Option<String>,
    /// Its project.
    pub project: Option<String>,
    /// The model asked for.
    pub model: String,
    /// The action asked for; `unknown` on a path without one.
    pub action: String,
    /// The first 64 KiB of the body.
    pub body: Bytes,
    /// The body's whole length.
    pub body_bytes: u64,
    /// The whole body's SHA-256.
    pub body_digest: Option<Digest>,
    /// The script it met.
    pub script: Option<String>,
    /// The status of the answer; 0 before there is one.
    pub status: u16,
    /// Bytes of the answer's body handed to the connection.
    pub bytes_sent: u64,
    /// Writes of the answer's body, or messages of a session.
    pub writes: u64,
    /// The code by which the caller closed a session; 1005 is a close without one.
    pub close_heard: Option<u16>,
    /// How the answer ended.
    pub ending: Ending,
    /// When it ended.
    pub ended_at: Option<Instant>,
}

impl SeenCall {
    /// Whether the caller went away before the answer's end.
    pub fn aborted(&self) -> bool {
        self.ending == Ending::Gone
    }

    /// For the control route. Credentials are shown by their ends only: a real one may have come here.
    pub(crate) fn view(&self, started: Instant) -> Value {
        let millis = |at: Instant| at.saturating_duration_since(started).as_secs_f64() * 1000.0;
        json!({
            "id": self.id,
            "at_ms": millis(self.at),
            "ended_at_ms": self.ended_at.map(millis),
            "connection": self.connection,
            "version": format!("{:?}", self.version),
            "method": self.method.as_str(),
            "path": auth::without_credentials(&self.path_and_query),
            "headers": auth::safe_headers(&self.headers),
            "credentials": self.credentials.iter().map(Credential::view).collect::<Vec<_>>(),
            "key": self.key.as_deref().map(auth::tail),
            "project": self.project,
            "model": self.model,
            "action": self.action,
            "body": String::from_utf8_lossy(&self.body),
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_digest.map(|digest| digest.to_string()),
            "script": self.script,
            "status": self.status,
            "bytes_sent": self.bytes_sent,
            "writes": self.writes,
            "close_heard": self.close_heard,
            "ending": format!("{:?}", self.ending).to_ascii_lowercase(),
            "aborted": self.aborted(),
        })
    }
}

/// The calls, the latest last, bounded.
#[derive(Debug)]
pub(crate) struct Journal {
    calls: Mutex<VecDeque<Arc<Mutex<SeenCall>>>>,
    kept: usize,
    seen: AtomicU64,
    changes: watch::Sender<u64>,
}

impl Journal {
    pub(crate) fn new(kept: usize) -> Self {
        Self { calls: Mutex::default(), kept: kept.max(1), seen: AtomicU64::new(0), changes: watch::Sender::new(0) }
    }

    /// Enters a call; its id is given here.
    pub(crate) fn enter(self: &Arc<Self>, mut call: SeenCall) -> OpenCall {
        call.id = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let call = Arc::new(Mutex::new(call));
        let mut calls = held(&self.calls);
        if calls.len() == self.kept {
            calls.pop_front();
        }
        calls.push_back(Arc::clone(&call));
        drop(calls);
        self.changed();
        OpenCall { call, journal: Arc::clone(self) }
    }

    pub(crate) fn calls(&self) -> Vec<SeenCall> {
        held(&self.calls).iter().map(|call| held(call).clone()).collect()
    }

    pub(crate) fn clear(&self) {
        held(&self.calls).clear();
        self.changed();
    }

    /// Calls ever seen.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Hears of every change of every call.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

/// A call whose answer is under way. Dropped before its end, it is entered as gone.
#[derive(Debug)]
pub(crate) struct OpenCall {
    call: Arc<Mutex<SeenCall>>,
    journal: Arc<Journal>,
}

impl OpenCall {
    /// Writes something into the entry.
    pub(crate) fn note(&self, change: impl FnOnce(&mut SeenCall)) {
        change(&mut held(&self.call));
        self.journal.changed();
    }

    /// Enters the end, if none was entered before.
    pub(crate) fn end(&self, ending: Ending) {
        let mut call = held(&self.call);
        if call.ending == Ending::Open {
            call.ending = ending;
            call.ended_at = Some(Instant::now());
            drop(call);
            self.journal.changed();
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.end(Ending::Gone);
    }
}

/// Takes the lock; a panic elsewhere leaves plain records whole.
pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
