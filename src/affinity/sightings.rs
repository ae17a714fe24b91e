//! Sightings: the resources that an answer of Google's names, found as it passes.

use crate::resource::{Resource, of_google};
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

/// What is known of an answer before it comes.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The collection that its path leads to.
    pub collection: &'a str,
    /// Whether the path leads to a member of it or below one: then only what Google made there is news.
    pub below: bool,
    /// Whether it may be a list.
    pub lists: bool,
}

#[derive(Debug)]
struct Seen {
    collection: Box<str>,
    below: bool,
    lists: bool,
    found: Vec<Resource>,
}

/// The collections that go by their ids; a `name` of theirs is their maker's to choose.
const BY_ID: [&str; 6] = ["interactions", "agents", "environments", "triggers", "webhooks", "videos"];
/// Where things go on at Google's that make files.
const WORKS: [&str; 5] = ["batches", "models", "operations", "tunedModels", "videos"];
/// Where interactions are made.
const TURNS: [&str; 2] = ["interactions", "triggers"];

/// Where in an answer. Only what Google alone writes is read: a name anywhere else may be what a client wrote.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A document, or a list of such.
    Root,
    /// The members of a document.
    Top,
    /// A list of documents.
    List,
    /// The members of a file.
    File,
    /// The members of an event's interaction.
    Interaction,
    /// What an operation tells of itself.
    Metadata,
    /// What an operation made.
    Output,
    /// What a model said in an interaction.
    Content,
    /// The document's own name.
    Name,
    /// The document's own id.
    Id,
    /// An interaction's id.
    InteractionId,
    /// A file that Google made.
    Made,
}

impl Sightings {
    /// Of this answer.
    pub(crate) fn new(answer: Answer<'_>) -> Self {
        let Answer { collection, below, lists } = answer;
        let seen = Seen { collection: collection.into(), below, lists, found: Vec::new() };
        Self { skim: Skim::default(), seen }
    }

    /// The resources that became known with the next bytes.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> impl Iterator<Item = Resource> {
        self.skim.feed(chunk, &mut self.seen);
        self.seen.found.drain(..)
    }
}

impl Seen {
    /// Where a member of a document leads.
    fn top(&self, key: &[u8]) -> Option<Place> {
        let collection = &*self.collection;
        let (works, turns) = (WORKS.contains(&collection), TURNS.contains(&collection));
        Some(match key {
            b"name" if !BY_ID.contains(&collection) => Place::Name,
            b"id" => Place::Id,
            b"file" if collection == "files" => Place::File,
            b"interaction" if turns => Place::Interaction,
            b"interaction_id" | b"interactionId" if turns => Place::InteractionId,
            b"outputs" | b"steps" | b"delta" if turns => Place::Content,
            b"metadata" if works => Place::Metadata,
            b"response" | b"output" | b"dest" if works => Place::Output,
            b"output_file_id" | b"error_file_id" if works => Place::Made,
            b"data" | b"operations" | b"executions" if self.lists => Place::List,
            _ if self.lists && key == self.collection.as_bytes() => Place::List,
            _ => return None,
        })
    }
}

impl Visitor for Seen {
    type Place = Place;
    const ROOT: Place = Place::Root;
    const LINES: bool = true;

