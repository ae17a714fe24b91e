//! Web pages call the API from a browser where the operator lets their origin, and from nowhere else.

use geminate::config::Sources;
use http::Method;
use reqwest::header::HeaderMap;
use serde_json::json;

use crate::sender::begin;
use crate::stage::{AT_ONCE, K1, play};
use crate::world::{Gate, MODEL, TOKEN, header, json_of, prompt, with_keys, with_keys_and};

const PAGE: &str = "https://app.example.com";
const OTHER: &str = "http://localhost:5173";
const STRANGER: &str = "https://evil.example";
const ORIGINS: (&str, &str) = ("CORS_ORIGINS", "https://app.example.com, http://localhost:5173/");

fn path() -> String {
    format!("/v1beta/models/{MODEL}:generateContent")
}

/// What a browser asks before it posts for a page of `origin`.
async fn preflight(gate: &Gate, origin: &str, path: &str) -> reqwest::Response {
    let request = gate.http.request(Method::OPTIONS, format!("http://{}{path}", gate.data)).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    request
        .header("access-control-request-headers", "content-type,x-goog-api-key,x-goog-api-client")
        .send()
        .await
        .unwrap()
}

/// A call of a page's.
async fn post(gate: &Gate, origin: &str, token: &str) -> reqwest::Response {
    let request = gate.http.post(format!("http://{}{}", gate.data, path())).header("origin", origin);
    let request = request.header("x-goog-api-key", token).header("content-type", "application/json");
    request.body(prompt("hi").to_string()).send().await.unwrap()
}

/// Whether any of the headers is a word to a browser.
fn speaks_to_browsers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

/// Whether a cache keeps it for its origin alone.
fn varies(answer: &reqwest::Response) -> bool {
    answer.headers().get_all("vary").iter().any(|value| value.to_str().unwrap().contains("origin"))
}

fn allowed(answer: &reqwest::Response) -> String {
    header(answer, "access-control-allow-origin")
}

#[tokio::test]
async fn a_page_of_a_named_origin_asks_and_calls() {
    let (world, gate) = with_keys_and(&[K1], &[ORIGINS]).await;
    for origin in [PAGE, OTHER] {
        let may = preflight(&gate, origin, &path()).await;
        assert_eq!((may.status().as_u16(), allowed(&may).as_str()), (200, origin));
        let methods = header(&may, "access-control-allow-methods");
        assert!(["GET", "POST", "PATCH", "PUT", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
        let headers = header(&may, "access-control-allow-headers");
        assert!(headers.contains("x-goog-api-key") && headers.contains("x-goog-api-client"), "{headers}");
        assert_eq!(header(&may, "access-control-max-age"), "7200");
        assert!(varies(&may), "{may:?}");
        let answer = post(&gate, origin, TOKEN).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer).as_str()), (200, origin));
        assert_eq!(header(&answer, "access-control-expose-headers"), "*");
        assert!(varies(&answer), "{answer:?}");
        assert!(answer.headers().get("access-control-allow-credentials").is_none());
        assert!(json_of(answer).await["candidates"].is_array());
    }
    let calls = world.calls();
    assert_eq!(calls.len(), 2, "what a browser asks is not Google's business");
    assert!(calls.iter().all(|call| !call.headers.contains_key("origin")));
}

#[tokio::test]
async fn a_question_of_a_browser_s_is_no_call_of_a_client_s() {
    let (_world, gate) = with_keys_and(&[K1], &[ORIGINS, ("RATE_LIMIT_PER_MINUTE", "1")]).await;
    for _ in 0..5 {
        assert_eq!(preflight(&gate, PAGE, &path()).await.status(), 200);
    }
    let metrics = gate.monitor("/monitor/metrics").await;
    assert_eq!(metrics["requests"], 0, "{metrics}");
    assert_eq!(post(&gate, PAGE, TOKEN).await.status(), 200);
}

#[tokio::test]
async fn pages_can_read_why_they_were_refused() {
    let (world, gate) = with_keys_and(&[K1], &[ORIGINS, AT_ONCE]).await;
    let unknown = post(&gate, PAGE, "fake-token-of-nobody").await;
    assert_eq!((unknown.status().as_u16(), allowed(&unknown).as_str()), (401, PAGE));
    play(&world, &["fault=quota_minute:30s"]);
    let spent = post(&gate, PAGE, TOKEN).await;
    assert_eq!((spent.status().as_u16(), allowed(&spent).as_str()), (429, PAGE));
    assert!(!header(&spent, "retry-after").is_empty());
    world.clear_scripts();
    let (world, gate) = with_keys_and(&[K1], &[ORIGINS, AT_ONCE]).await;
    play(&world, &["fault=api_key_invalid"]);
    let dead = post(&gate, PAGE, TOKEN).await;
    assert_eq!((dead.status().as_u16(), allowed(&dead).as_str()), (503, PAGE));
    let nowhere = gate.ask(Method::GET, "/nowhere").header("origin", PAGE).send().await.unwrap();
    assert_eq!((nowhere.status().as_u16(), allowed(&nowhere).as_str()), (404, PAGE));
}

