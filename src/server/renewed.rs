//! A stack that is changed while it serves: each request is served by the one that stands when it comes.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;
use tower::Service;

use crate::server::stack::Stack;

/// Clones are the same place: what is put there serves the next request of every connection.
pub struct Renewed<S>(Arc<ArcSwap<S>>);

impl<S: Stack> Renewed<S> {
    /// Serves with `stack` at first.
    pub fn new(stack: S) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(stack)))
    }

    /// Serves with `stack` from now on. Requests under way end as they began.
    pub fn renew(&self, stack: S) {
        self.0.store(Arc::new(stack));
    }
}

impl<S> Clone for Renewed<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Renewed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stack")
    }
}

impl<S: Stack> Service<Request<Incoming>> for Renewed<S> {
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A stack is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        S::clone(&self.0.load()).call(request)
    }
}
