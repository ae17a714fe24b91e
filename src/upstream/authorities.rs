//! The authorities that are trusted: those inside the binary, and those of a file.

use std::fmt;
use std::path::Path;

use reqwest::Certificate;

/// The authorities. Two are alike when their files say the same.
#[derive(Default)]
pub struct Authorities {
    extra: Vec<u8>,
    all: Vec<Certificate>,
}

impl Authorities {
    /// Those inside the binary, and those in the PEM of `file`; the error says what is wrong with it.
    pub fn read(file: Option<&Path>) -> Result<Self, String> {
        let inside = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok());
        let mut all: Vec<Certificate> = inside.collect();
        let Some(path) = file else { return Ok(Self { extra: Vec::new(), all }) };
        let path_is = |why: &str| format!("{} {why}", path.display());
        let extra = std::fs::read(path).map_err(|error| path_is(&format!("cannot be read: {error}")))?;
        let more = Certificate::from_pem_bundle(&extra).map_err(|_| path_is("is not PEM"))?;
        if more.is_empty() {
            return Err(path_is("holds no certificate"));
        }
        all.extend(more);
        Ok(Self { extra, all })
    }

    /// Every one of them.
    pub fn all(&self) -> &[Certificate] {
        &self.all
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.extra == other.extra
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} authorities", self.all.len())
    }
}
