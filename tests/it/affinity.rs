//! What lives in one Google project is served by that project's keys, and shown to whom it belongs.

use std::sync::Arc;

use geminate::mock::{Settings, World};
use http::Method;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::eventually;
use crate::sender::file;
use crate::stage::{AT_ONCE, K1, K2, K3, calls_of, play, reasons, told};
use crate::world::{Gate, MODEL, google, header, json_of, with_keys, with_keys_and};

const GENERATE: &str = "/v1beta/models/gemini-3.8-flash:generateContent";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ISOLATED: [(&str, &str); 2] = [("JWT_SECRET", SECRET), ("GEMINATE__AFFINITY__ISOLATE_CLIENTS", "true")];

/// A cache made through the gate: its name.
async fn cache(gate: &Gate) -> String {
    let body = json!({"model": format!("models/{MODEL}"), "contents": [{"role": "user", "parts": [{"text": "long"}]}]});
    let (status, made) = told(gate.post("/v1beta/cachedContents", &body).await).await;
    assert_eq!(status, 200, "{made}");
    made["name"].as_str().unwrap().to_owned()
}

fn with_cache(name: &str) -> Value {
    json!({"cachedContent": name, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]})
}

fn with_files(names: &[&str]) -> Value {
    let uri = |name: &&str| format!("https://generativelanguage.googleapis.com/v1beta/{name}");
    let parts = names.iter().map(|name| json!({"fileData": {"mimeType": "text/plain", "fileUri": uri(name)}}));
    json!({"contents": [{"role": "user", "parts": parts.collect::<Vec<_>>()}]})
}

/// The key of the last call that Google saw.
fn last_key(world: &World) -> String {
    world.calls().pop().unwrap().credentials[0].value.clone()
}

fn jwt(sub: &str) -> String {
    let claims = json!({"sub": sub, "exp": get_current_timestamp() + 600});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[tokio::test]
async fn a_call_that_names_a_resource_goes_to_its_owner_even_against_the_weights() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    let name = cache(&gate).await;
    let owner = last_key(&world);
    for _ in 0..4 {
        let answer = gate.post(GENERATE, &with_cache(&name)).await;
        assert_eq!((answer.status().as_u16(), last_key(&world)), (200, owner.clone()));
        assert_eq!(gate.ask(Method::GET, &format!("/v1beta/{name}")).send().await.unwrap().status(), 200);
        assert_eq!(last_key(&world), owner);
    }
    world.reset();
    for _ in 0..3 {
        gate.generate("free").await;
    }
    assert!([K1, K2, K3].iter().all(|key| calls_of(&world, key).len() == 1), "others go by the weights");
}

#[tokio::test]
async fn keys_that_share_a_project_share_what_lives_there() {
    let keys = ["fake-key-0001@one", "fake-key-0002@one", "fake-key-0003@two"];
    let config = r#"
        [[keys]]
        key = "fake-key-0001"
        project = "one"
        [[keys]]
        key = "fake-key-0002"
        project = "one"
        [[keys]]
        key = "fake-key-0003"
        project = "two"
    "#;
    let (world, gate) = crate::stage::with_config(&keys, config, &[]).await;
    let name = loop {
        let name = cache(&gate).await;
        if last_key(&world) == K1 {
            break name;
        }
    };
    play(&world, &[&format!("key={K1} fault=api_key_invalid")]);
    for _ in 0..4 {
        let answer = gate.post(GENERATE, &with_cache(&name)).await;
        assert_eq!((answer.status().as_u16(), last_key(&world)), (200, K2.to_owned()));
    }
}

#[tokio::test]
async fn two_owners_in_one_prompt_are_a_clear_error_that_names_both() {
    let (world, origin) = google(Settings::with_keys([K1, K2])).await;
    let keys = format!("{K1},{K2}");
    let gate = Gate::open(&[("GEMINI_API_KEY", &keys), ("GEMINI_BASE_URL", &origin)]).await;
    let (one, other) =
        (file(&origin, ("x-goog-api-key", K1), "1").await, file(&origin, ("x-goog-api-key", K2), "2").await);
    for name in [&one, &other] {
        assert_eq!(gate.ask(Method::GET, &format!("/v1beta/{name}")).send().await.unwrap().status(), 200);
    }
    let seen = world.calls().len();
    let (status, error) = told(gate.post(GENERATE, &with_files(&[&one, &other])).await).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains(&one) && message.contains(&other), "{error}");
    assert_eq!(world.calls().len(), seen, "Google is not asked what it must refuse");
    assert_eq!(gate.post(GENERATE, &with_files(&[&one, &one])).await.status(), 200);
}

