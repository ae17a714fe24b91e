//! Lengths: a request without a body says so to Google, whose edge refuses one that does not.

use http::Method;
use serde_json::json;

use crate::house::Wire;
use crate::sender::{begun, state, step};
use crate::stage::K1;
use crate::world::{MODEL, TOKEN, google, json_of, with_keys, with_keys_and};

const STORES: &str = "/v1beta/fileSearchStores";

#[tokio::test]
async fn a_call_without_a_body_tells_google_that_it_has_none() {
    for protocol in ["http1", "http2"] {
        let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__UPSTREAM__PROTOCOL", protocol)]).await;
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            let answer = gate.ask(method.clone(), "/v1beta/echo").send().await.unwrap();
            assert_eq!(answer.status(), 200, "{protocol} {method}");
            assert_eq!(world.calls().last().unwrap().headers["content-length"], "0", "{protocol} {method}");
        }
        for method in [Method::GET, Method::DELETE] {
            gate.ask(method, "/v1beta/echo").send().await.unwrap();
            assert!(!world.calls().last().unwrap().headers.contains_key("content-length"), "{protocol}");
        }
    }
}

#[tokio::test]
async fn sdk_calls_with_nothing_to_say_are_served() {
    let (world, gate) = with_keys(&[K1]).await;
    let made = gate.ask(Method::POST, STORES).send().await.unwrap();
    assert_eq!(made.status(), 200);
    let batch = json!({"batch": {"displayName": "b", "inputConfig": {"requests": {"requests": []}}}});
    let batch = json_of(gate.post(&format!("/v1beta/models/{MODEL}:batchGenerateContent"), &batch).await).await;
    let path = format!("/v1beta/{}:cancel", batch["name"].as_str().unwrap());
    assert_eq!(gate.ask(Method::POST, &path).send().await.unwrap().status(), 200);
    assert!(world.calls().iter().all(|call| call.status != 411));
}

#[tokio::test]
async fn a_body_of_no_bytes_is_none_however_it_came() {
    let (world, gate) = with_keys(&[K1]).await;
    let http2 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    let head = format!("POST {STORES} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\nconnection: close\r\n");
    for rest in ["\r\n", "content-length: 0\r\n\r\n", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let mut wire = Wire::to(gate.data).await;
        wire.say(&format!("{head}{rest}")).await;
        let answer = wire.hear_out().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{rest:?} {answer}");
    }
    let empty = || reqwest::Body::wrap_stream(futures_util::stream::empty::<Result<bytes::Bytes, std::io::Error>>());
    let url = format!("http://{}{STORES}", gate.data);
    let answer = http2.post(url).header("x-goog-api-key", TOKEN).body(empty()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(world.calls().iter().all(|call| call.headers["content-length"] == "0"));
}

#[tokio::test]
async fn an_upload_may_end_with_a_part_of_no_bytes() {
    for protocol in ["http1", "http2"] {
        let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__UPSTREAM__PROTOCOL", protocol)]).await;
        let http2 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
        for client in [&gate.http, &http2] {
            for streams in [false, true] {
                let url = begun(&gate).await;
                let part = step(&gate, &url, "upload", 0).body("abcd").send().await.unwrap();
                assert_eq!(state(&part), (200, "active".to_owned()));
                let last = client.post(&url).header("x-goog-upload-command", "upload, finalize");
                let last = last.header("x-goog-upload-offset", 4);
                let none = futures_util::stream::empty::<Result<bytes::Bytes, std::io::Error>>();
                let last = if streams { last.body(reqwest::Body::wrap_stream(none)) } else { last };
                let ended = last.send().await.unwrap();
                assert_eq!(state(&ended), (200, "final".to_owned()), "{protocol} {streams}");
                assert_eq!(json_of(ended).await["file"]["sizeBytes"], "4");
            }
        }
        assert!(world.calls().iter().all(|call| call.status == 200));
    }
}

#[tokio::test]
async fn the_mock_refuses_what_does_not_tell_its_length_as_google_s_edge_does() {
    let (world, origin) = google(geminate::mock::Settings::with_keys([K1])).await;
    let mut wire = Wire::to(origin.trim_start_matches("http://").parse().unwrap()).await;
    wire.say(&format!("POST {STORES} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {K1}\r\nconnection: close\r\n\r\n")).await;
    let heard = wire.hear_out().await;
    assert!(heard.starts_with("HTTP/1.1 411") && heard.contains("text/html"), "{heard}");
    assert_eq!(world.calls()[0].status, 411);
}
