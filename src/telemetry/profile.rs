//! CPU profiles of this process: taken while it works, kept on disk when it works too hard.

// In the order in which they may name each other.
mod sample;
mod protobuf;
mod form;
#[cfg(feature = "pprof")]
mod sampler;
mod take;
mod alarm;
mod kept;
mod watch;

pub use self::form::Form;
pub use self::kept::{Kept, Profile};
pub use self::sample::{NoProfile, Stacks};
pub use self::take::take;
pub use self::watch::watch;
