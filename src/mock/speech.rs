//! What the mocked model says: an answer that follows from the prompt, in pieces, with its tokens counted.

use serde_json::Value;

use crate::mock::fault::Fault;
use crate::mock::schema;
use crate::mock::tools::{self, FunctionCall};

const PART_TOKENS: u64 = 258;
const THOUGHT: &str = "**Thinking** The caller said something; nothing comes of it.";

/// One answer, whatever its framing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speech {
    /// The text, in as many pieces as frames were asked for.
    pub(crate) pieces: Vec<String>,
    /// All of the prompt's, those that were cached too.
    pub(crate) prompt_tokens: u64,
    /// Those of them that a cached content holds.
    pub(crate) cached_tokens: u64,
    pub(crate) thought: Option<&'static str>,
    /// The function that the model calls instead of saying anything.
    pub(crate) call: Option<FunctionCall>,
    /// The signature on the first thing that is said or called.
    pub(crate) signature: Option<String>,
    /// Whether a picture comes first, as it was asked for.
    pub(crate) picture: bool,
    /// Bytes of inline data in the first frame.
    pub(crate) huge: Option<usize>,
    /// Google's finish reason; `None` in a stream that breaks off.
    pub(crate) finish: Option<String>,
    /// Google's block reason: the prompt gets no answer.
    pub(crate) blocked: Option<String>,
}

impl Speech {
    /// The answer to a request's body: a function's call where it offers one, JSON where it wants JSON, else as
    /// [`Speech::new`] answers `prompt`.
    pub(crate) fn of(
        body: &Value,
        prompt: &str,
        prompt_tokens: u64,
        chunks: usize,
        answer_bytes: usize,
        faults: &[Fault],
    ) -> Self {
        let schema = schema::wanted(body);
        let mut speech =
            Self::new(prompt, prompt_tokens, chunks, if schema.is_some() { 0 } else { answer_bytes }, faults);
        let silent = speech.text().is_empty();
        if let Some(schema) = schema.filter(|_| !silent) {
            speech.pieces = pieces(&schema::text(body, schema), chunks);
        }
        if let Some(call) = tools::call(body).filter(|_| !silent) {
            speech.pieces = vec![String::new()];
            speech.call = Some(call);
        }
        let modalities = body["generationConfig"]["responseModalities"].as_array().into_iter().flatten();
        let painted = modalities.filter_map(Value::as_str).any(|one| one.eq_ignore_ascii_case("image"));
        speech.picture = painted && !silent;
        let thinking = body["generationConfig"]["thinkingConfig"]["includeThoughts"] == true;
        let effort = body["reasoning_effort"].as_str().is_some_and(|effort| !matches!(effort, "none" | "minimal"));
        if (thinking || effort) && !silent {
            speech.thought = Some(THOUGHT);
        }
        speech
    }

    /// The answer to `prompt`, bent as `faults` say.
    pub(crate) fn new(prompt: &str, prompt_tokens: u64, chunks: usize, answer_bytes: usize, faults: &[Fault]) -> Self {
        let mut text = format!("You said: {prompt}");
        while text.len() < answer_bytes {
            let more = (answer_bytes - text.len()).min(text.len()).max(4);
            let more: String = text.chars().take(more).collect();
            text.push(' ');
            text.push_str(&more);
        }
        let mut speech = Self { prompt_tokens, finish: Some("STOP".to_owned()), ..Self::default() };
        let mut silent = false;
        for fault in faults {
            match fault {
                Fault::Unfinished => speech.finish = None,
                Fault::Empty => silent = true,
                Fault::Thoughts => {
                    silent = true;
                    speech.thought = Some(THOUGHT);
                }
                Fault::Blocked(reason) => speech.blocked = Some(reason.clone()),
                Fault::Finish(reason) => speech.finish = Some(reason.clone()),
                Fault::Huge(bytes) => speech.huge = Some(*bytes),
                _ => {}
            }
        }
        speech.pieces = if silent || speech.blocked.is_some() { vec![String::new()] } else { pieces(&text, chunks) };
        speech
    }

