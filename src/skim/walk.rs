//! The walk over the bytes: a small automaton that keeps its state from chunk to chunk.

use crate::skim::bytes::{CLASSES, Class, find, past_escapes};
use crate::skim::gather::Gather;
use crate::skim::visitor::{Scalar, Visitor};

/// The most levels that a walk may have: a bit each.
const LEVELS_MAX: usize = 16;
/// What stands before a document in a stream of events.
const PREFIX: &[u8; 5] = b"data:";
/// An escape that a search found within so many bytes is one of many.
const NEAR: usize = 8;

/// A walk over a stream of JSON for a visitor. Of the stream it holds at most one key or wanted scalar of `N` bytes.
/// It follows `LEVELS` deep; below that everything is skipped, as deep as it may nest.
///
/// It does not check the JSON: rubbish is walked over as well as it can be, never a panic, every byte seen once.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not hang together")]
pub struct Skim<V: Visitor, const N: usize, const LEVELS: usize = 12> {
    state: State,
    /// Whether the document began on a `data:` line, so that the line's end ends it.
    bound: bool,
    /// Whether a document began without `data:`.
    bare: bool,
    /// Whether the last line between documents ended with CR LF.
    crlf: bool,
    /// The last byte of the chunk before.
    last: u8,
    /// How many of `stack` are in use.
    depth: u8,
    /// A bit for each level: set for an object.
    objects: u16,
    /// Where the members of the containers around are.
    stack: [V::Place; LEVELS],
    /// Whether a string, coming now, is a key.
    key: bool,
    /// Where the value that comes now is; `None`: unwanted, or none is due.
    place: Option<V::Place>,
    /// How many containers are open from the outermost skipped one on.
    skipped: u64,
    /// Where in the chunk the line or document began.
    start: usize,
    gather: Gather<N>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
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
    /// In a document, between its strings and words.
    Between,
    /// In a string that is gathered.
    Text,
    /// In a number or word that is gathered.
    Word,
    /// In a string that is not gathered; `true` after a backslash.
    Mute(bool),
    /// Below a skipped container.
    Skip,
}

impl<V: Visitor, const N: usize, const LEVELS: usize> Default for Skim<V, N, LEVELS> {
    fn default() -> Self {
        const { assert!(LEVELS <= LEVELS_MAX) };
        Self {
            state: State::Line(true),
            bound: false,
            bare: false,
            crlf: true,
            last: 0,
            depth: 0,
            objects: 0,
            stack: [V::ROOT; LEVELS],
            key: false,
            place: None,
            skipped: 0,
            start: 0,
            gather: Gather::default(),
        }
    }
}

impl<V: Visitor, const N: usize, const LEVELS: usize> Skim<V, N, LEVELS> {
    /// Walks on over the next bytes.
    pub fn feed(&mut self, chunk: &[u8], visitor: &mut V) {
        self.start = 0;
        let mut at = 0;
        while at < chunk.len() {
            at = match self.state {
                State::Between => self.between(chunk, at, visitor),
                State::Skip => self.skip(chunk, at, visitor),
                State::Mute(_) => self.mute(chunk, at, visitor),
                State::Text => self.text(chunk, at, visitor),
                State::Word => self.word(chunk, at, visitor),
                _ => self.outside(chunk, at),
            };
        }
        self.last = chunk.last().copied().unwrap_or(self.last);
    }

    /// Whether every document so far stood on a `data:` line and the bytes ended with an empty line, or did not begin.
    pub fn between_frames(&self) -> bool {
        self.state == State::Line(true) && self.last != b'\r' && !self.bare
    }

    /// Whether the last line outside a document ended with CR LF.
    pub fn crlf(&self) -> bool {
        self.crlf
    }

