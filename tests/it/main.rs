//! Promises that geminate keeps, each told from outside.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what it is helped by as well")]

mod house;
mod world;
mod stage;
mod sender;
#[cfg(feature = "otlp")]
mod collector;
#[path = "../../benches/yield/sim.rs"]
mod sim;

mod admin;
mod admin_config;
mod admin_keys;
mod admin_live;
mod admin_work;
mod admission;
mod affinity;
mod separation;
mod aliases;
mod broken_streams;
mod cache;
mod caller;
mod configuration;
mod connections;
mod dead_keys;
mod drain;
mod edges;
mod egress;
mod examples;
mod fallback;
mod frames;
mod hedging;
mod intake;
mod interactions;
mod jwt;
mod keys_check;
mod keys_explain;
mod leaks;
mod line;
mod load;
mod live;
mod live_ends;
mod live_owners;
mod live_refusals;
mod memory;
mod monitor;
mod network;
mod openai;
mod overload;
mod prefix;
mod quota;
mod refusals;
mod reload;
mod report;
mod retry;
mod shares;
mod sight;
mod sight_ends;
mod sharing;
mod signatures;
mod status;
mod streams;
mod surfaces;
#[cfg(feature = "otlp")]
mod traces;
mod top;
mod transfers;
mod uploads;
mod verdicts;
mod whole_quota;
mod windows;
