//! An upstream that speaks HTTP/2 in frames, to let go of its streams as no server of ours would.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::stage::{K1, K2};
use crate::streams::{heard, piece};
use crate::world::{Gate, header, json_of};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What an answer promises.
const WHOLE: &str =
    r#"{"candidates":[{"content":{"parts":[{"text":"long enough to be told from an error"}]},"finishReason":"STOP"}]}"#;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:status: 200`, and a type and a length by the names of HPACK's table.
fn head() -> Vec<u8> {
    let length = WHOLE.len().to_string();
    let field = |name: u8, value: &str| [&[0x40 | name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [vec![0x88], field(31, "application/json"), field(28, &length)].concat()
}

/// Answers every request with this much of what it promises, and lets go of its stream without a fault, once it may.
async fn serve(mut stream: TcpStream, gives: usize, may: Arc<Semaphore>) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut start = [0; 9];
        stream.read_exact(&mut start).await?;
        let length = u32::from_be_bytes([0, start[0], start[1], start[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await?;
        let id = u32::from_be_bytes([start[5], start[6], start[7], start[8]]);
        if matches!(start[3], DATA | HEADERS) && start[4] & END_STREAM != 0 {
            let mut answer = frame(HEADERS, END_HEADERS, id, &head());
            if gives > 0 {
                answer.extend(frame(DATA, 0, id, &WHOLE.as_bytes()[..gives]));
            }
            stream.write_all(&answer).await?;
            may.acquire().await.unwrap().forget();
            stream.write_all(&frame(RST_STREAM, 0, id, &[0; 4])).await?;
        }
    }
}

async fn gate(gives: usize, may: &Arc<Semaphore>) -> Gate {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let may = Arc::clone(may);
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, gives, Arc::clone(&may)));
        }
    });
    let keys = format!("{K1},{K2}");
    let http2 = ("GEMINATE__UPSTREAM__PROTOCOL", "http2");
    Gate::open(&[("GEMINI_API_KEY", &keys), ("GEMINI_BASE_URL", &origin), http2, ("ENABLE_CACHING", "true")]).await
}

#[tokio::test]
async fn an_answer_that_is_shorter_than_it_promised_is_seen_to_be_broken() {
    let may = Arc::new(Semaphore::new(0));
    let gate = gate(70, &may).await;
    for _ in 0..2 {
        let mut answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-cache") == "hit"), (200, false));
        assert_eq!(piece(&mut answer).await, WHOLE[..70]);
        may.add_permits(1);
        assert_eq!(heard(answer).await, (String::new(), false));
    }
    gate.logged(|line| line["outcome"] == "stream_broken").await;
}

#[tokio::test]
async fn an_answer_that_ends_before_it_began_is_asked_for_once_more_and_then_told() {
    let gate = gate(0, &Arc::new(Semaphore::new(9))).await;
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (502, "2".to_owned()));
    let told = json_of(answer).await;
    assert!(told["error"]["message"].as_str().unwrap().contains("before the length that it promised"), "{told}");
}

#[tokio::test]
async fn an_answer_that_came_whole_is_whole_however_its_stream_ends() {
    let may = Arc::new(Semaphore::new(0));
    let gate = gate(WHOLE.len(), &may).await;
    let answer = gate.generate("hello").await;
    may.add_permits(1);
    assert_eq!(heard(answer).await, (WHOLE.to_owned(), true));
}
