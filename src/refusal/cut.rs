//! JSON that broke off: its beginning, closed where something came whole.

use serde_json::Value;

/// Deeper JSON is no error of Google's.
const DEPTH_MAX: usize = 64;
/// No secret is longer.
const SECRET_BYTES_MAX: usize = 512;

/// The value that the beginning of a JSON text amounts to: every member and element that came whole, and the whole words
/// of a `message`: half of a key is a secret that no scrubber knows. `None` where nothing can be made of it.
pub(super) fn mended(text: &[u8]) -> Option<Value> {
    let (mut open, mut whole, mut at) = (Vec::new(), 0, 0);
    let mut message = None;
    while at < text.len() {
        match text[at] {
            b'"' => match string_end(text, at) {
                Ok(end) => {
                    at = end;
                    continue;
                }
                Err(sound) => {
                    let space = text[at..sound].iter().rposition(|byte| *byte == b' ').map(|space| at + space);
                    let words = space.max(sound.checked_sub(SECRET_BYTES_MAX).filter(|words| *words > at));
                    message = words.filter(|_| names_a_message(&text[..at]));
                    break;
                }
            },
            b'{' => open.push('}'),
            b'[' => open.push(']'),
            b'}' | b']' => drop(open.pop()),
            b',' => {
                whole = at;
                at += 1;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        }
        at += 1;
        whole = at;
        if open.len() > DEPTH_MAX {
            return None;
        }
    }
    let closed = |head: &[u8], quote: &str| {
        let end: String = open.iter().rev().collect();
        serde_json::from_str(&format!("{}{quote}{end}", String::from_utf8_lossy(head))).ok()
    };
    let said = message.and_then(|sound| closed(&text[..sound], "\""));
    // A last text may have come whole without the comma behind it; of a number nobody can tell.
    let last = || closed(text.trim_ascii_end().strip_suffix(b"\"")?, "\"");
    said.or_else(last).or_else(|| closed(&text[..whole], ""))
}

/// Where the string that begins at `start` ends; or, where it broke off, how far no escape is torn.
fn string_end(text: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start + 1;
    while at < text.len() {
        match &text[at..] {
            [b'"', ..] => return Ok(at + 1),
            escape @ [b'\\', ..] => {
                let len = match escape {
                    // The first half of a pair is nothing without the second.
                    [_, b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..] => 12,
                    [_, b'u', ..] => 6,
                    _ => 2,
                };
                if len > escape.len() {
                    return Err(at);
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    Err(text.len())
}

/// Whether what stands before a value says that it is a message.
fn names_a_message(before: &[u8]) -> bool {
    let name = before.trim_ascii_end().strip_suffix(b":").map(<[u8]>::trim_ascii_end);
    name.is_some_and(|name| name.ends_with(b"\"message\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_came_whole_is_read_and_half_a_word_is_not() {
        for (text, value) in [
            (r#"{"error":{"code":400,"status":"INVALID_ARG"#, json!({"error": {"code": 400}})),
            (r#"{"error":{"status":"A","reason":"B""#, json!({"error": {"status": "A", "reason": "B"}})),
            (r#"{"a":[{"quotaId":"x","quotaValue":"25"#, json!({"a": [{"quotaId": "x"}]})),
            (r#"{"a":[{"quotaId":"x","quotaValue":25"#, json!({"a": [{"quotaId": "x"}]})),
            (r#"[{"error":{"message" : "half a wo"#, json!([{"error": {"message": "half a"}}])),
            (r#"{"message":"a \u00e4 \ud83d"#, json!({"message": "a ä"})),
            (r#"{"message":"a \"#, json!({"message": "a"})),
            (r#"{"message":"key fake-key-00"#, json!({"message": "key"})),
            (r#"{"message":"fake-key-00"#, json!({})),
            (r#"{"message":"a, {[", "b":[1,2],"c"#, json!({"message": "a, {[", "b": [1, 2]})),
            (r#"{"a":1}, {"b":"#, Value::Null),
            ("{", json!({})),
            ("no JSON", Value::Null),
            ("", Value::Null),
        ] {
            assert_eq!(mended(text.as_bytes()).unwrap_or_default(), value, "{text}");
        }
        assert!(mended("[".repeat(1 << 20).as_bytes()).is_none(), "and no depth is too much for it");
    }

    #[test]
    fn wherever_it_breaks_off_nothing_is_read_that_was_not_said() {
        let details = json!([{"quotaId": "PerDay", "quotaValue": "250"}, {"retryDelay": "48s", "n": 12}]);
        let text = json!({"error": {"code": 429, "message": "a \"b\" \u{1f600} c\n", "details": details}}).to_string();
        for end in 0..text.len() {
            let Some(read) = mended(&text.as_bytes()[..end]) else { continue };
            let error = &read["error"];
            let told = |value: &Value, whole: &Value| assert!(value.is_null() || value == whole, "{end}: {read}");
            told(&error["code"], &json!(429));
            told(&error["details"][0]["quotaId"], &details[0]["quotaId"]);
            told(&error["details"][0]["quotaValue"], &details[0]["quotaValue"]);
            told(&error["details"][1]["retryDelay"], &details[1]["retryDelay"]);
            told(&error["details"][1]["n"], &details[1]["n"]);
            let message = error["message"].as_str().unwrap_or("");
            assert!("a \"b\" \u{1f600} c\n".starts_with(message.trim_end_matches('\u{fffd}')), "{end}: {message}");
        }
    }
}
