//! Authenticate: finds the client, takes its credentials out of the request, and puts it into the extensions.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::client::{Client, Clients, Denied, Presented};
use crate::endpoint::Surface;

/// How a refusal looks.
pub type Refuse<C> = fn(Surface, Denied) -> Response<C>;

/// Lets only clients through; `inner` finds its [`Client`] in the request's extensions.
pub struct Authenticate<S, C> {
    inner: S,
    clients: Arc<Clients>,
    refuse: Refuse<C>,
}

/// The layer; `refuse` makes the 401 in the shape of the surface.
pub fn layer<S, C>(clients: Arc<Clients>, refuse: Refuse<C>) -> impl Layer<S, Service = Authenticate<S, C>> + Clone {
    layer_fn(move |inner| Authenticate { inner, clients: Arc::clone(&clients), refuse })
}

impl<S, B, C> Service<Request<B>> for Authenticate<S, C>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<C>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Before the credentials go: on a path that both surfaces have, they tell which one was meant.
        let surface = Surface::of(request.uri(), request.headers());
        let uri = request.uri().clone();
        let presented = Presented::take(request.headers_mut(), &uri);
        match self.clients.identify(&presented) {
            Ok(client) => {
                request.extensions_mut().insert::<Client>(client);
                Either::Left(self.inner.call(request))
            }
            Err(denied) => Either::Right(ready(Ok((self.refuse)(surface, denied)))),
        }
    }
}

impl<S: Clone, C> Clone for Authenticate<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), clients: Arc::clone(&self.clients), refuse: self.refuse }
    }
}

impl<S, C> fmt::Debug for Authenticate<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").field("clients", &self.clients).finish_non_exhaustive()
    }
}
