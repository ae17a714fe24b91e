//! Looks at a gateway as tests have them.

use serde_json::{Value, json};

use crate::command::pages::Full;

/// A gateway of two hours with these keys and nothing else; `more` adds to the sections of the page.
pub(super) fn full(keys: &Value, more: &Value) -> Full {
    let all = keys.as_array().unwrap();
    let usable = all.iter().filter(|key| matches!(key["state"].as_str(), Some("usable" | "cooling"))).count();
    let at = "2026-11-25T14:00:00Z";
    let mut page = json!({
        "health": {"at": at, "version": "0.1.0", "uptime_seconds": 7_200, "draining": false},
        "metrics": {}, "performance": {}, "streams": {}, "errors": {},
        "keys": {"total": all.len(), "listed": all.len(), "usable": usable, "keys": keys},
    });
    for (section, fields) in more.as_object().unwrap() {
        page[section].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    }
    serde_json::from_value(page).unwrap()
}

/// Keys in these states, numbered from 1.
pub(super) fn keys(states: &[&str]) -> Value {
    let key = |(n, state)| json!({"id": format!("{}", n + 1), "tail": format!("{:04}", n + 1), "state": state});
    states.iter().enumerate().map(key).collect()
}
