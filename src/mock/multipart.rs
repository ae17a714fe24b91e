//! Bodies in several parts: `multipart/related` of Google's uploads and `multipart/form-data` of `OpenAI`'s.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;
use serde_json::Value;

/// One part.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// Its headers as they came.
    head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Part<'_> {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// A parameter of its `content-disposition`, such as `name` or `filename`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(self.header("content-disposition")?, name)
    }
}

/// The parts of `body` as its kind says they are divided; `None` when it has no kind of many parts, or does not keep to
/// it.
pub(crate) fn parts<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    if !kind.to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let mark = format!("--{}", parameter(kind, "boundary")?);
    let edges: Vec<usize> = memmem::find_iter(body, mark.as_bytes()).collect();
    let mut found = Vec::new();
    for pair in edges.windows(2) {
        let part = body.get(pair[0] + mark.len()..pair[1])?;
        let part = part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n"))?;
        let part = part.strip_suffix(b"\n")?;
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        let (end, gap) = match (memmem::find(part, b"\r\n\r\n"), memmem::find(part, b"\n\n")) {
            (Some(end), _) => (end, 4),
            (None, Some(end)) => (end, 2),
            (None, None) => return None,
        };
        found.push(Part { head: std::str::from_utf8(&part[..end]).ok()?, body: &part[end + gap..] });
    }
    let last = *edges.last()?;
    body[last + mark.len()..].starts_with(b"--").then_some(found)
}

/// The fields of a form by their names, without its files; null when `body` is no form.
pub(crate) fn fields(headers: &HeaderMap, body: &[u8]) -> Value {
    let Some(parts) = parts(headers, body) else { return Value::Null };
    let texts = parts.iter().filter(|part| part.parameter("filename").is_none());
    let named = texts.filter_map(|part| {
        Some((part.parameter("name")?.to_owned(), Value::from(std::str::from_utf8(part.body).ok()?)))
    });
    Value::Object(named.collect())
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = value.split(';').skip(1).filter_map(|field| field.trim().split_once('='));
    let (_, value) = fields.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())])
    }

    #[test]
    fn parts_are_told_apart_with_their_headers() {
        let body = b"--xx\r\nContent-Type: application/json\r\n\r\n{}\r\n--xx\r\ncontent-type: text/plain\r\n\r\na\r\n\r\nb\r\n--xx--\r\n";
        let parts = parts(&headers("multipart/related; boundary=\"xx\""), body).unwrap();
        assert_eq!(parts.iter().map(|part| part.body).collect::<Vec<_>>(), [&b"{}"[..], b"a\r\n\r\nb"]);
        assert_eq!(parts[1].header("Content-Type"), Some("text/plain"));
    }

    #[test]
    fn a_form_names_its_fields() {
        let body = b"--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhi\r\n--xx--";
        let parts = parts(&headers("multipart/form-data; boundary=xx"), body).unwrap();
        assert_eq!((parts[0].parameter("name"), parts[0].parameter("filename")), (Some("file"), Some("a.txt")));
    }

    #[test]
    fn a_form_reads_as_json_without_its_files() {
        let body =
            b"--xx\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nveo\r\n--xx\r\nContent-Disposition: \
            form-data; name=\"file\"; filename=\"a\"\r\n\r\nbytes\r\n--xx--\r\n";
        assert_eq!(fields(&headers("multipart/form-data; boundary=xx"), body), serde_json::json!({"model": "veo"}));
        assert_eq!(fields(&headers("application/json"), body), Value::Null);
    }

    #[test]
    fn what_does_not_keep_to_its_kind_is_refused() {
        let kind = headers("multipart/related; boundary=xx");
        for wrong in [&b""[..], b"--xx", b"--xx\r\nno end", b"--xx\r\nA: b\r\n--xx--", b"--xx\r\n\r\n\r\nz\r\n--xx"] {
            assert!(parts(&kind, wrong).is_none(), "{}", String::from_utf8_lossy(wrong));
        }
        assert!(parts(&headers("application/json"), b"{}").is_none());
        assert!(parts(&headers("multipart/related"), b"--xx--").is_none());
    }
}
