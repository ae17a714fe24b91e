//! The few bytes of a key or scalar that must be held, because a chunk ended in them or an escape stands in them.

/// A buffer of at most `N` bytes for one string or word, with JSON's escapes resolved as they come. Most documents need
/// none, so that it takes no memory before something is added.
#[derive(Debug, Default)]
pub(crate) struct Gather<const N: usize> {
    bytes: Vec<u8>,
    /// Set once something did not fit: the rest is not held.
    over: bool,
    escape: Escape,
    /// A high surrogate that waits for its low one; 0 for none.
    high: u16,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Escape {
    #[default]
    None,
    /// After the backslash.
    Begun,
    /// After `\u`: how many digits, and what they say so far.
    Hex(u8, u16),
}

impl<const N: usize> Gather<N> {
    /// Forgets what was held.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        (self.over, self.escape, self.high) = (false, Escape::None, 0);
    }

    /// What was gathered; `None` if it was longer than the buffer.
    pub(crate) fn held(&self) -> Option<&[u8]> {
        (!self.over).then_some(&self.bytes[..])
    }

    /// Whether nothing more needs to be added.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the next byte belongs to an escape.
    pub(crate) fn in_escape(&self) -> bool {
        self.escape != Escape::None
    }

    /// Adds plain bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.lone_surrogate();
            self.put(bytes);
        }
    }

    /// A backslash was read.
    pub(crate) fn begin_escape(&mut self) {
        self.escape = Escape::Begun;
    }

    /// A byte of an escape. `false`: it is none, and closes the escape without being read.
    pub(crate) fn escaped(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::Hex(count, value) => {
                let Some(digit) = hex(byte) else {
                    self.escape = Escape::None;
                    self.extend("\u{fffd}".as_bytes());
                    return false;
                };
                self.digit(count + 1, (value << 4) | digit);
            }
            Escape::None | Escape::Begun if byte == b'u' => self.escape = Escape::Hex(0, 0),
            Escape::None | Escape::Begun => {
                self.escape = Escape::None;
                let plain = match byte {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    other => other,
                };
                self.extend(&[plain]);
            }
        }
        true
    }

    /// The string ended.
    pub(crate) fn finish(&mut self) {
        self.lone_surrogate();
    }

    fn digit(&mut self, count: u8, unit: u16) {
        if count < 4 {
            self.escape = Escape::Hex(count, unit);
            return;
        }
        self.escape = Escape::None;
        let mut utf8 = [0; 4];
        match (self.high, unit) {
            (_, 0xd800..=0xdbff) => {
                self.lone_surrogate();
                self.high = unit;
            }
            (high @ 1.., 0xdc00..=0xdfff) => {
                self.high = 0;
                let code = 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(unit) - 0xdc00);
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.put(c.encode_utf8(&mut utf8).as_bytes());
            }
            _ => {
                let c = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.extend(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }

    /// A high surrogate without its low one says nothing.
    fn lone_surrogate(&mut self) {
        if self.high != 0 {
            self.high = 0;
            self.put("\u{fffd}".as_bytes());
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.over |= self.bytes.len() + bytes.len() > N;
        if !self.over {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

fn hex(byte: u8) -> Option<u16> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => return None,
    };
    Some(digit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Option<String> {
        let mut gather = Gather::<16>::default();
        for byte in text.bytes() {
            match byte {
                _ if gather.in_escape() => assert!(gather.escaped(byte)),
                b'\\' => gather.begin_escape(),
                _ => gather.extend(&[byte]),
            }
        }
        gather.finish();
        gather.held().map(|held| String::from_utf8(held.to_vec()).unwrap())
    }

    #[test]
    fn escapes_resolve_as_json_says() {
        for text in ["", "plain", r#"\"\\\/\b\f\n\r\t"#, r"m\u006fdel", r"\ud83d\ude00!", r"\u00e9\u20ac"] {
            let expected: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(resolve(text).unwrap(), expected);
        }
        assert_eq!(resolve(r"\ud83dx").unwrap(), "\u{fffd}x");
        assert_eq!(resolve(r"\ud83d\ud83d\ude00").unwrap(), "\u{fffd}\u{1f600}");
        assert_eq!(resolve(r"\ude00").unwrap(), "\u{fffd}");
    }

    #[test]
    fn what_does_not_fit_is_not_held() {
        assert_eq!(resolve("sixteen bytes ok").unwrap().len(), 16);
        assert_eq!(resolve("seventeen is over"), None);
        assert_eq!(resolve("fourteen plus \\u20ac"), None);
    }
}
