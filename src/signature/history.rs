//! The history of a request: the signatures that it brings back.

use std::ops::ControlFlow;

use crate::signature::trail::{Beginning, Signature};
use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

/// The longest key that is read.
const KEY_BYTES_MAX: usize = 32;
/// A signature of `OpenAI`'s stands 7 deep.
const LEVELS: usize = 12;
/// The last signatures of a history that are looked at.
const LAST_MAX: usize = 1_024;

/// The signatures of a body in their order, of many the last ones.
pub fn in_history(body: &[u8]) -> Vec<Signature> {
    let mut seen = Seen::default();
    Skim::<Seen, KEY_BYTES_MAX, LEVELS>::default().feed(body, &mut seen);
    let last = seen.begins.len().saturating_sub(LAST_MAX);
    let beginnings = seen.begins[last..].iter().map(|at| body.get(*at..).unwrap_or_default());
    beginnings.filter_map(read).collect()
}

fn read(bytes: &[u8]) -> Option<Signature> {
    let mut beginning = Beginning::default();
    match beginning.read(bytes) {
        ControlFlow::Break(signature) => signature,
        ControlFlow::Continue(()) => None,
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Where each signature's first byte is.
    begins: Vec<usize>,
}

/// Where in a body.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A value that may hold others, or the members of one.
    Any,
    Signature,
}

impl Visitor for Seen {
    type Place = Place;
    const ROOT: Place = Place::Any;
    const LINES: bool = false;

    fn value(&mut self, at: Place, first: u8, offset: usize) -> Option<Place> {
        match (at, first) {
            (Place::Any, b'{' | b'[') => Some(at),
            (Place::Signature, b'"') => {
                self.begins.push(offset + 1);
                None
            }
            _ => None,
        }
    }

    fn key(&mut self, at: Place, key: &[u8]) -> Option<Place> {
        match (at, key) {
            (Place::Any, b"thoughtSignature" | b"thought_signature") => Some(Place::Signature),
            // The caller's own data and schemas; a signature has no members.
            (
                Place::Any,
                b"args" | b"response" | b"arguments" | b"parameters" | b"parametersJsonSchema" | b"schema",
            )
            | (Place::Signature, _) => None,
            (Place::Any, _) => Some(Place::Any),
        }
    }

    fn scalar(&mut self, _: Place, _: Scalar<'_>) {}

    fn end(&mut self, _: Place) {}
}
