//! A cheap upstream with prebuilt answers of Google's shape, over HTTP/1.1 and h2c. `google PORT`
//!
//! `..:generateContent` answers 1.5 KB; `..:streamGenerateContent?chunks=N&pause_ms=M` sends N frames of 490 bytes,
//! the first at once, the others M ms apart. An HTTP/2 connection carries 100 streams, as Google's do.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior, interval};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What one of Google's HTTP/2 connections carries at once.
const STREAMS_MAX: u32 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let whole = Bytes::from(answer("STOP", 1_000));
    let frame = Bytes::from(format!("data: {}\r\n\r\n", answer("", 10)));
    let last = Bytes::from(format!("data: {}\r\n\r\n", answer("STOP", 10)));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (whole, frame, last) = (whole.clone(), frame.clone(), last.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let reply = reply(&request, &whole, &frame, &last);
                async move {
                    drain(request.into_body()).await;
                    Ok::<_, Infallible>(reply)
                }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(STREAMS_MAX);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Reply = Response<Either<Full<Bytes>, Frames>>;

fn reply(request: &Request<Incoming>, whole: &Bytes, frame: &Bytes, last: &Bytes) -> Reply {
    let stream = request.uri().path().ends_with(":streamGenerateContent");
    let (kind, body) = if stream {
        let query = request.uri().query().unwrap_or_default();
        let number = |name| query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse().ok());
        let pause = number("pause_ms=").filter(|ms| *ms > 0).map(|ms| {
            let mut ticks = interval(Duration::from_millis(ms));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let left = number("chunks=").unwrap_or(1);
        ("text/event-stream", Either::Right(Frames { left, pause, frame: frame.clone(), last: last.clone() }))
    } else {
        ("application/json; charset=UTF-8", Either::Left(Full::new(whole.clone())))
    };
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::VARY, "Origin"),
        (header::VARY, "X-Origin"),
        (header::VARY, "Referer"),
        (header::SERVER, "scaffolding on HTTPServer2"),
        (header::X_XSS_PROTECTION, "0"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("server-timing"), "gfet4t7; dur=812"),
    ] {
        headers.append(name, header::HeaderValue::from_static(value));
    }
    reply
}

async fn drain(mut body: Incoming) {
    while std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
}

/// The frames of one stream.
struct Frames {
    left: u64,
    pause: Option<Interval>,
    frame: Bytes,
    last: Bytes,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut self.pause
            && pause.poll_tick(cx).is_pending()
        {
            return Poll::Pending;
        }
        self.left -= 1;
        let frame = if self.left == 0 { &self.last } else { &self.frame };
        Poll::Ready(Some(Ok(Frame::data(frame.clone()))))
    }
}

fn answer(reason: &str, words: usize) -> String {
    let text = "word and ".repeat(words / 9 + 10);
    let reason = if reason.is_empty() { String::new() } else { format!("\"finishReason\": \"{reason}\",") };
    format!(
        "{{\"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": \"{text}\"}}],\"role\": \"model\"}},{reason}\
         \"index\": 0}}],\"usageMetadata\": {{\"promptTokenCount\": 1024,\"candidatesTokenCount\": 213,\
         \"totalTokenCount\": 1399,\"promptTokensDetails\": [{{\"modality\": \"TEXT\",\"tokenCount\": 1024}}],\
         \"thoughtsTokenCount\": 162}},\"modelVersion\": \"gemini-2.5-flash\",\
         \"responseId\": \"Zk0iacmVOb2Hz7IP4pKsmAc\"}}"
    )
}
