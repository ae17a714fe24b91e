//! Files and documents as Google shows them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::mock::content::Content;
use crate::mock::mint;
use crate::mock::operations::{kind, moment, operation};
use crate::mock::store::{Store, Thing};

/// Where clients look for files, whichever way their calls took.
pub(crate) const ORIGIN: &str = "https://generativelanguage.googleapis.com/v1beta";
/// How long a file lives.
const FILE_LIFE: SignedDuration = SignedDuration::from_hours(48);

/// What is said of bytes before or beside them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Label {
    /// The id its sender wants it to have.
    pub(crate) id: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) mime: Option<String>,
    /// `customMetadata` of a document.
    pub(crate) metadata: Value,
}

impl Label {
    /// Reads the JSON that comes with an upload, Google's `{file: {..}}` or a document's own fields.
    pub(crate) fn of(json: &Value) -> Self {
        let file = if json["file"].is_object() { &json["file"] } else { json };
        let text = |names: [&str; 2]| {
            names.iter().find_map(|name| file[*name].as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let id = text(["name", "name"]).map(|name| name.trim_start_matches("files/").to_owned());
        let metadata = file.get("customMetadata").or(file.get("custom_metadata")).cloned().unwrap_or_default();
        Self {
            id,
            display_name: text(["displayName", "display_name"]),
            mime: text(["mimeType", "mime_type"]),
            metadata,
        }
    }

    fn mime(&self) -> &str {
        self.mime.as_deref().unwrap_or("application/octet-stream")
    }
}

/// A file of the project's, with its 48 hours before it.
pub(crate) fn file(project: &str, label: &Label, source: &str, content: Content, now: Timestamp) -> Thing {
    let id = label.id.clone().unwrap_or_else(mint::id);
    let (name, expires) = (format!("files/{id}"), now + FILE_LIFE);
    let mut value = json!({
        "name": name,
        "mimeType": label.mime(),
        "sizeBytes": content.length.to_string(),
        "createTime": moment(now),
        "updateTime": moment(now),
        "expirationTime": moment(expires),
        "sha256Hash": content.sha256_text(),
        "uri": format!("{ORIGIN}/{name}"),
        "state": "ACTIVE",
        "source": source,
    });
    if let Some(shown) = &label.display_name {
        value["displayName"] = json!(shown);
    }
    if source == "GENERATED" {
        value["downloadUri"] = json!(format!("{ORIGIN}/{name}:download?alt=media"));
    }
    Thing {
        project: project.to_owned(),
        name,
        value,
        expires: Some(expires),
        content: Some(content),
        ..Thing::default()
    }
}

/// Makes a document of the store `parent` and the operation that tells of it; gives the operation as it begins.
/// `place` is where operations of this kind stand below a store.
pub(crate) fn document(
    store: &mut Store,
    project: &str,
    parent: &str,
    place: &str,
    label: &Label,
    size: u64,
    now: Timestamp,
) -> Value {
    let name = format!("{parent}/documents/{}", mint::id());
    let mut value = json!({
        "name": name,
        "displayName": label.display_name.as_deref().unwrap_or(&name),
        "mimeType": label.mime(),
        "sizeBytes": size.to_string(),
        "createTime": moment(now),
        "updateTime": moment(now),
        "state": "STATE_ACTIVE",
    });
    if !label.metadata.is_null() {
        value["customMetadata"] = label.metadata.clone();
    }
    store.put(Thing { project: project.to_owned(), name: name.clone(), value, ..Thing::default() });
    let message = if place == "operations" { "ImportFileResponse" } else { "UploadToFileSearchStoreResponse" };
    let response = json!({"@type": kind(message), "parent": parent, "documentName": name});
    let operation = operation(project, format!("{parent}/{place}/{}", mint::id()), &Value::Null, &response);
    let begun = operation.value.clone();
    store.put(operation);
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lives_two_days_and_says_what_it_is() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let label =
            Label::of(&json!({"file": {"display_name": "a.txt", "name": "files/mine", "mimeType": "text/plain"}}));
        let thing = file("p", &label, "UPLOADED", Content::of(b"abc"), now);
        assert_eq!(thing.name, "files/mine");
        for (field, value) in [
            ("uri", "https://generativelanguage.googleapis.com/v1beta/files/mine"),
            ("expirationTime", "2026-11-23T08:00:00Z"),
            ("sizeBytes", "3"),
            ("displayName", "a.txt"),
            ("mimeType", "text/plain"),
            ("state", "ACTIVE"),
        ] {
            assert_eq!(thing.value[field], value, "{field}");
        }
    }
}
