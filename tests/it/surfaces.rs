//! What an API's client may do, it may do here: every path, method and body, and errors in the shape it reads.

use http::Method;
use reqwest::Body;
use serde_json::{Value, json};

use crate::house::{PATIENCE, Wire};
use crate::streams::play;
use crate::world::{Gate, MODEL, TOKEN, header, json_of, prompt, with_keys, with_keys_and};

const KEY: &str = "fake-key-0001";
const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn any_other_path_and_method_passes_with_its_query_headers_and_body() {
    let (world, gate) = with_keys(&[KEY]).await;
    for (method, path) in [
        (Method::GET, "/v1beta/echo/some?pageSize=2&filter=a%20b"),
        (Method::POST, "/v1beta/echoes:batch?x"),
        (Method::PUT, "/v1alpha/new/echo"),
        (Method::PATCH, "/v1/cachedContents/echo?updateMask=ttl"),
        (Method::DELETE, "/v1beta/files/echo"),
        (Method::OPTIONS, "/v1beta/echo"),
        (Method::from_bytes(b"QUERY").unwrap(), "/v1beta/echo"),
    ] {
        let request =
            gate.ask(method.clone(), path).header("x-goog-api-client", "genai-test/1").body("{\"odd\": [1,2 ]}");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{method} {path}");
        assert_eq!(json_of(answer).await["path"], path);
        let call = world.calls().pop().unwrap();
        assert_eq!((call.method, call.path_and_query.as_str()), (method, path));
        assert_eq!(call.headers["x-goog-api-client"], "genai-test/1");
        assert_eq!(call.body, "{\"odd\": [1,2 ]}");
    }
}

#[tokio::test]
async fn a_doubled_leading_slash_is_one() {
    let (world, gate) = with_keys(&[KEY]).await;
    assert_eq!(gate.ask(Method::GET, "//v1beta/echo").send().await.unwrap().status(), 200);
    assert_eq!(world.calls()[0].path_and_query, "/v1beta/echo");
}

#[tokio::test]
async fn openai_s_routes_lead_to_google_s_compatible_endpoint() {
    let (world, gate) = with_keys(&[KEY]).await;
    for (method, path, upstream) in [
        (Method::POST, CHAT, "/v1beta/openai/chat/completions"),
        (Method::POST, "/v1/embeddings", "/v1beta/openai/embeddings"),
        (Method::POST, "/v1/images/generations", "/v1beta/openai/images/generations"),
        (Method::GET, "/v1/models", "/v1beta/openai/models"),
        (Method::GET, "/v1/models/gemini-3.8-flash", "/v1beta/openai/models/gemini-3.8-flash"),
        (Method::POST, "/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
    ] {
        let request = gate.http.request(method, format!("http://{}{path}", gate.data)).bearer_auth(TOKEN);
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "input": "hi"});
        request.body(body.to_string()).send().await.unwrap();
        let call = world.calls().pop().unwrap();
        assert_eq!(call.path_and_query, upstream);
        assert_eq!((call.credentials.len(), call.credentials[0].value.as_str()), (1, KEY));
    }
}

#[tokio::test]
async fn the_credential_tells_whose_list_of_models_is_meant() {
    let (_world, gate) = with_keys(&[KEY]).await;
    let at = |query: &str| gate.http.get(format!("http://{}/v1/models{query}", gate.data));
    let openai = json_of(at("").bearer_auth(TOKEN).send().await.unwrap()).await;
    assert_eq!(openai["object"], "list");
    let by_query = at(&format!("?key={TOKEN}"));
    for request in
        [at("").header("x-goog-api-key", TOKEN), by_query, at("").bearer_auth(TOKEN).header("x-goog-api-key", TOKEN)]
    {
        assert!(json_of(request.send().await.unwrap()).await["models"].is_array());
    }
}

/// The answer to a request without a body: status, headers that came, and the error in it.
async fn asked(gate: &Gate, path: &str, token: &str) -> (u16, reqwest::header::HeaderMap, Value) {
    let request = gate.http.post(format!("http://{}{path}", gate.data)).bearer_auth(token).body(chat().to_string());
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, json_of(answer).await["error"].clone())
}

fn chat() -> Value {
    let mut body = prompt("hello");
    body["model"] = json!(MODEL);
    body["messages"] = json!([{"role": "user", "content": "hello"}]);
    body
}

fn native(error: &Value, code: u16, status: &str) {
    assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)), "{error}");
    assert!(error["message"].is_string() && error["details"].is_array(), "{error}");
}

fn openai(error: &Value, kind: &str) {
    assert_eq!((&error["type"], &error["param"]), (&json!(kind), &Value::Null), "{error}");
    assert!(error["message"].is_string() && error["code"].is_string(), "{error}");
}

