//! Signatures of thoughts: known again by a digest, in answers as they pass and in the histories that bring them back.

pub mod trail;
mod history;

pub use history::in_history;
