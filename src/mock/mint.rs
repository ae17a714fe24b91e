//! Fresh names, none of which can be guessed.

use aws_lc_rs::rand;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";

/// An id as Google gives one to a resource: 12 small letters and digits.
pub(crate) fn id() -> String {
    word(12)
}

/// An id that stands for a credential: 250 bits.
pub(crate) fn secret() -> String {
    word(50)
}

fn word(length: usize) -> String {
    let mut bytes = vec![0; length];
    // A machine without randomness gives no connection either; the name is then a poor one, not a wrong one.
    let _ = rand::fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_alike() {
        assert_ne!(id(), id());
        assert_eq!((id().len(), secret().len()), (12, 50));
    }
}
