//! The layers that a call passes; one a file, and none knows another.

pub mod record;