#[tokio::test]
async fn a_cooling_owner_is_a_refusal_that_says_so_and_holds_nobody_up() {
    let (world, gate) = with_keys_and(&[K1, K2], &[AT_ONCE]).await;
    let name = cache(&gate).await;
    let owner = last_key(&world);
    play(&world, &[&format!("key={owner} action=generateContent fault=quota_day")]);
    for _ in 0..2 {
        let answer = gate.post(GENERATE, &with_cache(&name)).await;
        assert!(!header(&answer, "retry-after").is_empty());
        let (status, error) = told(answer).await;
        assert_eq!((status, &reasons(&error)["quota_day"]), (429, &json!("1")), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(&name), "{error}");
        assert_eq!(gate.generate("free").await.status(), 200);
    }
}

#[tokio::test]
async fn what_later_prompts_will_name_is_made_where_the_day_is_not_spent() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[AT_ONCE]).await;
    play(&world, &[&format!("key={K1} action=generateContent fault=quota_day")]);
    for _ in 0..3 {
        assert_eq!(gate.generate("free").await.status(), 200);
    }
    for _ in 0..6 {
        let name = cache(&gate).await;
        assert_eq!(gate.post(GENERATE, &with_cache(&name)).await.status(), 200, "its owner has quota left");
    }
    let origin = format!("http://{}", gate.data);
    for _ in 0..3 {
        let name = file(&origin, ("x-goog-api-key", crate::world::TOKEN), "text").await;
        assert_eq!(gate.post(GENERATE, &with_files(&[&name])).await.status(), 200);
    }
    play(&world, &["action=generateContent fault=quota_day"]);
    gate.generate("the last").await;
    cache(&gate).await;
}

#[tokio::test]
async fn what_goes_into_a_store_goes_to_its_owner_even_when_that_has_spent_its_day() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[AT_ONCE]).await;
    let (status, store) = told(gate.post("/v1beta/fileSearchStores", &json!({"displayName": "s"})).await).await;
    let (name, owner) = (store["name"].as_str().unwrap(), last_key(&world));
    assert_eq!(status, 200, "{store}");
    play(&world, &[&format!("key={owner} action=generateContent fault=quota_day")]);
    for _ in 0..3 {
        assert_eq!(gate.generate("free").await.status(), 200);
    }
    for _ in 0..3 {
        let request = gate.ask(Method::POST, &format!("/upload/v1beta/{name}:uploadToFileSearchStore"));
        let request = request.header("x-goog-upload-protocol", "raw").header("content-type", "text/plain");
        assert_eq!(request.body("text").send().await.unwrap().status(), 200);
        assert_eq!(last_key(&world), owner);
    }
}

#[tokio::test]
async fn who_waits_for_an_owner_does_not_hold_up_those_who_need_none() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("GEMINATE__POOL__MAX_WAIT_MS", "60000")]).await;
    let name = cache(&gate).await;
    let owner = last_key(&world);
    play(&world, &[&format!("key={owner} action=generateContent fault=quota_minute:20s times=1")]);
    let body = with_cache(&name);
    let bound = gate.post(GENERATE, &body);
    tokio::pin!(bound);
    let free = async {
        crate::stage::until_waiting(&gate).await;
        for _ in 0..3 {
            assert_eq!(gate.generate("free").await.status(), 200);
        }
    };
    tokio::select! {
        _ = &mut bound => panic!("its owner rests"),
        () = free => {}
    }
}

#[tokio::test]
async fn who_owns_what_survives_a_restart() {
    let (world, origin) = google(Settings::with_keys([K1, K2, K3])).await;
    let keys = format!("{K1},{K2},{K3}");
    let variables = [("GEMINI_API_KEY", keys.as_str()), ("GEMINI_BASE_URL", &origin)];
    let dir = Arc::new(TempDir::new().unwrap());
    let mut gate = Gate::open_in(Arc::clone(&dir), &variables).await;
    let name = cache(&gate).await;
    let owner = last_key(&world);
    gate.signal("TERM");
    gate.exited().await;
    // In another order, and with a torn file of another run beside it.
    let turned = format!("{K3},{K2},{K1}");
    let variables = [("GEMINI_API_KEY", turned.as_str()), ("GEMINI_BASE_URL", &origin)];
    let gate = Gate::open_in(dir, &variables).await;
    for _ in 0..3 {
        let answer = gate.post(GENERATE, &with_cache(&name)).await;
        assert_eq!((header(&answer, "x-geminate-attempts").as_str(), last_key(&world)), ("1", owner.clone()));
    }
}

