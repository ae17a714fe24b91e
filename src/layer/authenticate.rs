//! Authenticate: finds the client, takes its credentials out of the request, and puts it into the extensions.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, Uri};
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::affinity::Affinity;
use crate::client::{Caller, Client, Clients, Denied, Presented};
use crate::endpoint::{self, Action, Endpoint, Surface};
use crate::record::Record;
use crate::resource::Resource;

/// How a refusal looks.
pub type Refuse<C> = fn(Surface, Denied) -> Response<C>;

/// Lets only clients through; `inner` finds its [`Caller`] in the request's extensions.
pub struct Authenticate<S, C> {
    inner: S,
    clients: Arc<Clients>,
    affinity: Arc<Affinity>,
    refuse: Refuse<C>,
}

/// The layer; `refuse` makes the 401 in the shape of the surface. `affinity` knows who made an ephemeral token, and who
/// began an upload.
pub fn layer<S, C>(
    clients: Arc<Clients>,
    affinity: Arc<Affinity>,
    refuse: Refuse<C>,
) -> impl Layer<S, Service = Authenticate<S, C>> + Clone {
    layer_fn(move |inner| Authenticate {
        inner,
        clients: Arc::clone(&clients),
        affinity: Arc::clone(&affinity),
        refuse,
    })
}

impl<S, C> Authenticate<S, C> {
    /// The client of a credential of its own; without one, the client who made the ephemeral token that came. Whoever
    /// goes on with an upload is let in by its id: SDKs send no credential with its parts.
    fn identify(&self, presented: &Presented, uri: &Uri) -> Result<Client, Denied> {
        let identified = self.clients.identify(presented);
        if let Some(id) = endpoint::upload_id(uri) {
            return self.affinity.continues(uri.path(), &id, identified.as_ref().ok()).ok_or(Denied::Upload);
        }
        identified.or_else(|denied| {
            let made = presented.token().and_then(|token| Resource::of_value(token.expose()));
            made.and_then(|token| self.affinity.owner(&token)?.client).ok_or(denied)
        })
    }
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
        match self.identify(&presented, &uri) {
            Ok(client) => {
                let token = presented.token().cloned();
                request.extensions_mut().insert(Caller { client, surface, token });
                Either::Left(self.inner.call(request))
            }
            Err(denied) => {
                note(&request, surface);
                Either::Right(ready(Ok((self.refuse)(surface, denied))))
            }
        }
    }
}

/// What was asked for is recorded of those who are not let in as well; the model is not, as they may call it anything.
fn note<B>(request: &Request<B>, surface: Surface) {
    if let Some(record) = request.extensions().get::<Arc<Record>>() {
        let endpoint = Endpoint::parse(request.method(), request.uri(), surface);
        record.asks(surface, endpoint.map_or(Action::Other, |endpoint| endpoint.action));
    }
}

impl<S: Clone, C> Clone for Authenticate<S, C> {
    fn clone(&self) -> Self {
        let (clients, affinity) = (Arc::clone(&self.clients), Arc::clone(&self.affinity));
        Self { inner: self.inner.clone(), clients, affinity, refuse: self.refuse }
    }
}

impl<S, C> fmt::Debug for Authenticate<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").field("clients", &self.clients).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::StatusCode;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::secret::Secret;
    use crate::settings::{Affinity as Index, Auth, Clients as Limits};

    /// Asks for `uri` with `headers`: the status, and what the inner service saw.
    async fn ask(uri: &str, headers: &[(&'static str, &str)]) -> (StatusCode, String) {
        let auth = Auth { tokens: vec![Secret::new("good-token".into())], ..Auth::default() };
        let clients = Arc::new(Clients::new(&auth, &Limits::default(), None, true).unwrap());
        let refuse: Refuse<String> = |surface, denied| {
            let text = format!("{} {denied:?}", surface.name());
            Response::builder().status(StatusCode::UNAUTHORIZED).body(text).unwrap()
        };
        let inner = service_fn(|request: Request<()>| async move {
            let client = request.extensions().get::<Caller>().unwrap().client.clone();
            Ok::<_, Infallible>(Response::new(format!("{} {:?}", client.id(), request.headers())))
        });
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let affinity = Arc::new(Affinity::new(&Index::default()));
        let answer = layer(clients, affinity, refuse).layer(inner).oneshot(request.body(()).unwrap()).await.unwrap();
        (answer.status(), answer.into_body())
    }

    #[tokio::test]
    async fn a_valid_credential_in_any_form_is_enough_and_none_goes_on() {
        for (uri, headers) in [
            ("/v1beta/models", &[("authorization", "Bearer good-token")][..]),
            ("/v1beta/models", &[("x-goog-api-key", "good-token")]),
            ("/v1beta/models", &[("x-api-key", "good-token")]),
            ("/v1beta/models?key=good-token", &[]),
            ("/v1beta/models", &[("authorization", "Bearer good-token"), ("x-goog-api-key", "good-token")]),
            ("/v1beta/models?key=wrong", &[("authorization", "Bearer wrong"), ("x-api-key", "good-token")]),
        ] {
            assert_eq!(ask(uri, headers).await, (StatusCode::OK, "operator {}".to_owned()), "{uri} {headers:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_in_the_shape_of_its_surface() {
        for (uri, headers, told) in [
            ("/v1beta/models", &[][..], "gemini Missing"),
            ("/v1/chat/completions", &[], "openai Missing"),
            ("/v1/models", &[("authorization", "Bearer wrong")], "openai Unknown"),
            ("/v1/models", &[("x-goog-api-key", "wrong")], "gemini Unknown"),
            ("/v1beta/models", &[("proxy-authorization", "Bearer good-token")], "gemini Missing"),
            ("/v1beta/models", &[("cookie", "key=good-token")], "gemini Missing"),
            ("/v1beta/models", &[("authorization", "Basic good-token")], "gemini Missing"),
            ("/v1beta/models", &[("authorization", "good-token")], "gemini Missing"),
            ("/v1beta/models?key=good-toke", &[], "gemini Unknown"),
            ("/v1beta/models?key=good-token1", &[], "gemini Unknown"),
            ("/v1beta/models?upload_id=x", &[], "gemini Missing"),
        ] {
            assert_eq!(ask(uri, headers).await, (StatusCode::UNAUTHORIZED, told.to_owned()), "{uri} {headers:?}");
        }
    }
}
