//! Remember: an answer that is known already is given again; equal questions asked at once make one call.
//!
//! Only whole answers are kept and shared. A streamed request passes by untouched: it is asked to see the answer grow,
//! which neither a kept answer nor a wait for another's could show.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either, ready};
use http::Response;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::call::Call;
use crate::error::Error;
use crate::record::{Record, Remembered};
use crate::relay::Relay;

use self::flights::{Boarding, Course, Flight, Landing};
use self::gather::Gathered;
use self::kept::{Kept, mark};
use self::question::Question;

pub use self::answers::Answers;

mod question;
mod kept;
mod gather;
mod flights;
mod answers;

/// A question that hangs is asked anew at most so often within the time of a call: with less left of it than this part,
/// whoever follows one that was too late is too late as well.
const ASKED_ANEW_MAX: u32 = 10;

/// Answers from memory what can be, and shares what is being asked.
#[derive(Clone, Debug)]
pub struct Remember<S> {
    inner: S,
    answers: Arc<Answers>,
}

/// Remembers in `answers`, which all workers share.
pub fn layer<S>(answers: Arc<Answers>) -> impl Layer<S, Service = Remember<S>> + Clone {
    layer_fn(move |inner| Remember { inner, answers: Arc::clone(&answers) })
}

impl<S> Service<Arc<Call>> for Remember<S>
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Error;
    type Future = Either<S::Future, BoxFuture<'static, Reply>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let question = if call.wish.keep { question::of(&call) } else { None };
        let Some(question) = question else { return Either::Left(self.inner.call(call)) };
        let kept = if call.wish.look { self.answers.look(&question, call.wish.age_max) } else { None };
        // Nothing is waited for.
        if let Some(kept) = kept {
            return Either::Right(Box::pin(ready(Ok(from_memory(&kept, &call.record)))));
        }
        Either::Right(Box::pin(ask(self.inner.clone(), Arc::clone(&self.answers), call, question)))
    }
}

type Reply = Result<Response<Relay>, Error>;

/// Asks a question whose answer is not kept, or must be fresh.
async fn ask<S>(mut inner: S, answers: Arc<Answers>, call: Arc<Call>, question: Question) -> Reply
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error, Future: Send> + Send + 'static,
{
    let wish = call.wish;
    if !wish.look {
        // What is fresh must have begun after it was asked for: another's call will not do.
        return alone(&answers, inner.call(Arc::clone(&call)), question, &call).await;
    }
    loop {
        match answers.flights().board(question.digest, || answers.look(&question, wish.age_max)) {
            Boarding::Landed(kept) => return Ok(from_memory(&kept, &call.record)),
            Boarding::Leads(flight, aboard) => {
                return lead(answers, inner.call(Arc::clone(&call)), (flight, aboard), question, call).await;
            }
            Boarding::Follows(course) => match follow(course, &call).await? {
                Followed::Shared(answer) => return Ok(answer),
                Followed::Alone => return passed_by(inner.call(Arc::clone(&call)), &call.record).await,
                // One of those who have followed leads now.
                Followed::Late => {}
            },
            Boarding::Full => return passed_by(inner.call(Arc::clone(&call)), &call.record).await,
        }
    }
}

fn from_memory(kept: &Kept, record: &Record) -> Response<Relay> {
    record.remembered(Remembered::Hit);
    kept.reply(Remembered::Hit, Instant::now())
}

/// A call of its own that is neither gathered nor kept.
async fn passed_by(call: impl Future<Output = Reply>, record: &Record) -> Reply {
    record.remembered(Remembered::Miss);
    call.await.map(first)
}

/// A call of its own, whose answer is kept for others.
async fn alone(answers: &Answers, answer: impl Future<Output = Reply>, question: Question, call: &Call) -> Reply {
    call.record.remembered(Remembered::Miss);
    match answers.gather(answer, call, || {}).await {
        Gathered::Whole(answer) => {
            answers.keep(question, &Arc::new(Kept::of(&answer, question.generates)), &call.record);
            Ok(first(answer.map(Relay::from)))
        }
        Gathered::TooLarge(reply) => Ok(first(reply)),
        Gathered::Failed(error) => Err(error),
    }
}

