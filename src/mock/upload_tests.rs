//! Uploads, tried over real connections.

use std::time::Duration;

use futures_util::stream;
use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::mock::settings::Settings;
use crate::mock::trial::{SOON, Trial, parse};
use crate::secret::Digest;

const FILES: &str = "/upload/v1beta/files";

fn start(trial: &Trial, path: &str, length: usize) -> RequestBuilder {
    let start = trial.post(path, "k1", &json!({"file": {"display_name": "a.txt"}}));
    start
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .header("x-goog-upload-header-content-length", length)
        .header("x-goog-upload-header-content-type", "text/plain")
}

async fn begun(trial: &Trial, path: &str, length: usize) -> String {
    let answer = start(trial, path, length).send().await.unwrap();
    assert_eq!(said(&answer), (200, "active"));
    answer.headers()["x-goog-upload-url"].to_str().unwrap().to_owned()
}

/// A later call: without a key, and with one only where the URL carries it.
async fn command(trial: &Trial, method: Method, url: &str, command: &str, offset: usize, body: &str) -> Response {
    let call = trial.client.request(method, url).header("x-goog-upload-command", command);
    let call = call.header("x-goog-upload-offset", offset).header("content-length", body.len());
    call.body(body.to_owned()).send().await.unwrap()
}

fn said(answer: &Response) -> (u16, &str) {
    (answer.status().as_u16(), answer.headers()["x-goog-upload-status"].to_str().unwrap())
}

async fn json_of(answer: Response) -> Value {
    parse(&answer.text().await.unwrap())
}

#[tokio::test]
async fn chunks_need_no_key_and_become_one_file_of_the_project_that_began() {
    let trial = Trial::new(Settings { upload_key: false, ..Settings::with_keys(["k1@p", "k2@p", "k3@q"]) }).await;
    let url = begun(&trial, FILES, 8).await;
    assert!(url.starts_with(&trial.url(FILES)) && url.contains("upload_protocol=resumable") && !url.contains("key="));
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload", 0, "abcd").await), (200, "active"));
    let asked = command(&trial, Method::POST, &url, "query", 0, "").await;
    assert_eq!((said(&asked), asked.headers()["x-goog-upload-size-received"].as_bytes()), ((200, "active"), &b"4"[..]));
    let last = command(&trial, Method::PUT, &url, "upload, finalize", 4, "efgh").await;
    assert_eq!(said(&last), (200, "final"));
    let file = json_of(last).await["file"].clone();
    assert_eq!(
        (&file["displayName"], &file["sizeBytes"], &file["mimeType"]),
        (&json!("a.txt"), &json!("8"), &json!("text/plain"))
    );
    let line = format!("GET /v1beta/{}", file["name"].as_str().unwrap());
    assert_eq!(trial.call("k2", &line, &Value::Null).await.0, 200);
    assert_eq!(trial.call("k3", &line, &Value::Null).await.0, 403);
    let seen = trial.world.calls();
    assert!(seen[1].credentials.is_empty() && seen[1].project.as_deref() == Some("p") && seen[1].key.is_none());
    let actions: Vec<_> = seen.iter().take(4).map(|call| call.action.as_str()).collect();
    assert_eq!(actions, ["upload.start", "upload.chunk", "upload.query", "upload.chunk"]);
    assert_eq!((seen[3].body_bytes, seen[3].body_digest), (4, Some(Digest::of(b"efgh"))));
}

