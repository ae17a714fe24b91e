//! Traces: one span for each call and one for each attempt, sent to a collector by OTLP beside the requests.

mod fate;
#[cfg(feature = "otlp")]
mod counts;
#[cfg(feature = "otlp")]
mod sender;
#[cfg(feature = "otlp")]
mod span;
#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
mod none;

#[cfg(feature = "otlp")]
pub use self::export::Traces;
pub use self::fate::{Spans, Unusable};
#[cfg(not(feature = "otlp"))]
pub use self::none::{Sender, Traces};
#[cfg(feature = "otlp")]
pub use self::sender::Sender;
