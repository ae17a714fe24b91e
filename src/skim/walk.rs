//! The walk over the bytes: a small automaton that keeps its state from chunk to chunk.

use std::ops::ControlFlow;

use crate::skim::bytes::{CLASSES, Class, find, near, past_escapes, word_length};
use crate::skim::gather::Gather;
use crate::skim::lines::Lines;
use crate::skim::visitor::{Scalar, Visitor};

/// The most levels that a walk may have: a bit each.
const LEVELS_MAX: usize = 16;
/// An escape that a search found within so many bytes is one of many.
const NEAR: usize = 8;

/// A walk over a stream of JSON for a visitor. Of the stream it holds at most one key or wanted scalar of `N` bytes.
/// It follows `LEVELS` deep; below that everything is skipped, as deep as it may nest.
///
/// It does not check the JSON: rubbish is walked over as well as it can be, never a panic, every byte seen once.
#[derive(Debug)]
pub struct Skim<V: Visitor, const N: usize, const LEVELS: usize = 12> {
    state: State,
    lines: Lines,
    /// How many of `stack` are in use.
    depth: u8,
    /// A bit for each level: set for an object.
    objects: u16,
    /// Where the members of the containers around are.
    stack: [V::Place; LEVELS],
    /// Where the members of the innermost one are, and whether it is an object.
    members: V::Place,
    object: bool,
    /// Whether a string, coming now, is a key.
    key: bool,
    /// Where the value that comes now is; `None`: unwanted, or none is due.
    place: Option<V::Place>,
    /// How many containers are open from the outermost skipped one on.
    skipped: u64,
    gather: Gather<N>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Between documents.
    Outside,
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
            state: State::Outside,
            lines: Lines::default(),
            depth: 0,
            objects: 0,
            stack: [V::ROOT; LEVELS],
            members: V::ROOT,
            object: false,
            key: false,
            place: None,
            skipped: 0,
            gather: Gather::default(),
        }
    }
}

impl<V: Visitor, const N: usize, const LEVELS: usize> Skim<V, N, LEVELS> {
    /// Walks on over the next bytes.
    pub fn feed(&mut self, chunk: &[u8], visitor: &mut V) {
        self.lines.start = 0;
        let mut at = 0;
        while at < chunk.len() {
            at = match self.state {
                State::Outside => self.outside(chunk, at),
                State::Between => self.between(chunk, at, visitor),
                State::Skip => self.skip(chunk, at, visitor),
                State::Mute(_) => self.mute(chunk, at, visitor),
                State::Text => self.text(chunk, at, visitor),
                State::Word => self.word(chunk, at, visitor),
            };
        }
        self.lines.chunk_ended(chunk);
    }

    /// Whether every document so far stood on a `data:` line and the bytes ended with an empty line, or did not begin.
    pub fn between_frames(&self) -> bool {
        self.state == State::Outside && self.lines.between_frames()
    }

    /// Whether the last line outside a document ended with CR LF.
    pub fn crlf(&self) -> bool {
        self.lines.crlf
    }

    /// To the next document, whose value is wanted as the root.
    fn outside(&mut self, chunk: &[u8], at: usize) -> usize {
        let at = self.lines.walk(chunk, at, V::LINES);
        if at < chunk.len() {
            (self.state, self.place, self.key) = (State::Between, Some(V::ROOT), false);
        }
        at
    }

    /// The line ends at `at`, and the document with it, whatever was open.
    fn break_off(&mut self, chunk: &[u8], at: usize) -> usize {
        self.lines.broke_off(chunk, at);
        self.state = State::Outside;
        (self.depth, self.skipped, self.place, self.key) = (0, 0, None, false);
        at + 1
    }