#[tokio::test]
async fn an_index_that_is_killed_is_on_disk_all_the_same() {
    let (_world, gate) = with_keys(&[K1, K2]).await;
    let name = cache(&gate).await;
    let index = gate.dir.path().join("data/affinity.json");
    eventually(|| std::fs::read_to_string(&index).is_ok_and(|text| text.contains(&name))).await;
}

#[tokio::test]
async fn an_owner_nobody_knows_is_found_among_three_projects_and_remembered() {
    let (world, origin) = google(Settings::with_keys([K1, K2, K3])).await;
    let keys = format!("{K1},{K2},{K3}");
    let gate = Gate::open(&[("GEMINI_API_KEY", &keys), ("GEMINI_BASE_URL", &origin)]).await;
    for (key, by_prompt) in [(K3, false), (K2, true), (K1, false), (K3, true)] {
        let name = file(&origin, ("x-goog-api-key", key), "text").await;
        let ask = async || {
            let answer = if by_prompt {
                gate.post(GENERATE, &with_files(&[&name])).await
            } else {
                gate.ask(Method::GET, &format!("/v1beta/{name}")).send().await.unwrap()
            };
            assert_eq!(answer.status(), 200, "{key} {by_prompt}");
            header(&answer, "x-geminate-attempts").parse::<u32>().unwrap()
        };
        assert!(ask().await <= 3);
        assert_eq!((ask().await, last_key(&world).as_str()), (1, key), "from then on it is known");
    }
    let keys = gate.monitor("/monitor/keys").await;
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["state"] == "usable"), "no key is to blame: {keys}");
}

#[tokio::test]
async fn what_nobody_owns_is_the_owner_s_last_answer_and_is_asked_of_three_at_most() {
    let (world, gate) = with_keys(&[K1, K2, K3, "fake-key-0004"]).await;
    let answer = gate.ask(Method::GET, "/v1beta/files/nobodys").send().await.unwrap();
    let (status, error) = told(answer).await;
    assert_eq!((status, &error["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
    assert_eq!(world.calls().len(), 3);
    world.reset();
    assert_eq!(gate.ask(Method::DELETE, "/v1beta/files/nobodys").send().await.unwrap().status(), 403);
    assert_eq!(world.calls().len(), 1, "only what changes nothing is asked of others");
}

#[tokio::test]
async fn what_was_deleted_is_forgotten() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    let name = cache(&gate).await;
    assert_eq!(gate.ask(Method::DELETE, &format!("/v1beta/{name}")).send().await.unwrap().status(), 200);
    world.reset();
    assert!(!gate.post(GENERATE, &with_cache(&name)).await.status().is_success());
    assert_eq!(world.calls().len(), 3, "its owner is not known any more");
}

#[tokio::test]
async fn a_separated_client_can_neither_name_nor_see_another_s() {
    let (world, gate) = with_keys_and(&[K1, K2], &ISOLATED).await;
    let (alice, bob) = (jwt("alice"), jwt("bob"));
    let origin = format!("http://{}", gate.data);
    let name = file(&origin, ("authorization", &format!("Bearer {alice}")), "hers").await;
    let ask = |token: &str, method: Method, path: &str, body: Option<&Value>| {
        let request = gate.http.request(method, format!("{origin}{path}")).bearer_auth(token);
        body.map(ToString::to_string).into_iter().fold(request, reqwest::RequestBuilder::body).send()
    };
    let own = format!("/v1beta/{name}");
    let prompt = with_files(&[&name]);
    let seen = world.calls().len();
    for (method, path, body) in [
        (Method::GET, own.as_str(), None),
        (Method::DELETE, &own, None),
        (Method::GET, "/v1beta/files/unheard-of", None),
        (Method::POST, GENERATE, Some(&prompt)),
    ] {
        let (status, error) = told(ask(&bob, method, path, body).await.unwrap()).await;
        assert_eq!((status, &error["error"]["status"]), (404, &json!("NOT_FOUND")), "{path}");
    }
    assert_eq!(world.calls().len(), seen, "Google hears nothing of it");
    let list = json_of(ask(&bob, Method::GET, "/v1beta/files", None).await.unwrap()).await;
    assert_eq!(list["files"], Value::Null, "{list}");
    let list = json_of(ask(&alice, Method::GET, "/v1beta/files", None).await.unwrap()).await;
    assert_eq!(list["files"][0]["name"], name.as_str());
    assert_eq!(ask(&alice, Method::POST, GENERATE, Some(&prompt)).await.unwrap().status(), 200);
    assert_eq!(gate.post(GENERATE, &prompt).await.status(), 200, "the operator may all");
}
