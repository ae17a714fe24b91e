//! The bytes of a file, of which only the first are kept: a mocked file may be as large as Google's.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::mock::base64;

/// How much of each file is kept. Beyond it a download gives the length, and zeros for what was not kept.
pub(crate) const CONTENT_KEPT_MAX: usize = 4 << 20;
/// What stands for bytes that were not kept.
static FILLER: [u8; 64 << 10] = [0; 64 << 10];

/// A whole file.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Its first bytes.
    pub(crate) head: Bytes,
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
}

impl Content {
    /// The content that is `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut gathered = Gathered::default();
        gathered.add(bytes);
        gathered.finish()
    }

    /// Its SHA-256 as Google shows it.
    pub(crate) fn sha256_text(&self) -> String {
        base64::encode(&self.sha256)
    }

    /// The bytes in pieces: those that were kept, then zeros to the full length.
    pub(crate) fn pieces(&self) -> Vec<Bytes> {
        let mut pieces = vec![self.head.clone()];
        let mut left = self.length.saturating_sub(self.head.len() as u64);
        while left > 0 {
            let piece = left.min(FILLER.len() as u64);
            pieces.push(Bytes::from_static(&FILLER[..usize::try_from(piece).unwrap_or(FILLER.len())]));
            left -= piece;
        }
        pieces
    }
}

/// A file that is still arriving, in memory that does not grow with it.
#[derive(Clone)]
pub(crate) struct Gathered {
    head: Vec<u8>,
    length: u64,
    digest: Context,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { head: Vec::new(), length: 0, digest: Context::new(&SHA256) }
    }
}

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gathered({} bytes)", self.length)
    }
}

impl Gathered {
    /// Takes the next bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let room = CONTENT_KEPT_MAX - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// How many bytes have come.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// No more bytes come.
    pub(crate) fn finish(self) -> Content {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.digest.finish().as_ref());
        Content { head: self.head.into(), length: self.length, sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_counted_and_digested_but_not_kept() {
        let piece = vec![7; 1 << 20];
        let mut gathered = Gathered::default();
        (0..6).for_each(|_| gathered.add(&piece));
        let content = gathered.finish();
        assert_eq!((content.head.len(), content.length), (CONTENT_KEPT_MAX, 6 << 20));
        assert_eq!(content.pieces().iter().map(Bytes::len).sum::<usize>(), 6 << 20);
        assert_eq!(content.sha256_text(), Content::of(&vec![7; 6 << 20]).sha256_text());
        assert_eq!(Content::of(b"abc").sha256_text(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
