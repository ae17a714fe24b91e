//! What a reader of passing JSON is told, and how it says what it wants.

/// One who walks along. It names the places of a document that concern it; all else is skipped unread.
///
/// A place is a small `Copy` enum: "the value of this key here", "the members of that object". The walk asks where each
/// key leads and whether a value is wanted, and keeps the answers on a small stack, so no path is ever built.
pub trait Visitor {
    /// Where in a document.
    type Place: Copy;
    /// Where each document begins.
    const ROOT: Self::Place;
    /// Whether the bytes are an answer's, in lines: `data:` may stand before a document, which its line's end then
    /// ends; a raw newline within a string (JSON has none) means that the document broke off; many documents may
    /// follow. If not, the bytes are one document.
    const LINES: bool;

    /// A value begins at a wanted place. `first` is its first byte: `{`, `[`, `"` or that of a number or word; `offset`
    /// is that byte's position in the chunk. The answer says where its members or elements stand, or, of a scalar,
    /// under which place to report it; `None` skips it.
    fn value(&mut self, at: Self::Place, first: u8, offset: usize) -> Option<Self::Place>;

    /// Where the value of this key (escapes resolved) stands, in an object whose members are `at`; `None` skips it.
    fn key(&mut self, at: Self::Place, key: &[u8]) -> Option<Self::Place>;

    /// A whole scalar.
    fn scalar(&mut self, at: Self::Place, scalar: Scalar<'_>);

    /// The object or array whose members were `at` ended.
    fn end(&mut self, at: Self::Place);
}

/// A value that holds no others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scalar<'a> {
    /// A string, escapes resolved, not checked to be UTF-8.
    Text(&'a [u8]),
    /// A number, `true`, `false` or `null` as written; or rubbish in such a place.
    Word(&'a [u8]),
    /// One longer than the walk was told to gather.
    Long,
}
