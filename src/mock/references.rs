//! Which resources a request's body names, wherever they stand in it.

use serde_json::Value;

use crate::mock::bodies::{self, Refused};

/// How deep a body is read.
const DEPTH_MAX: usize = 64;

/// The names of the resources below `value`, such as `files/abc` and `cachedContents/c`, in order.
pub(crate) fn names(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    gather(value, DEPTH_MAX, &mut found);
    found
}

/// The refusal for a resource that is not the caller's, or is not at all.
pub(crate) fn missing(name: &str) -> Refused {
    let (word, id) = name.split_once('/').unwrap_or((name, ""));
    match word {
        "files" if !id.contains('/') => {
            bodies::plain(403, &format!("You do not have permission to access the File {id} or it may not exist."))
        }
        "cachedContents" => bodies::plain(403, "CachedContent not found (or permission denied)"),
        "interactions" | "agents" | "environments" | "triggers" | "webhooks" => {
            bodies::worded(404, "not_found", "Requested entity was not found.")
        }
        _ => bodies::plain(404, "Requested entity was not found."),
    }
}

/// The file that a URI of Google's names; `None` for an address that is elsewhere.
pub(crate) fn file_of(uri: &str) -> Option<String> {
    let path = match uri.split_once("://") {
        Some((_, rest)) => rest.split_once('/').filter(|(_, path)| path.starts_with('v'))?.1.split_once('/')?.1,
        None => uri,
    };
    let id = path.strip_prefix("files/")?.split([':', '?', '/']).next().filter(|id| !id.is_empty())?;
    Some(format!("files/{id}"))
}

fn gather(value: &Value, depth: usize, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Array(all) => all.iter().for_each(|one| gather(one, depth - 1, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    // What functions were called with and gave back is the caller's own.
                    "args" | "functionResponse" | "function_response" | "responseSchema" | "responseJsonSchema" => {}
                    "fileUri" | "file_uri" | "fileName" | "file_name" | "input_file_id" | "file_id" | "uri" => {
                        found.extend(value.as_str().and_then(file_of));
                    }
                    "cachedContent" | "cached_content" => {
                        let name = value.as_str().filter(|name| !name.is_empty());
                        found.extend(name.map(|name| prefixed("cachedContents", name)));
                    }
                    "fileSearchStoreNames" | "file_search_store_names" => {
                        let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                        found.extend(names.map(|name| prefixed("fileSearchStores", name)));
                    }
                    "previous_interaction_id" | "previousInteractionId" => {
                        let id = value.as_str().filter(|id| !id.is_empty());
                        found.extend(id.map(|id| prefixed("interactions", id)));
                    }
                    _ => gather(value, depth - 1, found),
                }
            }
        }
        _ => {}
    }
}

fn prefixed(word: &str, name: &str) -> String {
    if name.starts_with(word) { name.to_owned() } else { format!("{word}/{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let body = json!({
            "contents": [
                {"parts": [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}}]},
                {"parts": [{"file_data": {"file_uri": "files/b"}}, {"functionCall": {"args": {"fileUri": "files/z"}}}]},
                {"parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=files/x"}}]},
            ],
            "cachedContent": "cachedContents/c",
            "tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/s"]}}],
            "previous_interaction_id": "i",
        });
        let mut names = names(&body);
        names.sort();
        assert_eq!(names, ["cachedContents/c", "fileSearchStores/s", "files/a", "files/b", "interactions/i"]);
    }

    #[test]
    fn a_uri_names_a_file_only_where_files_are() {
        for (uri, file) in [
            ("https://generativelanguage.googleapis.com/v1beta/files/a", Some("files/a")),
            ("https://generativelanguage.googleapis.com/v1beta/files/a:download?alt=media", Some("files/a")),
            ("http://127.0.0.1:8080/v1/files/a", Some("files/a")),
            ("files/a", Some("files/a")),
            ("https://example.test/files/a", None),
            ("gs://bucket/files/a", None),
            ("files/", None),
        ] {
            assert_eq!(file_of(uri).as_deref(), file, "{uri}");
        }
    }
}
