//! The target of a call: path and query as the upstream gets them.

use http::uri::PathAndQuery;

use crate::endpoint::query::{is_credential, parameters};

/// The target without the client's credential, below Google's compatible endpoint when `compat` says so.
pub(super) fn target(asked: &PathAndQuery, path: &str, compat: bool) -> PathAndQuery {
    let has_key = parameters(asked.query()).any(is_credential);
    if !has_key && !compat && path.len() == asked.path().len() {
        return asked.clone();
    }
    let mut text = String::with_capacity(asked.as_str().len() + 16);
    match path.strip_prefix("/v1/") {
        Some(rest) if compat => text.extend(["/v1beta/openai/", rest]),
        _ => text.push_str(path),
    }
    for (n, parameter) in parameters(asked.query()).filter(|p| !is_credential(p)).enumerate() {
        text.push(if n == 0 { '?' } else { '&' });
        text.push_str(parameter);
    }
    // Made of pieces of a valid target, so it is one.
    PathAndQuery::try_from(text).unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// The target of another model: `real` in the place of `model`.
pub(super) fn retargeted(target: &PathAndQuery, model: &str, real: &str) -> Option<PathAndQuery> {
    const MODELS: &str = "/models/";
    let text = target.as_str();
    let after = &text[text.find(MODELS)? + MODELS.len()..];
    let tail = bare(after);
    let rest = tail.strip_prefix(model)?;
    PathAndQuery::try_from([&text[..text.len() - tail.len()], real, rest].concat()).ok()
}

/// A model's name in OpenAI's path, without `models/`, whose slash may be encoded.
pub(super) fn bare(model: &str) -> &str {
    let prefixes = ["models/", "models%2F", "models%2f"];
    prefixes.iter().find_map(|prefix| model.strip_prefix(prefix)).unwrap_or(model)
}
