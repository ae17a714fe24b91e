//! Which models there are.

use serde_json::{Value, json};

/// A page of the list when no size is asked for.
const PAGE: usize = 50;

/// What the list shows when the settings name no models; as of November 2026.
const MODELS: [&str; 20] = [
    "gemini-3.8-flash",
    "gemini-3.7-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.1-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-3-flash-preview",
    "gemini-3.1-flash-image",
    "gemini-3-pro-image",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.0-flash",
    "gemini-flash-latest",
    "gemini-pro-latest",
    "gemma-4-31b",
    "gemini-embedding-2",
    "gemini-embedding-001",
    "text-embedding-004",
];

const FAMILIES: [&str; 9] =
    ["gemini-", "gemma-", "text-embedding-", "embedding-", "learnlm-", "deep-research-", "imagen-", "veo-", "lyria-"];

/// The names to list.
pub(crate) fn names(listed: &[String]) -> Vec<&str> {
    if listed.is_empty() { MODELS.to_vec() } else { listed.iter().map(String::as_str).collect() }
}

/// Whether a call for this model is answered.
pub(crate) fn knows(listed: &[String], model: &str) -> bool {
    if listed.is_empty() {
        FAMILIES.iter().any(|family| model.starts_with(family))
    } else {
        listed.iter().any(|name| name == model)
    }
}

/// A model as `models.get` describes it.
pub(crate) fn model(name: &str) -> Value {
    let embeds = name.contains("embedding");
    let methods: &[&str] = if embeds {
        &["embedContent", "countTokens"]
    } else {
        &["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
    };
    json!({
        "name": format!("models/{name}"),
        "version": "001",
        "displayName": name,
        "description": format!("The mocked {name}"),
        "inputTokenLimit": if embeds { 2048 } else { 1_048_576 },
        "outputTokenLimit": if embeds { 1 } else { 65_536 },
        "supportedGenerationMethods": methods,
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
    })
}

/// One page of the list; the token is the place where the next begins. `None` for a token that is none of ours.
pub(crate) fn page(listed: &[String], size: Option<&str>, token: Option<&str>) -> Option<Value> {
    let names = names(listed);
    let size = size.and_then(|size| size.parse().ok()).filter(|size| *size > 0).unwrap_or(PAGE).min(1000);
    let start: usize = match token.filter(|token| !token.is_empty()) {
        Some(token) => token.strip_prefix("page")?.parse().ok().filter(|start| *start < names.len())?,
        None => 0,
    };
    let end = names.len().min(start + size);
    let mut page = json!({"models": names[start..end].iter().map(|name| model(name)).collect::<Vec<_>>()});
    if end < names.len() {
        page["nextPageToken"] = json!(format!("page{end}"));
    }
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole_list() {
        let (mut seen, mut token) = (0, None);
        loop {
            let page = page(&[], Some("7"), token.as_deref()).unwrap();
            seen += page["models"].as_array().unwrap().len();
            token = page["nextPageToken"].as_str().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, MODELS.len());
        assert!(page(&[], None, Some("nonsense")).is_none());
    }
}
