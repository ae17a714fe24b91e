//! Settings that are more than any text: hosts, log filters, and secrets that are shown masked.

use std::net::{IpAddr, Ipv4Addr};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing::level_filters::LevelFilter;

use crate::secret::Secret;

/// What a masked secret is shown as.
const MASK: &str = "[secret]";

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
