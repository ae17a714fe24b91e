//! The Live API mocked: WebSocket sessions that answer turns, with the refusals and faults of a script.
//!
//! As Google does, it judges keys, models and quotas after the setup message and tells what it finds by a close frame;
//! the handshake itself refuses two credentials, and whatever a script for the action `liveHandshake` says.

mod refused;
mod script;
mod turns;
mod asker;
mod setup;
mod session;

use std::sync::Arc;

use futures_util::FutureExt as _;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::mock::answer::seen;
use crate::mock::auth::{self, Credential};
use crate::mock::bodies::{self, Asked};
use crate::mock::delivery::{self, Delivered};
use crate::mock::fault::{Fault, Place};
use crate::mock::journal::Ending;
use crate::mock::line::Line;
use crate::mock::live::asker::Asker;
use crate::mock::refusals::Refusal;
use crate::mock::reply;
use crate::mock::route::Route;
use crate::mock::script::{Script, Subject};
use crate::mock::wire::Answer;
use crate::mock::world::World;

/// The action by which scripts name a handshake.
const HANDSHAKE: &str = "liveHandshake";

/// Whether the request asks for a session.
pub(crate) fn owns(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    path.trim_start_matches('/').starts_with("ws/") && request.headers().contains_key(UPGRADE)
}

/// Answers the handshake; the session follows on the line.
pub(crate) async fn answer(world: Arc<World>, line: Arc<Line>, request: Request<Incoming>) -> Delivered {
    let (mut head, _) = request.into_parts();
    let route = Route::parse(&head.method, &head.uri);
    let call = world.journal().enter(seen(&head, &line, &route));
    let credentials: Vec<_> = credentials(&head.uri, &head.headers);
    if credentials.len() > 1 {
        let refused = Refusal::MultipleCredentials.to(&Asked::default(), None);
        return Ok(delivery::at_once(&reply::refusal(refused, false), line, call));
    }
    let asker = Asker {
        credential: credentials.into_iter().next(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        method: head.uri.path().rsplit(['.', '/']).next().unwrap_or("").to_owned(),
    };
    if let Some(script) = handshake_script(&world, &asker) {
        call.note(|call| call.script = Some(script.to_string()));
        for fault in &script.faults {
            if let Fault::Delay(wait) = fault {
                tokio::time::sleep(*wait).await;
            }
        }
        if let Some(refused) = refused::over_http(&script, &asker.key()) {
            return Ok(delivery::at_once(&reply::refusal(refused, false), line, call));
        }
        if breaks(&script, &line) {
            call.end(Ending::Broken);
            return std::future::pending().await;
        }
    }
    let key = head.headers.get(SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
    let Some(upgrade) = head.extensions.remove::<hyper::upgrade::OnUpgrade>().filter(|_| !key.is_empty()) else {
        let refused = bodies::plain(400, "The WebSocket handshake is not one.");
        return Ok(delivery::at_once(&reply::refusal(refused, false), line, call));
    };
    call.note(|call| call.status = 101);
    let answer = switching(key);
    let session = session::run(world, Arc::clone(&line), call, asker, upgrade);
    line.follow(session.boxed());
    Ok(delivery::respond(&answer, [].into(), line, None))
}

/// Credentials as a WebSocket brings them: `Token` is the scheme of ephemeral ones.
fn credentials(uri: &http::Uri, headers: &HeaderMap) -> Vec<Credential> {
    let mut found = auth::credentials(uri, headers);
    for credential in &mut found {
        if let Some(token) = credential.value.strip_prefix("Token ") {
            credential.value = token.trim().to_owned();
        }
    }
    found
}

/// Only a script that names the handshake meets it: all others wait for the setup, which tells the model.
fn handshake_script(world: &World, asker: &Asker) -> Option<Script> {
    let key = asker.key();
    let project = world.holder(&key).map(|holder| holder.project).unwrap_or_default();
    world.played(&Subject { key: &key, project: &project, model: "", action: HANDSHAKE, path: &asker.path }, |script| {
        script.action.as_deref() == Some(HANDSHAKE)
    })
}

/// Breaks the line, if the script says so.
fn breaks(script: &Script, line: &Line) -> bool {
    for fault in &script.faults {
        match fault {
            Fault::Reset(Place::Head) => line.reset(),
            Fault::Cut(Place::Head) => line.close(),
            _ => continue,
        }
        return true;
    }
    false
}

fn switching(key: &[u8]) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Answer { status: StatusCode::SWITCHING_PROTOCOLS, headers, frames: Vec::new(), streams: false }
}
