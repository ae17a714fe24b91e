//! geminate: a gateway that serves Google's Gemini API from a pool of keys.
//!
//! The order below is the law of imports: a module may name only modules listed above its own, a child never names
//! its parent (`tests/tidy.rs` holds it). Start reading at [`gateway`]; it is the walk of a request on one page.

// Words: plain data. No IO, no clock, no locks.
pub mod secret;
pub mod settings;
pub mod scrub;
pub mod alias;
pub mod resource;
pub mod endpoint;
pub mod usage;
pub mod refusal;
pub mod verdict;
pub mod error;

// Decisions: pure. `now` and dice are arguments; no await.
pub mod backoff;
pub mod budget;
pub mod quota;
pub mod client;
pub mod skim;
pub mod reference;
pub mod signature;
pub mod prefix;
pub mod meter;
pub mod record;
pub mod pool;
pub mod affinity;
pub mod flow;
pub mod call;
pub mod answer;

// Outside: one foreign system each.
pub mod telemetry;
pub mod tasks;
pub mod linger;
pub mod phase;
pub mod sequel;
pub mod readiness;
pub mod upstream;
pub mod state;
pub mod config;
pub mod relay;

// Layers: one tower layer a file; no layer knows another.
pub mod layer;

// Rooms: what a listener serves.
pub mod live;
pub mod upload;
pub mod gateway;
pub mod monitor;
pub mod admin;

// House: build, bind, serve, drain; the command line.
pub mod server;
pub mod mock;
pub mod command;
