//! Admit: a client's rate, then a place that is held to the answer's last byte. Full: a bounded, timed queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::record::Record;
use crate::relay::Relay;
use crate::settings;

/// The places of the data plane. Made once, shared by every worker.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    queued: AtomicUsize,
    queue_max: usize,
    queue_wait: Duration,
}

impl Places {
    /// As many places as configured.
    pub fn new(settings: &settings::Admit) -> Self {
        Self {
            free: Arc::new(Semaphore::new(settings.concurrent_max as usize)),
            queued: AtomicUsize::new(0),
            queue_max: settings.queue_max as usize,
            queue_wait: Duration::from_millis(settings.queue_wait_ms),
        }
    }

    /// Requests that wait for a place.
    pub fn waiting(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// A place, in order of arrival; [`Error::Busy`] when the queue is full or too slow. After `deadline` nobody waits.
    pub(crate) async fn take(
        self: Arc<Self>,
        record: &Record,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(place);
        }
        let _queued = Queued::enter(&self)?;
        let began = Instant::now();
        // Who could not be answered in time any more need not wait on.
        let limit = deadline.min(began + self.queue_wait);
        let place = timeout_at(limit, Arc::clone(&self.free).acquire_owned()).await;
        record.add_wait(began.elapsed());
        place.map_err(|_| Error::Busy)?.map_err(|_| Error::Draining)
    }
}

/// One in the queue; leaves it when dropped.
struct Queued<'p>(&'p Places);

impl<'p> Queued<'p> {
    fn enter(places: &'p Places) -> Result<Self, Error> {
        if places.queued.fetch_add(1, Relaxed) >= places.queue_max {
            places.queued.fetch_sub(1, Relaxed);
            return Err(Error::Busy);
        }
        Ok(Self(places))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Relaxed);
    }
}

/// Counts a request against its client's rate.
pub(crate) fn within_rate(client: &Client) -> Result<(), Error> {
    client.check().map_err(|retry_after| Error::RateLimited { client: client.id().to_string(), retry_after })
}

/// Admits calls to the service within.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    places: Arc<Places>,
}

/// Admits as many calls as there are `places`.
pub fn layer<S>(places: Arc<Places>) -> impl Layer<S, Service = Admit<S>> + Clone {
    layer_fn(move |inner| Admit { inner, places: Arc::clone(&places) })
}

impl<S> Service<Arc<Call>> for Admit<S>
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
        let (mut inner, places) = (self.inner.clone(), Arc::clone(&self.places));
        Box::pin(async move {
            within_rate(&call.client)?;
            let place = places.take(&call.record, call.deadline).await?;
            let mut reply = inner.call(call).await?;
            reply.body_mut().hold(place);
            Ok(reply)
        })
    }
}
