//! The operator's room: the dashboard and the admin API, on the admin listener beside the monitor's pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, get, on};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::monitor;
use crate::monitor::access::Listener;

use self::assets::{ASSETS, Asset};
use self::guard::{greet, guard};

mod problem;
mod access;
mod sessions;
mod body;
mod drain;
mod live;
mod overview;
mod rows;
mod room;
mod guard;
mod session;
mod events;
mod streams;
mod requests;
mod history;
mod configuration;
mod keys;
mod process;
mod profiles;
mod playground;
mod openapi;
mod assets;

pub use self::drain::Drain;
pub(crate) use self::problem::Problem;
pub use self::room::{Lasting, Levers, NoRandomness, Room};

/// A route of the API: how it is asked, where, and what answers.
type Route = (Method, &'static str, MethodRouter<Arc<Room>>);

/// Every route of the API.
fn routes() -> Vec<Route> {
    use Method as M;
    vec![
        (M::GET, "/api/openapi.json", on(MethodFilter::GET, openapi::document)),
        (M::GET, "/api/session", on(MethodFilter::GET, session::look)),
        (M::POST, "/api/session", on(MethodFilter::POST, session::open)),
        (M::DELETE, "/api/session", on(MethodFilter::DELETE, session::close)),
        (M::GET, "/api/overview", on(MethodFilter::GET, events::overview)),
        (M::GET, "/api/series", on(MethodFilter::GET, history::series)),
        (M::GET, "/api/live", on(MethodFilter::GET, events::live)),
        (M::GET, "/api/streams", on(MethodFilter::GET, streams::list)),
        (M::DELETE, "/api/streams/{id}", on(MethodFilter::DELETE, streams::cancel)),
        (M::GET, "/api/keys", on(MethodFilter::GET, keys::list)),
        (M::POST, "/api/keys", on(MethodFilter::POST, keys::add)),
        (M::PATCH, "/api/keys", on(MethodFilter::PATCH, keys::weigh)),
        (M::PATCH, "/api/keys/{id}", on(MethodFilter::PATCH, keys::alter)),
        (M::DELETE, "/api/keys/{id}", on(MethodFilter::DELETE, keys::remove)),
        (M::POST, "/api/keys/{id}/reset", on(MethodFilter::POST, keys::reset)),
        (M::POST, "/api/keys/{id}/test", on(MethodFilter::POST, keys::test)),
        (M::GET, "/api/config", on(MethodFilter::GET, configuration::look)),
        (M::PUT, "/api/config", on(MethodFilter::PUT, configuration::put)),
        (M::GET, "/api/config/history", on(MethodFilter::GET, configuration::history)),
        (M::POST, "/api/config/rollback", on(MethodFilter::POST, configuration::rollback)),
        (M::POST, "/api/reload", on(MethodFilter::POST, configuration::reload)),
        (M::GET, "/api/requests", on(MethodFilter::GET, requests::list)),
        (M::GET, "/api/requests/{id}", on(MethodFilter::GET, requests::one)),
        (M::GET, "/api/errors", on(MethodFilter::GET, history::errors)),
        (M::GET, "/api/log-level", on(MethodFilter::GET, process::look)),
        (M::PUT, "/api/log-level", on(MethodFilter::PUT, process::set)),
        (M::POST, "/api/drain", on(MethodFilter::POST, process::drain)),
        (M::POST, "/api/playground", on(MethodFilter::POST, playground::ask)),
        (M::GET, "/debug/pprof/profile", on(MethodFilter::GET, profiles::take)),
        (M::GET, "/api/profiles", on(MethodFilter::GET, profiles::list)),
        (M::GET, "/api/profiles/{name}", on(MethodFilter::GET, profiles::one)),
    ]
}

/// All that the admin listener serves.
pub fn router(room: Arc<Room>) -> Router {
    let pages = monitor::router(Arc::clone(&room.monitor), Listener::Admin, room.loopback);
    let mut api = Router::new();
    for (_, path, answers) in routes() {
        api = api.route(path, answers);
    }
    // Whatever is below these paths asks for a credential, also what is not there.
    for below in ["/api", "/api/", "/api/{*rest}", "/debug/{*rest}"] {
        api = api.route(below, any(lost));
    }
    let guard = from_fn_with_state(Arc::clone(&room), guard);
    let api = api.method_not_allowed_fallback(unfit).layer(guard).with_state(Arc::clone(&room));
    let dashboard = if room.monitor.enabled { dashboard() } else { Router::new() };
    api.merge(dashboard)
        .merge(pages)
        .method_not_allowed_fallback(unfit)
        .fallback(lost)
        // Who asks, and from where, is known before anything is looked at.
        .layer(from_fn_with_state(room, greet))
        // A page of another site cannot make its visitor's browser write here.
        .layer(CsrfLayer::new().with_rejection_response(foreign))
        // One request's panic is that request's 500.
        .layer(CatchPanicLayer::custom(panicked))
}

/// The dashboard's files: open, for they say nothing of this gateway, and the login is one of their pages.
fn dashboard() -> Router {
    let routed = |routes: Router, asset: &'static Asset| {
        routes.route(asset.path, get(move |request: Request| async move { asset.answer(&request) }))
    };
    ASSETS.iter().fold(Router::new(), routed)
}

async fn lost() -> Problem {
    Problem::missing("path on the admin listener")
}

async fn unfit(method: Method) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is nothing that can be done with this path"))
}

fn foreign(_: ProtectionError) -> Response {
    Problem::new(StatusCode::FORBIDDEN, "this request comes from a page of another site").into_response()
}

/// What it said is in the log already.
fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a fault of geminate's own; the log says more")
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let routes: BTreeSet<_> =
            routes().iter().map(|(method, path, _)| format!("{} {path}", method.as_str().to_lowercase())).collect();
        let document = serde_json::to_value(openapi::openapi()).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            described.extend(item.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
        }
        assert_eq!(routes, described);
    }
}
