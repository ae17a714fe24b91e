//! Tasks beside the requests: bounded in number, told when to stop, waited for by the drain.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Tasks that run at once. Background tasks are a dozen; the rest are accounts and reports that outlive their request.
const TASKS_MAX: usize = 65_536;

/// Where tasks are spawned. Clones are the same place.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    running: AtomicUsize,
    max: usize,
    /// Turned to `true` once, when the drain begins.
    stopping: watch::Sender<bool>,
    /// Marked as changed whenever the last task ends.
    idle: watch::Sender<()>,
}

/// No place is left for a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{TASKS_MAX} tasks are running already")]
pub struct Full;

impl Tasks {
    /// A place for 65,536 tasks.
    pub fn new() -> Self {
        Self::bounded(TASKS_MAX)
    }

    fn bounded(max: usize) -> Self {
        let inner = Inner {
            running: AtomicUsize::new(0),
            max,
            stopping: watch::Sender::new(false),
            idle: watch::Sender::new(()),
        };
        Self(Arc::new(inner))
    }

    /// Runs `task` on the current runtime. A task that does not end by itself must end when [`Tasks::stopping`] does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), Full> {
        let place = self.place().ok_or(Full)?;
        let task = async move {
            // Held by the task, so that a panic or an abort lets it go as well.
            let _place = place;
            task.await;
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that spawns: bounded, and the drain waits for it"
        )]
        tokio::spawn(task);
        Ok(())
    }

    /// How many are running.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Relaxed)
    }

    /// Tells every task to come to its end.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Ends when [`Tasks::stop`] was called.
    pub async fn stopping(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Ends when no task is running.
    pub async fn finished(&self) {
        let mut idle = self.0.idle.subscribe();
        while self.running() > 0 && idle.changed().await.is_ok() {}
    }

    fn place(&self) -> Option<Place> {
        let max = self.0.max;
        let taken = |running| (running < max).then_some(running + 1);
        self.0.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.running())
    }
}

struct Place(Arc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_drain_waits_for_each_task() {
        let tasks = Tasks::new();
        let (own, began) = (tasks.clone(), tokio::time::Instant::now());
        tasks.spawn(async move { own.stopping().await }).unwrap();
        tasks.spawn(tokio::time::sleep(Duration::from_secs(3))).unwrap();
        tasks.stop();
        tasks.finished().await;
        assert_eq!((tasks.running(), began.elapsed()), (0, Duration::from_secs(3)));
    }

    #[tokio::test]
    async fn a_panic_gives_the_place_back_and_a_full_house_refuses() {
        let tasks = Tasks::bounded(1);
        tasks.spawn(async { panic!("as planned") }).unwrap();
        tasks.finished().await;
        tasks.spawn(std::future::pending()).unwrap();
        assert_eq!(tasks.spawn(async {}), Err(Full));
    }
}
