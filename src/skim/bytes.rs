//! Searches over bytes, eight at a time, and what the bytes of JSON are.

/// From a backslash at `at` past it, and as far as escapes stand close: escapes end a search so often that here eight
/// bytes at a time are taken without a branch on what they are. Tells where it came, and whether that byte is escaped.
pub(crate) fn past_escapes(chunk: &[u8], at: usize) -> (usize, bool) {
    let (words, _) = chunk[at..].as_chunks::<8>();
    let (mut carry, mut quiet) = (0, 0);
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let backslashes = bits(exact(word, b'\\'));
        // A run of backslashes escapes every second byte, the one after it included: the sum of the runs' begins
        // and ends finds them (the method of simdjson).
        let begun = backslashes & !carry;
        let ends = ((begun << 1) | ODD).wrapping_sub(begun) ^ ODD;
        let escaped = ends ^ (backslashes | carry);
        let stops = (bits(exact(word, b'"')) & !escaped) | bits(exact(word, b'\n'));
        quiet = if backslashes == 0 { quiet + 1 } else { 0 };
        if stops & 0xff != 0 {
            let stop = stops.trailing_zeros();
            return (at + n * 8 + stop as usize, escaped >> stop & 1 == 1);
        }
        carry = (ends & backslashes) >> 7 & 1;
        if quiet == QUIET_WORDS {
            return (at + n * 8 + 8, carry == 1);
        }
    }
    match words.len() * 8 {
        0 => (at + 1, true),
        passed => (at + passed, carry == 1),
    }
}

/// After so many words without an escape a search is faster again.
const QUIET_WORDS: u32 = 3;
/// Every second bit of a byte's eight and the next one.
const ODD: u64 = 0xaaaa;

/// The high bit of each byte that equals `byte`, and no other.
#[inline]
fn exact(word: u64, byte: u8) -> u64 {
    const REST: u64 = u64::from_le_bytes([0x7f; 8]);
    let equal = word ^ u64::from_le_bytes([byte; 8]);
    !(((equal & REST) + REST) | equal | REST)
}

/// The bytes' high bits, side by side.
#[inline]
fn bits(marks: u64) -> u64 {
    (marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The next byte of a string that is not plain: a quote, a backslash or, if `lines`, a newline. Most are near: the first words are searched here, a long text by memchr.
#[inline]
pub(crate) fn find(text: &[u8], lines: bool) -> Option<usize> {
    let (words, _) = text.as_chunks::<8>();
    for (n, word) in words.iter().take(4).enumerate() {
        let word = u64::from_le_bytes(*word);
        let newline = if lines { marks(word, b'\n') } else { 0 };
        let found = marks(word, b'"') | marks(word, b'\\') | newline;
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let near = usize::min(words.len(), 4) * 8;
    let far = &text[near..];
    let found = if lines { memchr::memchr3(b'"', b'\\', b'\n', far) } else { memchr::memchr2(b'"', b'\\', far) };
    found.map(|found| near + found)
}

/// The high bit of each byte that equals `byte`; above the lowest of them there may be false ones.
#[inline]
fn marks(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    let equal = word ^ u64::from_le_bytes([byte; 8]);
    equal.wrapping_sub(LOW) & !equal & LOW << 7
}

/// What a byte outside strings is.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    Other,
    Space,
    Newline,
    Quote,
    Comma,
    Open,
    Close,
}

/// The class of every byte.
pub(crate) const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    classes[b' ' as usize] = Class::Space;
    classes[b'\t' as usize] = Class::Space;
    classes[b'\r' as usize] = Class::Space;
    classes[b':' as usize] = Class::Space;
    classes[b'\n' as usize] = Class::Newline;
    classes[b'"' as usize] = Class::Quote;
    classes[b',' as usize] = Class::Comma;
    classes[b'{' as usize] = Class::Open;
    classes[b'[' as usize] = Class::Open;
    classes[b'}' as usize] = Class::Close;
    classes[b']' as usize] = Class::Close;
    classes
};