    /// Over the structure of a document, and over its strings and words while they are whole and plain.
    fn between(&mut self, chunk: &[u8], mut at: usize, visitor: &mut V) -> usize {
        while let Some(&byte) = chunk.get(at) {
            let passed = match CLASSES[usize::from(byte)] {
                Class::Newline if V::LINES && self.lines.bound => return self.break_off(chunk, at),
                Class::Space | Class::Newline => ControlFlow::Continue(at + 1),
                Class::Quote if self.key => self.object(chunk, at + 1, visitor),
                Class::Quote => {
                    let place = self.place.take();
                    self.string(chunk, at, place, visitor)
                }
                Class::Comma => {
                    self.next();
                    ControlFlow::Continue(at + 1)
                }
                Class::Open => self.open(byte, at, visitor),
                Class::Close => self.close(at, visitor),
                Class::Other => {
                    let place = self.place.take();
                    self.bare(chunk, at, place, visitor)
                }
            };
            match passed {
                ControlFlow::Continue(passed) => at = passed,
                ControlFlow::Break(at) => return at,
            }
        }
        at
    }

    /// Over the members of an object, while one follows the other as usual, from the first byte of a key on.
    fn object(&mut self, chunk: &[u8], mut at: usize, visitor: &mut V) -> ControlFlow<usize, usize> {
        self.key = false;
        let mut rest = &chunk[at..];
        loop {
            let (key, after) = rest.split_at(near(rest));
            let ([b'"', b':', b' ', value @ ..] | [b'"', b':', value @ ..] | [b'"', value @ ..]) = after else {
                self.key = true;
                return ControlFlow::Break(self.gathers(chunk, at, at + key.len()));
            };
            let place = if key.len() <= N { visitor.key(self.members, key) } else { None };
            at = chunk.len() - value.len();
            at = match value.first().map(|byte| CLASSES[usize::from(*byte)]) {
                Some(Class::Quote) => self.string(chunk, at, place, visitor)?,
                Some(Class::Other) => self.bare(chunk, at, place, visitor)?,
                _ => {
                    self.place = place;
                    return ControlFlow::Continue(at);
                }
            };
            match &chunk[at..] {
                [b',', b'"', next @ ..] => (rest, at) = (next, at + 2),
                _ => return ControlFlow::Continue(at),
            }
        }
    }

    /// A string that is no key begins at `at`. No value is due when it has passed.
    #[inline]
    fn string(
        &mut self,
        chunk: &[u8],
        at: usize,
        place: Option<V::Place>,
        visitor: &mut V,
    ) -> ControlFlow<usize, usize> {
        let begin = at + 1;
        let place = place.and_then(|place| visitor.value(place, b'"', at));
        let (text, after) = chunk[begin..].split_at(near(&chunk[begin..]));
        let end = begin + text.len();
        if after.first() == Some(&b'"') {
            if let Some(place) = place {
                visitor.scalar(place, if text.len() <= N { Scalar::Text(text) } else { Scalar::Long });
            }
            return ControlFlow::Continue(end + 1);
        }
        self.place = place;
        if place.is_none() {
            self.state = State::Mute(false);
            return ControlFlow::Break(end);
        }
        ControlFlow::Break(self.gathers(chunk, begin, end))
    }

    /// A word begins at `at`, or something that has no place here.
    #[inline]
    fn bare(&mut self, chunk: &[u8], at: usize, place: Option<V::Place>, visitor: &mut V) -> ControlFlow<usize, usize> {
        let (word, after) = chunk[at..].split_at(word_length(&chunk[at..]));
        let end = at + word.len();
        if let Some(place) = place.and_then(|place| visitor.value(place, chunk[at], at)) {
            if after.is_empty() {
                self.place = Some(place);
                self.gathers(chunk, at, end);
                self.state = State::Word;
                return ControlFlow::Break(end);
            }
            visitor.scalar(place, if word.len() <= N { Scalar::Word(word) } else { Scalar::Long });
        }
        ControlFlow::Continue(end)
    }

    /// After a comma or a container's beginning: a key or an element is due.
    #[inline]
    fn next(&mut self) {
        (self.key, self.place) = if self.object { (true, None) } else { (false, Some(self.members)) };
    }

