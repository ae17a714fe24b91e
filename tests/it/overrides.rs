//! What would have Google read a request otherwise than it stands never goes up: headers in a query, another method,
//! another form of answers.

use http::Method;
use serde_json::{Value, json};

use crate::stage::{K1, told};
use crate::world::{Gate, MODEL, TOKEN, json_of, prompt, with_keys};

fn generate(query: &str) -> String {
    format!("/v1beta/models/{MODEL}:generateContent?a=1&{query}&b=%20")
}

/// The message of a refusal by 400 in the shape of the surface.
fn message(surface: &str, (status, body): (u16, Value)) -> String {
    let error = &body["error"];
    let shape = match surface {
        "gemini" => error["code"] == 400 && error["status"] == "INVALID_ARGUMENT",
        _ => error["type"] == "invalid_request_error",
    };
    assert!(status == 400 && shape, "{status} {body}");
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn headers_and_projects_in_a_query_are_taken_out_like_keys() {
    let (world, gate) = with_keys(&[K1]).await;
    for query in [
        "$httpHeaders=x-goog-api-key%3Afake-key-0009%0D%0Ax-goog-user-project%3Aother",
        "%24httpHeaders=Authorization%3ABearer%20fake",
        "%24http%48eaders=cookie%3Aa",
        "$key=fake-key-0009",
        "userProject=other",
        "%24userProject=other",
    ] {
        let answer = gate.post(&generate(query), &prompt("hi")).await;
        assert_eq!(answer.status(), 200, "{query}");
        assert_eq!(world.calls().last().unwrap().path_and_query, generate("").replace("&&", "&"), "{query}");
    }
    let calls = world.calls();
    assert_eq!(calls.len(), 6);
    assert!(calls.iter().all(|call| call.credentials.len() == 1 && call.credentials[0].value == K1));
}

#[tokio::test]
async fn headers_in_a_query_are_no_credential_of_a_client_s() {
    let (world, gate) = with_keys(&[K1]).await;
    let url = format!("http://{}{}", gate.data, generate(&format!("$httpHeaders=x-goog-api-key%3A{TOKEN}")));
    let answer = gate.http.post(url).body(prompt("hi").to_string()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), world.calls().len()), (401, 0));
}

/// Sends a POST that is meant as `method`.
async fn meant_as(gate: &Gate, path: &str, method: &str) -> reqwest::Response {
    let request = gate.ask(Method::POST, path).header("x-http-method-override", method);
    request.body(json!({}).to_string()).send().await.unwrap()
}

#[tokio::test]
async fn another_method_in_a_header_or_a_query_is_refused_and_none_is_taken_for_it() {
    let (world, gate) = with_keys(&[K1]).await;
    let http2 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    for (surface, path) in [("gemini", "/v1beta/cachedContents/a"), ("openai", "/v1/chat/completions")] {
        let said = message(surface, told(meant_as(&gate, path, "PATCH").await).await);
        assert!(said.contains("X-HTTP-Method-Override") && said.contains("method itself"), "{said}");
        let url = format!("http://{}{path}?$httpMethod=DELETE", gate.data);
        let request = http2.post(url).header("x-goog-api-key", TOKEN);
        let said = message(surface, told(request.body("{}").send().await.unwrap()).await);
        assert!(said.contains("$httpMethod") && said.contains("method itself"), "{said}");
    }
    let request = http2.post(format!("http://{}/v1beta/cachedContents/a", gate.data)).header("x-goog-api-key", TOKEN);
    let request = request.header("x-http-method-override", "DELETE").body("{}");
    message("gemini", told(request.send().await.unwrap()).await);
    assert_eq!(world.calls().len(), 0);
    let own = meant_as(&gate, "/v1beta/echo?$httpMethod=POST", "POST").await;
    assert_eq!(own.status(), 200);
    let call = world.calls().pop().unwrap();
    assert!(call.method == Method::POST && !call.headers.contains_key("x-http-method-override"));
}

#[tokio::test]
async fn answers_that_hide_a_dead_key_are_refused_by_name_and_the_others_served() {
    let (world, gate) = with_keys(&[K1]).await;
    for query in ["alt=proto", "%24alt=proto", "alt=json&alt=PRO%54O", "callback=f"] {
        let said = message("gemini", told(gate.post(&generate(query), &prompt("hi")).await).await);
        assert!(said.contains("alt=proto") && said.contains("alt=sse") && said.contains("alt=media"), "{said}");
    }
    let chat = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    message("openai", told(gate.post("/v1/chat/completions?alt=proto", &chat).await).await);
    assert_eq!(world.calls().len(), 0, "no key was asked");
    for query in ["alt=json", "$alt=json;enum-encoding=int"] {
        let answer = gate.post(&generate(query), &prompt("hi")).await;
        assert_eq!(answer.status(), 200, "{query}");
        assert!(json_of(answer).await["candidates"].is_array());
    }
    assert_eq!(gate.stream("hi").await.status(), 200);
}
