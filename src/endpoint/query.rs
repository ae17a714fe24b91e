//! The query of a target: its parameters as they stand, which of them are credentials, and which are not served.

use http::Method;

/// Parameters by which Google knows a caller, or whom it counts the call to: none of a client's own goes up beside the
/// pool's key. `$httpHeaders` holds whole headers, of which no list could say what passes (Google's system parameters,
/// 2026-11).
const CREDENTIALS: [&str; 7] =
    ["key", "access_token", "oauth_token", "$key", "$httpHeaders", "userProject", "$userProject"];

/// The query's parameters as they stand.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.unwrap_or("").split('&').filter(|p| !p.is_empty())
}

/// The parameter by which a client says who it is, as it stands: `key=T`.
pub fn key(query: Option<&str>) -> Option<&str> {
    parameters(query).find(|parameter| value(parameter, "key").is_some_and(|value| !value.is_empty()))
}

/// Whether Google would know a caller by it.
pub(crate) fn is_credential(parameter: &str) -> bool {
    let (name, _) = split(parameter);
    CREDENTIALS.iter().any(|known| is_named(name, known))
}

/// Whether the answer would be in a form that nobody here reads, its errors too: a dead key would look like a living one.
pub(crate) fn is_unread(query: Option<&str>) -> bool {
    parameters(query).any(|parameter| {
        let (name, value) = split(parameter);
        let is = |known: [&str; 2]| known.iter().any(|known| is_named(name, known));
        is(["alt", "$alt"]) && is_proto(value) || is(["callback", "$callback"])
    })
}

/// Whether it names another method than the request's own, which Google would take in its place.
pub(crate) fn overrides(query: Option<&str>, method: &Method) -> bool {
    // Most queries have no such sign.
    let query = query.filter(|query| memchr::memchr2(b'$', b'%', query.as_bytes()).is_some());
    parameters(query).filter_map(|parameter| value(parameter, "$httpMethod")).any(|named| {
        !percent_encoding::percent_decode_str(named)
            .collect::<Vec<_>>()
            .eq_ignore_ascii_case(method.as_str().as_bytes())
    })
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
    let (name, value) = split(parameter);
    is_named(name, known).then_some(value)
}

/// A parameter's name and value as they stand.
fn split(parameter: &str) -> (&str, &str) {
    parameter.split_once('=').unwrap_or((parameter, ""))
}

/// Whether `name` is `known`: a name may be written percent-encoded.
fn is_named(name: &str, known: &str) -> bool {
    name == known || name.contains('%') && percent_encoding::percent_decode_str(name).eq(known.bytes())
}

/// Whether a kind of answer is protobuf, whatever is said of it behind the `;`.
fn is_proto(kind: &str) -> bool {
    let kind = percent_encoding::percent_decode_str(kind).take_while(|byte| *byte != b';');
    kind.map(|byte| byte.to_ascii_lowercase()).eq(*b"proto")
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

    #[test]
    fn what_speaks_for_somebody_is_a_credential_however_it_is_written() {
        for parameter in [
            "key=a",
            "key",
            "%6Bey=a",
            "$key=a",
            "%24key=a",
            "access_token=a",
            "oauth_token=a",
            "$httpHeaders=x-goog-user-project%3Aa",
            "%24httpHeaders=a",
            "%24http%48eaders=a",
            "userProject=a",
            "%24userProject=a",
        ] {
            assert!(is_credential(parameter), "{parameter}");
        }
        for parameter in ["keys=a", "a=key", "$alt=json", "httpHeaders=a", "$httpheaders=a", "$.xgafv=2", "%zz=key"] {
            assert!(!is_credential(parameter), "{parameter}");
        }
    }

    #[test]
    fn answers_that_nobody_could_read_are_known_by_their_parameter() {
        for query in [
            "alt=proto",
            "a=1&$alt=proto",
            "%24alt=PROTO",
            "alt=json&alt=pro%74o",
            "alt=proto;x=y",
            "callback=f",
            "$callback",
        ] {
            assert!(is_unread(Some(query)), "{query}");
        }
        for query in
            ["alt=sse", "alt=json", "alt=media", "$alt=json;enum-encoding=int", "alt=", "alto=proto", "a=callback"]
        {
            assert!(!is_unread(Some(query)), "{query}");
        }
        assert!(!is_unread(None));
    }

    #[test]
    fn another_method_in_the_query_is_seen() {
        for (query, seen) in [
            ("$httpMethod=DELETE", true),
            ("%24httpMethod=GET", true),
            ("$httpMethod=POST&$httpMethod=PATCH", true),
            ("$httpMethod", true),
            ("$httpMethod=POST", false),
            ("$httpMethod=p%6Fst", false),
            ("httpMethod=DELETE", false),
        ] {
            assert_eq!(overrides(Some(query), &Method::POST), seen, "{query}");
        }
        assert!(!overrides(None, &Method::POST));
    }
}
