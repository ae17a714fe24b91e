//! The porter: answers what no stack is asked, because its head cannot be taken, in the shape of its surface.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use tokio::time::Instant;
use tracing::debug;

use crate::admin::Problem;
use crate::answer;
use crate::endpoint::{Action, Surface, Unroutable};
use crate::error::Error;
use crate::layer::record::{Fresh, X_REQUEST_ID};
use crate::record::{Outcome, Record};
use crate::telemetry::Telemetry;

/// Answers at the door of one listener.
#[derive(Debug)]
pub(super) struct Porter {
    /// Counts what is refused; `None`: the admin listener, which counts no calls.
    telemetry: Option<Arc<Telemetry>>,
    ids: Fresh,
}

impl Porter {
    /// At the data listener, or else at the admin listener.
    pub(super) fn new(telemetry: Option<Arc<Telemetry>>) -> Arc<Self> {
        Arc::new(Self { telemetry, ids: Fresh::new() })
    }

    /// The answer to a request that is refused for its head, counted and logged as any call is.
    pub(super) fn refuse(&self, method: Method, surface: Surface, error: &Error) -> Response<Bytes> {
        let Some(telemetry) = &self.telemetry else {
            debug!(status = error.status().as_u16(), reason = error.name(), "refused a request");
            let problem = Problem::new(error.status(), error.to_string());
            let mut answer = Response::new(Bytes::from(serde_json::to_vec(&problem).unwrap_or_default()));
            *answer.status_mut() = error.status();
            answer.headers_mut().insert(CONTENT_TYPE, Problem::CONTENT_TYPE);
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return answer;
        };
        let mut answer: Response<Bytes> = answer::refuse(surface, error);
        let record = telemetry.open(Record::new(self.ids.next(), method, Instant::now()));
        record.asks(surface, Action::Other);
        record.head(error.status().as_u16(), false);
        record.outcome(Outcome::from(error));
        record.chunk(answer.body().len(), Instant::now());
        answer.headers_mut().insert(X_REQUEST_ID, record.id().clone());
        telemetry.finish(&record, Instant::now());
        answer
    }

    /// What is written in the place of `told`, hyper's own refusal of a request that begins so; `None`: it is none.
    pub(super) fn instead(&self, told: &[u8], beginning: &[u8]) -> Option<Bytes> {
        let error = refusal(told)?;
        let (method, surface) = read(beginning);
        let is_head = method == Method::HEAD;
        let answer = self.refuse(method, surface, &error);
        let lines = || told.split_inclusive(|byte| *byte == b'\n');
        let mut bytes = lines().next()?.to_vec();
        for (name, value) in answer.headers() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        lines().filter(|line| line.starts_with(b"date: ")).for_each(|line| bytes.extend_from_slice(line));
        let body = answer.into_body();
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(if is_head { &[] } else { &body });
        Some(Bytes::from(bytes))
    }
}

/// Why hyper refused, if these bytes are the whole of a refusal of its own.
fn refusal(told: &[u8]) -> Option<Error> {
    let line = told.strip_prefix(b"HTTP/1.1 ").or_else(|| told.strip_prefix(b"HTTP/1.0 "))?;
    let is_bare = told.ends_with(b"\r\n\r\n") && told.windows(19).any(|part| part == b"content-length: 0\r\n");
    match line.get(..3)? {
        b"400" if is_bare => Some(Error::Malformed),
        b"414" if is_bare => Some(Error::Unroutable(Unroutable::TooLong)),
        b"431" if is_bare => Some(Error::HeadTooLarge),
        _ => None,
    }
}

/// What the beginning of a request tells.
fn read(beginning: &[u8]) -> (Method, Surface) {
    let unknown = || (Method::from_bytes(b"-").unwrap_or_default(), Surface::Gemini);
    let mut words = beginning.trim_ascii_start().split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return unknown() };
    // Whatever else stands there may be anything, a secret too.
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    let Some(method) = known.into_iter().find(|known| known.as_str().as_bytes() == method) else { return unknown() };
    let fits = |byte: &&u8| byte.is_ascii_alphanumeric() || b"/-_.:".contains(byte);
    let path: Vec<u8> = target.iter().take_while(fits).copied().collect();
    // Of a path that both surfaces have, a credential that was not read would tell; below /v1 it mostly is OpenAI's.
    let bearer = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer"))]);
    let surface = Uri::try_from(path).map_or(Surface::Gemini, |uri| Surface::of(&uri, &bearer));
    (method, surface)
}