    fn value(&mut self, at: Place, first: u8, _: usize) -> Option<Place> {
        match (at, first) {
            (Place::Root | Place::List, b'{') => Some(Place::Top),
            (
                Place::Top | Place::File | Place::Interaction | Place::Metadata | Place::Output | Place::Content,
                b'{',
            )
            | (Place::Root | Place::List | Place::Output | Place::Content, b'[')
            | (Place::Name | Place::Id | Place::InteractionId | Place::Made, b'"') => Some(at),
            _ => None,
        }
    }

    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        match (at, key) {
            (Place::Top, _) => self.top(key),
            (Place::Interaction, b"id") => Some(Place::InteractionId),
            (Place::Interaction, b"outputs" | b"steps") | (Place::Content, b"content" | b"video") => {
                Some(Place::Content)
            }
            (
                Place::Output,
                b"output" | b"dest" | b"generateVideoResponse" | b"generatedSamples" | b"generatedVideos" | b"video",
            )
            | (Place::Metadata, b"output" | b"dest") => Some(Place::Output),
            (Place::Output, b"responsesFile" | b"responses_file" | b"fileName" | b"file_name" | b"uri")
            | (Place::Content, b"uri")
            | (Place::File, b"name") => Some(Place::Made),
            _ => None,
        }
    }

    fn scalar(&mut self, at: Place, scalar: Scalar<'_>) {
        let Scalar::Text(text) = scalar else { return };
        let Ok(text) = std::str::from_utf8(text) else { return };
        if of_google(text) == Some(false) {
            return;
        }
        let works = WORKS.contains(&&*self.collection);
        let own = |found: &Resource| works && found.is_operation() || !self.below && found.is_in(&self.collection);
        let resource = match at {
            Place::Name => Resource::of_value(text).filter(own),
            // A bare id below a resource is one of something else.
            Place::Id if self.below && !text.contains('/') => None,
            Place::Id => Resource::of_id(&self.collection, text).filter(own),
            Place::InteractionId => Resource::of_id("interactions", text).filter(|found| found.is_in("interactions")),
            Place::Made => Resource::of_value(text).filter(|found| found.is_in("files")),
            _ => None,
        };
        self.found.extend(resource);
    }

    fn end(&mut self, _: Place) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(collection: &str, answer: &str, piece: usize) -> Vec<String> {
        let (collection, below) = collection.strip_suffix("/").map_or((collection, false), |above| (above, true));
        let mut sightings = Sightings::new(Answer { collection, below, lists: true });
        let chunks = answer.as_bytes().chunks(piece);
        chunks.flat_map(|chunk| sightings.feed(chunk).collect::<Vec<_>>()).map(|found| found.to_string()).collect()
    }

    #[test]
    fn what_an_answer_names_is_seen_whatever_its_pieces() {
        let uri = "https://generativelanguage.googleapis.com/v1beta/files/a";
        for (collection, answer, expected) in [
            ("files", format!(r#"{{"file": {{"name": "files/a", "uri": "{uri}"}}}}"#), &["files/a"][..]),
            ("files", r#"{"files":[{"name":"files/a"},{"name":"files/b"}]}"#.into(), &["files/a", "files/b"]),
            ("cachedContents", r#"{"name":"cachedContents/c","model":"models/m"}"#.into(), &["cachedContents/c"]),
            ("models", r#"{"name":"models/veo/operations/o"}"#.into(), &["models/veo/operations/o"]),
            ("models", r#"{"name":"batches/b"}"#.into(), &["batches/b"]),
            ("tunedModels", r#"{"name":"tunedModels/t/operations/o"}"#.into(), &["tunedModels/t"]),
            ("videos", r#"{"id":"models/veo/operations/o","object":"video"}"#.into(), &["models/veo/operations/o"]),
            ("auth_tokens", r#"{"name":"auth_tokens/t"}"#.into(), &["the token"]),
            (
                "batches/",
                r#"{"name":"batches/b","metadata":{"output":{"responsesFile":"files/out"}}}"#.into(),
                &["batches/b", "files/out"],
            ),
            (
                "models/",
                format!(
                    r#"{{"response":{{"generateVideoResponse":{{"generatedSamples":[{{"video":{{"uri":"{uri}:download?alt=media"}}}}]}}}}}}"#
                ),
                &["files/a"],
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
            ("files", r#"{"object":"list","data":[{"id":"files/a"},{"id":"cachedContents/c"}]}"#.into(), &["files/a"]),
            ("chat", r#"{"id":"abc","choices":[{"message":{"content":"files/no"}}]}"#.into(), &[]),
        ] {
            for piece in [1, 7, 10_000] {
                assert_eq!(seen(collection, &answer, piece), expected, "{answer}");
            }
        }
    }

    #[test]
    fn what_a_client_may_have_written_names_nothing() {
        for (collection, answer) in [
            ("fileSearchStores", r#"{"labels":{"name":"files/x"},"displayName":"files/x"}"#),
            ("webhooks", r#"{"name":"files/x","uri":"https://evil.example/v1/files/x"}"#),
            ("webhooks", r#"{"name":"webhooks/x","uri":"files/x"}"#),
            ("agents", r#"{"name":"agents/x","tools":[{"id":"x","name":"agents/x","uri":"files/x"}]}"#),
            ("cachedContents", r#"{"contents":[{"parts":[{"fileData":{"fileUri":"files/x"}}]}]}"#),
            ("cachedContents", r#"{"name":"files/x"}"#),
            ("agents/", r#"{"metadata":{"output":{"responsesFile":"files/x"}},"response":{"uri":"files/x"}}"#),
            ("triggers/", r#"{"id":"x","name":"triggers/x"}"#),
            ("files/", r#"{"name":"files/x","file":{"name":"cachedContents/x"},"output":{"uri":"files/x"}}"#),
            (
                "batches/",
                r#"{"metadata":{"name":"files/x","output":{"inlinedResponses":[{"metadata":{"uri":"files/x"}}]}}}"#,
            ),
            ("batches/", r#"{"response":{"inlinedResponses":[{"response":{"uri":"files/x"}}],"name":"files/x"}}"#),
            ("batches/", r#"{"id":"x","customMetadata":[{"uri":"files/x"}],"input_file_id":"files/x"}"#),
            ("interactions", r#"{"steps":[{"result":{"uri":"files/x"},"arguments":{"uri":"files/x"}}]}"#),
            (
                "files",
                r#"{"file":{"displayName":"files/x","source":"files/x","name":"https://evil.example/v1/files/x"}}"#,
            ),
        ] {
            assert!(seen(collection, answer, 10_000).is_empty(), "{answer}");
        }
    }
}
