//! The prefix of a prompt: digests of its beginning at doubling lengths, by which conversations that share one are known.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use serde::Deserialize;
use serde_json::value::RawValue;

/// The first length: what Google caches of itself begins at about a thousand tokens. Source: its page on context caching,
/// as of 2026-10.
const FIRST: usize = 4 << 10;
/// So many lengths, the last being 8 MiB.
const LENGTHS: u32 = 12;
/// A longer body is not read for it.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What a model reads, as it stands in the bodies of all surfaces; in the order in which the model reads it.
#[derive(Debug, Deserialize)]
struct Prompt<'b> {
    #[serde(borrow, alias = "systemInstruction", alias = "instructions")]
    system_instruction: Option<&'b RawValue>,
    #[serde(borrow)]
    tools: Option<&'b RawValue>,
    #[serde(borrow, alias = "messages", alias = "input")]
    contents: Option<&'b RawValue>,
}

/// Makes prefixes, of digests that nobody outside can foresee.
#[derive(Debug, Default)]
pub struct Digester(RandomState);

/// Digests of a prompt's beginning, of the shortest length first; empty for a short prompt.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prefix(Box<[u64]>);

impl Prefix {
    /// The digests, of the longest beginning first.
    pub fn longest_first(&self) -> impl Iterator<Item = u64> {
        self.0.iter().rev().copied()
    }

    /// Whether the prompt is too short to have any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Digester {
    /// The prefix of the prompt in a request's body for a model.
    pub fn prefix(&self, model: &str, body: &[u8]) -> Prefix {
        if body.len() < FIRST || body.len() > BODY_BYTES_MAX {
            return Prefix::default();
        }
        let Ok(prompt) = serde_json::from_slice::<Prompt<'_>>(body) else { return Prefix::default() };
        let parts = [prompt.system_instruction, prompt.tools, prompt.contents];
        let mut run = Run { hasher: self.0.build_hasher(), read: 0, digests: Vec::new() };
        run.hasher.write(model.as_bytes());
        for part in parts.into_iter().flatten() {
            // Without its last bracket, before which the next turn of a conversation will stand.
            let text = part.get().as_bytes();
            run.read(text.strip_suffix(b"]").unwrap_or(text));
        }
        Prefix(run.digests.into())
    }
}

struct Run {
    hasher: DefaultHasher,
    read: usize,
    digests: Vec<u64>,
}

impl Run {
    fn read(&mut self, mut text: &[u8]) {
        while let Some(end) = self.next() {
            let step = end - self.read;
            if text.len() < step {
                break;
            }
            let (head, tail) = text.split_at(step);
            self.hasher.write(head);
            (self.read, text) = (end, tail);
            self.digests.push(self.hasher.finish());
        }
        self.hasher.write(text);
        self.read += text.len();
    }

    /// Where the next digest is taken.
    fn next(&self) -> Option<usize> {
        let taken = u32::try_from(self.digests.len()).ok().filter(|taken| *taken < LENGTHS)?;
        Some(FIRST << taken)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(system: &str, turns: &[&str]) -> Vec<u8> {
        let contents: Vec<_> = turns.iter().map(|turn| json!({"role": "user", "parts": [{"text": turn}]})).collect();
        json!({"contents": contents, "systemInstruction": {"parts": [{"text": system}]}}).to_string().into()
    }

    fn shared(one: &Prefix, other: &Prefix) -> usize {
        one.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn a_conversation_that_goes_on_begins_as_it_did() {
        let digester = Digester::default();
        let long = "all that was said ".repeat(1_000);
        let before = digester.prefix("m", &body("be kind", &[&long]));
        let after = digester.prefix("m", &body("be kind", &[&long, "and then?", "go on"]));
        assert_eq!(before.0.len(), 3, "4, 8 and 16 KiB");
        assert_eq!(shared(&before, &after), 3);
        assert_eq!(shared(&before, &digester.prefix("other", &body("be kind", &[&long]))), 0);
        assert_eq!(shared(&before, &digester.prefix("m", &body("be rude", &[&long]))), 0);
    }

    #[test]
    fn what_a_model_reads_first_counts_first_wherever_it_stands() {
        let digester = Digester::default();
        let system = "rules of the house ".repeat(1_000);
        let ask = |question: &str| digester.prefix("m", &body(&system, &[question]));
        let (one, other) = (ask("how are you?"), ask("what is new?"));
        assert!(shared(&one, &other) >= 3, "the same system instruction before different questions");
        let openai = |text: &str| json!({"messages": [{"role": "user", "content": text}]}).to_string();
        assert!(!digester.prefix("m", openai(&system).as_bytes()).is_empty());
    }

    #[test]
    fn short_prompts_and_rubbish_have_none() {
        let digester = Digester::default();
        assert!(digester.prefix("m", &body("", &["hello"])).is_empty());
        assert!(digester.prefix("m", &vec![b'x'; 10_000]).is_empty());
        assert!(digester.prefix("m", json!(["a".repeat(10_000)]).to_string().as_bytes()).is_empty());
    }
}
