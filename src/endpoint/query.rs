//! The query of a target: its parameters as they stand, and which of them are credentials.

/// Parameters by which Google knows a caller: none of a client's own goes up beside the pool's key.
const CREDENTIALS: [&str; 3] = ["key", "access_token", "oauth_token"];

/// The query's parameters as they stand.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.unwrap_or("").split('&').filter(|p| !p.is_empty())
}

/// Whether Google would know a caller by it.
pub(crate) fn is_credential(parameter: &str) -> bool {
    CREDENTIALS.iter().any(|known| value(parameter, known).is_some())
}

/// The `upload_id`, decoded. Of several it cannot be said which one Google would take: then it is empty.
pub(crate) fn upload_id(query: Option<&str>) -> Option<String> {
    // Most targets have no query, and most queries no such word.
    let query = query.filter(|query| query.contains("upload") || query.contains('%'))?;
    let mut all = parameters(Some(query)).filter_map(|parameter| value(parameter, "upload_id"));
    let (first, second) = (all.next()?, all.next());
    let decoded = percent_encoding::percent_decode_str(first).decode_utf8().unwrap_or_default();
    Some(if second.is_some() { String::new() } else { decoded.into_owned() })
}

/// Whether Google would answer in this form: with a file's content (`media`), or with events (`sse`).
pub(crate) fn asks_for(query: Option<&str>, form: &str) -> bool {
    let decoded = |kind| percent_encoding::percent_decode_str(kind).collect::<Vec<_>>();
    parameters(query)
        .filter_map(|parameter| value(parameter, "alt").or_else(|| value(parameter, "$alt")))
        .any(|kind| kind == form || decoded(kind).eq_ignore_ascii_case(form.as_bytes()))
}

/// The value of the parameter as it stands, where it is called `known`.
fn value<'p>(parameter: &'p str, known: &str) -> Option<&'p str> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    // A name may be written percent-encoded.
    let encoded = || name.contains('%') && percent_encoding::percent_decode_str(name).eq(known.bytes());
    (name == known || encoded()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_known_by_one_id_however_it_is_written() {
        for (query, id) in [
            ("upload_id=AHm-x_1", Some("AHm-x_1")),
            ("a=1&upload%5Fid=a%2Bb&b", Some("a+b")),
            ("upload_id=a&upload_id=b", Some("")),
            ("upload_id=a&upload%5fid=a", Some("")),
            ("upload_id", Some("")),
            ("upload_id=%ff", Some("")),
            ("upload_ids=a&uploadType=media", None),
            ("", None),
        ] {
            assert_eq!(upload_id(Some(query)).as_deref(), id, "{query}");
        }
        assert_eq!(upload_id(None), None);
    }
}
