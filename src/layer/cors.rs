//! Cors: web pages of the origins that the operator names may call the API. A browser lets them where the answers say so.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderValue, Method, Request, Response};
use tower::Service;
use tower::layer::{Layer, layer_fn};
use tower_http::cors::{self, AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

use crate::settings::WebOrigin;

/// The methods of the API.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// How long a browser may go by the answer to a preflight: as long as Chromium goes by any.
const MAX_AGE: Duration = Duration::from_hours(2);

/// Answers preflights itself, and tells browsers who may read the answers of `inner`, refusals among them.
#[derive(Clone, Debug)]
pub struct Cors<S>(cors::Cors<S>);

/// The layer for pages of these origins; `None` where there are none, so that nothing of it stands in a request's way.
/// Whatever headers a page wants to send it may send, and all that come down it may read: the lists of what goes up and
/// what comes down hold for it as for everybody. Cookies count for nothing here, so none are asked for.
pub fn layer<S>(origins: &[WebOrigin]) -> Option<impl Layer<S, Service = Cors<S>> + Clone + use<S>> {
    let named: Vec<HeaderValue> = origins.iter().filter_map(WebOrigin::header).collect();
    let allowed = match named.len() {
        0 if origins.is_empty() => return None,
        count if count < origins.len() => AllowOrigin::any(),
        _ => AllowOrigin::list(named),
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(METHODS)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::any())
        .max_age(MAX_AGE);
    Some(layer_fn(move |inner| Cors(layer.layer(inner))))
}

impl<S, B, C> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    C: Default,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Either<cors::ResponseFuture<S::Future>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Service::<Request<B>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Another `OPTIONS` than a browser's question is a request like any.
        if *request.method() == Method::OPTIONS && !is_preflight(&request) {
            return Either::Right(self.0.get_mut().call(request));
        }
        Either::Left(self.0.call(request))
    }
}

/// Whether a browser asks, before it sends what a page wants to send (Fetch, 4.8).
fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
