//! JSON that passes by, skimmed for a few facts: no tree, no copy, a fixed state, any chunking.

use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

mod bytes;
mod gather;
mod lines;
pub mod visitor;
pub mod walk;
pub mod constancy;
pub mod names;
pub mod blobs;

/// The longest model name that [`peek`] reads.
const MODEL_BYTES_MAX: usize = 256;

/// What the gateway must know of the body of a request that names its model there: `OpenAI`'s, and interactions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Peek {
    /// `model`; `None` if it is missing, no string, not UTF-8 or longer than 256 bytes.
    pub model: Option<String>,
    /// `agent`, likewise.
    pub agent: Option<String>,
    /// Whether `store` is `false`.
    pub unstored: bool,
    /// Whether `stream` is `true`.
    pub stream: bool,
    /// Whether `stream_options.include_usage` is `true`.
    pub include_usage: bool,
}

/// Reads a request's body, of which only the top level counts. Of a key that stands twice the last value stands, as it
/// does for the JSON parser upstream; therefore the whole body is walked over, at the speed of skipping.
/// A body that is no JSON object gives nothing, or what can be made out: upstream refuses it.
pub fn peek(body: &[u8]) -> Peek {
    let mut peek = Peek::default();
    Skim::<Peek, MODEL_BYTES_MAX>::default().feed(body, &mut peek);
    peek
}

/// Where in a request's body.
#[derive(Clone, Copy, Debug)]
pub enum BodyPlace {
    /// The whole.
    Root,
    /// Its members.
    Top,
    /// `model`
    Model,
    /// `agent`
    Agent,
    /// `store`
    Store,
    /// `stream`
    Stream,
    /// `stream_options`
    Options,
    /// `stream_options.include_usage`
    IncludeUsage,
}

impl Visitor for Peek {
    type Place = BodyPlace;
    const ROOT: BodyPlace = BodyPlace::Root;
    const LINES: bool = false;

    fn value(&mut self, at: BodyPlace, first: u8, _: usize) -> Option<BodyPlace> {
        // Whatever the value turns out to be, it replaces an earlier one.
        match at {
            BodyPlace::Model => self.model = None,
            BodyPlace::Agent => self.agent = None,
            BodyPlace::Store => self.unstored = false,
            BodyPlace::Stream => self.stream = false,
            BodyPlace::Options | BodyPlace::IncludeUsage => self.include_usage = false,
            BodyPlace::Root | BodyPlace::Top => {}
        }
        match (at, first) {
            (BodyPlace::Root, b'{') => Some(BodyPlace::Top),
            (BodyPlace::Options, b'{') => Some(at),
            (BodyPlace::Root | BodyPlace::Options, _) | (_, b'{' | b'[') => None,
            _ => Some(at),
        }
    }

    fn key(&mut self, at: BodyPlace, key: &[u8]) -> Option<BodyPlace> {
        match (at, key) {
            (BodyPlace::Top, b"model") => Some(BodyPlace::Model),
            (BodyPlace::Top, b"agent") => Some(BodyPlace::Agent),
            (BodyPlace::Top, b"store") => Some(BodyPlace::Store),
            (BodyPlace::Top, b"stream") => Some(BodyPlace::Stream),
            (BodyPlace::Top, b"stream_options") => Some(BodyPlace::Options),
            (BodyPlace::Options, b"include_usage") => Some(BodyPlace::IncludeUsage),
            _ => None,
        }
    }

    fn scalar(&mut self, at: BodyPlace, scalar: Scalar<'_>) {
        let text = |text| std::str::from_utf8(text).ok().map(str::to_owned);
        match (at, scalar) {
            (BodyPlace::Model, Scalar::Text(name)) => self.model = text(name),
            (BodyPlace::Agent, Scalar::Text(name)) => self.agent = text(name),
            (BodyPlace::Store, Scalar::Word(word)) => self.unstored = word == b"false",
            (BodyPlace::Stream, Scalar::Word(word)) => self.stream = word == b"true",
            (BodyPlace::IncludeUsage, Scalar::Word(word)) => self.include_usage = word == b"true",
            _ => {}
        }
    }

    fn end(&mut self, _: BodyPlace) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peeked(model: Option<&str>, stream: bool, include_usage: bool) -> Peek {
        Peek { model: model.map(str::to_owned), stream, include_usage, ..Peek::default() }
    }

    #[test]
    fn a_body_tells_its_model_and_its_way_of_answering() {
        for (body, expected) in [
            (r#"{"model":"gemini-x","messages":[],"stream":true}"#, peeked(Some("gemini-x"), true, false)),
            (
                r#" {"stream_options" : {"include_usage": true} ,"stream":false,"model": "a"}"#,
                peeked(Some("a"), false, true),
            ),
            (r#"{"m\u006fdel":"\u0067emini\/\"x\"","str\u0065am":true}"#, peeked(Some("gemini/\"x\""), true, false)),
            (r#"{"model":7,"stream":"true"}"#, peeked(None, false, false)),
            (r#"{"model":{"model":"inner"},"x":{"model":"deep","stream":true}}"#, peeked(None, false, false)),
            (r#"["model","a"]"#, peeked(None, false, false)),
            ("", peeked(None, false, false)),
            ("data: {\"model\":\"a\"}", peeked(None, false, false)),
        ] {
            assert_eq!(peek(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn an_interaction_tells_its_agent_and_whether_it_is_stored() {
        for (body, agent, unstored) in [
            (r#"{"agent":"deep-research","store":false}"#, Some("deep-research"), true),
            (r#"{"agent":7,"store":"false"}"#, None, false),
            (r#"{"store":false,"input":{"store":true},"store":true}"#, None, false),
        ] {
            let peek = peek(body.as_bytes());
            assert_eq!((peek.agent.as_deref(), peek.unstored), (agent, unstored), "{body}");
        }
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_value_stands() {
        let twice = r#"{"model":"first","stream":true,"messages":[{"model":"no"}],"model":"last","stream":null}"#;
        assert_eq!(peek(twice.as_bytes()), peeked(Some("last"), false, false));
        assert_eq!(peek(br#"{"model":"first","model":["x"]}"#), peeked(None, false, false));
    }

    #[test]
    fn a_string_in_the_body_cannot_pass_for_its_top_level() {
        let body = "{\"model\":\"real\",\"messages\":\"\n{\\\"model\\\":\n{\",\"n\":[[[{\"model\":\"no\"}]]]}";
        assert_eq!(peek(body.as_bytes()).model.as_deref(), Some("real"));
    }

    #[test]
    fn a_model_of_absurd_length_is_none() {
        let body = |length| format!(r#"{{"model":"{}","stream":true}}"#, "m".repeat(length));
        assert_eq!(peek(body(256).as_bytes()).model.map(|model| model.len()), Some(256));
        assert_eq!(peek(body(257).as_bytes()), peeked(None, true, false));
    }

    proptest! {
        #[test]
        fn it_reads_what_a_parser_reads(model in ".{0,40}", stream: bool, before in ".{0,40}", pretty: bool) {
            let body = serde_json::json!({"a": {"model": before, "n": [before]}, "model": model, "stream": stream});
            let body = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            prop_assert_eq!(peek(body.as_bytes()), peeked(Some(&model), stream, false));
        }

        #[test]
        fn rubbish_is_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            peek(&body);
        }
    }
}
