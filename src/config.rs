//! The configuration: `config.toml` under environment variables, every fault of every source told at once; and how it
//! changes while geminate runs.

// In the order in which they may name each other.
pub mod key_list;
mod fault;
mod otel;
mod shape;
mod leaf;
mod merge;
mod proxy;
mod keys;
mod rules;
mod lasting;
mod sources;
mod changes;
mod masked;
mod edit;
mod history;
mod file;
pub mod book;

pub use changes::Change;
pub use edit::{KeyChange, KeyFields, NewKey, Unfit};
pub use fault::{Fault, Faults};
pub use history::Entry;
pub use keys::Source as KeySource;
pub use sources::{Configuration, Sources};
