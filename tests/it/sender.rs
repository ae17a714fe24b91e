//! What the tests of uploads share: steps of Google's resumable protocol, as its SDKs take them.

use http::Method;
use serde_json::{Value, json};

use crate::stage::told;
use crate::world::{Gate, header, json_of};

pub(crate) const FILES: &str = "/upload/v1beta/files";

/// The request that begins an upload, with the operator's token.
pub(crate) fn start(gate: &Gate, path: &str) -> reqwest::RequestBuilder {
    begin(gate.ask(Method::POST, path))
}

/// The same, of a request that has its own credential.
pub(crate) fn begin(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    let request = request.header("x-goog-upload-protocol", "resumable").header("x-goog-upload-command", "start");
    let request = request.header("x-goog-upload-header-content-type", "text/plain");
    request.header("content-type", "application/json").body(json!({"file": {"display_name": "a"}}).to_string())
}

/// Begins an upload: where it goes on.
pub(crate) async fn begun(gate: &Gate) -> String {
    url_of(&start(gate, FILES).send().await.unwrap())
}

/// Where an upload goes on, as the answer to its beginning says.
pub(crate) fn url_of(answer: &reqwest::Response) -> String {
    assert_eq!((answer.status().as_u16(), header(answer, "x-goog-upload-status").as_str()), (200, "active"));
    assert_eq!(header(answer, "x-goog-upload-chunk-granularity"), "262144");
    assert_eq!(header(answer, "x-goog-upload-url"), header(answer, "x-goog-upload-control-url"));
    header(answer, "x-goog-upload-url")
}

/// The `upload_id` of a URL.
pub(crate) fn id_of(url: &str) -> String {
    let query = url.split_once('?').unwrap().1;
    query.split('&').find_map(|pair| pair.strip_prefix("upload_id=")).unwrap().to_owned()
}

/// A later step, as SDKs send it: to the URL as it is, without a credential.
pub(crate) fn step(gate: &Gate, url: &str, command: &str, offset: usize) -> reqwest::RequestBuilder {
    let request = gate.http.post(url).header("x-goog-upload-command", command);
    request.header("x-goog-upload-offset", offset)
}

/// Sends the last bytes: the file.
pub(crate) async fn finalize(gate: &Gate, url: &str, offset: usize, text: &str) -> Value {
    let answer = step(gate, url, "upload, finalize", offset).body(text.to_owned()).send().await.unwrap();
    assert_eq!(header(&answer, "x-goog-upload-status"), "final");
    json_of(answer).await["file"].take()
}

/// A whole upload: the file.
pub(crate) async fn upload(gate: &Gate, text: &str) -> Value {
    finalize(gate, &begun(gate).await, 0, text).await
}

/// Status and upload status of an answer.
pub(crate) fn state(answer: &reqwest::Response) -> (u16, String) {
    (answer.status().as_u16(), header(answer, "x-goog-upload-status"))
}

/// A file uploaded at `origin` with `credential`: its name.
pub(crate) async fn file(origin: &str, credential: (&str, &str), text: &str) -> String {
    let request = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let request = request.post(format!("{origin}/upload/v1beta/files")).header(credential.0, credential.1);
    let request = request.header("x-goog-upload-protocol", "raw").header("content-type", "text/plain");
    let (status, made) = told(request.body(text.to_owned()).send().await.unwrap()).await;
    assert_eq!(status, 200, "{made}");
    made["file"]["name"].as_str().unwrap().to_owned()
}
