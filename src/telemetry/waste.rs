//! What came to nothing.

use serde::Serialize;

/// Attempts that came to nothing, and tokens that were spent for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Waste {
    /// Attempts at the upstream that ended.
    pub attempts: u64,
    /// Of those, failed.
    pub wasted_attempts: u64,
    /// The same as a share; `None` without any.
    pub wasted_share: Option<f64>,
    /// Tokens spent in streams that broke off or never finished.
    pub tokens_of_failed_streams: u64,
}

impl Waste {
    /// What all of them have counted.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    pub(crate) fn sum(parts: impl Iterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for part in parts {
            sum.attempts += part.attempts;
            sum.wasted_attempts += part.wasted_attempts;
            sum.tokens_of_failed_streams += part.tokens_of_failed_streams;
        }
        let share = (sum.wasted_attempts as f64 / sum.attempts as f64 * 1e4).round() / 1e4;
        Self { wasted_share: (sum.attempts > 0).then_some(share), ..sum }
    }
}
