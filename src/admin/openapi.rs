//! `/api/openapi.json`: the API described, made from its own code.

use axum::Json;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi};

use crate::admin::problem::Problem;
use crate::admin::profiles::Written;
use crate::admin::room::COOKIE_NAME;
use crate::admin::rows::Row;
use crate::admin::{configuration, events, history, keys, playground, process, profiles, requests, session, streams};

/// The document. A handler that is not named here fails the test that compares it with the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "geminate",
        description = "What operators see and change. On the admin listener only; times are RFC 3339, errors RFC 9457.",
        license(name = "MIT", identifier = "MIT")
    ),
    security(("token" = []), ("header" = []), ("session" = [])),
    components(schemas(Problem, Row, Written)),
    modifiers(&Credentials, &Common),
    paths(
        self::document,
        session::look,
        session::open,
        session::close,
        events::overview,
        events::live,
        history::series,
        history::errors,
        streams::list,
        streams::cancel,
        keys::list,
        keys::add,
        keys::weigh,
        keys::alter,
        keys::remove,
        keys::reset,
        keys::test,
        configuration::look,
        configuration::put,
        configuration::history,
        configuration::rollback,
        configuration::reload,
        requests::list,
        requests::one,
        process::look,
        process::set,
        process::drain,
        playground::ask,
        profiles::take,
        profiles::list,
        profiles::one,
    )
)]
struct Api;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The admin token")).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        components.add_security_scheme("header", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key"))));
        components
            .add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE_NAME))));
    }
}

/// What is true of all operations: a name of their own, a description of what they answer, and how they refuse.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let group = path.trim_start_matches("/api").split(['/', '.']).nth(1).unwrap_or_default().replace('-', "_");
            let operations = [
                (false, &mut item.get),
                (true, &mut item.put),
                (true, &mut item.post),
                (true, &mut item.patch),
                (true, &mut item.delete),
            ];
            for (changes, operation) in operations {
                if let Some(operation) = operation {
                    operation.operation_id = operation.operation_id.as_ref().map(|id| format!("{group}_{id}"));
                    complete(operation, changes);
                }
            }
        }
    }
}

/// Adds the refusals that it does not name itself, and says of each answer what it is.
fn complete(operation: &mut Operation, changes: bool) {
    let open = operation.security.as_ref().is_some_and(|needed| needed.contains(&SecurityRequirement::default()));
    let responses = &mut operation.responses.responses;
    for refusal in REFUSALS.iter().filter(|refusal| if refusal.of_changes { changes } else { !open }) {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let told = Response::builder().description(refusal.when).content("application/problem+json", problem).build();
        responses.entry(refusal.status.to_owned()).or_insert_with(|| told.into());
    }
    for response in responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = operation.summary.clone().unwrap_or_default();
        }
    }
}

/// A refusal that many operations share.
struct Refusal {
    status: &'static str,
    /// Only of those that change something; else of all that need a credential.
    of_changes: bool,
    when: &'static str,
}

const REFUSALS: [Refusal; 5] = [
    Refusal { status: "401", of_changes: false, when: "No token and no session, or a wrong one" },
    Refusal { status: "429", of_changes: false, when: "Too many wrong tokens came from this address" },
    Refusal { status: "403", of_changes: true, when: "It was sent by a page of another origin" },
    Refusal { status: "413", of_changes: true, when: "The body is too large" },
    Refusal { status: "415", of_changes: true, when: "The body is not said to be JSON" },
];

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "session", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}

/// The document as a value.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    Api::openapi()
}
