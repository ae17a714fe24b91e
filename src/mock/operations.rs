//! What takes Google its time: an operation that is open when it is made and done when it is first asked for.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::mock::store::Thing;

/// The kind of a message of Google's, for its `@type`.
pub(crate) fn kind(message: &str) -> String {
    format!("type.googleapis.com/google.ai.generativelanguage.v1beta.{message}")
}

/// An operation of the project's. `metadata` is left out when it is null.
pub(crate) fn operation(project: &str, name: String, metadata: &Value, response: &Value) -> Thing {
    let mut open = json!({"name": name});
    if !metadata.is_null() {
        open["metadata"] = metadata.clone();
    }
    let mut done = open.clone();
    done["done"] = json!(true);
    done["response"] = response.clone();
    Thing { project: project.to_owned(), name, value: open, next: Some(done), ..Thing::default() }
}

/// A moment as Google writes it, to the microsecond.
pub(crate) fn moment(at: Timestamp) -> String {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_open_and_then_done() {
        let thing = operation("p", "operations/o".to_owned(), &Value::Null, &json!({"a": 1}));
        assert_eq!(thing.value, json!({"name": "operations/o"}));
        assert_eq!(thing.next.unwrap(), json!({"name": "operations/o", "done": true, "response": {"a": 1}}));
    }

    #[test]
    fn a_moment_ends_in_z_and_has_no_nanoseconds() {
        assert_eq!(moment("2026-11-21T07:59:00.123456789Z".parse().unwrap()), "2026-11-21T07:59:00.123456Z");
    }
}