    /// Tokens of the first `count` pieces.
    pub(crate) fn answer_tokens(&self, count: usize) -> u64 {
        let chars: usize = self.pieces.iter().take(count).map(|piece| piece.chars().count()).sum();
        let called = self.call.as_ref().map_or(0, |call| call.name.len() + call.arguments.to_string().len());
        let pictures = u64::from(self.huge.is_some()) + u64::from(self.picture);
        tokens(chars + called) + pictures * PART_TOKENS
    }

    pub(crate) fn thought_tokens(&self) -> u64 {
        self.thought.map_or(0, |thought| tokens(thought.len()))
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// About what a tokenizer would count for so many characters.
fn tokens(chars: usize) -> u64 {
    u64::try_from(chars.div_ceil(4)).unwrap_or(u64::MAX)
}

/// `text` in exactly `count` pieces, cut after words where there are enough of them.
pub(crate) fn pieces(text: &str, count: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let chars: Vec<&str> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    let atoms = if words.len() >= count { words } else { chars };
    let count = count.clamp(1, atoms.len().max(1));
    let edge = |at: usize| at * atoms.len() / count;
    (0..count).map(|at| atoms[edge(at)..edge(at + 1)].concat()).collect()
}

/// The text of the last message of a prompt, Google's or `OpenAI`'s.
pub(crate) fn prompt(body: &Value) -> String {
    let messages = ["contents", "messages", "content", "input"].iter().find_map(|name| body.get(name));
    let last = match messages {
        Some(Value::Array(all)) => all.last(),
        one => one,
    };
    let mut text = Vec::new();
    if let Some(last) = last {
        gather(last, &mut text, &mut 0);
    }
    text.join(" ")
}

/// All that is said in one input, in pieces or whole.
pub(crate) fn said(input: &Value) -> String {
    let mut text = Vec::new();
    gather(input, &mut text, &mut 0);
    text.join(" ")
}

/// The tokens of everything said in a request.
pub(crate) fn prompt_tokens(body: &Value) -> u64 {
    let (mut text, mut parts) = (Vec::new(), 0);
    gather(body, &mut text, &mut parts);
    tokens(text.iter().map(|text| text.chars().count()).sum()).max(1) + parts * PART_TOKENS
}

/// Collects what is said below `value`, and counts parts that are not text.
fn gather<'a>(value: &'a Value, text: &mut Vec<&'a str>, parts: &mut u64) {
    match value {
        Value::String(said) => text.push(said),
        Value::Array(all) => all.iter().for_each(|one| gather(one, text, parts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "inlineData" | "inline_data" | "fileData" | "file_data" | "image_url" => *parts += 1,
                    "text"
                    | "parts"
                    | "content"
                    | "contents"
                    | "messages"
                    | "systemInstruction"
                    | "input"
                    | "system_instruction"
                    | "generateContentRequest"
                    | "requests" => gather(value, text, parts),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_follows_from_its_prompt_in_the_pieces_asked_for() {
        let said = Speech::new("one two three", 4, 4, 0, &[]);
        assert_eq!(said.text(), "You said: one two three");
        assert_eq!(said.pieces.len(), 4);
        assert_eq!(Speech::new("é", 1, 7, 0, &[]).pieces.len(), 7);
        assert!(Speech::new("hi", 1, 4, 5000, &[]).text().len() >= 5000);
    }

    #[test]
    fn prompts_are_read_in_either_shape() {
        let native = json!({"contents": [{"parts": [{"text": "a"}]}, {"parts": [{"text": "b"}, {"text": "c"}]}]});
        assert_eq!(prompt(&native), "b c");
        let openai = json!({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "hello"}]});
        assert_eq!(prompt(&openai), "hello");
        assert_eq!(prompt_tokens(&json!({"contents": [{"parts": [{"text": "12345678"}, {"inlineData": {}}]}]})), 260);
    }
}
