//! WebSockets: the handshake goes up as plain HTTP; what comes of it is a stream of bytes, or Google's answer.

use http::header::{CONNECTION, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use reqwest::{Body, Client, Request, Upgraded, Url};

/// A client's handshake, to be repeated upstream.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// `Sec-WebSocket-Key`
    pub key: HeaderValue,
    /// What `Sec-WebSocket-Accept` must answer to it.
    pub accept: HeaderValue,
}

/// What a handshake came to.
#[derive(Debug)]
pub enum Opened {
    /// The connection, of which nothing has been read.
    Socket(Upgraded),
    /// An answer of HTTP's.
    Refused(Response<Body>),
    /// Protocols were switched, but to an answer of another handshake.
    Mistaken,
}

/// Asks `url` for a WebSocket; `headers` hold the credential, if the URL does not.
pub(super) async fn open(
    client: &Client,
    url: Url,
    headers: HeaderMap,
    handshake: &Handshake,
) -> reqwest::Result<Opened> {
    let mut request = Request::new(Method::GET, url);
    *request.headers_mut() = headers;
    let sent = request.headers_mut();
    sent.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    sent.insert(UPGRADE, HeaderValue::from_static("websocket"));
    sent.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    sent.insert(SEC_WEBSOCKET_KEY, handshake.key.clone());
    let mut answer = client.execute(request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A session is led nowhere.
        answer.headers_mut().remove(LOCATION);
        return Ok(Opened::Refused(answer.into()));
    }
    if answer.headers().get(SEC_WEBSOCKET_ACCEPT) != Some(&handshake.accept) {
        return Ok(Opened::Mistaken);
    }
    answer.upgrade().await.map(Opened::Socket)
}