    /// A value ended: nothing is due before the next comma.
    #[inline]
    fn ended(&mut self) {
        (self.place, self.key) = (None, false);
        self.state = State::Between;
        if self.depth == 0 {
            self.lines.whole();
            self.state = State::Outside;
        }
    }

    #[inline]
    fn open(&mut self, byte: u8, at: usize, visitor: &mut V) -> ControlFlow<usize, usize> {
        let offset = if self.depth == 0 { self.lines.start } else { at };
        let members = self.place.take().and_then(|place| visitor.value(place, byte, offset));
        let level = usize::from(self.depth);
        if let (Some(members), Some(slot)) = (members, self.stack.get_mut(level)) {
            (*slot, self.members, self.object) = (members, members, byte == b'{');
            self.depth += 1;
            self.objects = (self.objects & !(1 << level)) | (u16::from(self.object) << level);
            self.next();
            ControlFlow::Continue(at + 1)
        } else {
            self.skipped = 1;
            self.state = State::Skip;
            ControlFlow::Break(at + 1)
        }
    }

    #[inline]
    fn close(&mut self, at: usize, visitor: &mut V) -> ControlFlow<usize, usize> {
        visitor.end(self.members);
        self.depth -= 1;
        self.ended();
        let Some(level) = self.depth.checked_sub(1) else { return ControlFlow::Break(at + 1) };
        self.members = self.stack[usize::from(level)];
        self.object = (self.objects >> level) & 1 == 1;
        ControlFlow::Continue(at + 1)
    }

    /// A string that began at `begin` is not over at `end`, or not plain: it is gathered.
    fn gathers(&mut self, chunk: &[u8], begin: usize, end: usize) -> usize {
        self.gather.clear();
        self.gather.extend(&chunk[begin..end]);
        self.state = State::Text;
        end
    }

    /// A string ended; `None` if it was too long to be held.
    fn deliver(&mut self, text: Option<&[u8]>, visitor: &mut V) {
        if self.key {
            self.key = false;
            self.place = text.and_then(|key| visitor.key(self.members, key));
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
                    return self.break_off(chunk, at);
                }
                at += usize::from(self.gather.escaped(byte));
                continue;
            }
            if self.gather.is_over() {
                self.state = State::Mute(false);
                return at;
            }
            let end = at + find(&chunk[at..], V::LINES);
            self.gather.extend(&chunk[at..end]);
            match chunk.get(end) {
                None => return end,
                Some(b'"') => {
                    self.gather.finish();
                    let gather = std::mem::take(&mut self.gather);
                    self.deliver(gather.held(), visitor);
                    self.gather = gather;
                    return end + 1;
                }
                Some(b'\\') => self.gather.begin_escape(),
                Some(_) => return self.break_off(chunk, end),
            }
            at = end + 1;
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
            let length = find(&chunk[at..], V::LINES);
            at += length;
            match chunk.get(at) {
                None => break,
                Some(b'"') if self.skipped > 0 => {
                    self.state = State::Skip;
                    return at + 1;
                }
                Some(b'"') => {
                    // It may be a key or wanted value that was too long.
                    self.deliver(None, visitor);
                    return at + 1;
                }
                Some(b'\\') if length < NEAR => (at, escaped) = past_escapes(chunk, at),
                Some(b'\\') => (at, escaped) = (at + 1, true),
                Some(_) => return self.break_off(chunk, at),
            }
        }
        self.state = State::Mute(escaped);
        at
    }

    /// On in a number or word.
    fn word(&mut self, chunk: &[u8], at: usize, visitor: &mut V) -> usize {
        let end = at + word_length(&chunk[at..]);
        self.gather.extend(&chunk[at..end]);
        if end < chunk.len() {
            if let Some(place) = self.place {
                visitor.scalar(place, self.gather.held().map_or(Scalar::Long, Scalar::Word));
            }
            self.ended();
        }
        end
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
                Class::Newline if V::LINES && self.lines.bound => return self.break_off(chunk, at - 1),
                _ => {}
            }
        }
        at
    }
}
