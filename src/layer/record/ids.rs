//! Ids by which a client and an operator speak of the same call.

use std::array;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::HeaderValue;

use crate::scrub::Scrubber;

/// The longest id of a client's that is kept.
const ID_BYTES_MAX: usize = 128;

/// Whether a client's own id can stand in a header, a log line and a list, but for what is secret in it.
fn sane(id: &HeaderValue) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// The same without the buffer that it was read into, which would else live as long as the record.
fn own(id: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(id.as_bytes()).unwrap_or_else(|_| id.clone())
}

/// The ids of calls.
#[derive(Debug)]
pub(crate) struct Ids {
    scrubber: Arc<Scrubber>,
    fresh: Fresh,
}

impl Ids {
    pub(crate) fn new(scrubber: Arc<Scrubber>) -> Self {
        Self { scrubber, fresh: Fresh::new() }
    }

    /// The id that was `sent`, where others may see it; else another.
    pub(crate) fn of(&self, sent: Option<&HeaderValue>) -> HeaderValue {
        let fit = sent.filter(|id| sane(id) && !self.scrubber.finds(id.as_bytes()));
        fit.map_or_else(|| self.fresh.next(), own)
    }
}

/// The ids of calls that bring none: eight digits by chance, then a count.
#[derive(Debug)]
pub(crate) struct Fresh {
    prefix: [u8; 8],
    next: AtomicU64,
}

impl Fresh {
    pub(crate) fn new() -> Self {
        // Every `RandomState` has keys of its own.
        let chance = RandomState::new().build_hasher().finish();
        Self { prefix: array::from_fn(|n| digit(chance >> (5 * n))), next: AtomicU64::new(1) }
    }

    /// Another id, of seventeen characters.
    pub(crate) fn next(&self) -> HeaderValue {
        let mut id = [b'-'; 8 + 1 + 8];
        id[..8].copy_from_slice(&self.prefix);
        let count = self.next.fetch_add(1, Relaxed);
        for (n, place) in id[9..].iter_mut().rev().enumerate() {
            *place = digit(count >> (5 * n));
        }
        HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// The last five bits as one character that no one mistakes for another.
fn digit(bits: u64) -> u8 {
    b"0123456789abcdefghjkmnpqrstvwxyz"[(bits & 31) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn ids() -> Ids {
        Ids::new(Arc::new(Scrubber::new(&[Secret::new("fake-key-0001".into())]).unwrap()))
    }

    #[test]
    fn an_id_with_a_secret_in_it_is_replaced() {
        let (ids, id) = (ids(), HeaderValue::from_static);
        assert_eq!(ids.of(Some(&id("mine-0001"))), "mine-0001");
        for sent in ["fake-key-0001", "a:fake-key-0001:b", "AIzaFakeFakeFakeFakeFakeFakeFakeFake"] {
            assert_eq!(ids.of(Some(&id(sent))).len(), 17, "{sent}");
        }
        assert_eq!(ids.of(None).len(), 17);
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let (one, two) = (Fresh::new(), Fresh::new());
        assert_ne!(one.next(), one.next());
        assert_ne!(one.prefix, two.prefix);
        assert!(sane(&one.next()) && one.next().len() == 17);
    }

    #[test]
    fn an_id_that_could_confuse_a_reader_is_not_kept() {
        let long = "x".repeat(ID_BYTES_MAX + 1);
        for (id, ok) in [("abc-1", true), ("a b", false), ("", false), ("\u{e4}", false), (&*long, false)] {
            assert_eq!(HeaderValue::from_str(id).is_ok_and(|id| sane(&id)), ok, "{id}");
        }
    }
}
