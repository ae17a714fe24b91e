//! The room for operators: what `/monitor/*`, `/metrics`, `/healthz` and `/readyz` answer.

pub mod access;
mod prometheus;
mod streams;
mod errors;
mod performance;
