//! Deadline: the first byte within the call's time, all attempts and waits included; then a limit between chunks.
//!
//! While a body streams up, each of its bytes begins that time anew.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Response;
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::call::Call;
use crate::error::Error;
use crate::flow::in_time;
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
        let (deadline, whole) = (call.deadline, call.deadline - call.arrived);
        let (idle, heartbeat) = (self.idle, self.heartbeat);
        let flow = call.payload.flow().cloned();
        let answer = self.inner.call(call);
        Box::pin(async move {
            let answered = in_time(flow.as_ref(), deadline, whole, pin!(answer)).await;
            let mut reply = answered.ok_or_else(|| match &flow {
                // What did not come in time is the request itself.
                Some(flow) if flow.waits() => Error::BodyTimeout(whole),
                _ => Error::DeadlineExceeded(whole),
            })??;
            reply.body_mut().keep_pace(idle, heartbeat);
            Ok(reply)
        })
    }
}