    /// One byte, or the rest of a line, outside documents.
    fn outside(&mut self, chunk: &[u8], at: usize) -> usize {
        let byte = chunk[at];
        self.state = match (self.state, byte) {
            (State::Rest, _) if V::LINES => match memchr::memchr(b'\n', &chunk[at..]) {
                Some(newline) => return self.newline(chunk, at + newline, false),
                None => return chunk.len(),
            },
            (State::Rest, _) => return chunk.len(),
            (state, b'\n') => return self.newline(chunk, at, matches!(state, State::Line(_))),
            (State::Line(_) | State::Data | State::After, b'{' | b'[') => {
                self.bound = self.state == State::Data;
                self.bare |= !self.bound;
                self.start = if self.bound { self.start } else { at };
                (self.place, self.key) = (Some(V::ROOT), false);
                self.state = State::Between;
                return at;
            }
            (State::Line(_) | State::After, b'd') if V::LINES => {
                self.start = at;
                State::Prefix(1)
            }
            (State::Prefix(read), _) if byte == PREFIX[usize::from(read)] => {
                if read == 4 {
                    State::Data
                } else {
                    State::Prefix(read + 1)
                }
            }
            (State::Line(_) | State::After, b' ' | b'\t') | (State::After, b'\r' | b',') => State::After,
            (state @ (State::Line(_) | State::Data), b'\r' | b' ' | b'\t') => state,
            _ => State::Rest,
        };
        at + 1
    }

    /// The line ends at `at`: the next one begins, whatever was open.
    fn newline(&mut self, chunk: &[u8], at: usize, empty: bool) -> usize {
        self.crlf = at.checked_sub(1).map_or(self.last, |before| chunk[before]) == b'\r';
        self.state = State::Line(empty);
        (self.depth, self.skipped, self.place, self.key) = (0, 0, None, false);
        at + 1
    }

    /// From one string or word of a document to the next.
    fn between(&mut self, chunk: &[u8], mut at: usize, visitor: &mut V) -> usize {
        while let Some(&byte) = chunk.get(at) {
            match CLASSES[usize::from(byte)] {
                Class::Newline if V::LINES && self.bound => return self.newline(chunk, at, false),
                Class::Space | Class::Newline => at += 1,
                Class::Quote => {
                    at = self.quote(chunk, at, visitor);
                    if self.state != State::Between {
                        return at;
                    }
                }
                Class::Comma => {
                    self.next();
                    at += 1;
                }
                Class::Open => {
                    self.open(byte, at, visitor);
                    at += 1;
                    if self.state != State::Between {
                        return at;
                    }
                }
                Class::Close => {
                    self.depth -= 1;
                    visitor.end(self.stack[usize::from(self.depth)]);
                    self.ended();
                    at += 1;
                    if self.depth == 0 {
                        return at;
                    }
                }
                Class::Other => match self.place.take() {
                    None => at += 1,
                    Some(place) => {
                        self.place = visitor.value(place, byte, at);
                        if self.place.is_some() {
                            self.gather.clear();
                            self.state = State::Word;
                            at = self.word(chunk, at, visitor);
                            if self.state != State::Between {
                                return at;
                            }
                        }
                    }
                },
            }
        }
        at
    }

    /// After a comma or a container's beginning: a key or an element is due.
    fn next(&mut self) {
        let Some(level) = self.depth.checked_sub(1) else { return };
        self.key = (self.objects >> level) & 1 == 1;
        self.place = if self.key { None } else { Some(self.stack[usize::from(level)]) };
    }

    /// A value ended: nothing is due before the next comma.
    fn ended(&mut self) {
        (self.place, self.key) = (None, false);
        self.state = if self.depth == 0 { State::After } else { State::Between };
    }

    fn open(&mut self, byte: u8, at: usize, visitor: &mut V) {
        let offset = if self.depth == 0 { self.start } else { at };
        let members = self.place.take().and_then(|place| visitor.value(place, byte, offset));
        let level = usize::from(self.depth);
        if let (Some(members), Some(slot)) = (members, self.stack.get_mut(level)) {
            *slot = members;
            self.depth += 1;
            self.objects = (self.objects & !(1 << level)) | (u16::from(byte == b'{') << level);
            self.next();
        } else {
            self.skipped = 1;
            self.state = State::Skip;
        }
    }

    /// A string begins at `at`.
    #[inline]
    fn quote(&mut self, chunk: &[u8], at: usize, visitor: &mut V) -> usize {
        let begin = at + 1;
        if !self.key {
            self.place = self.place.and_then(|place| visitor.value(place, b'"', at));
            if self.place.is_none() {
                self.state = State::Mute(false);
                return self.mute(chunk, begin, visitor);
            }
        }
        // Most strings are whole and plain: they are read where they are.
        if let Some(length) = find(&chunk[begin..], V::LINES)
            && chunk[begin + length] == b'"'
        {
            self.deliver(Some(&chunk[begin..begin + length]), visitor);
            let after = begin + length + 1;
            // The usual `: ` after a key need not go round.
            return after + if chunk[after..].starts_with(b": ") { 2 } else { 0 };
        }
        self.gather.clear();
        self.state = State::Text;
        begin
    }

