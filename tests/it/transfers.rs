//! Transfers: files stream up and down in little memory, for as long as it takes, and whoever breaks off can go on.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use geminate::mock::Ending;
use geminate::secret::Digest;
use http::Method;
use reqwest::Body;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::house::{PATIENCE, Wire};
use crate::sender::{FILES, begun, finalize, id_of, start, state, step, upload};
use crate::stage::{K1, K2, K3, calls_of, play, states, told};
use crate::world::{Gate, TOKEN, header, json_of, with_keys, with_keys_and};

const MIB: usize = 1 << 20;

/// A body of so many MiB that is made as it is taken.
fn mebibytes(count: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; MIB]);
    Body::wrap_stream(stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(piece.clone()))))
}

/// A body that comes piece by piece.
fn slowly(pieces: usize, pause: Duration) -> Body {
    Body::wrap_stream(stream::iter(0..pieces).then(move |_| async move {
        sleep(pause).await;
        Ok::<_, std::io::Error>("piece")
    }))
}

/// A file of the first key's.
async fn raw(gate: &Gate, kind: &str, body: impl Into<Body>) -> reqwest::Response {
    let request = gate.ask(Method::POST, FILES).header("x-goog-upload-protocol", "raw");
    request.header("content-type", kind).body(body).send().await.unwrap()
}

