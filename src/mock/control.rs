//! The routes by which a running world is told what to do: everything below `/mock/`.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::ledger::QuotaRule;
use crate::mock::script::Script;
use crate::mock::wire::Answer;
use crate::mock::world::World;

const ROUTES: &str =
    "POST /mock/script, GET /mock/calls[?since=ID], POST /mock/reset, POST /mock/quota, GET /mock/state";

/// Whether the path is one of these routes.
pub(crate) fn owns(uri: &Uri) -> bool {
    uri.path() == "/mock" || uri.path().starts_with("/mock/")
}

/// Does what was asked and says so in JSON.
pub(crate) fn answer(world: &World, method: &Method, uri: &Uri, body: &[u8]) -> Answer {
    let done = match (method.as_str(), uri.path()) {
        ("POST", "/mock/script") => scripts(body).and_then(|scripts| {
            let count = scripts.len();
            let queued = scripts.into_iter().filter(|script| world.script(script.clone())).count();
            if queued == count { Ok(json!({"queued": queued})) } else { Err("too many scripts stand".to_owned()) }
        }),
        ("POST", "/mock/quota") => quotas(body).map(|rules| {
            let set = rules.len();
            for rule in rules {
                world.set_rule(rule);
            }
            json!({"set": set})
        }),
        ("POST", "/mock/reset") => {
            world.reset();
            Ok(json!({"reset": true}))
        }
        ("GET", "/mock/state") => Ok(world.view()),
        ("GET", "/mock/calls") => {
            let mut fields = auth::query(uri.query().unwrap_or(""));
            let since = fields.find(|(name, _)| *name == "since").and_then(|(_, id)| id.parse().ok()).unwrap_or(0_u64);
            let calls = world.calls();
            let calls = calls.iter().filter(|call| call.id > since);
            Ok(json!({"calls": calls.map(|call| call.view(world.started())).collect::<Vec<_>>()}))
        }
        _ => return json_answer(StatusCode::NOT_FOUND, &json!({"error": format!("the routes are: {ROUTES}")})),
    };
    match done {
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err(error) => json_answer(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
}

/// Scripts as JSON, one or several, each an object or a text; or as plain text, one a line.
fn scripts(body: &[u8]) -> Result<Vec<Script>, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(all)) => all.into_iter().map(Script::from_json).collect(),
        Ok(one) => Script::from_json(one).map(|script| vec![script]),
        Err(_) => {
            let text = std::str::from_utf8(body).map_err(|_| "a script is text".to_owned())?;
            text.lines().filter(|line| !line.trim().is_empty()).map(str::parse).collect()
        }
    }
}

fn quotas(body: &[u8]) -> Result<Vec<QuotaRule>, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let all = if let Value::Array(all) = value { all } else { vec![value] };
    all.into_iter().map(|rule| serde_json::from_value(rule).map_err(|error| error.to_string())).collect()
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Answer {
        status,
        headers: HeaderMap::from_iter([kind]),
        frames: vec![format!("{value:#}\n").into()],
        streams: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::settings::Settings;

    fn ask(world: &World, line: &str, body: &str) -> (u16, Value) {
        let (method, uri) = line.split_once(' ').unwrap();
        let answer = answer(world, &method.parse().unwrap(), &uri.parse().unwrap(), body.as_bytes());
        (answer.status.as_u16(), serde_json::from_slice(&answer.frames[0]).unwrap())
    }

    #[tokio::test]
    async fn a_running_world_takes_orders_in_json_and_in_text() {
        let world = World::new(Settings::default());
        assert_eq!(ask(&world, "POST /mock/script", "key=k1 fault=overloaded\nfault=lf times=2").1["queued"], 2);
        assert_eq!(ask(&world, "POST /mock/script", r#"{"fault":"cut:2","times":1}"#).1["queued"], 1);
        assert_eq!(ask(&world, "POST /mock/script", r#"["fault=lf",{"fault":"empty"}]"#).1["queued"], 2);
        assert_eq!(ask(&world, "POST /mock/quota", r#"{"project":"p","quota":{"rpm":3}}"#).1["set"], 1);
        let state = ask(&world, "GET /mock/state", "").1;
        assert_eq!(state["scripts"].as_array().unwrap().len(), 5);
        assert_eq!(state["quotas_set"][0]["quota"]["rpm"], 3);
        assert_eq!(ask(&world, "POST /mock/reset", "").0, 200);
        assert!(ask(&world, "GET /mock/state", "").1["scripts"].as_array().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_wrong_order_is_refused_with_its_reason() {
        let world = World::new(Settings::default());
        let (status, body) = ask(&world, "POST /mock/script", "fault=nonsense");
        assert_eq!(status, 400);
        assert!(body["error"].as_str().unwrap().contains("allowed"));
        assert_eq!(ask(&world, "POST /mock/quota", r#"{"rpmm":1}"#).0, 400);
        assert_eq!(ask(&world, "GET /mock/nowhere", "").0, 404);
    }
}
