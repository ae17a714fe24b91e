//! What would have Google read a request otherwise than it stands never goes up: headers in a query.

use crate::stage::K1;
use crate::world::{MODEL, TOKEN, prompt, with_keys};

fn generate(query: &str) -> String {
    format!("/v1beta/models/{MODEL}:generateContent?a=1&{query}&b=%20")
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
