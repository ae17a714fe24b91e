//! An error inside a stream may be long: no key leaves in it, wherever it is cut.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;

use crate::house::{House, settings};
use crate::stage::K1;
use crate::world::Gate;

/// Longer than what is kept back of an error.
const LONG: usize = 64 << 10;

/// A stand-in for Google whose every answer is a stream of these pieces, and a gate before it.
async fn saying(pieces: Vec<String>) -> (House, Gate) {
    let answer = move || {
        let pieces = stream::iter(pieces.clone()).then(async |piece| {
            // Each is a write of its own.
            sleep(Duration::from_millis(100)).await;
            Ok::<_, Infallible>(Bytes::from(piece))
        });
        let answer = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(answer.body(Body::from_stream(pieces)).unwrap())
    };
    let google = House::open(settings(), Router::new().fallback(answer));
    let origin = format!("http://{}", google.data);
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    (google, gate)
}

#[tokio::test]
async fn a_key_that_is_cut_in_two_passes_in_neither_half() {
    let begun = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\n";
    let head = "{\"error\":{\"code\":500,\"message\":\"It failed. ";
    let (first, second) = K1.split_at(6);
    let (_google, gate) = saying(vec![
        begun.to_owned(),
        format!("{head}{} key={first}", "x ".repeat(LONG / 2)),
        format!("{second} end\",\"status\":\"INTERNAL\"}}}}\r\n\r\n"),
    ])
    .await;
    let answer = gate.stream("hello").await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let at = text.find("key=").unwrap();
    assert_eq!(&text[at..at + 21], "key=************* end", "masked, and not a byte longer");
    gate.logged(|line| line["outcome"] == "stream_broken").await;
    let errors = gate.monitor("/monitor/errors").await;
    assert_eq!(errors["last"][0]["message"], "It failed", "{errors}");
}

#[tokio::test]
async fn an_error_at_the_beginning_of_a_stream_is_told_by_its_own_code_however_long_it_is() {
    let head = "data: {\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":\"";
    let (half, rest) = K1.split_at(K1.len() - 1);
    for length in [LONG, 4 * LONG] {
        let (_google, gate) = saying(vec![
            format!("{head}{} {half}", "x".repeat(length - head.len() - half.len() - 1)),
            format!("{rest}\"}}}}\r\n\r\n"),
        ])
        .await;
        let answer = gate.stream("hello").await;
        assert_eq!(answer.status(), 400);
        let text = answer.text().await.unwrap();
        let error: Value = serde_json::from_str(&text).expect("half an error");
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
        assert!(!text.contains(half), "{length}: a key is told");
    }
}
