//! Promises that geminate keeps, each told from outside.

mod house;

mod configuration;
mod connections;
mod drain;
mod jwt;