/// The first to ask: the call is made beside the request, so that it goes on for those who follow if the client leaves.
async fn lead(
    answers: Arc<Answers>,
    answer: impl Future<Output = Reply> + Send + 'static,
    (flight, _aboard): (Flight, watch::Receiver<Course>),
    question: Question,
    call: Arc<Call>,
) -> Reply {
    call.record.remembered(Remembered::Miss);
    let (own, reply) = oneshot::channel();
    let tasks = answers.tasks().clone();
    tasks.spawn(fly(answers, answer, flight, question, call, own)).map_err(|_| Error::Busy)?;
    // Nothing is said when the house closes, or when the call panicked.
    reply.await.unwrap_or(Err(Error::Panicked))
}

/// Makes the one call, keeps its answer, and tells all who wait. Ends early when nobody does any more, and with a failure
/// when the call's own time is over before its answer begins to come: those who follow one that hangs would else make it
/// outlive each of them.
async fn fly(
    answers: Arc<Answers>,
    answer: impl Future<Output = Reply> + Send,
    flight: Flight,
    question: Question,
    call: Arc<Call>,
    own: oneshot::Sender<Reply>,
) {
    let late = Error::DeadlineExceeded(call.time);
    let in_time = async { timeout_at(call.deadline, answer).await.unwrap_or_else(|_| Err(late.clone())) };
    let gathered = tokio::select! {
        // What has come is kept, though the last one leaves as it comes.
        biased;
        gathered = answers.gather(in_time, &call, || flight.coming()) => gathered,
        () = flight.deserted() => return,
        () = answers.tasks().stopping() => return,
    };
    // Who left hears nothing.
    let _ = match gathered {
        Gathered::Whole(answer) => {
            let kept = Arc::new(Kept::of(&answer, question.generates));
            answers.keep(question, &kept, &call.record);
            flight.land(Landing::answer(kept, &call.record));
            own.send(Ok(first(answer.map(Relay::from))))
        }
        Gathered::TooLarge(reply) => {
            flight.land(Landing::Alone);
            own.send(Ok(first(reply)))
        }
        Gathered::Failed(error) => {
            flight.land(if error == late { Landing::Late } else { Landing::Failed(error.clone()) });
            own.send(Err(error))
        }
    };
}

/// What came of following another's call.
enum Followed {
    /// Its answer.
    Shared(Response<Relay>),
    /// Its answer cannot be shared.
    Alone,
    /// It came to nothing for want of time, of which this call has more.
    Late,
}

/// Waits for the call of another, as long as the deadline above allows.
///
/// Its error is shared as well: it answers the same question at the same moment, and so many further attempts would
/// meet a pool or an upstream that has just refused one after all its retries. It is not kept: whoever asks next asks
/// anew. Only the end of another's time is not the end of this call's.
async fn follow(mut course: watch::Receiver<Course>, call: &Call) -> Result<Followed, Error> {
    let (began, record) = (Instant::now(), &call.record);
    let over = async {
        let course_now = course.wait_for(|course| !matches!(course, Course::Asked)).await.ok()?.clone();
        if let Course::Over(landing) = course_now {
            return Some(landing);
        }
        call.coming.store(true, Relaxed);
        match course.wait_for(|course| matches!(course, Course::Over(_))).await.ok()?.clone() {
            Course::Over(landing) => Some(landing),
            Course::Asked | Course::Coming => None,
        }
    };
    let landing = over.await;
    record.add_wait(began.elapsed());
    let landing = landing.ok_or(Error::Panicked)?;
    if matches!(landing, Landing::Late) && Instant::now() + call.time / ASKED_ANEW_MAX < call.deadline {
        return Ok(Followed::Late);
    }
    if !matches!(landing, Landing::Alone) {
        record.remembered(Remembered::Shared);
    }
    match landing {
        Landing::Answer { kept, unpaid, fallback } => {
            record.fall_back(fallback.as_ref());
            if let Some(usage) = unpaid.take() {
                record.usage(usage);
            }
            Ok(Followed::Shared(kept.reply(Remembered::Shared, Instant::now())))
        }
        Landing::Failed(error) => Err(error),
        Landing::Late => Err(Error::DeadlineExceeded(call.time)),
        Landing::Alone => Ok(Followed::Alone),
    }
}

