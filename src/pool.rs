//! The pool: which key serves a call, and what every answer teaches about it.
//!
//! State is kept where Google keeps it: above the models in the [`roster`], for each model in a [`lane`]. A choice
//! takes one lane's lock for well under a microsecond and none across an await.

// In the order in which they may name each other.
pub mod reason;
pub mod health;
pub mod outage;
pub mod homes;
pub mod key;
pub mod keys;
pub mod ask;
pub mod choose;
pub mod memory;
pub mod minute;
pub mod day;
pub mod daring;
pub mod beat;
pub mod pace;
pub mod limits;
mod supply;
pub mod budgets;
pub mod room;
pub mod probing;
pub mod roster;
pub mod standing;
pub mod storm;
pub mod first_bytes;
pub mod twins;
pub mod turns;
pub mod scene;
pub mod register;
pub mod wakes;
pub mod lane;
mod moved;
mod promise;
pub mod lease;
pub mod view;
pub mod probe;
pub mod keypool;
mod change;
mod report;
mod spare;
pub mod explain;
pub mod finding;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod learning_tests;
#[cfg(test)]
mod tests;

pub use keypool::{Choice, KeyPool};
pub use probe::Probe;
