//! The turns of a session: what the client said, and the messages that answer it.

use serde_json::{Value, json};

use crate::mock::speech;

/// What comes of a client's message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    /// Nothing is answered yet.
    On,
    /// These are answered.
    Answer(Vec<Value>),
    /// It is no message of the Live API: the session is closed with these words.
    Wrong(String),
}

/// A talk as it goes.
#[derive(Debug, Default)]
pub(super) struct Talk {
    audio: bool,
    pieces: usize,
    /// The declared functions, of which the first is called once.
    functions: Vec<String>,
    called: bool,
    said: Vec<String>,
    media_bytes: usize,
    /// Of all that the session holds.
    tokens: u64,
}

impl Talk {
    pub(super) fn new(setup: &Value, pieces: usize) -> Self {
        let modalities = setup["generationConfig"]["responseModalities"].as_array();
        let audio = modalities.is_some_and(|all| all.iter().any(|one| one == "AUDIO"));
        let tools = setup["tools"].as_array().into_iter().flatten();
        let declared = tools.flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten());
        let functions = declared.filter_map(|function| Some(function["name"].as_str()?.to_owned())).collect();
        Self { audio, pieces: pieces.max(1), functions, tokens: speech::prompt_tokens(setup), ..Self::default() }
    }

    /// A message of the client's. `huge` is how much inline data comes first.
    pub(super) fn hear(&mut self, message: &[u8], huge: Option<usize>) -> Heard {
        let json: Value = serde_json::from_slice(message).unwrap_or(Value::Null);
        let Some((name, said)) = json.as_object().and_then(|fields| fields.iter().next()) else {
            return Heard::Wrong("Invalid JSON payload received.".to_owned());
        };
        let over = match name.as_str() {
            "clientContent" | "client_content" => {
                self.said.push(speech::prompt(&json!({"contents": said["turns"]})));
                said["turnComplete"] == true || said["turn_complete"] == true
            }
            "realtimeInput" | "realtime_input" => self.real_time(said),
            "toolResponse" | "tool_response" => {
                let first = &said["functionResponses"][0];
                self.said.push(format!("{} answered {}", first["name"].as_str().unwrap_or("it"), first["response"]));
                true
            }
            // Lyria's: the music goes on by itself.
            "clientContentUpdate" | "musicGenerationConfig" | "playbackControl" => false,
            other => {
                return Heard::Wrong(format!(
                    "Invalid JSON payload received. Unknown name \"{other}\": Cannot find field."
                ));
            }
        };
        if over { Heard::Answer(self.answer(huge)) } else { Heard::On }
    }

    /// Text and the end of an activity are answered; media are only taken.
    fn real_time(&mut self, said: &Value) -> bool {
        let media = ["audio", "video", "media"].map(|kind| &said[kind]["data"]);
        let chunks = said["mediaChunks"].as_array().into_iter().flatten().map(|chunk| &chunk["data"]);
        self.media_bytes += media.into_iter().chain(chunks).filter_map(Value::as_str).map(str::len).sum::<usize>();
        if let Some(text) = said["text"].as_str() {
            self.said.push(text.to_owned());
        }
        said["text"].is_string() || said["audioStreamEnd"] == true || said["activityEnd"].is_object()
    }

    fn answer(&mut self, huge: Option<usize>) -> Vec<Value> {
        let mut prompt = self.said.join(" ");
        self.said.clear();
        if self.media_bytes > 0 {
            let media = format!("[{} bytes of media]", std::mem::take(&mut self.media_bytes));
            prompt = if prompt.is_empty() { media } else { format!("{prompt} {media}") };
        }
        self.tokens += speech::prompt_tokens(&json!({"contents": prompt}));
        if !self.called
            && let Some(name) = self.functions.first()
        {
            self.called = true;
            let call = json!({"id": "mock-call-1", "name": name, "args": {}});
            return vec![json!({"toolCall": {"functionCalls": [call]}})];
        }
        let speech = speech::Speech::new(&prompt, self.tokens, self.pieces, 0, &[]);
        let content = |parts: Value| json!({"serverContent": {"modelTurn": {"role": "model", "parts": parts}}});
        let inline = |data: String| json!([{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]);
        let mut messages: Vec<Value> = huge.map(|bytes| content(inline("A".repeat(bytes)))).into_iter().collect();
        for piece in &speech.pieces {
            // Silence, two bytes of it for each character.
            let silence = || "AAAA".repeat(piece.chars().count());
            messages.push(content(if self.audio { inline(silence()) } else { json!([{"text": piece}]) }));
        }
        messages.push(json!({"serverContent": {"generationComplete": true}}));
        let answered = speech.answer_tokens(speech.pieces.len());
        messages.push(json!({"serverContent": {"turnComplete": true}, "usageMetadata": {
            "promptTokenCount": self.tokens, "responseTokenCount": answered, "totalTokenCount": self.tokens + answered,
        }}));
        self.tokens += answered;
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(talk: &mut Talk, message: &Value) -> String {
        match talk.hear(message.to_string().as_bytes(), None) {
            Heard::On => String::new(),
            Heard::Answer(messages) => json!(messages).to_string(),
            Heard::Wrong(why) => format!("wrong: {why}"),
        }
    }

    #[test]
    fn a_turn_is_answered_when_it_is_over() {
        let mut talk = Talk::new(&json!({}), 2);
        let turn =
            |text: &str, over| json!({"clientContent": {"turns": [{"parts": [{"text": text}]}], "turnComplete": over}});
        assert_eq!(hear(&mut talk, &turn("one", false)), "");
        let answer = hear(&mut talk, &turn("two", true));
        assert!(answer.contains("turnComplete") && answer.contains("promptTokenCount"), "{answer}");
        assert_eq!(
            hear(&mut talk, &json!({"realtimeInput": {"audio": {"data": "AAAA", "mimeType": "audio/pcm"}}})),
            ""
        );
        assert!(hear(&mut talk, &json!({"realtimeInput": {"audioStreamEnd": true}})).contains("bytes of media"));
        assert!(hear(&mut talk, &json!({"unheardOf": 1})).starts_with("wrong: "));
        assert!(hear(&mut talk, &Value::Null).starts_with("wrong: "));
    }

    #[test]
    fn a_declared_function_is_called_once() {
        let mut talk = Talk::new(&json!({"tools": [{"functionDeclarations": [{"name": "f"}]}]}), 1);
        assert!(hear(&mut talk, &json!({"realtimeInput": {"text": "x"}})).contains("toolCall"));
        let answer =
            json!({"toolResponse": {"functionResponses": [{"id": "mock-call-1", "name": "f", "response": 1}]}});
        assert!(hear(&mut talk, &answer).contains("f answered 1"));
    }
}
