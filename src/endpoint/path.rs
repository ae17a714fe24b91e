//! Paths that two readers could read differently, and the one case of an encoded slash that they cannot.

use percent_encoding::percent_decode_str;

use crate::resource::Resource;

/// Where OpenAI's SDKs put an id into a path; they encode it, and Google's ids hold a slash: `/files/files%2Fabc`.
const ID_OF: [&str; 4] = ["files", "batches", "models", "videos"];

/// Whether another reader of this path could see another path in it. With `names`, an id in OpenAI's places may be the
/// whole name of a resource, its slashes encoded.
pub(crate) fn ambiguous(path: &str, names: bool) -> bool {
    let bytes = path.as_bytes();
    // Most paths: nothing is encoded, and no segment is empty or begins with a dot, as those within a model's name do not.
    let hides = memchr::memchr2(b'%', b'\\', bytes).is_some();
    if !hides && !bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/.")) {
        return !path.starts_with('/');
    }
    let mut before = "";
    !path.starts_with('/')
        || path[1..].split('/').any(|part| {
            let is_name = names && ID_OF.contains(&before) && named(part).is_some();
            before = part;
            !is_name && unclear(part)
        })
}

/// The text before and after the first `at`, a byte of ASCII.
pub(crate) fn split(text: &str, at: u8) -> Option<(&str, &str)> {
    let middle = memchr::memchr(at, text.as_bytes())?;
    Some((&text[..middle], &text[middle + 1..]))
}

/// The name that a segment encodes, `files%2Fabc` being `files/abc`, if it is a plain name of a resource or a model.
pub(crate) fn named(part: &str) -> Option<String> {
    let name = percent_decode_str(part).decode_utf8().ok()?;
    let plain = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && part.bytes().any(|b| b != b'.')
    };
    let parts = name.split('/').count();
    let known = Resource::of_value(&name).is_some() || parts == 2 && name.starts_with("models/");
    // Nothing but the slashes is encoded.
    let encoded = part.bytes().filter(|b| *b == b'%').count() == parts - 1;
    (known && encoded && matches!(parts, 2 | 4) && name.split('/').all(plain)).then(|| name.into_owned())
}

/// Whether a segment is empty, leads elsewhere, or hides a separator or a control.
fn unclear(part: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(part).collect();
    decoded.iter().any(|b| matches!(b, b'/' | b'\\') || b.is_ascii_control())
        || matches!(&decoded[..], b"" | b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_within_a_name_is_no_segment() {
        for path in ["/v1beta/models/gemini-2.5-flash:generateContent", "/v1/a.b/c..d", "/v1/x/"] {
            assert!(!ambiguous(path, false), "{path}");
        }
        for path in ["/v1/./x", "/v1/x/..", "/.", "/v1//x", "/v1/a.b//", "v1/x", "/v1\\x"] {
            assert!(ambiguous(path, false), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_may_stand_in_a_name_and_nowhere_else() {
        for path in [
            "/v1/files/files%2Fabc",
            "/v1/files/files%2fabc/content",
            "/v1/batches/batches%2Fb-1/cancel",
            "/v1/models/models%2Fgemini-3.8-flash",
            "/v1/videos/models%2Fveo-3.1%2Foperations%2Fo",
        ] {
            assert!(!ambiguous(path, true), "{path}");
            assert!(ambiguous(path, false), "{path}");
        }
        for path in [
            "/v1/files/..%2fabc",
            "/v1/files/files%2F..",
            "/v1/files/files%2F%2e%2e",
            "/v1/files/files%2F.",
            "/v1/files/files%2F",
            "/v1/files/%2Ffiles%2Fabc",
            "/v1/files/files%2Fabc%2Fcontent",
            "/v1/files/files%2Fabc%2F..%2F..",
            "/v1/files/files%2Fa%5Cb",
            "/v1/files/files%2Fa%00b",
            "/v1/files/files%2Fa%3Fb",
            "/v1/files/files%252Fabc",
            "/v1/files/%66iles%2Fabc/..",
            "/v1/files/%66iles%2Fabc",
            "/v1/files/nothing%2Fabc",
            "/v1/files/files%2Fabc//content",
            "/v1/chat/files%2Fabc",
            "/v1/files%2Fabc",
            "/files%2Fabc",
        ] {
            let harmless = path == "/v1/files/files%252Fabc";
            assert_eq!(ambiguous(path, true), !harmless, "{path}");
        }
    }
}
