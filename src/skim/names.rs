//! Where a request's body names a model, so that another name can be put into its place and nothing else be touched.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

/// The longest name that is read.
const NAME_BYTES_MAX: usize = 256;
/// The most names that are told; Google takes 100 requests of embeddings at once (Gemini API documentation, 2026-10).
const NAMES_MAX: usize = 1024;

/// A model's name in a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// Where the string stands, its quotes included.
    pub at: Range<usize>,
    /// What it says, escapes resolved.
    pub text: String,
}

/// The `model` of the whole and of the requests in it, in their order. Of what is no JSON, what can be made out.
pub fn models(body: &[u8]) -> Vec<Name> {
    let mut found = Found::default();
    Skim::<Found, NAME_BYTES_MAX>::default().feed(body, &mut found);
    found.names.into_iter().filter_map(|(start, text)| Some(Name { at: start..end(body, start)?, text })).collect()
}

/// The body with other names in the place of those that `real` has one for, and not a byte else changed; `None` where there
/// is nothing to change. Who goes by Google's full name, `models/` before it, goes on doing so.
pub fn renamed<'r>(body: &[u8], real: impl Fn(&str) -> Option<Cow<'r, str>>) -> Option<Bytes> {
    let (mut text, mut done) = (Vec::new(), 0);
    for name in models(body) {
        let Some(real) = real(&name.text) else { continue };
        let prefix = if name.text.starts_with("models/") { "models/" } else { "" };
        text.extend_from_slice(&body[done..name.at.start]);
        text.extend_from_slice(serde_json::json!([prefix, &*real].concat()).to_string().as_bytes());
        done = name.at.end;
    }
    text.extend_from_slice(&body[done..]);
    (done > 0).then(|| text.into())
}

/// Behind the closing quote of the string that begins at `start`.
fn end(body: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
        match body[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    names: Vec<(usize, String)>,
    /// Where the name that is being read begins.
    start: usize,
}

/// Where in a body.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The whole.
    Root,
    /// Its members.
    Top,
    /// A request in it, or a list of such.
    Inner,
    /// The members of one.
    InInner,
    /// `model`
    Model,
}

impl Visitor for Found {
    type Place = Place;
    const ROOT: Place = Place::Root;
    const LINES: bool = false;

    fn value(&mut self, at: Place, first: u8, offset: usize) -> Option<Place> {
        match (at, first) {
            (Place::Root, b'{') => Some(Place::Top),
            (Place::Inner, b'{') => Some(Place::InInner),
            (Place::Inner, b'[') => Some(at),
            (Place::Model, b'"') => {
                self.start = offset;
                Some(at)
            }
            _ => None,
        }
    }

    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        match (at, key) {
            (Place::Top | Place::InInner, b"model") => Some(Place::Model),
            (Place::Top, b"requests" | b"batch" | b"generateContentRequest" | b"generate_content_request") => {
                Some(Place::Inner)
            }
            _ => None,
        }
    }

    fn scalar(&mut self, at: Place, scalar: Scalar<'_>) {
        if let (Place::Model, Scalar::Text(text)) = (at, scalar)
            && let Ok(text) = std::str::from_utf8(text)
            && self.names.len() < NAMES_MAX
        {
            self.names.push((self.start, text.to_owned()));
        }
    }

    fn end(&mut self, _: Place) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(body: &str) -> Vec<(String, &str)> {
        models(body.as_bytes()).into_iter().map(|name| (name.text, &body[name.at])).collect()
    }

    #[test]
    fn a_name_is_told_with_its_place() {
        let escaped = r#"{ "n": [{"model":"no"}] , "m\u006fdel" : "a\"\\b\/\u0063" , "x": 1}"#;
        assert_eq!(told(escaped), [("a\"\\b/c".to_owned(), r#""a\"\\b\/\u0063""#)]);
        let requests = r#"{"requests":[{"model":"models/a","content":{"model":"no"}},{"model":"models/b"}],"model":7}"#;
        let expected = [("models/a".to_owned(), "\"models/a\""), ("models/b".to_owned(), "\"models/b\"")];
        assert_eq!(told(requests), expected);
        assert_eq!(told(r#"{"generateContentRequest":{"model":"models/a"}}"#).len(), 1);
        for body in ["", "[{\"model\":\"a\"}]", "--boundary\r\n{\"model\":\"a\"}", "{\"model\":\"a", "{\"model\":null}"]
        {
            assert!(told(body).is_empty(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn what_stands_there_is_what_is_told(model in ".{0,40}", other in ".{0,40}", pretty: bool) {
            let body = serde_json::json!({"a": other, "model": model, "messages": [{"content": other}], "z": other});
            let body = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            let names = models(body.as_bytes());
            prop_assert_eq!(names.len(), 1);
            prop_assert_eq!(serde_json::from_str::<String>(&body[names[0].at.clone()]).unwrap(), model);
        }

        #[test]
        fn rubbish_is_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in models(&[&b"{\"model\":\""[..], &body].concat()) {
                prop_assert!(name.at.start < name.at.end);
            }
        }
    }
}