    /// A string ended; `None` if it was too long to be held.
    #[inline]
    fn deliver(&mut self, text: Option<&[u8]>, visitor: &mut V) {
        let text = text.filter(|text| text.len() <= N);
        if self.key {
            self.key = false;
            let members = self.stack[usize::from(self.depth) - 1];
            self.place = text.and_then(|key| visitor.key(members, key));
            self.state = State::Between;
        } else {
            if let Some(place) = self.place {
                visitor.scalar(place, text.map_or(Scalar::Long, Scalar::Text));
            }
            self.ended();
        }
    }

    /// On in a string that is gathered.
    fn text(&mut self, chunk: &[u8], mut at: usize, visitor: &mut V) -> usize {
        while let Some(&byte) = chunk.get(at) {
            if self.gather.in_escape() {
                if V::LINES && byte == b'\n' {
                    return self.newline(chunk, at, false);
                }
                at += usize::from(self.gather.escaped(byte));
                continue;
            }
            if self.gather.is_over() {
                self.state = State::Mute(false);
                return at;
            }
            let Some(length) = find(&chunk[at..], V::LINES) else {
                self.gather.extend(&chunk[at..]);
                return chunk.len();
            };
            self.gather.extend(&chunk[at..at + length]);
            at += length;
            match chunk[at] {
                b'"' => {
                    self.gather.finish();
                    let gather = std::mem::take(&mut self.gather);
                    self.deliver(gather.held(), visitor);
                    self.gather = gather;
                    return at + 1;
                }
                b'\\' => self.gather.begin_escape(),
                _ => return self.newline(chunk, at, false),
            }
            at += 1;
        }
        at
    }

    /// On in a string that is not gathered.
    #[inline]
    fn mute(&mut self, chunk: &[u8], mut at: usize, visitor: &mut V) -> usize {
        let mut escaped = self.state == State::Mute(true);
        while at < chunk.len() {
            if escaped && !(V::LINES && chunk[at] == b'\n') {
                escaped = false;
                at += 1;
                continue;
            }
            let Some(length) = find(&chunk[at..], V::LINES) else {
                at = chunk.len();
                break;
            };
            at += length;
            match chunk[at] {
                b'"' if self.skipped > 0 => {
                    self.state = State::Skip;
                    return at + 1;
                }
                b'"' => {
                    // It may be a key or wanted value that was too long.
                    self.deliver(None, visitor);
                    return at + 1;
                }
                b'\\' if length < NEAR => (at, escaped) = past_escapes(chunk, at),
                b'\\' => (at, escaped) = (at + 1, true),
                _ => return self.newline(chunk, at, false),
            }
        }
        self.state = State::Mute(escaped);
        at
    }

    /// On in a number or word.
    fn word(&mut self, chunk: &[u8], at: usize, visitor: &mut V) -> usize {
        let length = chunk[at..].iter().position(|byte| !matches!(CLASSES[usize::from(*byte)], Class::Other));
        let Some(length) = length else {
            self.gather.extend(&chunk[at..]);
            return chunk.len();
        };
        let mut word = Some(&chunk[at..at + length]).filter(|word| word.len() <= N);
        if self.gather.held() != Some(&[]) {
            self.gather.extend(&chunk[at..at + length]);
            word = self.gather.held();
        }
        if let Some(place) = self.place {
            visitor.scalar(place, word.map_or(Scalar::Long, Scalar::Word));
        }
        self.ended();
        at + length
    }

    /// On below a skipped container.
    fn skip(&mut self, chunk: &[u8], mut at: usize, visitor: &mut V) -> usize {
        while let Some(&byte) = chunk.get(at) {
            at += 1;
            match CLASSES[usize::from(byte)] {
                Class::Quote => {
                    self.state = State::Mute(false);
                    at = self.mute(chunk, at, visitor);
                    if self.state != State::Skip {
                        return at;
                    }
                }
                Class::Open => self.skipped += 1,
                Class::Close => {
                    self.skipped -= 1;
                    if self.skipped == 0 {
                        self.ended();
                        return at;
                    }
                }
                Class::Newline if V::LINES && self.bound => return self.newline(chunk, at - 1, false),
                _ => {}
            }
        }
        at
    }
}