async fn name_of(answer: reqwest::Response) -> String {
    json_of(answer).await["file"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_hundred_megabytes_pass_in_memory_that_does_not_grow_with_them() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let (small, large) = (upload(&gate, "abcd").await, begun(&gate).await);
    assert_eq!(small["sizeBytes"], "4");
    let before = gate.peak_kib();
    let chunk = step(&gate, &large, "upload", 0).body(mebibytes(100)).send().await.unwrap();
    assert_eq!(state(&chunk), (200, "active".to_owned()));
    let last = step(&gate, &large, "upload, finalize", 100 * MIB).body(mebibytes(100)).send().await.unwrap();
    assert_eq!(json_of(last).await["file"]["sizeBytes"], (200 * MIB).to_string());
    let whole = raw(&gate, "video/mp4", mebibytes(50)).await;
    assert_eq!(state(&whole), (200, "final".to_owned()));
    let path = format!("/v1beta/{}:download?alt=media", name_of(whole).await);
    let mut down = gate.ask(Method::GET, &path).send().await.unwrap().bytes_stream();
    let mut length = 0;
    while let Some(piece) = down.next().await {
        length += piece.unwrap().len();
    }
    assert_eq!(length, 50 * MIB);
    let grown = gate.peak_kib() - before;
    assert!(grown < 32 << 10, "{grown} KiB");
    assert_eq!(world.calls().last().unwrap().ending, Ending::Complete);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_the_client_back() {
    let google = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", google.local_addr().unwrap());
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    let mut wire = Wire::to(gate.data).await;
    wire.say(&format!(
        "POST {FILES} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        1_000 * MIB
    ))
    .await;
    let (_connection, _) = google.accept().await.unwrap();
    let (piece, mut sent) = (vec![b'x'; MIB], 0);
    while timeout(Duration::from_secs(1), wire.0.write_all(&piece)).await.is_ok_and(|sent| sent.is_ok()) {
        sent += 1;
        assert!(sent < 100, "the client could send on and on");
    }
    assert!(gate.peak_kib() < 200 << 10, "{} KiB", gate.peak_kib());
}

#[tokio::test]
async fn the_length_that_was_told_is_told_on() {
    for protocol in ["http1", "http2"] {
        let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__UPSTREAM__PROTOCOL", protocol)]).await;
        let url = begun(&gate).await;
        let told = step(&gate, &url, "upload", 0).header("content-length", 3 * MIB).body(mebibytes(3));
        assert_eq!(told.send().await.unwrap().status(), 200);
        let untold = step(&gate, &url, "upload, finalize", 3 * MIB).body(mebibytes(1)).send().await.unwrap();
        assert_eq!(state(&untold), (200, "final".to_owned()));
        let calls = world.calls();
        let of = |at: usize, name: &str| calls[at].headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let chunked = (protocol == "http1").then(|| "chunked".to_owned());
        assert_eq!((of(1, "content-length"), of(1, "transfer-encoding")), (Some((3 * MIB).to_string()), None));
        assert_eq!((of(2, "content-length"), of(2, "transfer-encoding")), (None, chunked));
        assert_eq!(calls[1].body_digest, Some(Digest::of(&vec![b'x'; 3 * MIB])));
    }
}

#[tokio::test]
async fn an_upload_may_take_longer_than_any_answer_while_it_flows() {
    for limit in ["REQUEST_TIMEOUT", "GEMINATE__UPSTREAM__FIRST_BYTE_TIMEOUT_MS"] {
        let (world, gate) = with_keys_and(&[K1], &[(limit, "600")]).await;
        let url = begun(&gate).await;
        let slow = slowly(15, Duration::from_millis(100));
        let chunk = step(&gate, &url, "upload", 0).body(slow).send().await.unwrap();
        assert_eq!(state(&chunk), (200, "active".to_owned()), "{limit}");
        let whole = raw(&gate, "text/plain", slowly(15, Duration::from_millis(100))).await;
        assert_eq!(state(&whole), (200, "final".to_owned()), "{limit}");
        // Once it has passed, the answer is due.
        play(&world, &["fault=stall"]);
        let late = step(&gate, &url, "upload, finalize", 75).body("end").send();
        let (status, refusal) = told(timeout(PATIENCE, late).await.unwrap().unwrap()).await;
        assert_eq!(status, 504, "{refusal}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_a_chunk_goes_on_later() {
    let http1 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http1_only();
    let http2 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge();
    for client in [http1, http2] {
        leaves_and_goes_on(&client.build().unwrap()).await;
    }
}

async fn leaves_and_goes_on(client: &reqwest::Client) {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let url = begun(&gate).await;
    let first = stream::iter([Ok::<_, std::io::Error>("abcd")]);
    let body = Body::wrap_stream(first.chain(stream::once(future::pending())));
    let chunk = client.post(&url).header("x-goog-upload-command", "upload").header("x-goog-upload-offset", 0);
    let sending = chunk.body(body).send();
    tokio::select! {
        answer = sending => panic!("{answer:?}"),
        calls = world.until(PATIENCE, |calls| calls.len() == 2) => assert!(calls.is_some()),
    }
    let gone = world.until(PATIENCE, |calls| calls[1].ending == Ending::Gone).await;
    assert!(gone.is_some(), "{:?}", world.calls()[1].ending);
    let asked = step(&gate, &url, "query", 0).send().await.unwrap();
    assert_eq!(state(&asked), (200, "active".to_owned()));
    let came: usize = header(&asked, "x-goog-upload-size-received").parse().unwrap();
    assert_eq!(finalize(&gate, &url, came, &"abcdefgh"[came..]).await["sizeBytes"], "8");
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
    let keys = gate.monitor("/monitor/keys").await;
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["last_error"].is_null()), "{keys}");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_has_passed_reaches_the_client() {
    let google = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", google.local_addr().unwrap());
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    let mut wire = Wire::to(gate.data).await;
    wire.say(&format!(
        "POST {FILES} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\nbegin",
        100 * MIB
    ))
    .await;
    let (connection, _) = google.accept().await.unwrap();
    let mut upstream = Wire(connection);
    upstream.hear("\r\n\r\n").await;
    upstream.say("HTTP/1.1 400 Bad Request\r\nx-goog-upload-status: final\r\ncontent-length: 2\r\n\r\n{}").await;
    let answer = wire.hear("{}").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("x-goog-upload-status: final"), "{answer}");
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends() {
    let (_world, gate) = with_keys(&[K1]).await;
    let url = begun(&gate).await;
    let target = url.split_once(&gate.data.to_string()).unwrap().1;
    let head = |target: &str| {
        format!(
            "PUT {target} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\
             x-goog-upload-command: upload, finalize\r\nx-goog-upload-offset: 0\r\n\r\n"
        )
    };
    let mut wire = Wire::to(gate.data).await;
    wire.say(&head(&target.replace(&id_of(&url), "fake-upload-id"))).await;
    let refused = wire.hear_out().await;
    assert!(refused.starts_with("HTTP/1.1 404") && refused.contains("connection: close"), "{refused}");
    let mut wire = Wire::to(gate.data).await;
    wire.say(&head(target)).await;
    wire.hear("HTTP/1.1 100 Continue\r\n\r\n").await;
    wire.say("abcd").await;
    let answer = wire.hear("\"sizeBytes\"").await;
    assert!(answer.contains("HTTP/1.1 200") && answer.contains("x-goog-upload-status: final"), "{answer}");
}

#[tokio::test]
async fn a_small_file_is_tried_again_and_a_large_one_is_not() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("GEMINATE__AFFINITY__UPLOADS_STICK_MS", "0")]).await;
    play(&world, &["fault=api_key_invalid times=1"]);
    let small = raw(&gate, "text/plain", "abcd").await;
    assert_eq!((small.status().as_u16(), header(&small, "x-geminate-attempts")), (200, "2".to_owned()));
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=api_key_invalid times=1"]);
    let large = raw(&gate, "text/plain", vec![b'x'; 9 * MIB]).await;
    assert_eq!((large.status().as_u16(), header(&large, "x-geminate-attempts")), (503, "1".to_owned()));
    let large = raw(&gate, "text/plain", vec![b'x'; 9 * MIB]).await;
    assert_eq!((large.status().as_u16(), header(&large, "x-geminate-attempts")), (200, "1".to_owned()));
    // What may have happened is not done twice.
    for (n, fault) in ["internal", "overloaded", "cut:head"].into_iter().enumerate() {
        play(&world, &[&format!("fault={fault} times=1")]);
        let calls = world.calls().len();
        assert!(raw(&gate, "text/plain", "abcd").await.status().is_server_error(), "{fault}");
        assert!(start(&gate, FILES).send().await.unwrap().status().is_success());
        assert_eq!(world.calls().len(), calls + 2, "{n}");
    }
}

