//! geminate: a gateway that serves Google's Gemini API from a pool of keys.
//!
//! The order below is the law of imports: a module may name only modules listed above its own, a child never names
//! its parent (`tests/tidy.rs` holds it). Start reading at [`gateway`]; it is the walk of a request on one page.

// Words: plain data. No IO, no clock, no locks.
pub mod secret;
pub mod settings;
pub mod endpoint;
pub mod usage;
pub mod scrub;
pub mod refusal;
pub mod verdict;

// Decisions: pure. `now` and dice are arguments; no await.
pub mod quota;
pub mod client;
pub mod pool;

// Outside: one foreign system each.
pub mod tasks;
pub mod readiness;

// Layers: one tower layer a file.
pub mod layer;

// House: build, bind, serve, drain; the command line.
pub mod config;
pub mod server;
pub mod command;