#[tokio::test]
async fn who_is_not_let_in_is_counted_where_he_knocked() {
    let (world, gate) = with_keys(&[KEY]).await;
    for (path, surface, route) in [
        (CHAT, "openai", "chat.completions"),
        ("/v1beta/models/gemini-3.8-flash:generateContent", "gemini", "generateContent"),
        ("/v1beta/interactions", "interactions", "interactions.create"),
        ("/v1/chat//x", "openai", "other"),
    ] {
        assert_eq!(asked(&gate, path, "wrong").await.0, 401, "{path}");
        let line =
            gate.logged(|line| line["status"] == 401 && line["surface"] == surface && line["route"] == route).await;
        assert_eq!((&line["reason"], &line["model"]), (&json!("unauthenticated"), &json!("")), "{line}");
    }
    let metrics = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = r#"geminate_requests_total{surface="openai",route="chat.completions",outcome="refused",code="4xx",model="none"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_refusal_has_the_shape_of_the_surface_that_was_called() {
    let generate = "/v1beta/models/gemini-3.8-flash:generateContent";
    let small = [("GEMINATE__SERVER__BODY_BYTES_MAX", "400"), ("GEMINATE__POOL__MAX_WAIT_MS", "0")];
    let (world, gate) = with_keys_and(&[KEY], &small).await;

    let (status, headers, error) = asked(&gate, generate, "wrong").await;
    assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    native(&error, 401, "UNAUTHENTICATED");
    let (status, _, error) = asked(&gate, CHAT, "wrong").await;
    openai(&error, "authentication_error");
    assert_eq!(status, 401);

    let (status, _, error) = asked(&gate, "/nowhere", TOKEN).await;
    native(&error, 404, "NOT_FOUND");
    assert_eq!(status, 404);

    for (path, is_native) in [(generate, true), (CHAT, false)] {
        let answer = gate.post(path, &json!({"contents": "x".repeat(1000)})).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "connection")), (413, "close".to_owned()));
        let error = json_of(answer).await["error"].clone();
        if is_native { native(&error, 413, "INVALID_ARGUMENT") } else { openai(&error, "invalid_request_error") }
    }

    play(&world, "fault=quota_day");
    let (status, headers, error) = asked(&gate, generate, TOKEN).await;
    assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    native(&error, 429, "RESOURCE_EXHAUSTED");
    assert_eq!((status, error["details"][0]["metadata"]["quota_day"].as_str()), (429, Some("1")), "{error}");
    let (status, headers, error) = asked(&gate, CHAT, TOKEN).await;
    assert!(status == 429 && headers.contains_key("retry-after"));
    openai(&error, "rate_limit_error");
}

#[tokio::test]
async fn without_a_usable_key_it_is_503_on_both_surfaces() {
    for path in [CHAT, "/v1beta/models/gemini-3.8-flash:generateContent"] {
        let (world, gate) = with_keys(&[KEY]).await;
        play(&world, "fault=api_key_invalid");
        for _ in 0..2 {
            let (status, headers, error) = asked(&gate, path, TOKEN).await;
            assert!(status == 503 && headers.contains_key("retry-after"), "{status} {error}");
            if path == CHAT { openai(&error, "server_error") } else { native(&error, 503, "UNAVAILABLE") }
        }
    }
}

#[tokio::test]
async fn a_caller_s_own_error_comes_back_as_google_worded_it() {
    let (world, gate) = with_keys(&[KEY, "fake-key-0002"]).await;
    let answer = gate.post("/v1beta/models/gemini-3.8-flash:generateContent", &json!({"contents": null})).await;
    assert_eq!(answer.status(), 400);
    assert!(json_of(answer).await["error"]["message"].as_str().unwrap().contains("contents is not specified"));
    let answer = gate.post(CHAT, &json!({"model": MODEL})).await;
    assert_eq!(answer.status(), 400);
    let error = json_of(answer).await["error"].take();
    openai(&error, "invalid_request_error");
    assert_eq!((&error["code"], &error["status"]), (&json!("INVALID_ARGUMENT"), &json!("INVALID_ARGUMENT")), "{error}");
    assert!(
        error["message"].as_str().unwrap().contains("messages"),
        "its words are kept, out of Google's array: {error}"
    );
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn an_answer_without_a_body_is_a_success_like_any_other() {
    let (world, gate) = with_keys(&[KEY]).await;
    play(&world, "path=none fault=status:204");
    play(&world, "path=empty fault=status:200");
    for (method, path, status) in [
        (Method::HEAD, "/v1beta/echo", 200),
        (Method::DELETE, "/v1beta/echo/none", 204),
        (Method::GET, "/v1beta/echo/empty", 200),
    ] {
        let answer = gate.ask(method, path).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.bytes().await.unwrap().len(), 0);
    }
    let line = |status: u16| gate.logged(move |line| line["status"] == status && line["outcome"] == "ok");
    assert_eq!((line(204).await["status"].as_u64(), line(200).await["status"].as_u64()), (Some(204), Some(200)));
    let keys = gate.monitor("/monitor/keys").await;
    assert_eq!(keys["keys"][0]["outcomes"], json!({"success": 3}));
}

