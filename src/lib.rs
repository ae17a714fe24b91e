//! geminate: a gateway that serves Google's Gemini API from a pool of keys.
//!
//! The order below is the law of imports: a module may name only modules listed above its own, a child never names
//! its parent (`tests/tidy.rs` holds it). Start reading at [`gateway`]; it is the walk of a request on one page.

// Words: plain data. No IO, no clock, no locks.
pub mod secret;
pub mod endpoint;
pub mod usage;

// What a newcomer and the tests run against.
pub mod mock;