#[tokio::test]
async fn an_upload_s_url_carries_the_key_and_leads_where_the_settings_say() {
    let origin = "https://generativelanguage.googleapis.com".to_owned();
    let trial = Trial::new(Settings { upload_origin: Some(origin.clone()), ..Settings::default() }).await;
    let answer = start(&trial, FILES, 3).send().await.unwrap();
    let url = answer.headers()["x-goog-upload-url"].to_str().unwrap();
    assert!(url.starts_with(&format!("{origin}{FILES}?key=k1&upload_id=")), "{url}");
    assert_eq!(answer.headers()["x-goog-upload-control-url"], url);
    assert!(answer.headers().contains_key("x-goog-upload-chunk-granularity"));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_the_upload_goes_on() {
    let trial = Trial::new(Settings::default()).await;
    let url = begun(&trial, FILES, 4).await;
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload", 2, "cd").await), (400, "active"));
    assert_eq!(said(&command(&trial, Method::POST, &url, "nonsense", 0, "").await), (400, "active"));
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload, finalize", 0, "ab").await), (400, "active"));
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload", 2, "cd").await), (200, "active"));
    assert_eq!(said(&command(&trial, Method::POST, &url, "finalize", 4, "").await), (200, "final"));
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload", 4, "ef").await), (400, "final"));
    let guessed = format!("{}?upload_id=guessed&upload_protocol=resumable", trial.url(FILES));
    assert_eq!(said(&command(&trial, Method::POST, &guessed, "upload, finalize", 0, "ab").await), (404, "final"));
    let url = begun(&trial, FILES, 4).await;
    assert_eq!(said(&command(&trial, Method::POST, &url, "cancel", 0, "").await), (200, "cancelled"));
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload", 0, "abcd").await), (400, "cancelled"));
    let stranger = trial.client.post(trial.url(FILES)).header("content-length", 0);
    let stranger = stranger.header("x-goog-upload-protocol", "resumable");
    assert_eq!(said(&stranger.header("x-goog-upload-command", "start").send().await.unwrap()), (403, "final"));
    let wrong = start(&trial, FILES, 3 << 30).send().await.unwrap();
    assert_eq!(said(&wrong), (400, "final"));
}

#[tokio::test]
async fn a_chunk_that_breaks_off_leaves_what_came_of_it() {
    let trial = Trial::new(Settings::default()).await;
    let url = begun(&trial, FILES, 8).await;
    let path = url.split_once("/upload").unwrap().1;
    let head = format!("POST /upload{path} HTTP/1.1\r\nhost: mock\r\ncontent-length: 8\r\n");
    let mut line = TcpStream::connect(trial.address).await.unwrap();
    let offset = "x-goog-upload-command: upload\r\nx-goog-upload-offset: 0\r\n\r\n";
    line.write_all(format!("{head}{offset}abcd").as_bytes()).await.unwrap();
    drop(line);
    let ended = |calls: &[crate::mock::SeenCall]| calls.len() == 2 && calls[1].aborted();
    assert!(trial.world.until(SOON, ended).await.is_some());
    let asked = command(&trial, Method::POST, &url, "query", 0, "").await;
    assert_eq!(asked.headers()["x-goog-upload-size-received"], "4");
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload, finalize", 4, "efgh").await), (200, "final"));
}

#[tokio::test]
async fn a_script_can_refuse_a_chunk_without_losing_it_or_lose_the_answer_after_it() {
    let trial = Trial::new(Settings::default()).await;
    let url = begun(&trial, FILES, 4).await;
    trial.script("action=upload.chunk key=k1 fault=overloaded times=1");
    trial.script("action=upload.chunk fault=cut:head times=1");
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload", 0, "ab").await), (503, "active"));
    let lost = trial.client.post(&url).header("x-goog-upload-command", "upload").header("x-goog-upload-offset", 0);
    assert!(lost.body("ab").send().await.is_err());
    assert_eq!(said(&command(&trial, Method::POST, &url, "upload, finalize", 2, "cd").await), (200, "final"));
}

#[tokio::test]
async fn a_file_may_come_in_two_parts_or_raw() {
    let trial = Trial::new(Settings::default()).await;
    let metadata = json!({"file": {"name": "files/mine", "displayName": "b"}});
    let body = format!(
        "--xx\r\ncontent-type: application/json\r\n\r\n{metadata}\r\n--xx\r\ncontent-type: text/csv\r\n\r\na,b\r\n--xx--\r\n"
    );
    let sent = trial.client.post(trial.url(FILES)).header("x-goog-api-key", "k1").body(body.clone());
    let sent =
        sent.header("x-goog-upload-protocol", "multipart").header("content-type", "multipart/related; boundary=xx");
    let answer = sent.send().await.unwrap();
    assert_eq!(said(&answer), (200, "final"));
    let file = json_of(answer).await["file"].clone();
    assert_eq!(
        (&file["name"], &file["mimeType"], &file["sizeBytes"]),
        (&json!("files/mine"), &json!("text/csv"), &json!("3"))
    );
    let sent = trial.client.post(trial.url(&format!("{FILES}?uploadType=multipart"))).header("x-goog-api-key", "k1");
    let wrong = sent.header("content-type", "multipart/related; boundary=yy").body(body).send().await.unwrap();
    assert_eq!(said(&wrong), (400, "final"));
    let name = trial.file("k1", "raw").await;
    assert_eq!(trial.done("k1", &format!("GET /v1beta/{name}"), &Value::Null).await["sizeBytes"], "3");
}

#[tokio::test]
async fn a_store_s_upload_ends_in_an_operation_and_a_document() {
    let trial = Trial::new(Settings::with_keys(["k1@p", "k3@q"])).await;
    let store =
        trial.done("k1", "POST /v1beta/fileSearchStores", &json!({})).await["name"].as_str().unwrap().to_owned();
    let path = format!("/upload/v1beta/{store}:uploadToFileSearchStore");
    let url = begun(&trial, &path, 3).await;
    let last = command(&trial, Method::POST, &url, "upload, finalize", 0, "abc").await;
    let name = json_of(last).await["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("{store}/upload/operations/")));
    let done = trial.done("k1", &format!("GET /v1beta/{name}"), &Value::Null).await;
    assert!(done["response"]["documentName"].as_str().unwrap().starts_with(&format!("{store}/documents/")));
    let foreign =
        start(&trial, "/upload/v1beta/fileSearchStores/none:uploadToFileSearchStore", 3).send().await.unwrap();
    assert_eq!(said(&foreign), (404, "final"));
}

#[tokio::test]
async fn a_large_file_streams_through_and_is_given_back_at_its_length() {
    let trial = Trial::new(Settings::default()).await;
    let (piece, count) = (vec![b'x'; 1 << 20], 48);
    let url = begun(&trial, FILES, piece.len() * count).await;
    let pieces = stream::iter((0..count).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1 << 20])));
    let sent = trial.client.post(&url).header("x-goog-upload-command", "upload, finalize");
    let sent = sent.header("x-goog-upload-offset", 0).timeout(Duration::from_mins(1));
    let file = json_of(sent.body(Body::wrap_stream(pieces)).send().await.unwrap()).await["file"].clone();
    assert_eq!(file["sizeBytes"], (48 << 20).to_string());
    let path = trial.url(&format!("/v1beta/{}:download?alt=media", file["name"].as_str().unwrap()));
    let back = trial.client.get(path).header("x-goog-api-key", "k1").send().await.unwrap();
    assert_eq!(back.content_length(), Some(48 << 20));
    assert_eq!(back.bytes().await.unwrap().len(), 48 << 20);
}
