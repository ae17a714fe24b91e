//! Settings that are more than any text: hosts, origins, log filters, and secrets that are shown masked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing::level_filters::LevelFilter;

use crate::secret::Secret;

/// What a masked secret is shown as.
const MASK: &str = "[secret]";

/// `scheme://host[:port]`, nothing more.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Origin(String);

impl Origin {
    /// Google's own.
    pub fn google() -> Self {
        Self("https://generativelanguage.googleapis.com".to_owned())
    }

    /// The text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads an origin; a slash at the end is tolerated.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let host = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let plain = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains(['#', '?']);
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        (plain && !host.host().is_empty()).then(|| Self(format!("{scheme}://{host}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| {
            D::Error::custom("expected an origin such as https://host or http://host:port, nothing after it")
        })
    }
}

/// An IP address, or `localhost`.
pub(super) fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
    match bare {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => bare.parse().map_err(|_| D::Error::custom("expected an IP address such as 127.0.0.1, 0.0.0.0 or ::")),
    }
}

/// A level, or `target=level` pieces between commas.
pub(super) fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let known = |piece: &str| piece.rsplit_once('=').map_or(piece, |(_, level)| level).trim().parse::<LevelFilter>();
    // `Targets` would take a misspelt level for a target's name, and log everything below it.
    if text.split(',').all(|piece| known(piece.trim()).is_ok()) {
        return Ok(text);
    }
    Err(D::Error::custom("expected ERROR, WARN, INFO, DEBUG, TRACE, OFF or pieces `target=LEVEL` between commas"))
}

/// `[secret]` where there is one.
#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
pub(super) fn mask<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| MASK).serialize(serializer)
}

/// `[secret]` for each.
pub(super) fn mask_all<S: Serializer>(secrets: &[Secret], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(secrets.iter().map(|_| MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, origin) in [
            ("https://example.com", "https://example.com"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), origin);
        }
        for text in [
            "",
            "example.com",
            "ftp://a",
            "https://u:p@a",
            "https://a/v1",
            "https://a?x",
            "https://a#x",
            "https://",
            "/",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
