//! What stands between documents: the lines of a stream of events, or what parts the elements of a stream in an array.

/// What stands before a document in a stream of events.
const PREFIX: &[u8; 5] = b"data:";
/// How frames begin and how Google's end; what is written otherwise is read byte by byte.
const FRAME_BEGIN: &[u8] = b"data: {";
const FRAME_END: &[u8] = b"\r\n\r\n";

/// The state between documents, kept from chunk to chunk.
#[derive(Debug)]
pub(crate) struct Lines {
    place: Place,
    /// Whether the last document began on a `data:` line, so that the line's end ends it.
    pub(crate) bound: bool,
    /// Whether a document began without `data:`.
    bare: bool,
    /// Whether the last line between documents ended with CR LF.
    pub(crate) crlf: bool,
    /// The last byte of the chunk before.
    last: u8,
    /// Where in the chunk the line or document began.
    pub(crate) start: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// At a line's first byte; `true` after an empty line, or before anything.
    Line(bool),
    /// After so many bytes of `data:`.
    Prefix(u8),
    /// After `data:`.
    Data,
    /// After a document, or white space at a line's beginning.
    After,
    /// In the rest of a line that holds no document.
    Rest,
}

impl Default for Lines {
    fn default() -> Self {
        Self { place: Place::Line(true), bound: false, bare: false, crlf: true, last: 0, start: 0 }
    }
}

impl Lines {
    /// Walks on to where the next document begins in the chunk; to the chunk's end if none does. Without `lines` the
    /// bytes are one document.
    pub(crate) fn walk(&mut self, chunk: &[u8], mut at: usize, lines: bool) -> usize {
        while let Some(&byte) = chunk.get(at) {
            self.place = match (self.place, byte) {
                (Place::Line(_), b'd') if lines && chunk[at..].starts_with(FRAME_BEGIN) => {
                    (self.place, self.bound, self.start) = (Place::Data, true, at);
                    return at + FRAME_BEGIN.len() - 1;
                }
                (Place::After, b'\r') if chunk[at..].starts_with(FRAME_END) => {
                    self.crlf = true;
                    at += FRAME_END.len() - 1;
                    Place::Line(true)
                }
                (Place::Rest, _) if lines => match memchr::memchr(b'\n', &chunk[at..]) {
                    Some(newline) => {
                        at += newline;
                        self.newline(chunk, at, false)
                    }
                    None => return chunk.len(),
                },
                (Place::Rest, _) => return chunk.len(),
                (place, b'\n') => self.newline(chunk, at, matches!(place, Place::Line(_))),
                (Place::Line(_) | Place::Data | Place::After, b'{' | b'[') => {
                    self.bound = self.place == Place::Data;
                    self.bare |= !self.bound;
                    self.start = if self.bound { self.start } else { at };
                    return at;
                }
                (Place::Line(_) | Place::After, b'd') if lines => {
                    self.start = at;
                    Place::Prefix(1)
                }
                (Place::Prefix(4), b':') => Place::Data,
                (Place::Prefix(read), _) if byte == PREFIX[usize::from(read)] => Place::Prefix(read + 1),
                (Place::Line(_) | Place::After, b' ' | b'\t') | (Place::After, b'\r' | b',') => Place::After,
                (place @ (Place::Line(_) | Place::Data), b'\r' | b' ' | b'\t') => place,
                _ => Place::Rest,
            };
            at += 1;
        }
        at
    }

    /// The document that began last is whole.
    #[inline]
    pub(crate) fn whole(&mut self) {
        self.place = Place::After;
    }

    /// The document that began last broke off at the newline at `at`.
    pub(crate) fn broke_off(&mut self, chunk: &[u8], at: usize) {
        self.place = self.newline(chunk, at, false);
    }

    /// The chunk is over.
    pub(crate) fn chunk_ended(&mut self, chunk: &[u8]) {
        self.last = chunk.last().copied().unwrap_or(self.last);
    }

    /// Whether every document so far stood on a `data:` line and the bytes ended with an empty line, or did not begin.
    pub(crate) fn between_frames(&self) -> bool {
        self.place == Place::Line(true) && self.last != b'\r' && !self.bare
    }

    fn newline(&mut self, chunk: &[u8], at: usize, empty: bool) -> Place {
        self.crlf = at.checked_sub(1).map_or(self.last, |before| chunk[before]) == b'\r';
        Place::Line(empty)
    }
}
