//! Opens each call's record and closes it after the last byte: the outermost layer of the data listener.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::layer::layer_fn;
use tower::{Layer, Service};

use crate::endpoint::Action;
use crate::record::{Ender, Outcome, Record};
use crate::scrub::Scrubber;
use crate::telemetry::Telemetry;

use self::ids::Ids;
use self::open::set_polling;

pub use self::body::RecordedBody;
pub(crate) use self::ids::Fresh;
pub(crate) use self::open::Open;

mod ids;
mod open;
mod body;

/// The header that names a call, on the request and on its answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives each request an open [`Record`] among its extensions. Layers below may also leave an [`Outcome`] among the
/// extensions of their answer; one that panics is recorded as such.
#[derive(Clone, Debug)]
pub struct Recorder<S, C> {
    inner: S,
    cancelled: C,
    telemetry: Arc<Telemetry>,
    ids: Arc<Ids>,
}

/// Records every call of the services it is laid around. One that is to end before it is answered ends at once, with the
/// answer that `cancelled` makes for whoever ends it; afterwards its body has to see to it. An id in which `scrubber` finds a
/// secret is no client's to give.
pub fn layer<S, C: Clone>(
    telemetry: Arc<Telemetry>,
    scrubber: Arc<Scrubber>,
    cancelled: C,
) -> impl Layer<S, Service = Recorder<S, C>> + Clone {
    let ids = Arc::new(Ids::new(scrubber));
    layer_fn(move |inner| {
        let (telemetry, ids) = (Arc::clone(&telemetry), Arc::clone(&ids));
        Recorder { inner, cancelled: cancelled.clone(), telemetry, ids }
    })
}

impl<S, C, B, R> Service<Request<B>> for Recorder<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Fn(&Record, Ender) -> Response<R> + Clone,
    R: Body,
{
    type Response = Response<RecordedBody<R>>;
    type Error = S::Error;
    type Future = Recording<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = self.ids.of(request.headers().get(X_REQUEST_ID));
        let trace = self.telemetry.trace(request.headers());
        let record = Record::new(id, request.method().clone(), Instant::now()).traced(trace);
        let record = self.telemetry.open(record);
        // Before the layers below get to run: one may panic at once.
        let open = Open::new(Arc::clone(&record), Arc::clone(&self.telemetry));
        request.extensions_mut().insert(record);
        Recording { inner: Some(self.inner.call(request)), open: Some(open), cancelled: self.cancelled.clone() }
    }
}

pin_project! {
    /// The answer's head on its way.
    #[derive(Debug)]
    pub struct Recording<F, C> {
        // `None` once it was cancelled.
        #[pin]
        inner: Option<F>,
        open: Option<Open>,
        cancelled: C,
    }
}

impl<F, C, R, E> Future for Recording<F, C>
where
    F: Future<Output = Result<Response<R>, E>>,
    C: Fn(&Record, Ender) -> Response<R>,
    R: Body,
{
    type Output = Result<Response<RecordedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut answer = Poll::Pending;
        if this.open.as_ref().is_none_or(|open| open.record.cancelled().is_none())
            && let Some(inner) = this.inner.as_mut().as_pin_mut()
        {
            set_polling(this.open, true);
            answer = inner.poll(cx);
            set_polling(this.open, false);
        }
        if answer.is_pending()
            && let Some(Open { record, .. }) = this.open.as_ref()
            && let Some(ender) = record.poll_cancelled(cx)
        {
            // With it everything that it waits for or holds is let go: a place, a key, the upstream.
            this.inner.set(None);
            answer = Poll::Ready(Ok((this.cancelled)(record, ender)));
        }
        let answer = ready!(answer);
        let mut open = this.open.take();
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                if let Some(open) = open {
                    open.record.outcome_unless_known(Outcome::UpstreamError);
                }
                return Poll::Ready(Err(error));
            }
        };
        if let Some(Open { record, .. }) = &open {
            record.head(response.status().as_u16(), streams(record, &response));
            if let Some(outcome) = response.extensions_mut().remove::<Outcome>() {
                record.outcome(outcome);
            }
            response.headers_mut().insert(X_REQUEST_ID, record.id().clone());
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(open) = open.take()
        {
            open.hand_over();
        }
        let left = bytes_to_come(&response, open.as_ref());
        Poll::Ready(Ok(response.map(|inner| RecordedBody::new(inner, open, left))))
    }
}

