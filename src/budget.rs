//! The budget of attempts that are made in the hope of more, not for a key's own fault: a share of the traffic.

use std::time::Duration;

use tower::retry::budget::{Budget as _, TpsBudget};

use crate::settings;

/// Over which time the share is taken.
const SPAN: Duration = Duration::from_secs(10);

/// The retries and hedges of all workers: a share of the traffic, with a floor.
#[derive(Debug)]
pub struct Budget(TpsBudget);

impl Budget {
    /// As configured.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    pub fn new(settings: &settings::Retry) -> Self {
        Self(TpsBudget::new(SPAN, settings.budget_floor_per_s, settings.budget_percent as f32 / 100.0))
    }

    /// A call begins, and earns its share.
    pub fn deposit(&self) {
        self.0.deposit();
    }

    /// Whether another attempt may be made; then it is paid for.
    pub fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}
