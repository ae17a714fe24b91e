//! Signatures of thoughts, where a script asks for them: each project knows its own, and refuses all others.

use serde_json::Value;

use crate::mock::base64;
use crate::mock::bodies::{Asked, Refused};
use crate::mock::fault::Fault;
use crate::mock::refusals::Refusal;
use crate::secret::Digest;

/// How deep a history is read.
const DEPTH_MAX: usize = 64;
/// All signatures begin with so many characters of base64 that are the same.
const ALIKE: usize = 60;

/// The signature on an answer of `project`, the `id` telling it from others of its own.
pub(crate) fn of(project: &str, id: &str) -> String {
    format!("{}{}{}", "Cq".repeat(ALIKE / 2), mark(project), base64::encode(id.repeat(60).as_bytes()))
}

/// What Google says to a history with a signature that the project did not make.
pub(crate) fn objection(body: &Value, asked: &Asked, faults: &[Fault]) -> Option<Refused> {
    let foreign = faults.contains(&Fault::Signed) && foreign(body, &mark(&asked.project), DEPTH_MAX);
    foreign.then(|| Refusal::ThoughtSignature.to(asked, None))
}

/// A project's own part of each of its signatures.
fn mark(project: &str) -> String {
    base64::encode(Digest::of(project.as_bytes()).to_string().as_bytes()).replace('=', "A")
}

fn foreign(value: &Value, mark: &str, depth: usize) -> bool {
    match value {
        _ if depth == 0 => false,
        Value::Array(all) => all.iter().any(|one| foreign(one, mark, depth - 1)),
        Value::Object(fields) => fields.iter().any(|(name, value)| match (name.as_str(), value) {
            ("thoughtSignature" | "thought_signature", Value::String(signature)) => {
                !signature.get(ALIKE..).is_some_and(|own| own.starts_with(mark))
            }
            ("args" | "arguments" | "response", _) => false,
            _ => foreign(value, mark, depth - 1),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_project_knows_its_own_signatures_alone() {
        let asked = Asked { project: "p1".to_owned(), ..Asked::default() };
        let history = |signature: &str| json!({"contents": [{"parts": [{"thoughtSignature": signature}]}]});
        for (signature, refused) in [(of("p1", "a"), false), (of("p2", "a"), true), ("bW9jaw==".to_owned(), true)] {
            let objection = objection(&history(&signature), &asked, &[Fault::Signed]);
            assert_eq!(objection.map(|it| it.status), refused.then_some(400), "{signature}");
            assert!(super::objection(&history(&signature), &asked, &[]).is_none(), "only where it is asked for");
        }
    }
}
