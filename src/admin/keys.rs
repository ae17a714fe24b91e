//! `/api/keys`: the keys listed, added, changed, tried and removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::admin::body::{Name, Read};
use crate::admin::configuration::{bring, tag};
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::admin::rows::{Row, rows};
use crate::config::book::Edit;
use crate::config::{KeyChange, KeyFields, NewKey, key_list};
use crate::pool::Probe;
use crate::pool::key::{Form, Key};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::verdict::Verdict;

/// Bytes of a list of models.
const MODELS_BYTES_MAX: usize = 8 << 20;
/// Weights that a key may have.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=1_000;

/// All keys.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Keys {
    /// The version of the configuration, for `If-Match`.
    etag: String,
    /// How many there are.
    total: usize,
    /// In order of configuration.
    keys: Vec<Row>,
}

/// A key to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    /// The key itself.
    #[schema(value_type = String, format = Password)]
    key: Secret,
    /// Its name; the next free number where none is given.
    id: Option<String>,
    /// 1 to 1000.
    weight: Option<u64>,
    /// The project whose quota it shares.
    project: Option<String>,
    /// Requests a minute; 0 is what Google says.
    rpm: Option<u64>,
    /// Input tokens a minute; 0 is what Google says.
    tpm: Option<u64>,
    /// Requests a day; 0 is what Google says.
    rpd: Option<u64>,
    /// The proxy it goes through.
    #[schema(value_type = Option<String>, format = Password)]
    proxy: Option<Secret>,
    /// Whether it takes part.
    enabled: Option<bool>,
    /// Why.
    comment: Option<String>,
}

/// What is to be changed of a key. What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Altered {
    /// Its new name.
    id: Option<String>,
    /// 1 to 1000.
    weight: Option<u64>,
    /// The project whose quota it shares; empty: its own.
    project: Option<String>,
    /// Requests a minute; 0 is what Google says.
    rpm: Option<u64>,
    /// Input tokens a minute; 0 is what Google says.
    tpm: Option<u64>,
    /// Requests a day; 0 is what Google says.
    rpd: Option<u64>,
    /// The proxy it goes through; empty: the common way.
    #[schema(value_type = Option<String>, format = Password)]
    proxy: Option<Secret>,
    /// Whether it takes part.
    enabled: Option<bool>,
    /// Adjusts a key of a variable in the file, where it then holds.
    #[serde(default)]
    over_environment: bool,
    /// Why.
    comment: Option<String>,
}

/// The weights of several keys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Weights {
    /// By id; 1 to 1000.
    weights: BTreeMap<String, u64>,
    /// Adjusts keys of a variable in the file, where they then hold.
    #[serde(default)]
    over_environment: bool,
    /// Why.
    comment: Option<String>,
}

/// What became of asking a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tested {
    /// `success`, or what the verdict on its refusal is.
    verdict: &'static str,
    /// Google's status, where it answered.
    status: Option<u16>,
    /// Google's words, where they are any.
    message: String,
    /// Milliseconds.
    took_ms: u64,
    /// How many models it may use.
    models: Option<usize>,
}

/// The keys as `/monitor/keys` shows them, with where each is configured.
#[utoipa::path(
    get, path = "/api/keys", tag = "keys",
    responses((status = 200, body = Keys, headers(("etag" = String, description = "The configuration's version"))))
)]
pub(crate) async fn list(State(room): State<Arc<Room>>) -> impl IntoResponse {
    let running = room.running();
    let keys = rows(room.view(), &running.configuration);
    let etag = running.version.clone();
    ([(ETAG, tag(&etag))], Json(Keys { etag, total: keys.len(), keys }))
}

