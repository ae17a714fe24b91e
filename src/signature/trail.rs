//! The trail: signatures taken down from where they begin, over as many chunks as they take.

use std::ops::ControlFlow;

/// How much of a signature is digested: all of them begin alike, but not for so long.
const DIGESTED_BYTES: u16 = 256;
/// What is shorter is no signature.
const LEAST_BYTES: u16 = 16;
/// The signatures of one chunk that are taken down.
const AT_ONCE_MAX: usize = 64;

/// What a thought signature is known by: a digest of its beginning, however its base64 was written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Signature(u64);

/// The signatures of one answer, whose chunks are followed in order. Holds digests alone.
#[derive(Debug, Default)]
pub struct Trail {
    /// Where in the chunk that comes next signatures begin.
    begins: Vec<usize>,
    /// Of one that goes on in the next chunk.
    open: Option<Beginning>,
    found: Vec<Signature>,
}

impl Trail {
    /// A signature's first byte is at `at` of the chunk that is followed next, or it is the first of the one after.
    pub fn begins(&mut self, at: usize) {
        if self.begins.len() < AT_ONCE_MAX {
            self.begins.push(at);
        }
    }

    /// Takes down what the chunk holds of signatures.
    pub fn follow(&mut self, chunk: &[u8]) {
        if let Some(beginning) = self.open.take() {
            self.take(beginning, chunk);
        }
        for n in 0..self.begins.len() {
            self.take(Beginning::default(), chunk.get(self.begins[n]..).unwrap_or_default());
        }
        self.begins.clear();
    }

    /// The signatures that became known since the last time.
    pub fn found(&mut self) -> impl Iterator<Item = Signature> {
        self.found.drain(..)
    }

    fn take(&mut self, mut beginning: Beginning, bytes: &[u8]) {
        match beginning.read(bytes) {
            ControlFlow::Break(signature) if self.found.len() < AT_ONCE_MAX => self.found.extend(signature),
            ControlFlow::Break(_) => {}
            ControlFlow::Continue(()) => self.open = Some(beginning),
        }
    }
}

/// A signature as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// Of the whole words of eight bytes.
    digest: u64,
    /// The bytes since the last whole word, the latest one lowest.
    word: u64,
    length: u16,
    escape: Escape,
}

/// Where in an escape of JSON's.
#[derive(Clone, Copy, Debug)]
enum Escape {
    Out,
    Begun,
    /// `\u`, after so many digits of this value.
    Digits(u8, u32),
}

impl Default for Beginning {
    fn default() -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, word: 0, length: 0, escape: Escape::Out }
    }
}

