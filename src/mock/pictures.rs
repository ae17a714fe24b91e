//! Pictures and films, which are all the same.

use serde_json::{Value, json};

use crate::mock::bodies::Asked;
use crate::mock::content::Content;
use crate::mock::files::{self, Label, ORIGIN};
use crate::mock::generate::PNG;
use crate::mock::mint;
use crate::mock::operations::{kind, operation};
use crate::mock::world::World;

/// What begins a film in an MP4 container, and all there is of it.
const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\0\x08mdat";
/// How many pictures one call may ask for.
pub(crate) const PICTURES_MAX: u64 = 8;

/// The pictures of `:predict`.
pub(crate) fn predictions(body: &Value) -> Value {
    let count = body["parameters"]["sampleCount"].as_u64().unwrap_or(1).clamp(1, PICTURES_MAX);
    let picture = json!({"mimeType": "image/png", "bytesBase64Encoded": PNG});
    json!({"predictions": (0..count).map(|_| picture.clone()).collect::<Vec<_>>()})
}

/// Begins a film: the operation `models/M/operations/ID`, whose end names a file of the project's.
pub(crate) fn film(world: &World, asked: &Asked) -> Value {
    let label = Label { mime: Some("video/mp4".to_owned()), ..Label::default() };
    let mut store = world.store();
    let file = files::file(&asked.project, &label, "GENERATED", Content::of(MP4), world.now());
    let uri = format!("{ORIGIN}/{}:download?alt=media", file.name);
    store.put(file);
    let samples = json!([{"video": {"uri": uri}}]);
    let response = json!({
        "@type": kind("PredictLongRunningResponse"),
        "generateVideoResponse": {"generatedSamples": samples},
    });
    let name = format!("models/{}/operations/{}", asked.model, mint::id());
    let begun = operation(&asked.project, name, &Value::Null, &response);
    let shown = begun.value.clone();
    store.put(begun);
    shown
}
