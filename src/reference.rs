//! References: which resources a request's body names, found in passing, wherever in the history they stand.

use std::collections::HashSet;

use crate::resource::{Resource, of_google};
use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

/// The longest value that is read: a URI around a name, or a signed one of another host.
const VALUE_BYTES_MAX: usize = 2048;
/// A file that a function's response refers to, within a request of a batch, stands 15 deep.
const LEVELS: usize = 16;
/// Different resources of one body; Google takes 3,000 files in a prompt (Gemini API documentation, 2026-10).
pub const REFERENCES_MAX: usize = 4_096;

/// More different resources than [`REFERENCES_MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany;

/// A resource that a body names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference {
    /// Which.
    pub resource: Resource,
    /// Whether it can be nothing else; a URI of a foreign host and the bare name of an agent or environment may be.
    pub certain: bool,
}

/// The resources that `body` refers to, each once, in one pass that skips long strings: faster than a search for the keys
/// that may refer to something. No tree is built, and what is no JSON names what can be made out.
///
/// What stands in the arguments and results of function calls is the caller's own data and refers to nothing.
pub fn references(body: &[u8]) -> Result<Vec<Reference>, TooMany> {
    let mut finder = Finder::default();
    finder.feed(body);
    finder.end()
}

/// The same for a body that comes in pieces: each is walked over while it is still in the processor's cache.
#[derive(Debug, Default)]
pub struct Finder {
    skim: Skim<Found, VALUE_BYTES_MAX, LEVELS>,
    found: Found,
}

impl Finder {
    /// Walks on over the next bytes.
    pub fn feed(&mut self, piece: &[u8]) {
        self.skim.feed(piece, &mut self.found);
    }

    /// Whether a value that may refer to a resource names none that can be made out: it is too long, or it is a URI of
    /// Google's API, or a name where only a resource's may stand.
    pub const fn unclear(&self) -> bool {
        self.found.unclear
    }

    /// What the pieces referred to.
    pub fn end(self) -> Result<Vec<Reference>, TooMany> {
        if self.found.too_many { Err(TooMany) } else { Ok(self.found.references) }
    }
}

#[derive(Debug, Default)]
struct Found {
    references: Vec<Reference>,
    known: HashSet<Reference>,
    too_many: bool,
    unclear: bool,
}