/// Adds a key to the file; it serves from then on.
#[utoipa::path(
    post, path = "/api/keys", tag = "keys", request_body = Added,
    responses(
        (status = 201, body = Row),
        (status = 409, description = "It is there already", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add(
    State(room): State<Arc<Room>>,
    headers: HeaderMap,
    Read(added): Read<Added>,
) -> Result<impl IntoResponse, Problem> {
    let Added { key, id, weight, project, rpm, tpm, rpd, proxy, enabled, comment } = added;
    if let Some(wrong) = key_list::wrong(key.expose().trim()) {
        return Err(Problem::field("key", wrong));
    }
    named(id.as_deref())?;
    let fields = checked(KeyFields { weight, project, rpm, tpm, rpd, enabled })?;
    let new = Box::new(NewKey { key, id, rest: fields });
    let taken = bring(&room, &headers, Edit::Add(new, proxy), comment, false).await?;
    let id = taken.key.unwrap_or_default();
    Ok((StatusCode::CREATED, Json(row(&room, &id)?)))
}

/// Changes a key.
#[utoipa::path(
    patch, path = "/api/keys/{id}", tag = "keys", request_body = Altered,
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 200, body = Row),
        (status = 404, description = "No key has this id", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It comes from a variable", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn alter(
    State(room): State<Arc<Room>>,
    Name(key): Name,
    headers: HeaderMap,
    Read(altered): Read<Altered>,
) -> Result<Json<Row>, Problem> {
    let Altered { id, weight, project, rpm, tpm, rpd, proxy, enabled, over_environment, comment } = altered;
    named(id.as_deref())?;
    let fields = checked(KeyFields { weight, project, rpm, tpm, rpd, enabled })?;
    let after = id.clone().unwrap_or_else(|| key.clone());
    let change = KeyChange { id: key, name: id, proxy, fields, over_environment };
    bring(&room, &headers, Edit::Alter(vec![change]), comment, false).await?;
    row(&room, &after).map(Json)
}

/// Changes the weights of several keys: all or none.
#[utoipa::path(
    patch, path = "/api/keys", tag = "keys", request_body = Weights,
    responses(
        (status = 200, body = Keys),
        (status = 409, description = "One comes from a variable", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A weight is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn weigh(
    State(room): State<Arc<Room>>,
    headers: HeaderMap,
    Read(Weights { weights, over_environment, comment }): Read<Weights>,
) -> Result<impl IntoResponse, Problem> {
    let wrong = weights.iter().find(|(_, weight)| !WEIGHTS.contains(weight));
    if let Some((id, _)) = wrong {
        return Err(Problem::field(format!("weights.{id}"), "expected 1 to 1000"));
    }
    let change = |(id, weight): (String, u64)| KeyChange {
        id,
        fields: KeyFields { weight: Some(weight), ..KeyFields::default() },
        over_environment,
        ..KeyChange::default()
    };
    let changes = weights.into_iter().map(change).collect();
    bring(&room, &headers, Edit::Alter(changes), comment, false).await?;
    Ok(list(State(room)).await)
}

/// Removes a key from the file. It finishes what it carries.
#[utoipa::path(
    delete, path = "/api/keys/{id}", tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No key has this id", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It comes from a variable", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is the last one", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove(
    State(room): State<Arc<Room>>,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    bring(&room, &headers, Edit::Remove(id), None, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a key's rests, its project's for the models asked, and its death: the next request may try it.
#[utoipa::path(
    post, path = "/api/keys/{id}/reset", tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = Row), (status = 404, description = "No key has this id", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn reset(State(room): State<Arc<Room>>, Name(id): Name) -> Result<Json<Row>, Problem> {
    let key = found(&room, &id)?;
    room.monitor.pool.reset(&key, Instant::now());
    tracing::info!(key = &*id, "the operator ended the rests of a key");
    row(&room, &id).map(Json)
}

/// Asks a key for its models, which spends no quota. A dead one that answers serves again.
#[utoipa::path(
    post, path = "/api/keys/{id}/test", tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = Tested), (status = 404, description = "No key has this id", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn test(State(room): State<Arc<Room>>, Name(id): Name) -> Result<Json<Tested>, Problem> {
    let key = found(&room, &id)?;
    let began = Instant::now();
    let asked = room.upstream.models(&key, Form::ApiKey, None, room.probe_timeout).await;
    let took = |began: Instant| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Ok(answer) = asked else {
        let message = "no connection to Google".to_owned();
        let verdict = Verdict::Connect.name();
        return Ok(Json(Tested { verdict, status: None, message, took_ms: took(began), models: None }));
    };
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MODELS_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let models = serde_json::from_slice::<Value>(&body).ok().filter(|_| status.is_success());
    let models = models.and_then(|body| Some(body["models"].as_array()?.len()));
    let refusal = Refusal::read(status.as_u16(), &body);
    let verdict = if status.is_success() { Verdict::Success } else { Verdict::of_key(&refusal) };
    let (pool, now) = (&room.monitor.pool, Instant::now());
    match Probe::of(verdict) {
        // Also one that was banned for good: what it is asked for was seen to be let in.
        Probe::Alive if pool.is_dead(&key) => pool.reset(&key, now),
        found => pool.probed(&key, found, now),
    }
    let message = if status.is_success() { String::new() } else { refusal.summary().to_owned() };
    let message = room.scrubber.scrub_str(&message).into_owned();
    Ok(Json(Tested { verdict: verdict.name(), status: Some(status.as_u16()), message, took_ms: took(began), models }))
}

fn found(room: &Room, id: &str) -> Result<Arc<Key>, Problem> {
    let key = room.monitor.pool.keys().iter().find(|key| *key.id == *id).cloned();
    key.ok_or_else(|| Problem::missing("key"))
}

fn row(room: &Room, id: &str) -> Result<Row, Problem> {
    let rows = rows(room.view(), &room.running().configuration);
    rows.into_iter().find(|row| **row.id() == *id).ok_or_else(|| Problem::missing("key"))
}

/// What is wrong is told by the field that was sent, not by the file's line.
fn checked(fields: KeyFields) -> Result<KeyFields, Problem> {
    if fields.weight.is_some_and(|weight| !WEIGHTS.contains(&weight)) {
        return Err(Problem::field("weight", "expected 1 to 1000"));
    }
    Ok(fields)
}

fn named(id: Option<&str>) -> Result<(), Problem> {
    let fits = |id: &str| !id.is_empty() && id.len() <= 64 && key_list::wrong(id).is_none();
    if id.is_some_and(|id| !fits(id)) {
        return Err(Problem::field("id", "expected 1 to 64 letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}
