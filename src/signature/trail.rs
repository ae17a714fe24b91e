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
        for at in std::mem::take(&mut self.begins) {
            self.take(Beginning::default(), chunk.get(at..).unwrap_or_default());
        }
    }

    /// The signatures that became known since the last time.
    pub fn found(&mut self) -> impl Iterator<Item = Signature> {
        self.found.drain(..)
    }

    fn take(&mut self, mut beginning: Beginning, bytes: &[u8]) {
        match bytes.iter().try_for_each(|byte| beginning.read(*byte)) {
            ControlFlow::Break(signature) if self.found.len() < AT_ONCE_MAX => self.found.extend(signature),
            ControlFlow::Break(_) => {}
            ControlFlow::Continue(()) => self.open = Some(beginning),
        }
    }
}

/// A signature as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    digest: u64,
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
        Self { digest: 0xcbf2_9ce4_8422_2325, length: 0, escape: Escape::Out }
    }
}

impl Beginning {
    /// Reads the next byte of the string, until it is over: with a signature or without.
    pub(crate) fn read(&mut self, byte: u8) -> ControlFlow<Option<Signature>> {
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
        let byte = match byte {
            b'-' => b'+',
            b'_' => b'/',
            b'+' | b'/' => byte,
            b'=' => return ControlFlow::Break(self.signature()),
            byte if byte.is_ascii_alphanumeric() => byte,
            _ => return ControlFlow::Break(None),
        };
        self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        self.length += 1;
        if self.length == DIGESTED_BYTES { ControlFlow::Break(self.signature()) } else { ControlFlow::Continue(()) }
    }

    fn signature(&self) -> Option<Signature> {
        (self.length >= LEAST_BYTES).then_some(Signature(self.digest))
    }
}
