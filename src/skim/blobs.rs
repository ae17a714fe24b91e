//! Blobs: how much of a body is base64, told by looks at a few places of it.

/// A shorter body is not looked at: what it holds weighs little either way.
const BODY_BYTES_MIN: usize = 8 << 10;
/// From one place to the next at least; a blob that is shorter may not be seen.
const STEP: usize = 512;
/// No more places are looked at in a body of any length.
const PLACES_MAX: usize = 4_096;
/// So many bytes of base64 in a row are no text.
const RUN: usize = 64;

/// About how many bytes of a request's body are pictures, sound and other data in base64.
pub fn blob_bytes(body: &[u8]) -> u64 {
    if body.len() < BODY_BYTES_MIN {
        return 0;
    }
    let step = (body.len() / PLACES_MAX).max(STEP);
    let places = body.windows(RUN).step_by(step);
    (places.filter(|run| is_base64(run)).count() * step) as u64
}

/// Whether all of it is base64, of either alphabet, and with letters of both cases and digits, as data has them and words
/// do not. In JSON a slash may be escaped, and a line's end is.
fn is_base64(run: &[u8]) -> bool {
    let (mut kinds, mut escape) = (0, false);
    for byte in run {
        let kind = match byte {
            b'/' | b'n' | b'r' if escape => 0,
            _ if escape => return false,
            b'A'..=b'Z' => 1,
            b'a'..=b'z' => 2,
            b'0'..=b'9' => 4,
            b'+' | b'/' | b'-' | b'_' | b'=' | b'\\' => 0,
            _ => return false,
        };
        (kinds, escape) = (kinds | kind, *byte == b'\\');
    }
    kinds == 7
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// So many bytes of base64.
    fn data(bytes: usize) -> String {
        let mut state = 7_u64;
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(ALPHABET[usize::try_from(state >> 58).unwrap()])
        };
        (0..bytes).map(letter).collect()
    }

    #[test]
    fn data_is_told_from_text_wherever_it_stands() {
        let words = "What is seen in Picture 17, and who took it on 2026-11-20? ".repeat(2_000);
        for bytes in [10_000, 100_000, 3_000_000] {
            let picture = data(bytes);
            for body in [
                json!({"contents": [{"parts": [{"text": words}, {"inlineData": {"data": picture}}]}]}).to_string(),
                json!({"image_url": {"url": format!("data:image/png;base64,{picture}")}, "text": words}).to_string(),
                json!([picture.replace('/', "_").replace('+', "-"), words]).to_string(),
                json!([picture, words]).to_string().replace('/', "\\/"),
            ] {
                let told = blob_bytes(body.as_bytes());
                let held = body.len() - words.len();
                assert!(told.abs_diff(held as u64) <= 2_000 + held as u64 / 20, "{told} of {held}");
            }
        }
    }

    #[test]
    fn text_is_no_data_in_whatever_letters() {
        for text in [
            "Words, and more of them. ",
            "wordswithoutanyspace",
            "0123456789abcdef",
            "你好，世界。",
            "\\u4F60\\u597D\\u4E16\\u754C",
            "let someName2 = otherName7[index3]; ",
            "https://example.com/a/B7?c=d&E=f ",
        ] {
            assert_eq!(blob_bytes(text.repeat(5_000).as_bytes()), 0, "{text}");
        }
        assert_eq!(blob_bytes(data(5_000).as_bytes()), 0, "little");
    }
}
