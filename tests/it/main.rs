//! Promises that geminate keeps, each told from outside.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what it is helped by as well")]

mod house;
mod world;

mod admission;
mod broken_streams;
mod configuration;
mod connections;
mod drain;
mod edges;
mod egress;
mod examples;
mod jwt;
mod leaks;
mod monitor;
mod retry;
mod streams;
mod surfaces;
