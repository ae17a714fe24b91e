//! The layers of the walk, one tower layer a file, in the order in which a request meets them.

pub mod cors;
pub mod record;
pub mod authenticate;
pub mod admit;
pub mod spread;
pub mod deadline;
pub mod remember;
pub mod fallback;
pub mod retry;
pub mod hedge;
pub mod lease;
