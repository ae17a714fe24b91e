//! Deadline: the first byte within the call's time, all attempts and waits included; then a limit between chunks.
//!
//! While a body streams up, each of its bytes begins that time anew.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Response;
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::call::Call;
use crate::error::Error;
use crate::flow::{Flow, in_time};
use crate::relay::Relay;
use crate::settings;

/// Ends calls of the service within that take too long.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    idle: Duration,
    heartbeat: Option<Duration>,
}

/// Holds calls to their deadline, and their answers to the pace of `settings`.
pub fn layer<S>(settings: &settings::Deadline) -> impl Layer<S, Service = Deadline<S>> + Clone {
    let idle = Duration::from_millis(settings.stream_idle_timeout_ms);
    let heartbeat = Some(settings.heartbeat_interval_ms).filter(|ms| *ms > 0).map(Duration::from_millis);
    layer_fn(move |inner| Deadline { inner, idle, heartbeat })
}

impl<S> Service<Arc<Call>> for Deadline<S>
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Relay>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let (idle, heartbeat) = (self.idle, self.heartbeat);
        let answer = self.inner.call(Arc::clone(&call));
        Box::pin(async move {
            let mut answer = pin!(answer);
            let answered = match in_time(call.payload.flow(), call.deadline, call.time, answer.as_mut()).await {
                Some(answered) => answered,
                // Whoever reads it whole waits for each part of it no longer than a client would.
                None if call.coming.load(Relaxed) => answer.await,
                // What did not come in time is the request itself.
                None if call.payload.flow().is_some_and(Flow::waits) => Err(Error::BodyTimeout(call.time)),
                None => Err(Error::DeadlineExceeded(call.time)),
            };
            let mut reply = answered?;
            reply.body_mut().keep_pace(idle, heartbeat);
            Ok(reply)
        })
    }
}