impl Beginning {
    /// Reads the next bytes of the string, until it is over: with a signature or without.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> ControlFlow<Option<Signature>> {
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            // Nearly all of it is plain, and comes a word at a time.
            if let (Escape::Out, 0, Some((word, after))) = (self.escape, self.length % 8, rest.split_first_chunk::<8>())
                && let Some(word) = plain(*word)
            {
                self.length += 8;
                self.mix(word);
                rest = after;
                if self.length == DIGESTED_BYTES {
                    return ControlFlow::Break(self.signature());
                }
                continue;
            }
            self.byte(*byte)?;
            rest = after;
        }
        ControlFlow::Continue(())
    }

    fn byte(&mut self, byte: u8) -> ControlFlow<Option<Signature>> {
        match (self.escape, byte) {
            (Escape::Out, b'"') => return ControlFlow::Break(self.signature()),
            (Escape::Out, b'\\') => self.escape = Escape::Begun,
            (Escape::Out, byte) => return self.add(byte),
            (Escape::Begun, b'u') => self.escape = Escape::Digits(0, 0),
            (Escape::Begun, byte) => {
                self.escape = Escape::Out;
                return if byte == b'/' { self.add(byte) } else { ControlFlow::Break(None) };
            }
            (Escape::Digits(read, value), byte) => {
                let Some(digit) = char::from(byte).to_digit(16) else { return ControlFlow::Break(None) };
                let value = value * 16 + digit;
                if read < 3 {
                    self.escape = Escape::Digits(read + 1, value);
                } else {
                    self.escape = Escape::Out;
                    return u8::try_from(value).map_or(ControlFlow::Break(None), |byte| self.add(byte));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// A byte of base64. SDKs write it in either alphabet, padded or not.
    fn add(&mut self, byte: u8) -> ControlFlow<Option<Signature>> {
        let byte = match ALPHABET[usize::from(byte)] {
            0 if byte == b'=' => return ControlFlow::Break(self.signature()),
            0 => return ControlFlow::Break(None),
            byte => byte,
        };
        self.word = self.word << 8 | u64::from(byte);
        self.length += 1;
        if self.length.is_multiple_of(8) {
            self.mix(self.word);
            self.word = 0;
        }
        if self.length == DIGESTED_BYTES { ControlFlow::Break(self.signature()) } else { ControlFlow::Continue(()) }
    }

    fn mix(&mut self, word: u64) {
        self.digest = mixed(self.digest, word);
    }

    fn signature(&self) -> Option<Signature> {
        let digest = mixed(mixed(self.digest, self.word), self.length.into());
        (self.length >= LEAST_BYTES).then_some(Signature(digest))
    }
}

/// What each byte of base64, of either alphabet, is in the first; 0 for all others.
const ALPHABET: [u8; 256] = {
    let mut alphabet = [0; 256];
    let mut byte = 0_u8;
    loop {
        alphabet[byte as usize] = match byte {
            b'-' => b'+',
            b'_' => b'/',
            plain @ (b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') => plain,
            _ => 0,
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    alphabet
};

/// Eight bytes of base64 as one word, the first one highest; `None` if there is another among them.
#[inline]
fn plain(bytes: [u8; 8]) -> Option<u64> {
    let bytes = bytes.map(|byte| ALPHABET[usize::from(byte)]);
    bytes.iter().all(|byte| *byte != 0).then(|| u64::from_be_bytes(bytes))
}

fn mixed(digest: u64, word: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    (digest.rotate_left(23) ^ word).wrapping_mul(ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_by(text: &str, piece: usize) -> Option<Signature> {
        let mut beginning = Beginning::default();
        let text = format!("{text}\"");
        match text.as_bytes().chunks(piece).try_for_each(|piece| beginning.read(piece)) {
            ControlFlow::Break(signature) => signature,
            ControlFlow::Continue(()) => None,
        }
    }

    #[test]
    fn a_signature_is_the_same_however_its_base64_is_written_and_cut() {
        for length in (16..300).step_by(7) {
            let plain = "Cq+B/dHtim9aB3x9Zk0iacmVOb2Hz7IP4pKs".repeat(9)[..length].to_owned();
            let signature = known_by(&plain, usize::MAX);
            assert!(signature.is_some(), "{length}");
            for other in [
                plain.clone() + "==",
                plain.replace('+', "-").replace('/', "_"),
                plain.replace('/', "\\/"),
                plain.replace('+', "\\u002b").replace('H', "\\u0048"),
            ] {
                for piece in [1, 2, 7, 8, 9, 63, 1_000] {
                    assert_eq!(known_by(&other, piece), signature, "{other} in pieces of {piece}");
                }
            }
            let changed = plain.replacen('d', "e", 1);
            assert_ne!(known_by(&changed, usize::MAX), signature);
            assert_ne!(known_by(&plain[1..], usize::MAX), signature);
        }
    }

    #[test]
    fn what_is_no_base64_or_short_is_no_signature() {
        for text in ["c2ln", "Cq+B/dHtim9aB3", "Cq+B/dHtim9aB3x9 Zk0iacmVO", "Cq+B/dHtim9aB3x9Zk0i\\nacmVO", ""] {
            assert_eq!(known_by(text, usize::MAX), None, "{text}");
        }
    }
}
