//! Sightings: the resources that an answer of Google's names, found as it passes.

use crate::resource::Resource;
use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

/// The longest value that is read.
const VALUE_BYTES_MAX: usize = 1024;

/// Fed with an answer in any pieces, as JSON or as events. Holds one key or value of it.
#[derive(Debug)]
pub(crate) struct Sightings {
    skim: Skim<Seen, VALUE_BYTES_MAX>,
    seen: Seen,
}

#[derive(Debug)]
struct Seen {
    /// The collection that bare ids belong to.
    collection: Box<str>,
    found: Vec<Resource>,
}

/// Where in an answer.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A document, or a list of such.
    Root,
    /// The members of one, or of an event's interaction: `id` is its own.
    Top,
    /// A value that may hold others, or the members of one.
    Any,
    /// A value that may name a resource, or a list of such.
    Name,
    /// A document's own id, with its collection or without.
    Id,
    /// An interaction's id.
    Interaction,
}

impl Sightings {
    /// Of an answer in which bare ids are those of `collection`.
    pub(crate) fn new(collection: &str) -> Self {
        Self { skim: Skim::default(), seen: Seen { collection: collection.into(), found: Vec::new() } }
    }

    /// The resources that became known with the next bytes.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> impl Iterator<Item = Resource> {
        self.skim.feed(chunk, &mut self.seen);
        self.seen.found.drain(..)
    }
}

impl Visitor for Seen {
    type Place = Place;
    const ROOT: Place = Place::Root;
    const LINES: bool = true;

    fn value(&mut self, at: Place, first: u8, _: usize) -> Option<Place> {
        match (at, first) {
            (Place::Root | Place::Top, b'{') => Some(Place::Top),
            (_, b'{') => Some(Place::Any),
            (_, b'[') | (Place::Name | Place::Id | Place::Interaction, b'"') => Some(at),
            _ => None,
        }
    }

    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        let top = match at {
            Place::Top => true,
            Place::Any => false,
            _ => return None,
        };
        Some(match key {
            // What a model said names nothing.
            b"args" | b"arguments" => return None,
            b"interaction" if top => Place::Top,
            b"id" if top => Place::Id,
            b"id" => Place::Name,
            b"name" | b"uri" | b"fileUri" | b"file_uri" | b"fileName" | b"file_name" | b"downloadUri"
            | b"responsesFile" | b"responses_file" | b"input_file_id" | b"output_file_id" | b"error_file_id" => {
                Place::Name
            }
            b"interaction_id" | b"interactionId" => Place::Interaction,
            _ => Place::Any,
        })
    }

    fn scalar(&mut self, at: Place, scalar: Scalar<'_>) {
        let Scalar::Text(text) = scalar else { return };
        let Ok(text) = std::str::from_utf8(text) else { return };
        let resource = match at {
            Place::Name => Resource::of_value(text),
            Place::Id => Resource::of_id(&self.collection, text),
            Place::Interaction => Resource::of_id("interactions", text),
            Place::Root | Place::Top | Place::Any => None,
        };
        self.found.extend(resource);
    }

    fn end(&mut self, _: Place) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(collection: &str, answer: &str, piece: usize) -> Vec<String> {
        let mut sightings = Sightings::new(collection);
        let chunks = answer.as_bytes().chunks(piece);
        chunks.flat_map(|chunk| sightings.feed(chunk).collect::<Vec<_>>()).map(|found| found.to_string()).collect()
    }

    #[test]
    fn what_an_answer_names_is_seen_whatever_its_pieces() {
        let uri = "https://generativelanguage.googleapis.com/v1beta/files/a";
        for (collection, answer, expected) in [
            ("files", format!(r#"{{"file": {{"name": "files/a", "uri": "{uri}"}}}}"#), &["files/a", "files/a"][..]),
            ("files", r#"{"files":[{"name":"files/a"},{"name":"files/b"}]}"#.into(), &["files/a", "files/b"]),
            ("cachedContents", r#"{"name":"cachedContents/c","model":"models/m"}"#.into(), &["cachedContents/c"]),
            ("models", r#"{"name":"models/veo/operations/o"}"#.into(), &["models/veo/operations/o"]),
            (
                "batches",
                r#"{"name":"batches/b","metadata":{"output":{"responsesFile":"files/out"}}}"#.into(),
                &["batches/b", "files/out"],
            ),
            (
                "batches",
                r#"{"id":"batches/b","object":"batch","output_file_id":"files/o"}"#.into(),
                &["batches/b", "files/o"],
            ),
            ("interactions", r#"{"id":"v1_x","object":"interaction"}"#.into(), &["interactions/v1_x"]),
            (
                "interactions",
                "event: interaction.created\ndata: {\"interaction\":{\"id\":\"v1_x\"}}\n\n\
                 data: {\"interaction_id\":\"v1_x\",\"delta\":{\"text\":\"files/no\"}}\n\n"
                    .into(),
                &["interactions/v1_x", "interactions/v1_x"],
            ),
            ("files", r#"{"object":"list","data":[{"id":"files/a"},{"id":"call_1"}]}"#.into(), &["files/a"]),
            ("chat", r#"{"id":"abc","choices":[{"message":{"content":"files/no"}}]}"#.into(), &[]),
        ] {
            for piece in [1, 7, 10_000] {
                assert_eq!(seen(collection, &answer, piece), expected, "{answer}");
            }
        }
    }
}