/// Whether the answer arrives over time, so that it belongs among the streams.
fn streams<R>(record: &Record, response: &Response<R>) -> bool {
    let frames = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || response.status().is_success()
            && (record.asked().1 == Action::StreamArray || response.headers().get(CONTENT_TYPE).is_some_and(frames))
}

/// How much body the head promises, when it says: a server asks for no more than that.
fn bytes_to_come<R: Body>(response: &Response<R>, open: Option<&Open>) -> Option<u64> {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless || open.is_some_and(|open| open.record.method() == Method::HEAD) {
        return Some(0);
    }
    let promised = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    promised.or_else(|| response.body().size_hint().exact())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, Empty, Full, StreamBody};
    use tower::service_fn;

    use super::*;
    use crate::usage::Usage;

    type Answer = Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>;

    fn stream(frames: Vec<Result<&'static str, ()>>) -> Answer {
        let frames = frames.into_iter().map(|frame| match frame {
            Ok(text) => Ok(Frame::data(Bytes::from(text))),
            Err(()) => Err(std::io::Error::other("cut")),
        });
        let mut answer = Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        answer
    }

    fn full(status: u16, text: &'static str) -> Answer {
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
        Response::builder().status(status).body(body).unwrap()
    }

    fn scrubber() -> Arc<Scrubber> {
        Arc::new(Scrubber::new(&[]).unwrap())
    }

    fn cancelled(record: &Record, ender: Ender) -> Answer {
        assert_eq!((record.cancelled(), ender), (Some(ender), Ender::Operator));
        let mut answer = full(499, "cancelled");
        answer.extensions_mut().insert(Outcome::Cancelled);
        answer
    }

    /// Sends one request through the layer to a service that answers so.
    async fn call(
        telemetry: &Arc<Telemetry>,
        request: Request<Empty<Bytes>>,
        answer: Answer,
    ) -> Response<RecordedBody<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>> {
        let answer = std::sync::Mutex::new(Some(answer));
        let inner = service_fn(move |request: Request<Empty<Bytes>>| {
            assert!(request.extensions().get::<Arc<Record>>().is_some());
            let answer = answer.lock().unwrap().take().unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        layer(Arc::clone(telemetry), scrubber(), cancelled).layer(inner).call(request).await.unwrap()
    }

    fn ask() -> Request<Empty<Bytes>> {
        Request::post("/v1beta/models/m:generateContent").body(Empty::new()).unwrap()
    }

    fn ended(telemetry: &Telemetry) -> Vec<(&'static str, u64)> {
        telemetry.counts().outcomes.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_counted_as_gone() {
        let telemetry = Telemetry::new(Instant::now());
        let mut answer = call(&telemetry, ask(), stream(vec![Ok("data: 1"), Ok("data: 2")])).await;
        answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!((telemetry.streams_open(), telemetry.in_flight()), (1, 1));
        assert_eq!((telemetry.streams()[0].bytes(), telemetry.streams()[0].chunks()), (7, 1));
        drop(answer);
        assert_eq!(ended(&telemetry), [("client_gone", 1)]);
        assert_eq!((telemetry.streams_open(), telemetry.in_flight()), (0, 0));
    }

    #[tokio::test]
    async fn a_whole_answer_is_ok_even_if_the_server_never_asks_for_its_end() {
        let telemetry = Telemetry::new(Instant::now());
        let answer = call(&telemetry, ask(), stream(vec![Ok("data: 1")])).await;
        answer.into_body().collect().await.unwrap();
        let mut answer = call(&telemetry, ask(), full(200, "{}")).await;
        answer.body_mut().frame().await.unwrap().unwrap();
        drop(answer);
        let mut promised = stream(vec![Ok("12"), Ok("34")]);
        promised.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("4"));
        let mut answer = call(&telemetry, ask(), promised).await;
        answer.body_mut().frame().await.unwrap().unwrap();
        answer.body_mut().frame().await.unwrap().unwrap();
        assert!(answer.body().is_end_stream());
        drop(answer);
        drop(call(&telemetry, ask(), full(200, "")).await);
        assert_eq!(ended(&telemetry), [("ok", 4)]);
    }

    #[tokio::test]
    async fn a_body_that_writes_as_it_ends_writes_into_an_open_record() {
        let telemetry = Telemetry::new(Instant::now());
        for (text, promised) in [("1234", "4"), ("", "0")] {
            let inner = service_fn(move |request: Request<Empty<Bytes>>| {
                let record = Arc::clone(request.extensions().get::<Arc<Record>>().unwrap());
                let text = Some(text).filter(|text| !text.is_empty());
                let first =
                    futures_util::stream::iter(text.map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text)))));
                let last = futures_util::stream::poll_fn(move |_| {
                    record.usage(Usage { prompt_tokens: 5, ..Usage::default() });
                    Poll::Ready(None)
                });
                let body = StreamBody::new(futures_util::StreamExt::chain(first, last));
                let answer = Response::builder().header(CONTENT_LENGTH, promised).body(body).unwrap();
                async move { Ok::<_, Infallible>(answer) }
            });
            let none = |_: &Record, _| unreachable!("nobody cancels it");
            let mut answer = layer(Arc::clone(&telemetry), scrubber(), none).layer(inner).call(ask()).await.unwrap();
            if !text.is_empty() {
                answer.body_mut().frame().await.unwrap().unwrap();
            }
        }
        let counts = telemetry.counts();
        assert_eq!((counts.outcomes["ok"], counts.tokens.prompt_tokens), (2, 5));
    }

    #[tokio::test]
    async fn a_cut_answer_and_a_callers_error_have_their_names() {
        let telemetry = Telemetry::new(Instant::now());
        let answer = call(&telemetry, ask(), stream(vec![Ok("data: 1"), Err(())])).await;
        assert!(answer.into_body().collect().await.is_err());
        call(&telemetry, ask(), full(400, "no")).await.into_body().collect().await.unwrap();
        let mut refusal = full(401, "who");
        refusal.extensions_mut().insert(Outcome::Refused("unauthenticated"));
        call(&telemetry, ask(), refusal).await.into_body().collect().await.unwrap();
        assert_eq!(ended(&telemetry), [("caller_error", 1), ("refused", 1), ("stream_broken", 1)]);
        assert_eq!(telemetry.counts().refusals.get("unauthenticated"), Some(&1));
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_the_head_and_a_panic_are_recorded() {
        let telemetry = Telemetry::new(Instant::now());
        let never = service_fn(|_: Request<Empty<Bytes>>| std::future::pending::<Result<Answer, Infallible>>());
        drop(layer(Arc::clone(&telemetry), scrubber(), cancelled).layer(never).call(ask()));
        let mut broken =
            layer(Arc::clone(&telemetry), scrubber(), cancelled).layer(service_fn(|_: Request<Empty<Bytes>>| async {
                let empty: [u8; 0] = [];
                Ok::<Answer, Infallible>(full(200 + u16::from(empty[empty.len()]), ""))
            }));
        let panicked = std::panic::AssertUnwindSafe(broken.call(ask()));
        assert!(futures_util::FutureExt::catch_unwind(panicked).await.is_err());
        assert_eq!(ended(&telemetry), [("client_gone", 1), ("panicked", 1)]);
        assert_eq!(telemetry.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_call_that_waits_is_cancelled_at_once_and_lets_go_of_all_it_holds() {
        let telemetry = Telemetry::new(Instant::now());
        let held = Arc::new(());
        let of_call = Arc::clone(&held);
        let never = service_fn(move |_: Request<Empty<Bytes>>| {
            let held = Arc::clone(&of_call);
            async move {
                let answer = std::future::pending::<Result<Answer, Infallible>>().await;
                drop(held);
                answer
            }
        });
        let request = Request::get("/").header(X_REQUEST_ID, "mine").body(Empty::new()).unwrap();
        let mut waiting =
            std::pin::pin!(layer(Arc::clone(&telemetry), scrubber(), cancelled).layer(never).call(request));
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        assert_eq!(Arc::strong_count(&held), 2);
        assert!(telemetry.cancel("mine") && telemetry.cancel("mine") && !telemetry.cancel("another"));
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status().as_u16(), Arc::strong_count(&held)), (499, 1));
        answer.into_body().collect().await.unwrap();
        assert_eq!(ended(&telemetry), [("cancelled", 1)]);
        assert!(!telemetry.cancel("mine"), "it is over");
    }

    #[tokio::test]
    async fn a_sane_id_is_kept_and_another_replaced() {
        let telemetry = Telemetry::new(Instant::now());
        for (sent, kept) in [("abc-1", true), ("with space", false)] {
            let mut request = ask();
            request.headers_mut().insert(X_REQUEST_ID, HeaderValue::from_static(sent));
            let answer = call(&telemetry, request, full(200, "")).await;
            assert_eq!(answer.headers()[X_REQUEST_ID] == sent, kept, "{sent}");
        }
    }
}
