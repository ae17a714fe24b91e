//! Whether a request's answer may be given again: what its body says of chance, of streams and of the world outside.

use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

/// The longest key and scalar that is read; those that are looked for are shorter.
const GATHERED_BYTES_MAX: usize = 32;

/// What a body says, in either dialect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Constancy {
    /// Whether the temperature is there, once, and exactly 0.
    pub cold: bool,
    /// Whether `stream` is `true`.
    pub stream: bool,
    /// Whether it has a tool that Google runs: a search tells something else tomorrow.
    pub outside: bool,
}

/// Reads a request's body in one pass. What is no JSON object says nothing. Of a temperature
/// that stands twice nothing is believed.
pub fn constancy(body: &[u8]) -> Constancy {
    let mut seen = Seen::default();
    Skim::<Seen, GATHERED_BYTES_MAX>::default().feed(body, &mut seen);
    Constancy { cold: seen.temperatures == 1 && seen.zero, ..seen.said }
}

#[derive(Default)]
struct Seen {
    said: Constancy,
    /// How often a temperature began.
    temperatures: u32,
    /// Whether the last one was 0.
    zero: bool,
}

/// Where in a request's body.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The whole.
    Root,
    /// Its members.
    Top,
    /// `generationConfig` and its members.
    Config,
    /// `temperature`
    Temperature,
    /// `stream`
    Stream,
    /// `tools` and its elements.
    Tools,
    /// The members of one tool.
    InTool,
    /// The `type` of one of `OpenAI`'s.
    ToolType,
}

impl Visitor for Seen {
    type Place = Place;
    const ROOT: Place = Place::Root;
    const LINES: bool = false;

    fn value(&mut self, at: Place, first: u8, _: usize) -> Option<Place> {
        match (at, first) {
            (Place::Root, b'{') => Some(Place::Top),
            (Place::Config, b'{') | (Place::Tools, b'[') => Some(at),
            (Place::Tools, b'{') => Some(Place::InTool),
            (Place::Temperature, first) => {
                (self.temperatures, self.zero) = (self.temperatures.saturating_add(1), false);
                (first != b'{' && first != b'[').then_some(at)
            }
            (Place::Stream, first) => {
                self.said.stream = false;
                (first != b'{' && first != b'[').then_some(at)
            }
            (Place::ToolType, first) => (first != b'{' && first != b'[').then_some(at),
            _ => None,
        }
    }

    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        match (at, key) {
            (Place::Top, b"generationConfig" | b"generation_config") => Some(Place::Config),
            (Place::Top | Place::Config, b"temperature") => Some(Place::Temperature),
            (Place::Top, b"stream") => Some(Place::Stream),
            (Place::Top, b"tools") => Some(Place::Tools),
            (Place::InTool, b"type") => Some(Place::ToolType),
            (Place::InTool, key) => {
                self.said.outside |= !matches!(key, b"functionDeclarations" | b"function_declarations" | b"function");
                None
            }
            _ => None,
        }
    }

    fn scalar(&mut self, at: Place, scalar: Scalar<'_>) {
        match (at, scalar) {
            (Place::Temperature, Scalar::Word(word)) => self.zero = is_zero(word),
            (Place::Stream, Scalar::Word(word)) => self.said.stream = word == b"true",
            (Place::ToolType, Scalar::Text(kind)) => self.said.outside |= kind != b"function",
            (Place::ToolType, _) => self.said.outside = true,
            _ => {}
        }
    }

    fn end(&mut self, _: Place) {}
}

fn is_zero(word: &[u8]) -> bool {
    std::str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok()).is_some_and(|number| number == 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_temperature_of_exactly_zero_is_cold_in_either_dialect() {
        for (body, cold) in [
            (r#"{"contents":[],"generationConfig":{"topK":1,"temperature":0}}"#, true),
            (r#"{"generation_config" : { "temperature" : 0.0 }}"#, true),
            (r#"{"model":"m","temperature":-0e5,"messages":[]}"#, true),
            (r#"{"temperature":0.01}"#, false),
            (r#"{"temperature":1}"#, false),
            (r#"{"temperature":"0"}"#, false),
            (r#"{"temperature":null}"#, false),
            (r#"{"temperature":[0]}"#, false),
            (r#"{"temperature":0.00000000000000000000000000000000000}"#, false),
            (r#"{"generationConfig":{"temperature":0},"generation_config":{"temperature":1}}"#, false),
            (r#"{"temperature":1,"temperature":0}"#, false),
            (r#"{"contents":[{"temperature":0}],"generationConfig":{"responseSchema":{"temperature":0}}}"#, false),
            (r#"{"contents":"\n{\"temperature\":0}"}"#, false),
            (r#"[{"temperature":0}]"#, false),
            ("temperature 0", false),
            ("", false),
        ] {
            assert_eq!(constancy(body.as_bytes()).cold, cold, "{body}");
        }
    }

    #[test]
    fn tools_that_google_runs_look_outside_and_the_callers_own_do_not() {
        for (body, outside) in [
            (r#"{"tools":[{"googleSearch":{}}]}"#, true),
            (r#"{"tools":[{"functionDeclarations":[]},{"url_context":{}}]}"#, true),
            (r#"{"tools":[{"type":"web_search"}]}"#, true),
            (r#"{"tools":[{"type":"function","function":{"name":"f"}}]}"#, false),
            (r#"{"tools":[{"function_declarations":[{"name":"googleSearch"}]}]}"#, false),
            (r#"{"tools":[]}"#, false),
        ] {
            assert_eq!(constancy(body.as_bytes()).outside, outside, "{body}");
        }
        assert!(constancy(br#"{"stream":false,"stream":true}"#).stream);
        assert!(!constancy(br#"{"stream":true,"stream":"true"}"#).stream);
    }

    proptest! {
        #[test]
        fn the_number_decides_and_nothing_around_it(number in -2.0..2.0_f64, zero: bool, text in ".{0,40}", pretty: bool) {
            let number = if zero { 0.0 } else { number };
            let body = serde_json::json!({"a": {"temperature": 0, "b": [text]}, "generationConfig": {"temperature": number}});
            let body = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            prop_assert_eq!(constancy(body.as_bytes()).cold, number == 0.0);
        }

        #[test]
        fn rubbish_is_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            constancy(&body);
        }
    }
}
