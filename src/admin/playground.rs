//! `/api/playground`: a prompt sent through the gateway itself, its answer streamed as any client gets it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use utoipa::ToSchema;

use crate::admin::body::Read;
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::alias::is_name;

/// The header that the gateway's own client is known by.
const CREDENTIAL: HeaderName = HeaderName::from_static("x-goog-api-key");
/// The hottest that Google takes.
const TEMPERATURE_MAX: f64 = 2.0;

/// A prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Prompt {
    /// The model, by any name that clients may call it.
    model: String,
    /// What is asked.
    prompt: String,
    /// The system instruction.
    system: Option<String>,
    /// 0 to 2.
    temperature: Option<f64>,
    /// At least 1.
    max_output_tokens: Option<u32>,
}

/// Asks a model as the client `dashboard`. The answer is the gateway's own, bytes and errors as a client gets them, in
/// Google's form of an event stream; `x-request-id` names it for `/api/requests/{id}`. Who leaves ends it.
#[utoipa::path(
    post, path = "/api/playground", tag = "playground", request_body = Prompt,
    responses(
        (status = 200, description = "Google's events", body = String, content_type = "text/event-stream"),
        (status = 422, description = "No prompt", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "The gateway's refusal, in the Gemini API's form"),
    )
)]
pub(crate) async fn ask(State(room): State<Arc<Room>>, Read(prompt): Read<Prompt>) -> Result<Response, Problem> {
    let model = room.monitor.aliases.model(&prompt.model);
    if !is_name(model) {
        return Err(Problem::field("model", "expected a model's name: letters, digits, `.`, `_` and `-`"));
    }
    prompt.check()?;
    let request = Request::post(format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"))
        .header(CONTENT_TYPE, "application/json")
        .header(HOST, "localhost")
        .header(CREDENTIAL, room.lasting.credential.expose())
        .body(Body::from(prompt.body().to_string()))
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be made"))?;
    // It cannot fail: a refusal is an answer.
    room.gateway.clone().oneshot(request).await.map_err(|never| match never {})
}

impl Prompt {
    fn check(&self) -> Result<(), Problem> {
        if self.prompt.is_empty() {
            return Err(Problem::field("prompt", "this is needed"));
        }
        if self.temperature.is_some_and(|heat| !(0.0..=TEMPERATURE_MAX).contains(&heat)) {
            return Err(Problem::field("temperature", "expected 0 to 2"));
        }
        if self.max_output_tokens == Some(0) {
            return Err(Problem::field("max_output_tokens", "expected at least 1"));
        }
        Ok(())
    }

    /// As the Gemini API takes it.
    fn body(&self) -> Value {
        let mut body = json!({ "contents": [{ "role": "user", "parts": [{ "text": self.prompt }] }] });
        if let Some(system) = &self.system {
            body["systemInstruction"] = json!({ "parts": [{ "text": system }] });
        }
        if let Some(heat) = self.temperature {
            body["generationConfig"]["temperature"] = heat.into();
        }
        if let Some(most) = self.max_output_tokens {
            body["generationConfig"]["maxOutputTokens"] = most.into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str) -> Prompt {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_prompt_is_a_body_of_the_gemini_api() {
        let bare = prompt(r#"{"model":"m","prompt":"hello"}"#);
        assert_eq!(bare.body(), json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}));
        let full = prompt(r#"{"model":"m","prompt":"hi","system":"be brief","temperature":0.5,"max_output_tokens":9}"#);
        assert_eq!(full.body()["generationConfig"], json!({"temperature": 0.5, "maxOutputTokens": 9}));
        assert_eq!(full.body()["systemInstruction"]["parts"][0]["text"], "be brief");
        assert!(full.check().is_ok());
        for wrong in [
            r#"{"model":"m","prompt":""}"#,
            r#"{"model":"m","prompt":"x","temperature":-0.1}"#,
            r#"{"model":"m","prompt":"x","temperature":2.1}"#,
            r#"{"model":"m","prompt":"x","max_output_tokens":0}"#,
        ] {
            assert!(prompt(wrong).check().is_err(), "{wrong}");
        }
    }
}