/// Where in a body.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A value that may hold others, or the members of one.
    Any,
    /// A value that may name a resource, or a list of such.
    Name,
    /// The same of a member of this collection, that may go by its bare id.
    Of(&'static str),
    /// The name of an agent or an environment: Google's own, or one of a project.
    Common(&'static str),
}

impl Visitor for Found {
    type Place = Place;
    const ROOT: Place = Place::Any;
    const LINES: bool = false;

    fn value(&mut self, at: Place, first: u8, _: usize) -> Option<Place> {
        match (at, first) {
            (_, b'{') => Some(Place::Any),
            (_, b'[') => Some(at),
            (Place::Any, _) => None,
            (_, b'"') => Some(at),
            _ => None,
        }
    }

    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        if !matches!(at, Place::Any) {
            return None;
        }
        Some(match key {
            // The caller's own data and schemas.
            b"args"
            | b"response"
            | b"arguments"
            | b"parameters"
            | b"parametersJsonSchema"
            | b"schema"
            | b"data"
            | b"text" => return None,
            b"fileUri" | b"file_uri" | b"fileName" | b"file_name" | b"fileId" | b"file_id" | b"input_file_id" => {
                Place::Of("files")
            }
            b"cachedContent" | b"cached_content" => Place::Of("cachedContents"),
            b"fileSearchStoreNames" | b"file_search_store_names" => Place::Of("fileSearchStores"),
            b"tunedModel" | b"tuned_model" => Place::Of("tunedModels"),
            b"previous_interaction_id" | b"previousInteractionId" => Place::Of("interactions"),
            b"uri" | b"source" | b"model" => Place::Name,
            b"agent" => Place::Common("agents"),
            b"environment" => Place::Common("environments"),
            _ => Place::Any,
        })
    }

    fn scalar(&mut self, at: Place, scalar: Scalar<'_>) {
        let text = match scalar {
            Scalar::Text(text) => std::str::from_utf8(text).ok(),
            Scalar::Long => None,
            Scalar::Word(_) => return,
        };
        let Some(text) = text else {
            self.unclear |= !matches!(at, Place::Any);
            return;
        };
        let google = of_google(text);
        let (resource, certain) = match at {
            Place::Of(collection) if google.is_none() => (Resource::of_id(collection, text), true),
            Place::Common(collection) if google.is_none() => (Resource::of_id(collection, text), false),
            Place::Any => return,
            _ => (Resource::of_value(text), google != Some(false)),
        };
        let bare = matches!(at, Place::Of(_)) && google.is_none() && !text.is_empty();
        self.unclear |= resource.is_none() && (google == Some(true) || bare);
        let Some(reference) = resource.map(|resource| Reference { resource, certain }) else { return };
        if self.known.len() >= REFERENCES_MAX {
            self.too_many |= !self.known.contains(&reference);
        } else if self.known.insert(reference.clone()) {
            self.references.push(reference);
        }
    }

    fn end(&mut self, _: Place) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names(body: &serde_json::Value) -> Vec<String> {
        let found = references(body.to_string().as_bytes()).unwrap();
        found.iter().filter(|found| found.certain).map(|found| found.resource.name().to_owned()).collect()
    }

    #[test]
    fn a_reference_is_found_wherever_it_stands() {
        let uri = "https://generativelanguage.googleapis.com/v1beta/files/abc";
        for (body, expected) in [
            (json!({"contents": [{"parts": [{"fileData": {"fileUri": uri}}, {"text": "x"}]}]}), &["files/abc"][..]),
            (json!({"contents": [{"parts": [{"file_data": {"mime_type": "a/b", "file_uri": uri}}]}]}), &["files/abc"]),
            (json!({"cachedContent": "cachedContents/c", "contents": []}), &["cachedContents/c"]),
            (json!({"extra_body": {"google": {"cached_content": "cachedContents/c"}}}), &["cachedContents/c"]),
            (
                json!({"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a", "fileSearchStores/b"]}}]}),
                &["fileSearchStores/a", "fileSearchStores/b"],
            ),
            (json!({"batch": {"inputConfig": {"fileName": "files/in"}}}), &["files/in"]),
            (json!({"input_file_id": "files/in", "endpoint": "/v1/chat/completions"}), &["files/in"]),
            (json!({"model": "m", "previous_interaction_id": "v1_abc"}), &["interactions/v1_abc"]),
            (json!({"input": [{"type": "document", "uri": uri}]}), &["files/abc"]),
            (
                json!({"batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": [{"parts":
                    [{"functionResponse": {"parts": [{"fileData": {"fileUri": uri}}]}}]}]}}]}}}}),
                &["files/abc"],
            ),
        ] {
            assert_eq!(names(&body), expected, "{body}");
        }
        let escaped = br#"{"cache\u0064Content":"cachedContents\/c"}"#;
        assert_eq!(references(escaped).unwrap().len(), 1, "a key written by escapes is the same key");
    }

    #[test]
    fn a_bare_id_is_its_key_s() {
        for (body, expected) in [
            (json!({"cachedContent": "ID"}), "cachedContents/ID"),
            (json!({"file_data": {"file_uri": "ID"}}), "files/ID"),
            (json!({"type": "file", "file": {"file_id": "files/ID"}}), "files/ID"),
            (json!({"semanticRetriever": {"source": "corpora/ID"}}), "corpora/ID"),
            (json!({"tunedModelSource": {"tunedModel": "tunedModels/ID"}}), "tunedModels/ID"),
            (json!({"batch": {"model": "tunedModels/ID"}}), "tunedModels/ID"),
            (json!({"fileSearch": {"fileSearchStoreNames": ["ID"]}}), "fileSearchStores/ID"),
        ] {
            assert_eq!(names(&body), [expected], "{body}");
        }
        assert!(names(&json!({"model": "models/gemini-x"})).is_empty());
    }

    #[test]
    fn a_value_that_names_nothing_where_it_must_is_unclear() {
        let unclear = |body: serde_json::Value| {
            let mut finder = Finder::default();
            finder.feed(body.to_string().as_bytes());
            finder.unclear()
        };
        let google = "https://generativelanguage.googleapis.com";
        for uri in [
            format!("{google}/v1beta/files/a?{}", "x".repeat(2_100)),
            format!("{google}/v1beta/f%69les/a"),
            format!("{google}/elsewhere/v1beta/files/a"),
            "v1beta/files/a".into(),
        ] {
            assert!(unclear(json!({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]})), "{uri}");
        }
        for body in [
            json!({"fileData": {"fileUri": "https://youtu.be/abc"}}),
            json!({"fileData": {"fileUri": format!("{google}/v1beta/files/a")}}),
            json!({"uri": "mine", "source": "gs://bucket/file", "environment": "remote", "model": "models/m"}),
            json!({"text": "x".repeat(5_000), "cachedContent": null}),
        ] {
            assert!(!unclear(body.clone()), "{body}");
        }
    }

    #[test]
    fn what_only_looks_like_a_reference_is_none() {
        for body in [
            json!({"contents": [{"parts": [{"text": "see files/abc and cachedContents/c"}]}]}),
            json!({"contents": [{"parts": [{"functionCall": {"args": {"fileUri": "files/abc"}}}]}]}),
            json!({"contents": [{"parts": [{"functionResponse": {"response": {"file_uri": "files/abc"}}}]}]}),
            json!({"contents": [{"parts": [{"fileData": {"fileUri": "https://youtu.be/abc"}}]}]}),
            json!({"contents": [{"parts": [{"inlineData": {"data": "fileUri"}}]}]}),
            json!({"cachedContent": null}),
            json!({"agent": "deep-research-preview"}),
            json!({"contents": [{"parts": [{"fileData": {"fileUri": "https://elsewhere.example/v1/files/abc"}}]}]}),
        ] {
            assert!(names(&body).is_empty(), "{body}");
        }
    }

    #[test]
    fn each_resource_counts_once_and_their_number_is_bounded() {
        let files = |count: usize, different: usize| {
            let part = |n: usize| json!({"fileData": {"fileUri": format!("files/f{}", n % different)}});
            json!({"contents": [{"parts": (0..count).map(part).collect::<Vec<_>>()}]}).to_string()
        };
        assert_eq!(references(files(100, 3).as_bytes()).unwrap().len(), 3);
        assert_eq!(references(files(4_097, 4_097).as_bytes()), Err(TooMany));
    }

    #[test]
    fn a_long_body_is_walked_over_all_the_same() {
        let image = "A".repeat(200_000);
        let part = json!({"inlineData": {"mimeType": "image/png", "data": image}});
        let body = json!({"contents": [{"parts": [part, {"fileData": {"fileUri": "files/after"}}]}]});
        assert_eq!(names(&body), ["files/after"]);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(piece in 1_usize..40, deep in 0_usize..4) {
            let file = json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}});
            let body = (0..deep).fold(file, |inner, _| json!({"parts": [inner, {"cached_content": "cachedContents/c"}]}));
            let body = body.to_string();
            let mut finder = Finder::default();
            body.as_bytes().chunks(piece).for_each(|piece| finder.feed(piece));
            prop_assert_eq!(finder.end(), references(body.as_bytes()));
        }

        #[test]
        fn rubbish_is_survived(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = references(&body);
            let _ = references(&[&b"{\"fileUri\":"[..], &body].concat());
        }
    }
}
