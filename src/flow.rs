//! Flow: how far a body that is passed on as it comes has come, and what may take how long because of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// When the last byte of a streamed body was passed on. Clones tell of the same body.
#[derive(Clone, Debug)]
pub struct Flow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    /// Whether more was wanted than had come.
    waits: AtomicBool,
}

impl Flow {
    /// Of a body of which nothing was passed on yet.
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(Inner { began: now, last: AtomicU64::new(0), waits: AtomicBool::new(false) }))
    }

    /// Bytes go on, or the end does.
    pub fn passed(&self, now: Instant) {
        let after = now.saturating_duration_since(self.0.began).as_millis();
        self.0.last.store(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
        self.0.waits.store(false, Relaxed);
    }

    /// More is wanted than has come.
    pub fn lacks(&self) {
        self.0.waits.store(true, Relaxed);
    }

    /// Whether it is the client that is waited for.
    pub fn waits(&self) -> bool {
        self.0.waits.load(Relaxed)
    }

    /// When the last ones went on; the beginning, before any did.
    pub fn last(&self) -> Instant {
        self.0.began + Duration::from_millis(self.0.last.load(Relaxed))
    }
}

/// What `work` comes to by `due`, or by as long as `patience` after the last byte of the body that it passes on: an
/// upload may take hours as long as it flows. `None` when it is too late.
pub async fn in_time<W: Future + Unpin>(
    flow: Option<&Flow>,
    mut due: Instant,
    patience: Duration,
    mut work: W,
) -> Option<W::Output> {
    loop {
        if let Ok(done) = timeout_at(due, &mut work).await {
            return Some(done);
        }
        due = flow.map(|flow| flow.last() + patience).filter(|later| *later > due)?;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_may_go_on_while_its_body_flows_and_no_longer() {
        let (patience, began) = (Duration::from_secs(10), Instant::now());
        let flow = Flow::new(began);
        let work = async |pieces: u32, then: Duration| {
            for _ in 0..pieces {
                sleep(Duration::from_secs(9)).await;
                flow.passed(Instant::now());
            }
            sleep(then).await;
        };
        let done = in_time(Some(&flow), began + patience, patience, pin!(work(100, Duration::from_secs(9)))).await;
        assert_eq!((done, began.elapsed().as_secs()), (Some(()), 909));
        let began = Instant::now();
        let late = in_time(Some(&flow), began + patience, patience, pin!(work(3, Duration::from_hours(9)))).await;
        assert_eq!((late, began.elapsed().as_secs()), (None, 37));
        let began = Instant::now();
        assert_eq!(in_time(None, began + patience, patience, pin!(work(3, Duration::ZERO))).await, None);
        assert_eq!(began.elapsed(), patience);
    }
}
