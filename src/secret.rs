//! A secret: a string that cannot be printed or serialised, and the digest it is known by.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

/// A key, token or password. `Debug` never shows it; the memory is cleared on drop.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself: for a header, a signature check or the scrubber, never for a format string.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The SHA-256 by which the secret is compared and remembered.
    pub fn digest(&self) -> Digest {
        Digest::of(self.expose().as_bytes())
    }

    /// The last four characters, for an operator to tell keys apart; nothing of a secret shorter than 12.
    pub fn tail(&self) -> &str {
        let text = self.expose();
        if text.len() < 12 { "" } else { text.get(text.len() - 4..).unwrap_or("") }
    }
}

impl PartialEq for Secret {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.digest().matches(&other.digest())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The SHA-256 of a secret or of a text. Says nothing of it, so it may be written to disk.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digests `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(out)
    }

    /// The 32 bytes of it.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Equality in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// A SHA-256 that was made piece by piece elsewhere.
impl From<[u8; 32]> for Digest {
    fn from(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("AIzaFakeFakeFakeFake1234".into());
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.tail(), "1234");
        assert_eq!(Secret::new("short".into()).tail(), "");
    }

    #[test]
    fn digests_match_only_for_equal_secrets() {
        assert!(Secret::new("a".into()).digest().matches(&Digest::of(b"a")));
        assert!(!Secret::new("a".into()).digest().matches(&Digest::of(b"b")));
        assert_eq!(Digest::of(b"").to_string().len(), 64);
    }
}