#[tokio::test]
async fn a_body_may_come_in_chunks_in_megabytes_or_encoded() {
    let (world, gate) = with_keys(&[KEY]).await;
    let large = "y".repeat(20 << 20);
    let chunks: Vec<Result<String, std::io::Error>> = (0..100).map(|n| Ok(n.to_string())).collect();
    let whole: String = (0..100).map(|n| n.to_string()).collect();
    for (body, expected) in
        [(Body::from(large.clone()), large), (Body::wrap_stream(futures_util::stream::iter(chunks)), whole)]
    {
        let request = gate.ask(Method::POST, "/v1beta/echo").header("content-encoding", "gzip");
        assert_eq!(request.body(body).send().await.unwrap().status(), 200);
        let call = world.calls().pop().unwrap();
        assert_eq!(
            (call.body_bytes, call.headers["content-encoding"].to_str().unwrap()),
            (expected.len() as u64, "gzip")
        );
        assert_eq!(call.body_digest, Some(geminate::secret::Digest::of(expected.as_bytes())));
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let (world, gate) = with_keys(&[KEY]).await;
    let mut wire = Wire::to(gate.data).await;
    let head = format!("POST /v1beta/echo HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
    wire.say(&format!("{head}content-length: 5\r\nexpect: 100-continue\r\n\r\n")).await;
    wire.hear("HTTP/1.1 100 Continue\r\n\r\n").await;
    wire.say("hello").await;
    wire.hear("HTTP/1.1 200").await;
    assert_eq!(world.calls()[0].body, "hello");
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_streamed_and_sent_once() {
    let small = [("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000"), ("GEMINATE__SERVER__BODY_BYTES_MAX", "100000")];
    let (world, gate) = with_keys_and(&[KEY, "fake-key-0002"], &small).await;
    let body = prompt(&"long ".repeat(10_000)).to_string();
    let ask = |body: Body| gate.ask(Method::POST, "/v1beta/models/gemini-3.8-flash:generateContent").body(body).send();
    let parts = |text: &str| {
        let parts: Vec<_> = text.as_bytes().chunks(700).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect();
        Body::wrap_stream(futures_util::stream::iter(parts))
    };
    for sent in [Body::from(body.clone()), parts(&body)] {
        assert_eq!(ask(sent).await.unwrap().status(), 200);
        assert_eq!(world.calls().pop().unwrap().body_digest, Some(geminate::secret::Digest::of(body.as_bytes())));
    }
    let seen = world.calls().len();
    play(&world, "fault=internal");
    assert_eq!(ask(Body::from(body.clone())).await.unwrap().status(), 500);
    assert_eq!(world.calls().len(), seen + 1, "it cannot be sent again");

    // Of a length that is not told: refused when it is known to be too large, whatever was passed on by then.
    assert_eq!(ask(parts(&"z".repeat(200_000))).await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    for variables in [&[][..], &[("GEMINATE__RETRY__REPLAY_BYTES_MAX", "10")]] {
        let mut all = vec![("GEMINATE__SERVER__BODY_READ_TIMEOUT_MS", "200")];
        all.extend(variables);
        let (_world, gate) = with_keys_and(&[KEY], &all).await;
        let mut wire = Wire::to(gate.data).await;
        let request = format!("POST /v1beta/echo HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
        wire.say(&format!("{request}content-length: 500\r\n\r\nhello")).await;
        let heard = wire.hear_out().await;
        assert!(heard.starts_with("HTTP/1.1 408"), "{variables:?} {heard}");
    }
}

#[tokio::test]
async fn a_body_that_its_client_breaks_off_is_no_success_of_the_key() {
    let soon = [("GEMINATE__SERVER__BODY_READ_TIMEOUT_MS", "200"), ("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000")];
    let (world, gate) = with_keys_and(&[KEY], &[soon[0], soon[1], ("GEMINATE__RETRY__RETRIES", "0")]).await;
    let overloads = async || gate.monitor(&format!("/monitor/keys?explain={MODEL}")).await["overloads"].clone();
    play(&world, "fault=overloaded times=1");
    assert_eq!(gate.generate("hello").await.status(), 503);
    let mut wire = Wire::to(gate.data).await;
    let head =
        format!("POST /v1beta/models/{MODEL}:generateContent HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
    wire.say(&format!("{head}content-length: 5000\r\n\r\nhello")).await;
    assert!(wire.hear_out().await.starts_with("HTTP/1.1 408"));
    assert_eq!(overloads().await, 1, "nothing came of it");
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(overloads().await, 0);
}

#[tokio::test]
async fn http_2_by_prior_knowledge_and_http_1_0_are_served() {
    let (_world, gate) = with_keys(&[KEY]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://{}/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", gate.data);
    let request = client.post(url).header("x-goog-api-key", TOKEN).body(prompt("hello").to_string());
    let answer = request.send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    assert!(answer.text().await.unwrap().contains("STOP"));

    let mut wire = Wire::to(gate.data).await;
    let body = prompt("hello").to_string();
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse&key={TOKEN}");
    wire.say(&format!("POST {path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let heard = tokio::time::timeout(PATIENCE, wire.hear_out()).await.unwrap();
    assert!(heard.starts_with("HTTP/1.0 200") && heard.contains("STOP") && !heard.contains("chunked"), "{heard}");
}
