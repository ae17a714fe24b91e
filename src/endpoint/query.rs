//! The query of a target: its parameters as they stand, and which of them are credentials.

/// Parameters by which Google knows a caller: none of a client's own goes up beside the pool's key.
const CREDENTIALS: [&str; 3] = ["key", "access_token", "oauth_token"];

/// The query's parameters as they stand.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.unwrap_or("").split('&').filter(|p| !p.is_empty())
}

/// Whether Google would know a caller by it.
pub(crate) fn is_credential(parameter: &str) -> bool {
    let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
    // A name may be written percent-encoded.
    let is = |known: &str| name.contains('%') && percent_encoding::percent_decode_str(name).eq(known.bytes());
    CREDENTIALS.iter().any(|known| name == *known || is(known))
}
