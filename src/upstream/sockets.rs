//! WebSockets: the handshake goes up as plain HTTP; what comes of it is a stream of bytes, or Google's answer.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE as UPGRADE_HEADER,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use reqwest::{Body, Request, Upgraded};

use crate::upstream::{Broken, Upstream, broken};

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
}

impl Upstream {
    /// Asks for a WebSocket at `target` by the way out number `egress`, with the one `credential`, if the target holds none.
    pub async fn open(
        &self,
        target: &PathAndQuery,
        headers: &HeaderMap,
        handshake: &Handshake,
        egress: u32,
        credential: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Opened, Broken> {
        let mut request = Request::new(Method::GET, self.targets.fresh(target));
        let sent = request.headers_mut();
        sent.clone_from(headers);
        sent.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        sent.insert(UPGRADE_HEADER, HeaderValue::from_static("websocket"));
        sent.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        sent.insert(SEC_WEBSOCKET_KEY, handshake.key.clone());
        sent.extend(credential);
        let (client, _) = self.socket_ways.get(egress as usize).unwrap_or(&self.socket_ways[0]).take();
        let answer = client.execute(request).await.map_err(|error| broken(&error))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Opened::Refused(answer.into()));
        }
        if answer.headers().get(SEC_WEBSOCKET_ACCEPT) != Some(&handshake.accept) {
            return Err(Broken::Interrupted("the answer to the WebSocket handshake is not one".to_owned()));
        }
        answer.upgrade().await.map(Opened::Socket).map_err(|error| broken(&error))
    }
}
