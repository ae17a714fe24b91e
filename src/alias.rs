//! Aliases: the names by which clients may call a model, and the one by which Google knows it.

use std::collections::BTreeMap;

/// Before a model's name in other programs; Google's own is `models/`.
const FOREIGN: [&str; 2] = ["google/", "gemini/"];
/// Google's own prefix.
const OWN: &str = "models/";
/// The longest name of a model.
const NAME_BYTES_MAX: usize = 128;

/// What `[models.aliases]` says. Made once, shared.
#[derive(Clone, Debug, Default)]
pub struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// Takes names that [`is_name`] accepts, to models that are no aliases themselves.
    pub fn new(names: &BTreeMap<String, String>) -> Self {
        Self(names.clone())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that Google takes in the place of `written`; `None` where it takes what is written. An alias may be
    /// written with each prefix that a model may.
    pub fn real<'w>(&'w self, written: &'w str) -> Option<&'w str> {
        let name = bare(written);
        let known = self.0.get(name).map(String::as_str);
        let foreign = name.len() < written.strip_prefix(OWN).unwrap_or(written).len();
        known.or_else(|| foreign.then_some(name))
    }

    /// The model's own name, whatever it was called by.
    pub fn model<'w>(&'w self, written: &'w str) -> &'w str {
        let name = bare(written);
        self.0.get(name).map_or(name, String::as_str)
    }
}

/// A model's name without what may stand before it: `models/x`, `google/x` and `gemini/x` are `x`.
fn bare(written: &str) -> &str {
    let name = written.strip_prefix(OWN).unwrap_or(written);
    FOREIGN.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// Whether a text can be a model's name, in a path as well as in a body.
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= NAME_BYTES_MAX && text.bytes().all(plain) && text.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_google_would_not_take_is_renamed() {
        let names = [("gpt-4o", "gemini-x")].map(|(alias, model)| (alias.to_owned(), model.to_owned()));
        let aliases = Aliases::new(&names.into());
        for (written, real, model) in [
            ("gpt-4o", Some("gemini-x"), "gemini-x"),
            ("models/gpt-4o", Some("gemini-x"), "gemini-x"),
            ("google/gpt-4o", Some("gemini-x"), "gemini-x"),
            ("gemini-x", None, "gemini-x"),
            ("models/gemini-x", None, "gemini-x"),
            ("google/gemini-x", Some("gemini-x"), "gemini-x"),
            ("gemini/gemini-x", Some("gemini-x"), "gemini-x"),
            ("models/google/gemini-x", Some("gemini-x"), "gemini-x"),
            ("gpt-4o-mini", None, "gpt-4o-mini"),
            ("openai/gpt-4o", None, "openai/gpt-4o"),
            ("", None, ""),
        ] {
            assert_eq!((aliases.real(written), aliases.model(written)), (real, model), "{written}");
        }
    }

    #[test]
    fn a_name_can_stand_in_a_path() {
        for (text, fine) in
            [("gpt-4.1_mini", true), ("", false), ("..", false), ("a/b", false), ("a:b", false), ("a b", false)]
        {
            assert_eq!(is_name(text), fine, "{text}");
        }
        assert!(!is_name(&"m".repeat(129)));
    }
}
