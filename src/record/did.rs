//! What geminate did with an attempt that failed.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// As reports name it. It is known once something followed the attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Did {
    /// Another attempt was made with the same key.
    Retried,
    /// Another attempt was made with another key, which was free.
    SwitchedKey,
    /// The call waited in line for a key, then another attempt was made.
    Waited,
    /// Another model was asked.
    FellBack,
    /// Another attempt that was under way beside it served.
    Hedged,
    /// The client got the failure, as the upstream worded it or as a stream that ends with an error.
    PassedOn,
    /// The client got a refusal of geminate's own.
    GaveUp,
    /// The client did not wait for more.
    ClientLeft,
    /// The operator ended the call.
    Cancelled,
}

impl Did {
    /// Every one, at the place of its number.
    pub const ALL: [Self; 9] = [
        Self::Retried,
        Self::SwitchedKey,
        Self::Waited,
        Self::FellBack,
        Self::Hedged,
        Self::PassedOn,
        Self::GaveUp,
        Self::ClientLeft,
        Self::Cancelled,
    ];

    /// The code.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::SwitchedKey => "switched_key",
            Self::Waited => "waited",
            Self::FellBack => "fell_back",
            Self::Hedged => "hedged",
            Self::PassedOn => "passed_on",
            Self::GaveUp => "gave_up",
            Self::ClientLeft => "client_left",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where it is written down what was done, for whoever told of the failure.
#[derive(Debug)]
pub struct Fate(AtomicU8);

/// Stands for what is not known yet.
const OPEN: u8 = u8::MAX;

impl Default for Fate {
    fn default() -> Self {
        Self(AtomicU8::new(OPEN))
    }
}

impl Fate {
    /// What was done; `None` as long as the call has not gone on.
    pub fn did(&self) -> Option<Did> {
        Did::ALL.get(usize::from(self.0.load(Relaxed))).copied()
    }

    /// Writes it down. The first word stands.
    pub(crate) fn decide(&self, did: Did) {
        let _first_stands = self.0.compare_exchange(OPEN, did as u8, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_the_place_of_its_number_and_the_first_word_stands() {
        for (n, did) in Did::ALL.into_iter().enumerate() {
            assert_eq!(did as usize, n);
            let fate = Fate::default();
            assert_eq!(fate.did(), None);
            fate.decide(did);
            fate.decide(Did::GaveUp);
            assert_eq!(fate.did(), Some(did), "{}", did.name());
        }
    }
}
