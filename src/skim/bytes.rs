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

/// Where the next byte of a string is that is not plain: a quote, a backslash or, if `lines`, a newline; the length of
/// `text` if there is none. Many are near: the first words are searched here, a long text by memchr.
#[inline]
pub(crate) fn find(text: &[u8], lines: bool) -> usize {
    let at = near(text);
    match text.get(at) {
        Some(b'"' | b'\\') => at,
        _ => far(text, at, lines),
    }
}

/// Where the closing quote may be: no quote, backslash or newline stands before. What is there is to be looked at.
#[inline]
pub(crate) fn near(text: &[u8]) -> usize {
    let mut rest = text;
    for n in 0..NEAR_WORDS {
        let Some((word, after)) = rest.split_first_chunk::<8>() else { break };
        let odd = odd(u64::from_le_bytes(*word));
        if odd != 0 {
            return n * 8 + odd.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    far(text, text.len() - rest.len(), true)
}

const NEAR_WORDS: usize = 4;

/// The first that is not plain from `at` on.
fn far(text: &[u8], at: usize, lines: bool) -> usize {
    let rest = &text[at..];
    let found = if lines { memchr::memchr3(b'"', b'\\', b'\n', rest) } else { memchr::memchr2(b'"', b'\\', rest) };
    found.map_or(text.len(), |found| at + found)
}

/// The high bit of each byte that is a quote, a backslash or a control character; above the lowest of them there may be
/// false ones.
#[inline]
fn odd(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    // With this bit turned a quote is 0x20, and all that is less stays so.
    let quotes = (word ^ (EACH * 0x02)).wrapping_sub(EACH * 0x21);
    let backslashes = (word ^ (EACH * 0x5c)).wrapping_sub(EACH);
    (quotes | backslashes) & !word & (EACH << 7)
}

/// How long the word at the beginning of `text` is: a number, `true` and the like.
#[inline]
pub(crate) fn word_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !matches!(CLASSES[usize::from(*byte)], Class::Other)).unwrap_or(text.len())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_byte_that_is_not_plain_is_found_whatever_stands_before(
            text in "[a-z \u{80}-\u{7ff}!\u{1}\t\n\"\\\\]{0,20}[a-zé\t]{0,60}[\n\"\\\\]?.{0,20}",
            lines: bool,
        ) {
            let text = text.as_bytes();
            let odd = |byte: &u8| matches!(byte, b'"' | b'\\') || lines && *byte == b'\n';
            prop_assert_eq!(find(text, lines), text.iter().position(odd).unwrap_or(text.len()));
            let near = near(text);
            prop_assert!(!text[..near].iter().any(|byte| matches!(byte, b'"' | b'\\' | b'\n')));
            prop_assert!(text.get(near).is_none_or(|byte| matches!(byte, b'"' | b'\\') || byte.is_ascii_control()));
        }
    }
}
