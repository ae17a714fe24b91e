//! The front of the data listener: the room's few pages, and everything else straight to the gateway.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::{BoxError, Router};
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk};
use http::{Request, Response};
use http_body_util::Either as EitherBody;
use tower::{Service, ServiceExt as _};

use crate::linger::{Linger, Rest};

/// How the paths of pages begin.
const PAGES: [&str; 4] = ["/monitor/", "/metrics", "/healthz", "/readyz"];

/// Whether a path begins like that of a page; all others are calls.
pub fn may_be_page(path: &str) -> bool {
    PAGES.iter().any(|page| path.starts_with(page))
}

/// Pages and calls in one service. Most requests are calls, which need no look into a router.
#[derive(Clone, Debug)]
pub struct Front<S> {
    pages: Router,
    calls: S,
    linger: Linger,
}

/// An answer of one or the other.
type Answer<P, C> = Response<EitherBody<P, C>>;

impl<S, C> Front<S>
where
    S: Service<Request<Body>, Response = Response<C>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
    C: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    /// `pages` before `calls`, which also get what looks like a page and is none. What they leave of a body is `linger`'s.
    pub fn new(pages: Router, calls: S, linger: Linger) -> Self {
        let rest = calls.clone().map_response(|answer: Response<C>| answer.map(Body::new));
        Self { pages: pages.fallback_service(rest), calls, linger }
    }
}

impl<S, B, C> Service<Request<B>> for Front<S>
where
    S: Service<Request<Body>, Response = Response<C>, Error = Infallible>,
    B: Rest + HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Answer<Body, C>;
    type Error = Infallible;
    type Future = Either<
        MapOk<<Router as Service<Request<Body>>>::Future, fn(Response<Body>) -> Answer<Body, C>>,
        MapOk<S::Future, fn(Response<C>) -> Answer<Body, C>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.calls.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_page = may_be_page(request.uri().path());
        let (head, body) = request.into_parts();
        let body = self.linger.over(body, head.version, &head.headers);
        let request = Request::from_parts(head, Body::new(body));
        if is_page {
            Either::Left(self.pages.call(request).map_ok(page as fn(_) -> _))
        } else {
            Either::Right(self.calls.call(request).map_ok(call as fn(_) -> _))
        }
    }
}

fn page<P, C>(answer: Response<P>) -> Answer<P, C> {
    answer.map(EitherBody::Left)
}

fn call<P, C>(answer: Response<C>) -> Answer<P, C> {
    answer.map(EitherBody::Right)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::service_fn;

    use super::*;
    use crate::tasks::Tasks;

    #[tokio::test]
    async fn what_only_looks_like_a_page_is_a_call() {
        let pages = Router::new().route("/healthz", get(|| async { "page" }));
        let calls = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("call"))) });
        let mut front = Front::new(pages, calls, Linger::new(Tasks::new()));
        for (path, seen) in [
            ("/healthz", "page"),
            ("/healthz?a=1", "page"),
            ("/healthz/x", "call"),
            ("/healthzzz", "call"),
            ("//healthz", "call"),
            ("/monitor/keys", "call"),
            ("/v1beta/models", "call"),
            ("/", "call"),
        ] {
            let answer = front.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), seen, "{path}");
        }
    }
}
