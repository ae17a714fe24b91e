//! What may come with the id of an upload: what goes on with it, and nothing that could begin another.

use http::HeaderMap;
use http::request::Parts;

use crate::endpoint::parameters;

/// What Google's protocol takes of an upload that has begun.
const COMMANDS: [&str; 4] = ["upload", "finalize", "query", "cancel"];
/// The protocol of uploads that go on, as a header and as a parameter of Google's URLs.
const RESUMABLE: &str = "resumable";

/// Whether a request that brings an `upload_id` might begin something all the same.
pub(super) fn begins(head: &Parts) -> bool {
    let known = |word: &str| COMMANDS.iter().any(|known| word.eq_ignore_ascii_case(known));
    let resumable = |word: &str| word.eq_ignore_ascii_case(RESUMABLE);
    let protocol = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let kind = ["uploadType", "upload_type"].iter().any(|kind| name.eq_ignore_ascii_case(kind));
        kind || name.eq_ignore_ascii_case("upload_protocol") && !resumable(value)
    };
    !all(&head.headers, "x-goog-upload-command", known)
        || !all(&head.headers, "x-goog-upload-protocol", resumable)
        || parameters(head.uri.query()).any(protocol)
}

/// Whether each word of the header, which may be left out, is one of those.
fn all(headers: &HeaderMap, name: &str, allowed: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().all(|value| {
        value.to_str().is_ok_and(|words| words.split(',').map(str::trim).all(|word| word.is_empty() || allowed(word)))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn what_goes_on_is_told_from_what_begins() {
        let command = "x-goog-upload-command";
        let protocol = "x-goog-upload-protocol";
        for (query, headers, expected) in [
            ("upload_protocol=resumable", &[(command, "upload, finalize")][..], false),
            ("a=1", &[(command, "Query"), (protocol, "resumable")], false),
            ("a=1", &[(command, "cancel")], false),
            ("a=1", &[], false),
            ("a=1", &[(command, "start")], true),
            ("a=1", &[(command, "upload, START")], true),
            ("a=1", &[(command, "upload"), (command, "start")], true),
            ("a=1", &[(command, "what Google may add")], true),
            ("a=1", &[(protocol, "multipart")], true),
            ("a=1", &[(protocol, "raw"), (command, "upload")], true),
            ("upload_protocol=raw", &[], true),
            ("uploadType=media", &[], true),
            ("upload%54ype=multipart", &[], true),
            ("uploadType=resumable", &[], true),
        ] {
            let mut request = Request::post(format!("/upload/v1beta/files?upload_id=u&{query}"));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let head = request.body(()).unwrap().into_parts().0;
            assert_eq!(begins(&head), expected, "{query} {headers:?}");
        }
    }
}
