//! Clients that are kept apart reach nothing of each other's, however they write it.

use http::Method;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

use crate::stage::{K1, K2, K3, told};
use crate::world::{Gate, with_keys, with_keys_and};

const GENERATE: &str = "/v1beta/models/gemini-3.8-flash:generateContent";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ISOLATED: [(&str, &str); 2] = [("JWT_SECRET", SECRET), ("GEMINATE__AFFINITY__ISOLATE_CLIENTS", "true")];

/// A client of the gate.
struct Caller<'g> {
    gate: &'g Gate,
    token: String,
}

impl<'g> Caller<'g> {
    fn new(gate: &'g Gate, sub: &str) -> Self {
        let claims = json!({"sub": sub, "exp": get_current_timestamp() + 600});
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        Self { gate, token }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.gate.http.request(method, format!("http://{}{path}", self.gate.data)).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        told(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        told(self.request(Method::POST, path).body(body.to_string()).send().await.unwrap()).await
    }

    /// Uploads a file: its name.
    async fn file(&self) -> String {
        let request = self.request(Method::POST, "/upload/v1beta/files").header("x-goog-upload-protocol", "raw");
        let (status, made) =
            told(request.header("content-type", "text/plain").body("text").send().await.unwrap()).await;
        assert_eq!(status, 200, "{made}");
        made["file"]["name"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn nobody_claims_or_moves_a_resource_by_writing_its_name() {
    let (_world, gate) = with_keys_and(&[K1, K2, K3], &ISOLATED).await;
    let (alice, bob) = (Caller::new(&gate, "alice"), Caller::new(&gate, "bob"));
    let hers = alice.file().await;
    for name in [hers.as_str(), "files/nobodys"] {
        for _ in 0..3 {
            bob.post("/v1beta/fileSearchStores", &json!({"displayName": name, "labels": {"name": name}})).await;
            bob.post("/v1beta/webhooks", &json!({"name": name, "uri": "https://elsewhere.example/"})).await;
            bob.post("/v1beta/agents", &json!({"id": "mine", "name": name})).await;
        }
        assert_eq!(bob.get(&format!("/v1beta/{name}")).await.0, 404, "{name}");
    }
    assert_eq!(alice.get(&format!("/v1beta/{hers}")).await.0, 200, "it is where it was");
}

#[tokio::test]
async fn no_list_shows_what_is_another_s() {
    let (_world, gate) = with_keys_and(&[K1], &ISOLATED).await;
    let (alice, bob) = (Caller::new(&gate, "alice"), Caller::new(&gate, "bob"));
    let hers = alice.file().await;
    let film = json!({"instances": [{"prompt": "a film"}]});
    let (status, film) = alice.post("/v1beta/models/veo-3.1:predictLongRunning", &film).await;
    assert_eq!(status, 200, "{film}");
    for path in [
        "files",
        "files?fields=files(uri)",
        "files?%66ields=files(uri)",
        "files?pageSize=",
        "files?pageSize=5.0",
        "files?pageSize=-1",
        "files/",
        "f%69les",
        "operations",
        "models/veo-3.1/operations",
        "generatedFiles",
    ] {
        let request = bob.request(Method::GET, &format!("/v1beta/{path}")).header("x-goog-fieldmask", "files.uri");
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(!text.contains(hers.strip_prefix("files/").unwrap()), "{path}: {text}");
        assert!(!text.contains(film["name"].as_str().unwrap()), "{path}: {text}");
    }
    let (status, unknown) = bob.get("/v1/files?after=files%2Funheard-of").await;
    let (same, foreign) = bob.get(&format!("/v1/files?after={}", hers.replace('/', "%2F"))).await;
    assert_eq!((status, unknown), (same, foreign));
    assert_eq!(alice.get("/v1beta/files?fields=files(uri)").await.1["files"][0]["name"], hers.as_str());
}

#[tokio::test]
async fn no_body_names_what_is_another_s() {
    let (world, gate) = with_keys_and(&[K1], &ISOLATED).await;
    let (alice, bob) = (Caller::new(&gate, "alice"), Caller::new(&gate, "bob"));
    let hers = alice.file().await;
    alice.post("/v1beta/tunedModels?tunedModelId=hers", &json!({"displayName": "t"})).await;
    let seen = world.calls().len();
    let google = "generativelanguage.googleapis.com";
    let prompt = |uri: String| json!({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]});
    for body in [
        prompt(hers.clone()),
        prompt(hers.replace("files/", "")),
        prompt(format!("https://{google}//v1beta/{hers}")),
        prompt(format!("https://{google}/upload/v1beta/{hers}")),
        prompt(format!("{google}/v1beta/{hers}")),
        prompt(format!("https://{google}/v1beta/{hers}?{}", "x".repeat(3_000))),
        json!({"file": {"file_id": hers}}),
        json!({"model": "tunedModels/hers"}),
        json!({"cachedContent": "unheard-of"}),
        json!({"semanticRetriever": {"source": "corpora/unheard-of"}}),
    ] {
        let (status, error) = bob.post(GENERATE, &body).await;
        assert!(matches!(status, 404 | 413), "{body} {error}");
    }
    let plain = prompt(format!("https://{google}/v1beta/{hers}")).to_string();
    for (encoding, body) in [("gzip", plain.clone()), ("identity", plain.replace('"', "'"))] {
        let request = bob.request(Method::POST, GENERATE).header("content-encoding", encoding).body(body);
        assert_eq!(request.send().await.unwrap().status(), 413, "{encoding}");
    }
    for verb in ["generateContent", "streamGenerateContent", "countTokens"] {
        let body = json!({"contents": [{"parts": [{"text": "hi"}]}]});
        assert_eq!(bob.post(&format!("/v1beta/tunedModels/hers:{verb}"), &body).await.0, 404, "{verb}");
    }
    assert_eq!(world.calls().len(), seen, "Google hears nothing of it");
}

#[tokio::test]
async fn what_is_part_of_a_resource_may_go_without_it() {
    let (_world, gate) = with_keys_and(&[K1, K2], &ISOLATED).await;
    let alice = Caller::new(&gate, "alice");
    let store = alice.post("/v1beta/fileSearchStores", &json!({"displayName": "s"})).await.1;
    let name = store["name"].as_str().unwrap();
    let id = name.strip_prefix("fileSearchStores/").unwrap();
    let document = format!("/v1beta/{name}/documents/report-{id}");
    alice.request(Method::DELETE, &document).send().await.unwrap();
    assert_eq!(alice.get(&format!("/v1beta/{name}")).await.0, 200);
}

#[tokio::test]
async fn the_pages_of_the_interactions_api_join_in_its_own_words() {
    let (_world, gate) = with_keys(&[K1, K2]).await;
    for n in 0..5 {
        let made = gate.post("/v1beta/agents", &json!({"id": format!("a{n}")})).await;
        assert_eq!(made.status(), 200);
    }
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1beta/agents?page_size=2{token}");
        let (_, page) = told(gate.ask(Method::GET, &path).send().await.unwrap()).await;
        ids.extend(page["agents"].as_array().unwrap().iter().map(|agent| agent["id"].as_str().unwrap().to_owned()));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    ids.sort_unstable();
    assert_eq!(ids, ["a0", "a1", "a2", "a3", "a4"]);
}

#[tokio::test]
async fn no_page_of_a_list_is_empty_for_all_that_is_hidden_around_its_entries() {
    let apart = [ISOLATED[0], ISOLATED[1], ("GEMINATE__AFFINITY__UPLOADS_STICK_MS", "0")];
    let (_world, gate) = with_keys_and(&[K1, K2, K3], &apart).await;
    let (alice, bob) = (Caller::new(&gate, "alice"), Caller::new(&gate, "bob"));
    let mut hers = Vec::new();
    for n in 0..12 {
        let name = if n % 5 == 0 { &alice } else { &bob }.file().await;
        hers.extend((n % 5 == 0).then_some(name));
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let (status, page) = alice.get(&format!("/v1beta/files?pageSize=1&pageToken={token}")).await;
        assert_eq!((status, page["files"].as_array().map(Vec::len)), (200, Some(1)), "{page}");
        seen.push(page["files"][0]["name"].as_str().unwrap().to_owned());
        let Some(next) = page["nextPageToken"].as_str() else { break };
        next.clone_into(&mut token);
    }
    seen.sort_unstable();
    hers.sort_unstable();
    assert_eq!(seen, hers);
}
