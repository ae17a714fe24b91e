//! Workers: threads with a runtime and a stack of their own, each serving the connections dealt to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::phase::Phase;
use crate::readiness::Readiness;
use crate::server::connection::{self, Limits};
use crate::server::stack::Stack;

/// Connections on their way to a worker.
const DESK_MAX: usize = 256;

/// Which worker a stack is made for.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// 0, 1, ..
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

/// A connection on its way, with its place among those that may be open.
pub(super) struct Dealt {
    pub(super) stream: std::net::TcpStream,
    pub(super) place: Place,
}

/// Counts a connection as open until it is dropped.
pub(super) struct Place {
    readiness: Arc<Readiness>,
    open: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.readiness.count_closed();
    }
}

/// The acceptor's end of a worker.
#[derive(Clone)]
pub(super) struct Dealer {
    desk: mpsc::Sender<Dealt>,
    open: Arc<AtomicUsize>,
}

impl Dealer {
    /// Connections that the worker has open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the worker is gone.
    pub(super) fn gone(&self) -> bool {
        self.desk.is_closed()
    }

    /// Hands a connection over.
    pub(super) async fn deal(
        &self,
        stream: std::net::TcpStream,
        permit: OwnedSemaphorePermit,
        readiness: &Arc<Readiness>,
    ) {
        self.open.fetch_add(1, Ordering::Relaxed);
        readiness.count_accepted();
        let place = Place { readiness: Arc::clone(readiness), open: Arc::clone(&self.open), _permit: permit };
        // A worker that is gone drops the connection, and with it the place.
        let _ = self.desk.send(Dealt { stream, place }).await;
    }
}

/// A dealer and the desk it deals to.
pub(super) fn desk() -> (Dealer, mpsc::Receiver<Dealt>) {
    let (desk, dealt) = mpsc::channel(DESK_MAX);
    (Dealer { desk, open: Arc::default() }, dealt)
}

/// The workers' threads.
pub(super) struct Workers {
    dealers: Vec<Dealer>,
    drained: mpsc::Receiver<()>,
}

impl Workers {
    pub(super) fn dealers(&self) -> Vec<Dealer> {
        self.dealers.clone()
    }

    /// Ends when every worker has served its last connection.
    pub(super) async fn drained(&mut self) {
        while self.drained.recv().await.is_some() {}
    }
}

/// Starts `count` threads; an error of any stack is the error.
pub(super) async fn start<F, A>(
    count: usize,
    stack: F,
    limits: &Limits,
    phase: &watch::Receiver<Phase>,
) -> anyhow::Result<Workers>
where
    F: Fn(Worker) -> anyhow::Result<A> + Send + Sync + 'static,
    A: Stack,
{
    let stack = Arc::new(stack);
    let (busy, drained) = mpsc::channel(1);
    let mut dealers = Vec::with_capacity(count);
    for index in 0..count {
        let (dealer, desk) = desk();
        let (stack, busy, phase, limits) = (Arc::clone(&stack), busy.clone(), phase.clone(), limits.clone());
        let (started, starting) = oneshot::channel();
        let work = move || {
            let made = runtime().and_then(|runtime| {
                let entered = runtime.enter();
                let app = stack(Worker { index, of: count })?;
                drop(entered);
                Ok((runtime, app))
            });
            let (runtime, app) = match made {
                Ok(made) => made,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(()));
            runtime.block_on(async {
                let mut over = phase.clone();
                serve(desk, app, limits, phase).await;
                drop(busy);
                // Tasks that outlive their request run here until the house has waited for them.
                let _ = over.wait_for(|phase| *phase == Phase::Over).await;
            });
        };
        thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(work)
            .context("a worker's thread did not start")?;
        starting.await.context("a worker's stack panicked")??;
        dealers.push(dealer);
    }
    Ok(Workers { dealers, drained })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("a worker's runtime did not start")
}

/// Serves the connections that come to `desk` until the house drains and they have ended, or are cut.
pub(super) async fn serve<A: Stack>(
    mut desk: mpsc::Receiver<Dealt>,
    app: A,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    // Of the worker's own, so that connections do not share a lock with those of other workers.
    let (follow, followed) = watch::channel(Phase::Serving);
    let take = |dealt: Dealt, connections: &mut JoinSet<()>| match TcpStream::from_std(dealt.stream) {
        Ok(stream) => {
            connections.spawn(connection::serve(stream, app.clone(), limits.clone(), followed.clone(), dealt.place));
        }
        Err(error) => warn!(%error, "a connection could not be taken over"),
    };
    let cut_at = loop {
        tokio::select! {
            Some(dealt) = desk.recv() => take(dealt, &mut connections),
            Some(_) = connections.join_next() => {}
            phase = phase.wait_for(|phase| *phase != Phase::Serving) => match phase.map(|phase| *phase) {
                Ok(Phase::Draining(cut_at)) => break cut_at,
                _ => break Instant::now(),
            },
        }
    };
    // What came before the listener closed is served.
    desk.close();
    while let Ok(dealt) = desk.try_recv() {
        take(dealt, &mut connections);
    }
    follow.send_replace(Phase::Draining(cut_at));
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout_at(cut_at, all).await.is_err() {
        warn!(connections = connections.len(), "the drain's time is over: connections are cut");
        connections.shutdown().await;
    }
}
