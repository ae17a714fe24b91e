//! The bar that shows how far it is.

use crate::command::figures;
use crate::command::load::crew::Progress;

/// Cells of the bar.
const CELLS: usize = 24;
/// Takes the bar away.
pub(super) const GONE: &str = "\r\u{1b}[K";

/// The line, to be drawn over the last one.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a few cells, and a rate to be looked at"
)]
pub(super) fn line(progress: &Progress) -> String {
    let full = (progress.share * CELLS as f64).floor() as usize;
    let over = progress.succeeded + progress.failed;
    let rate = over as f64 / progress.elapsed.as_secs_f64().max(0.001);
    format!(
        "{GONE}[{}{}] {:>3.0} %  {} answered, {} failed, {} on their way, {} a second",
        "#".repeat(full),
        ".".repeat(CELLS - full),
        (progress.share * 100.0).floor(),
        figures::count(progress.succeeded),
        figures::count(progress.failed),
        figures::count(progress.sent.saturating_sub(over)),
        figures::rate(rate),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_bar_is_always_of_one_length() {
        let at =
            |share| Progress { share, elapsed: Duration::from_secs(2), sent: 1_210, succeeded: 1_000, failed: 200 };
        let half = "[############............]  50 %  1,000 answered, 200 failed, 10 on their way, 600.0 a second";
        assert_eq!(line(&at(0.5)).strip_prefix(GONE), Some(half));
        assert!(line(&at(0.0)).contains("[........................]   0 %"));
        assert!(line(&at(1.0)).contains("[########################] 100 %"));
    }
}