#[tokio::test]
async fn a_page_from_elsewhere_gets_no_word() {
    let (_world, gate) = with_keys_and(&[K1], &[ORIGINS]).await;
    for origin in
        [STRANGER, "null", "https://app.example.com.evil.example", "http://app.example.com", "https://APP.example.com"]
    {
        assert_eq!(allowed(&preflight(&gate, origin, &path()).await), "", "{origin}");
        let answer = post(&gate, origin, TOKEN).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer).as_str()), (200, ""), "{origin}");
    }
}

#[tokio::test]
async fn by_default_no_page_is_answered_and_nothing_is_added() {
    let (_world, gate) = with_keys(&[K1]).await;
    let asked = preflight(&gate, PAGE, &path()).await;
    assert!(asked.status() == 401 && !speaks_to_browsers(asked.headers()), "{asked:?}");
    let answer = post(&gate, PAGE, TOKEN).await;
    assert!(answer.status() == 200 && !speaks_to_browsers(answer.headers()), "{answer:?}");
}

#[tokio::test]
async fn all_pages_may_where_the_operator_says_so() {
    let (_world, gate) = with_keys_and(&[K1], &[("GEMINATE__SERVER__CORS_ORIGINS", "*")]).await;
    let may = preflight(&gate, STRANGER, "/v1/chat/completions").await;
    assert_eq!((may.status().as_u16(), allowed(&may).as_str()), (200, "*"));
    assert_eq!(allowed(&post(&gate, STRANGER, TOKEN).await), "*");
}

#[tokio::test]
async fn a_page_uploads_a_file_and_reads_where_it_goes_on() {
    let (_world, gate) = with_keys_and(&[K1], &[ORIGINS]).await;
    let begun = begin(gate.ask(Method::POST, "/upload/v1beta/files")).header("origin", PAGE).send().await.unwrap();
    let url = header(&begun, "x-goog-upload-url");
    assert_eq!((header(&begun, "access-control-expose-headers").as_str(), allowed(&begun).as_str()), ("*", PAGE));
    let part = gate.http.post(url).header("origin", PAGE).header("x-goog-upload-command", "upload, finalize");
    let part = part.header("x-goog-upload-offset", 0).body("abcd").send().await.unwrap();
    assert_eq!((header(&part, "x-goog-upload-status").as_str(), allowed(&part).as_str()), ("final", PAGE));
}

#[tokio::test]
async fn another_question_than_a_browser_s_is_a_call_like_any_and_the_operator_s_pages_stay_closed() {
    let (_world, gate) = with_keys_and(&[K1], &[ORIGINS]).await;
    let bare = gate.http.request(Method::OPTIONS, format!("http://{}{}", gate.data, path()));
    assert_eq!(bare.header("origin", PAGE).send().await.unwrap().status(), 401);
    let admin = gate.http.request(Method::OPTIONS, format!("http://{}/api/keys", gate.admin)).header("origin", PAGE);
    let admin = admin.header("access-control-request-method", "POST").send().await.unwrap();
    assert!(!speaks_to_browsers(admin.headers()), "{admin:?}");
    let page = gate.http.get(format!("http://{}/healthz", gate.data)).header("origin", PAGE).send().await.unwrap();
    assert!(page.status() == 200 && !speaks_to_browsers(page.headers()), "{page:?}");
}

#[tokio::test]
async fn a_stream_reaches_a_page_and_a_body_is_sent_by_any_surface() {
    let (_world, gate) = with_keys_and(&[K1], &[ORIGINS]).await;
    let chat = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let request = gate.http.post(format!("http://{}/v1/chat/completions", gate.data)).bearer_auth(TOKEN);
    let answer = request.header("origin", OTHER).body(chat.to_string()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), allowed(&answer).as_str()), (200, OTHER));
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
}

#[test]
fn what_is_no_origin_is_told_by_its_name() {
    let told = |variables: &[(&str, &str)], file: &str| {
        let variables = [("GEMINI_API_KEY", K1)].into_iter().chain(variables.iter().copied());
        let faults = Sources::new(variables, Some(("config.toml", file))).configuration().map(drop).unwrap_err();
        faults.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let allowed = "allowed is `*` or origins such as https://app.example.com";
    for origin in ["https://app.example.com/path", "app.example.com", "null", "https://*.example.com"] {
        let said = told(&[("CORS_ORIGINS", origin)], "");
        assert!(said.starts_with(&format!("CORS_ORIGINS: read \"{origin}\", {allowed}")), "{said}");
        let said = told(&[], &format!("[server]\ncors_origins = [\"{PAGE}\", \"{origin}\"]"));
        assert!(said.starts_with("config.toml:2: server.cors_origins: read") && said.contains(allowed), "{said}");
    }
    // Whoever opened a page anywhere could spend the keys.
    let said = told(&[("CORS_ORIGINS", "*")], "");
    assert!(said.starts_with("CORS_ORIGINS: with `*` every web page") && said.contains("AUTH_TOKEN"), "{said}");
    for (name, value) in [("AUTH_TOKEN", TOKEN), ("ALLOW_ANONYMOUS", "true")] {
        let variables = [("GEMINI_API_KEY", K1), ("CORS_ORIGINS", "*"), (name, value)];
        assert!(Sources::new(variables, None).configuration().is_ok(), "{name}");
    }
    let named = [("GEMINI_API_KEY", K1), ("CORS_ORIGINS", OTHER)];
    assert!(Sources::new(named, None).configuration().is_ok(), "a page that is named needs no token");
}