#[tokio::test]
async fn uploads_at_once_do_not_meet() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[("GEMINATE__AFFINITY__UPLOADS_STICK_MS", "0")]).await;
    let one = async |n: usize| {
        let text = n.to_string().repeat(1_000);
        let url = begun(&gate).await;
        let half = text.len() / 2;
        let chunk = step(&gate, &url, "upload", 0).body(text[..half].to_owned()).send().await.unwrap();
        assert_eq!(state(&chunk), (200, "active".to_owned()));
        let file = finalize(&gate, &url, half, &text[half..]).await;
        let path = format!("/v1beta/{}:download?alt=media", file["name"].as_str().unwrap());
        assert_eq!(gate.ask(Method::GET, &path).send().await.unwrap().text().await.unwrap(), text);
    };
    future::join_all((0..40).map(one)).await;
    for call in world.calls() {
        assert_eq!(call.credentials.len(), 1, "{}", call.action);
        assert_eq!(call.status, 200, "{}", call.action);
    }
}

#[tokio::test]
async fn a_download_is_the_file_whatever_it_says() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[("GEMINATE__AFFINITY__UPLOADS_STICK_MS", "0")]).await;
    let text = format!("{{\"error\":{{\"code\":401,\"message\":\"{K1} files/x\"}},\"usageMetadata\":{{}}}}");
    for _ in 0..3 {
        let name = name_of(raw(&gate, "application/json", text.clone()).await).await;
        for path in
            [format!("/v1beta/{name}:download?alt=media"), format!("/download/v1beta/{name}:download?alt=media")]
        {
            let answer = gate.ask(Method::GET, &path).header("range", "bytes=0-").send().await.unwrap();
            let (status, length) = (answer.status().as_u16(), header(&answer, "content-length"));
            assert_eq!((status, answer.text().await.unwrap()), (200, text.clone()), "{path}");
            assert_eq!(length, text.len().to_string());
        }
    }
    let downloads: Vec<_> = world.calls().into_iter().filter(|call| call.action == "files.download").collect();
    assert_eq!(downloads.len(), 6, "each asked its owner at once");
    assert!(downloads.iter().all(|call| call.headers["range"] == "bytes=0-"));
    assert!(!calls_of(&world, K3).is_empty());
    let served: Value = gate.logged(|line| line["route"] == "other" && line["status"] == 200).await;
    assert_eq!(served["prompt_tokens"], 0, "nothing in it was metered: {served}");
}

#[tokio::test]
async fn a_download_that_breaks_is_seen_to_break() {
    let (world, gate) = with_keys(&[K1]).await;
    let name = name_of(raw(&gate, "video/mp4", vec![b'x'; MIB]).await).await;
    play(&world, &["action=files.download fault=cut:1"]);
    let path = format!("/v1beta/{name}:download?alt=media");
    let answer = gate.ask(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "half a file is no file");
    gate.logged(|line| line["outcome"] == "stream_broken").await;
}
