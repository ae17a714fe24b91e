//! `/api/openapi.json`: the API described, made from its own code.

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::admin::problem::Problem;
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
    components(schemas(Problem, Row)),
    modifiers(&Credentials),
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
