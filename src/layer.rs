//! The layers of the walk, one tower layer a file.

pub mod authenticate;
pub mod record;
