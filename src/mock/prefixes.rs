//! Implicit caching: how much of a prompt its project sent before, so that it counts as cached.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::mem;

use serde_json::Value;

use crate::mock::speech;

/// The shortest beginning that is cached: Google's for its flash models (Gemini API documentation, "Context caching",
/// 2026-10).
const TOKENS_MIN: usize = 1_024;
/// Beginnings are known at every so many tokens.
const STEP: usize = 256;
/// What this mock counts as a token.
const CHARS_A_TOKEN: usize = 4;
/// Beginnings of one prompt that are remembered: those of a million tokens.
const MARKS_MAX: usize = 4_096;
/// Beginnings of all projects that are remembered: at least the last half of this, at most this.
const KNOWN_MAX: usize = 1 << 17;

/// The beginnings of prompts that are known, each by its digest.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Prefixes {
    /// How many tokens of the prompt `body` the project sent before at the beginning of another one to the same model;
    /// this one is remembered.
    pub(crate) fn met(&mut self, project: &str, model: &str, body: &Value) -> u64 {
        let marks = Reading::of(project, model, body).marks;
        let known = marks.iter().rposition(|mark| self.young.contains(mark) || self.old.contains(mark));
        for mark in marks {
            if self.young.len() >= KNOWN_MAX / 2 {
                self.old = mem::take(&mut self.young);
            }
            self.young.insert(mark);
        }
        known.map_or(0, |at| (TOKENS_MIN + at * STEP) as u64)
    }
}

/// A prompt that is read in the order in which a model sees it: system instruction, tools, turns.
struct Reading {
    so_far: DefaultHasher,
    chars: usize,
    /// The digest of each beginning: of [`TOKENS_MIN`] tokens, and every [`STEP`] after it.
    marks: Vec<u64>,
}

impl Reading {
    fn of(project: &str, model: &str, body: &Value) -> Self {
        let mut reading = Self { so_far: DefaultHasher::new(), chars: 0, marks: Vec::new() };
        reading.note(project);
        reading.note(model);
        for name in ["systemInstruction", "system_instruction", "tools", "contents", "messages"] {
            match body.get(name) {
                Some(Value::Array(turns)) => turns.iter().for_each(|turn| reading.read(turn)),
                Some(one) => reading.read(one),
                None => {}
            }
        }
        reading
    }

    /// One turn, the instruction or a tool: its text counts, all else about it tells it from others.
    fn read(&mut self, turn: &Value) {
        let text = speech::said(turn);
        if text.is_empty() {
            return self.note(&turn.to_string());
        }
        self.note(turn["role"].as_str().unwrap_or_default());
        let parts = turn["parts"].as_array().into_iter().flatten();
        parts.filter(|part| part.get("text").is_none()).for_each(|part| self.note(&part.to_string()));
        self.hear(&text);
    }

    fn note(&mut self, word: &str) {
        self.so_far.write(word.as_bytes());
        self.so_far.write_u8(0xff);
    }

    fn hear(&mut self, mut text: &str) {
        while !text.is_empty() && self.marks.len() < MARKS_MAX {
            let next = (TOKENS_MIN + self.marks.len() * STEP) * CHARS_A_TOKEN;
            let left = next - self.chars;
            let (len, chars) = match text.char_indices().nth(left) {
                Some((len, _)) => (len, left),
                None => (text.len(), text.chars().count()),
            };
            self.so_far.write(&text.as_bytes()[..len]);
            self.chars += chars;
            text = &text[len..];
            if self.chars == next {
                self.marks.push(self.so_far.finish());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prompt(system: &str, turns: &[&str]) -> Value {
        let turn = |text: &&str| json!({"role": "user", "parts": [{"text": text}]});
        json!({"systemInstruction": {"parts": [{"text": system}]}, "contents": turns.iter().map(turn).collect::<Vec<_>>()})
    }

    #[test]
    fn what_two_prompts_share_at_their_beginning_counts_as_cached() {
        let mut prefixes = Prefixes::default();
        let system = "é".repeat(4 * 2_000);
        let mut met = |body: &Value| prefixes.met("p", "m", body);
        assert_eq!(met(&prompt(&system, &["one"])), 0, "nothing was sent before");
        assert_eq!(met(&prompt(&system, &["two"])), 1_792, "whole steps of the 2,000 tokens that are the same");
        let long = "a word ".repeat(4_000);
        assert_eq!(met(&prompt(&system, &["one", &long])), 1_792);
        assert_eq!(met(&prompt(&system, &["one", &long, "and then"])), 8_960, "a conversation that goes on");
        assert_eq!(met(&prompt(&system, &["on", &long])), 1_792, "it went on in other words");
    }

    #[test]
    fn short_prompts_other_tools_models_and_projects_share_nothing() {
        let mut prefixes = Prefixes::default();
        let short = prompt(&"a".repeat(4 * 1_023), &[]);
        let mut met = |project: &str, model: &str, body: &Value| prefixes.met(project, model, body);
        assert_eq!((met("p", "m", &short), met("p", "m", &short)), (0, 0));
        let long = prompt(&"a".repeat(4 * 1_024), &["hello"]);
        assert_eq!((met("p", "m", &long), met("p", "m", &long)), (0, 1_024));
        assert_eq!((met("q", "m", &long), met("p", "n", &long)), (0, 0));
        let mut with_tools = prompt("", &[&"a".repeat(8_000)]);
        assert_eq!((met("p", "m", &with_tools), met("p", "m", &with_tools)), (0, 1_792));
        with_tools["tools"] = json!([{"googleSearch": {}}]);
        assert_eq!(met("p", "m", &with_tools), 0);
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_in_use_stays() {
        let mut prefixes = Prefixes::default();
        let hot = prompt(&"a".repeat(4 * 1_024), &["hello"]);
        prefixes.met("p", "m", &hot);
        for round in 0..4_u64 {
            prefixes.young.extend((0..).map(|n| round << 32 | n).take(KNOWN_MAX / 2 - prefixes.young.len()));
            assert_eq!(prefixes.met("p", "m", &hot), 1_024, "in round {round}");
            assert!(prefixes.young.len() + prefixes.old.len() <= KNOWN_MAX);
        }
        assert!(prefixes.old.len() > KNOWN_MAX / 4, "something was remembered at all");
    }
}
