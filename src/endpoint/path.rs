//! Paths that two readers could read in two ways.

/// Whether another reader of this path could see another path in it.
pub(crate) fn ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'%' | b'\\' | b'.')) && memchr::memmem::find(bytes, b"//").is_none() {
        return !path.starts_with('/');
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let slashes = |text: &[u8]| memchr::memchr_iter(b'/', text).count();
    decoded.contains(&b'\\')
        || decoded.iter().any(u8::is_ascii_control)
        || slashes(&decoded) != slashes(bytes)
        || decoded[1..].split(|b| *b == b'/').any(|part| part.is_empty() || part == b"." || part == b"..")
}
