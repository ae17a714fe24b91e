//! The answers: those that are kept, and the questions that are being asked. Made once, shared by all workers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Response;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::call::Call;
use crate::error::Error;
use crate::layer::remember::flights::Flights;
use crate::layer::remember::gather::{Gathered, PIECE, gather};
use crate::layer::remember::kept::Kept;
use crate::layer::remember::question::Question;
use crate::record::Record;
use crate::relay::Relay;
use crate::secret::Digest;
use crate::settings::Settings;
use crate::tasks::Tasks;

/// Kept answers within their bounds of bytes and age, in memory alone: a restart begins with none.
#[derive(Debug)]
pub struct Answers {
    kept: Cache<Digest, Arc<Kept>>,
    flights: Arc<Flights>,
    tasks: Tasks,
    answer_bytes_max: usize,
    /// For what is gathered at once, as much as for what is kept.
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Answers {
    /// As configured; `None` where nothing is to be kept.
    pub fn new(settings: &Settings, tasks: Tasks) -> Option<Arc<Self>> {
        let cache = &settings.cache;
        let kept = || {
            Cache::builder()
                .max_capacity(cache.bytes_max)
                .weigher(|_, kept: &Arc<Kept>| kept.weight())
                .time_to_live(Duration::from_millis(cache.ttl_ms))
                .build()
        };
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        cache.enabled.then(|| {
            Arc::new(Self {
                kept: kept(),
                flights: Arc::default(),
                tasks,
                answer_bytes_max: size(cache.answer_bytes_max),
                room: Arc::new(Semaphore::new(size(cache.bytes_max).div_ceil(PIECE).min(Semaphore::MAX_PERMITS))),
                idle: Duration::from_millis(settings.deadline.stream_idle_timeout_ms),
            })
        })
    }

    /// How many answers are kept, and how many bytes they take.
    pub fn size(&self) -> (u64, u64) {
        // Counts lag behind until this is done.
        self.kept.run_pending_tasks();
        (self.kept.entry_count(), self.kept.weighted_size())
    }

    /// The answer that is kept, if it is no older than that.
    pub(super) fn look(&self, question: &Question, age_max: Option<Duration>) -> Option<Arc<Kept>> {
        let young = |kept: &Arc<Kept>| age_max.is_none_or(|most| kept.age(Instant::now()) <= most);
        self.kept.get(&question.digest).filter(young)
    }

    /// Keeps an answer, if it lasts and is of the model that was asked for.
    pub(super) fn keep(&self, question: Question, kept: &Arc<Kept>, record: &Record) {
        if kept.is_lasting() && record.fallback().is_none() {
            self.kept.insert(question.digest, Arc::clone(kept));
        }
    }

    /// Makes the call and reads its answer whole, as far as it fits; `coming` is told when it begins to come. The body's time
    /// is the upstream's.
    pub(super) async fn gather(
        &self,
        answer: impl Future<Output = Result<Response<Relay>, Error>>,
        call: &Call,
        coming: impl FnOnce(),
    ) -> Gathered {
        let mut reply = match answer.await {
            Ok(reply) => reply,
            Err(error) => return Gathered::Failed(error),
        };
        call.coming.store(true, Relaxed);
        coming();
        let began = Instant::now();
        // The layer above keeps the pace only of what goes out.
        reply.body_mut().keep_pace(self.idle, None);
        let gathered = gather(reply, self.answer_bytes_max, &self.room).await;
        call.record.add_upstream(began.elapsed());
        gathered
    }

    /// The questions that are being asked.
    pub(super) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    /// Where calls run on that outlive their request.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}
