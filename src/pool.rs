//! pool
pub mod choose;