/// The answer as the one whose call it was gets it: with all that the upstream said.
fn first(mut reply: Response<Relay>) -> Response<Relay> {
    mark(reply.headers_mut(), Remembered::Miss, 0);
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method, Uri};
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower::service_fn;

    use super::*;
    use crate::affinity::Bound;
    use crate::call::Payload;
    use crate::call::wish::Wish;
    use crate::client::Client;
    use crate::endpoint::{Endpoint, Surface};
    use crate::prefix::Prefix;
    use crate::settings::{Cache, ClientLimits, Settings};
    use crate::tasks::Tasks;

    /// What a call may take.
    const PATIENCE: Duration = Duration::from_mins(5);

    fn count() -> Arc<Call> {
        let (uri, now) = (Uri::from_static("/v1beta/models/m:countTokens"), Instant::now());
        Arc::new(Call {
            endpoint: Endpoint::parse(&Method::POST, &uri, Surface::Gemini).unwrap(),
            method: Method::POST,
            headers: HeaderMap::new(),
            payload: Payload::Kept(Bytes::from_static(b"{}"), None),
            client: Client::new("alice", false, &ClientLimits::default()),
            wish: Wish::default(),
            left: None,
            patient: true,
            record: Arc::new(Record::new(HeaderValue::from_static("r"), Method::POST, now)),
            lane: "m".into(),
            bound: Bound::Free,
            prefix: Prefix::default(),
            arrived: now,
            deadline: now + PATIENCE,
            time: PATIENCE,
            coming: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// An answer that may be kept.
    fn seven() -> Response<Relay> {
        let mut reply = Response::new(Relay::from(Bytes::from_static(b"{\"totalTokens\": 7}")));
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(http::header::CONTENT_TYPE, json);
        reply
    }

    fn answers(tasks: &Tasks) -> Arc<Answers> {
        let cache = Cache { enabled: true, ..Cache::default() };
        Answers::new(&Settings { cache, ..Settings::default() }, tasks.clone()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_of_the_one_call_leaves_nobody_waiting_and_nothing_behind() {
        let tasks = Tasks::new();
        let broken = service_fn(|_: Arc<Call>| async {
            tokio::task::yield_now().await;
            panic!("as planned")
        });
        let broken = layer(answers(&tasks)).layer(broken);
        let (leader, follower) = tokio::join!(broken.clone().oneshot(count()), broken.clone().oneshot(count()));
        assert_eq!((leader.unwrap_err(), follower.unwrap_err()), (Error::Panicked, Error::Panicked));
        assert_eq!(broken.oneshot(count()).await.unwrap_err(), Error::Panicked, "it waited for what is over");
        tasks.finished().await;
    }

    #[tokio::test]
    async fn workers_on_other_threads_share_one_call() {
        let tasks = Tasks::new();
        let answers = answers(&tasks);
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let barrier = Arc::new(std::sync::Barrier::new(4));
        let worker = || {
            let (answers, calls, barrier) = (Arc::clone(&answers), Arc::clone(&calls), Arc::clone(&barrier));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let inner = service_fn(move |_: Arc<Call>| {
                    calls.fetch_add(1, Relaxed);
                    async {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        Ok(seven())
                    }
                });
                barrier.wait();
                runtime.block_on(async {
                    let reply = layer(answers).layer(inner).oneshot(count()).await.unwrap();
                    reply.into_body().collect().await.unwrap().to_bytes()
                })
            }
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(worker())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "{\"totalTokens\": 7}");
        }
        assert_eq!(calls.load(Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "they end with the runtime of the test")]
    async fn a_call_that_hangs_is_followed_for_its_own_time_and_then_asked_anew() {
        let tasks = Tasks::new();
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let inner = service_fn(move |_: Arc<Call>| {
            let first = seen.fetch_add(1, Relaxed) == 0;
            async move { if first { std::future::pending().await } else { Ok(seven()) } }
        });
        let service = layer(answers(&tasks)).layer(inner);
        let asked =
            |service: Remember<_>| async move { tokio::time::timeout(PATIENCE, service.oneshot(count())).await.ok() };
        let mut askers = Vec::new();
        // Each comes before the one before it has left.
        for _ in 0..4 {
            askers.push(tokio::spawn(asked(service.clone())));
            tokio::time::sleep(PATIENCE * 2 / 3).await;
        }
        let mut told = Vec::new();
        for asker in askers {
            told.push(asker.await.unwrap().map(|reply| reply.map(|reply| reply.status().as_u16())));
        }
        assert_eq!(told[1..], [Some(Ok(200)), Some(Ok(200)), Some(Ok(200))], "each had more time than the first");
        assert_eq!(calls.load(Relaxed), 2, "one of those who followed it led anew");
        tasks.finished().await;
    }
}
