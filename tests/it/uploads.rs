//! Uploads: what is begun through the gate goes on through the gate, on the key that began it, for whoever has its id.

use std::collections::BTreeSet;
use std::sync::Arc;

use geminate::mock::{self, World};
use http::Method;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;
use tempfile::TempDir;

use crate::sender::{FILES, begin, begun, finalize, id_of, start, state, step, upload, url_of};
use crate::stage::{K1, K2, K3, calls_of, play, told, with_config};
use crate::world::{Gate, TOKEN, google, header, json_of, with_keys, with_keys_and};

const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";
const NO_STICKING: (&str, &str) = ("GEMINATE__AFFINITY__UPLOADS_STICK_MS", "0");

/// The keys of the calls that went to `action`, in order.
fn keys_of(world: &World, action: &str) -> Vec<String> {
    let calls = world.calls().into_iter().filter(|call| call.action == action);
    calls.map(|call| call.credentials.iter().map(|it| it.value.clone()).collect::<Vec<_>>().join(" and ")).collect()
}

fn token_of(sub: &str) -> String {
    let claims = json!({"sub": sub, "exp": get_current_timestamp() + 600});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes())).unwrap()
}

#[tokio::test]
async fn an_upload_goes_on_without_a_credential_on_the_key_that_began_it() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[NO_STICKING]).await;
    for _ in 0..3 {
        let url = begun(&gate).await;
        let chunk = step(&gate, &url, "upload", 0).body("abcd").send().await.unwrap();
        assert_eq!(state(&chunk), (200, "active".to_owned()));
        let asked = step(&gate, &url, "query", 0).send().await.unwrap();
        assert_eq!((state(&asked).1.as_str(), header(&asked, "x-goog-upload-size-received").as_str()), ("active", "4"));
        let astray = step(&gate, &url, "upload", 9).body("efgh").send().await.unwrap();
        assert_eq!(state(&astray), (400, "active".to_owned()), "Google's own words, and where the upload stands");
        let file = finalize(&gate, &url, 4, "efgh").await;
        assert_eq!(file["sizeBytes"], "8");
        assert!(file["uri"].as_str().unwrap().starts_with("https://generativelanguage.googleapis.com/v1beta/files/"));
        let path = format!("/v1beta/{}", file["name"].as_str().unwrap());
        assert_eq!(gate.ask(Method::GET, &path).send().await.unwrap().status(), 200, "the file's owner is known");
    }
    let begun = keys_of(&world, "upload.start");
    assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), 3, "{begun:?}");
    assert_eq!(keys_of(&world, "upload.query"), begun);
    assert_eq!(keys_of(&world, "upload.chunk"), begun.iter().flat_map(|key| [key; 3]).cloned().collect::<Vec<_>>());
    gate.logged(|line| line["route"] == "upload.start" && line["client"] == "operator").await;
    gate.logged(|line| line["route"] == "upload.chunk" && line["client"] == "operator").await;
}

#[tokio::test]
async fn the_url_leads_to_the_gate_and_holds_no_key() {
    let settings = mock::Settings {
        upload_origin: Some("https://generativelanguage.googleapis.com".to_owned()),
        ..mock::Settings::with_keys([K1])
    };
    assert!(settings.upload_key, "Google's own URL holds the key");
    let (_world, origin) = google(settings).await;
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin)]).await;
    let url = begun(&gate).await;
    assert!(url.starts_with(&format!("http://{}{FILES}?", gate.data)), "{url}");
    assert!(!url.contains("key=") && url.ends_with("&upload_protocol=resumable"), "{url}");
    assert_eq!(finalize(&gate, &url, 0, "abcd").await["sizeBytes"], "4", "it goes to the configured origin alone");
    let forwarded = |gate: &Gate| {
        start(gate, FILES).header("x-forwarded-proto", "https").header("x-forwarded-host", "ai.example.com").send()
    };
    let url = url_of(&forwarded(&gate).await.unwrap());
    assert!(url.starts_with(&format!("http://{}/", gate.data)), "nobody is believed who is not trusted: {url}");

    let variables = |name, value| [("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", origin.as_str()), (name, value)];
    let gate = Gate::open(&variables("GEMINATE__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")).await;
    let url = url_of(&forwarded(&gate).await.unwrap());
    assert!(url.starts_with(&format!("https://ai.example.com{FILES}?")), "{url}");

    let gate = Gate::open(&variables("PUBLIC_URL", "https://public.example:8443/gemini/")).await;
    let url = url_of(&forwarded(&gate).await.unwrap());
    assert!(url.starts_with(&format!("https://public.example:8443/gemini{FILES}?")), "{url}");
}

#[tokio::test]
async fn over_http2_the_authority_is_the_host() {
    let (_world, gate) = with_keys(&[K1]).await;
    let http2 = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    let request = http2.post(format!("http://{}{FILES}", gate.data)).header("x-goog-api-key", TOKEN);
    let url = url_of(&begin(request).send().await.unwrap());
    assert!(url.starts_with(&format!("http://{}{FILES}?", gate.data)), "{url}");
    let last = http2.put(&url).header("x-goog-upload-command", "upload, finalize").header("x-goog-upload-offset", 0);
    let last = last.body("abcd").send().await.unwrap();
    assert_eq!(state(&last), (200, "final".to_owned()));
}

#[tokio::test]
async fn an_upload_survives_a_restart() {
    let (world, origin) = google(mock::Settings::with_keys([K1, K2, K3])).await;
    let dir = Arc::new(TempDir::new().unwrap());
    let keys = [K1, K2, K3].join(",");
    let variables = [("GEMINI_API_KEY", keys.as_str()), ("GEMINI_BASE_URL", &origin)];
    let mut gate = Gate::open_in(Arc::clone(&dir), &variables).await;
    let url = begun(&gate).await;
    assert_eq!(step(&gate, &url, "upload", 0).body("abcd").send().await.unwrap().status(), 200);
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
    let kept = std::fs::read_to_string(dir.path().join("data/affinity.json")).unwrap();
    assert!(kept.contains("uploads/") && !kept.contains(&id_of(&url)), "the id itself is on no disk");

    let gate = Gate::open_in(dir, &variables).await;
    let path = url.split_once(FILES).unwrap().1;
    let file = finalize(&gate, &format!("http://{}{FILES}{path}", gate.data), 4, "efgh").await;
    assert_eq!(file["sizeBytes"], "8");
    let keys = keys_of(&world, "upload.chunk");
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_cancelled_upload_takes_no_more_and_a_finished_one_can_be_asked_for() {
    let (_world, gate) = with_keys(&[K1, K2]).await;
    let url = begun(&gate).await;
    let cancelled = step(&gate, &url, "cancel", 0).send().await.unwrap();
    assert_eq!(state(&cancelled), (200, "cancelled".to_owned()));
    let late = step(&gate, &url, "upload", 0).body("abcd").send().await.unwrap();
    assert_eq!(state(&late), (400, "cancelled".to_owned()));
    let url = begun(&gate).await;
    finalize(&gate, &url, 0, "abcd").await;
    let again = step(&gate, &url, "query", 0).send().await.unwrap();
    assert_eq!(state(&again), (200, "final".to_owned()), "the last answer may have been lost on its way");
}

#[tokio::test]
async fn an_upload_that_nobody_knows_is_not_found_whoever_asks() {
    let (world, gate) = with_keys(&[K1]).await;
    let path = format!("{FILES}?upload_id=fake-upload-id");
    let url = format!("http://{}{path}", gate.data);
    let with_token = gate.ask(Method::POST, &path).header("x-goog-upload-command", "query");
    let twice = format!("{}&upload_id=fake-upload-id", begun(&gate).await);
    for request in [step(&gate, &url, "query", 0), with_token, step(&gate, &twice, "query", 0)] {
        let (status, refusal) = told(request.send().await.unwrap()).await;
        assert_eq!((status, refusal["error"]["status"].as_str()), (404, Some("NOT_FOUND")), "{refusal}");
        assert!(refusal["error"]["message"].as_str().unwrap().starts_with("no such upload"), "{refusal}");
        assert!(!refusal.to_string().contains("fake-upload-id"));
    }
    // An id lets nobody in elsewhere.
    let id = id_of(&begun(&gate).await);
    for path in ["/v1beta/models", "/v1beta/files", "/upload/v1beta/files"] {
        let known = gate.http.get(format!("http://{}{path}?upload_ids={id}", gate.data)).send().await.unwrap();
        assert_eq!(known.status(), 401, "{path}");
    }
    let elsewhere = gate.http.get(format!("http://{}/v1beta/files?upload_id={id}", gate.data)).send().await.unwrap();
    assert_eq!(elsewhere.status(), 401);
    assert!(world.calls().iter().all(|call| call.action == "upload.start"), "nothing of it reached Google");
}

#[tokio::test]
async fn a_client_goes_on_with_its_own_uploads_alone_where_clients_are_isolated() {
    let isolated = [("JWT_SECRET", JWT_SECRET), ("GEMINATE__AFFINITY__ISOLATE_CLIENTS", "true")];
    let (world, gate) = with_keys_and(&[K1, K2], &isolated).await;
    let (alice, bob) = (token_of("alice"), token_of("bob"));
    let request = gate.http.post(format!("http://{}{FILES}", gate.data)).bearer_auth(&alice);
    let url = url_of(&begin(request).send().await.unwrap());
    let before = world.calls().len();
    let foreign = step(&gate, &url, "upload", 0).bearer_auth(&bob).body("mine").send().await.unwrap();
    assert_eq!((foreign.status().as_u16(), world.calls().len()), (404, before));
    for own in [None, Some(&alice), Some(&TOKEN.to_owned())] {
        let request = step(&gate, &url, "query", 0);
        let request = own.iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        assert_eq!(state(&request.send().await.unwrap()), (200, "active".to_owned()));
    }
    let name = finalize(&gate, &url, 0, "abcd").await["name"].as_str().unwrap().to_owned();
    let get = async |token: &str| {
        let request = gate.http.get(format!("http://{}/v1beta/{name}", gate.data)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((get(&alice).await, get(&bob).await), (200, 404), "what came of it is alice's");
    gate.logged(|line| line["route"] == "upload.chunk" && line["client"] == "alice" && line["status"] == 200).await;
}

#[tokio::test]
async fn the_id_of_an_upload_opens_no_other_path_and_begins_nothing() {
    let (world, gate) = with_keys_and(&[K1], &[("JWT_SECRET", JWT_SECRET)]).await;
    let store = json_of(gate.post("/v1beta/fileSearchStores", &json!({})).await).await;
    let into = format!("/upload/v1beta/{}:uploadToFileSearchStore", store["name"].as_str().unwrap());
    let request = gate.http.post(format!("http://{}{FILES}", gate.data)).bearer_auth(token_of("alice"));
    let url = url_of(&begin(request).send().await.unwrap());
    let id = id_of(&url);
    let before = world.calls().len();
    for path in [into.as_str(), "/upload/v1/files", "/upload/v1beta/files/", "/upload/v1beta/f%69les"] {
        let url = format!("http://{}{path}?upload_id={id}", gate.data);
        for request in [step(&gate, &url, "upload", 0), begin(gate.http.post(&url))] {
            let status = request.send().await.unwrap().status().as_u16();
            assert!(matches!(status, 400 | 404), "{path} {status}");
        }
    }
    for request in [
        begin(gate.http.post(&url)),
        step(&gate, &url, "start", 0),
        step(&gate, &url, "upload", 0).header("x-goog-upload-protocol", "raw"),
        step(&gate, &format!("{url}&uploadType=multipart"), "upload", 0),
    ] {
        let (status, json) = told(request.send().await.unwrap()).await;
        assert_eq!(status, 400, "{json}");
        assert!(json["error"]["message"].as_str().unwrap().contains("upload_id"), "{json}");
    }
    assert_eq!(world.calls().len(), before, "nothing of it went up with a key");
    play(&world, &["header=x-goog-upload-url:https://g.example/upload/v1beta/files?key={key}&upload_id=x"]);
    let chunk = step(&gate, &url, "upload", 0).body("ab").send().await.unwrap();
    assert_eq!((chunk.status().as_u16(), header(&chunk, "x-goog-upload-url").as_str()), (200, ""));
    world.clear_scripts();
    assert_eq!(finalize(&gate, &url, 2, "cd").await["sizeBytes"], "4", "the upload itself goes on");
}

#[tokio::test]
async fn parts_count_against_the_rate_of_who_began() {
    let (_world, gate) = with_keys_and(&[K1], &[("RATE_LIMIT_PER_MINUTE", "2")]).await;
    let url = begun(&gate).await;
    assert_eq!(step(&gate, &url, "query", 0).send().await.unwrap().status(), 200);
    assert_eq!(step(&gate, &url, "query", 0).send().await.unwrap().status(), 429);
}

#[tokio::test]
async fn a_dead_key_at_the_beginning_is_passed_over_and_in_the_middle_it_is_told() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=api_key_invalid")]);
    for _ in 0..2 {
        upload(&gate, "abcd").await;
    }
    assert_eq!(calls_of(&world, K1).len(), 1);
    let url = begun(&gate).await;
    world.clear_scripts();
    play(&world, &["action=upload.chunk fault=api_key_invalid"]);
    let (status, refusal) = told(step(&gate, &url, "upload", 0).body("abcd").send().await.unwrap()).await;
    assert_eq!(status, 503, "{refusal}");
    assert!(!refusal.to_string().contains(&id_of(&url)), "{refusal}");
    let (again, _) = told(step(&gate, &url, "query", 0).send().await.unwrap()).await;
    assert_eq!((again, calls_of(&world, K2).last().unwrap().action.as_str()), (503, "upload.chunk"));
}

#[tokio::test]
async fn an_upload_goes_on_while_its_key_rests() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("GEMINATE__POOL__MAX_WAIT_MS", "0")]).await;
    let url = begun(&gate).await;
    play(&world, &["action=upload.start fault=quota_day", "action=upload.raw fault=quota_day"]);
    assert_eq!(start(&gate, FILES).send().await.unwrap().status(), 429, "every key rests");
    assert_eq!(finalize(&gate, &url, 0, "abcd").await["sizeBytes"], "4");
}

#[tokio::test]
async fn a_clients_files_go_to_one_project_until_it_cools() {
    let config = "[[keys]]\nkey = \"fake-key-0001\"\nproject = \"a\"\n[[keys]]\nkey = \"fake-key-0002\"\nproject = \"a\"\n\
                  [[keys]]\nkey = \"fake-key-0003\"\nproject = \"b\"\n";
    let keys = ["fake-key-0001@a", "fake-key-0002@a", "fake-key-0003@b"];
    let (world, gate) = with_config(&keys, config, &[]).await;
    let projects = |world: &World| {
        let calls = world.calls().into_iter().filter(|call| call.action.starts_with("upload.") && call.status == 200);
        calls.filter_map(|call| call.project).collect::<BTreeSet<_>>()
    };
    for _ in 0..3 {
        upload(&gate, "abcd").await;
        let raw = gate.ask(Method::POST, FILES).header("x-goog-upload-protocol", "raw").body("abcd");
        assert_eq!(raw.send().await.unwrap().status(), 200);
    }
    let first = projects(&world);
    assert_eq!(first.len(), 1, "{first:?}");
    let home = first.into_iter().next().unwrap();
    world.reset();
    play(&world, &[&format!("project={home} action=generateContent fault=quota_day")]);
    while calls_of(&world, if home == "a" { K1 } else { K3 }).is_empty() {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    for _ in 0..4 {
        upload(&gate, "abcd").await;
    }
    assert_eq!(projects(&world).into_iter().collect::<Vec<_>>(), [if home == "a" { "b" } else { "a" }]);
}

#[tokio::test]
async fn a_file_in_one_request_is_taken_by_any_key_and_its_owner_known() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[NO_STICKING]).await;
    play(&world, &[&format!("key={K1} fault=leaked")]);
    let parts = "--b\r\ncontent-type: application/json\r\n\r\n{\"file\":{\"displayName\":\"m\"}}\r\n\
                 --b\r\ncontent-type: text/plain\r\n\r\n{\"fileUri\": \"files/none\"}\r\n--b--\r\n";
    for n in 0..6 {
        let request = gate.ask(Method::POST, FILES);
        let request = if n % 2 == 0 {
            request.header("x-goog-upload-protocol", "raw").header("content-type", "text/plain").body("raw bytes")
        } else {
            let kind = "multipart/related; boundary=b";
            request.header("x-goog-upload-protocol", "multipart").header("content-type", kind).body(parts)
        };
        let answer = request.send().await.unwrap();
        assert_eq!(state(&answer), (200, "final".to_owned()), "a dead key is passed over");
        let name = json_of(answer).await["file"]["name"].as_str().unwrap().to_owned();
        let path = format!("/v1beta/{name}");
        let before = calls_of(&world, K2).len() + calls_of(&world, K3).len();
        assert_eq!(gate.ask(Method::GET, &path).send().await.unwrap().status(), 200);
        assert_eq!(calls_of(&world, K2).len() + calls_of(&world, K3).len(), before + 1, "the owner was asked at once");
    }
}

#[tokio::test]
async fn a_document_goes_to_its_stores_project() {
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[NO_STICKING]).await;
    let made = gate.post("/v1beta/fileSearchStores", &json!({"displayName": "s"})).await;
    let store = json_of(made).await["name"].as_str().unwrap().to_owned();
    let owner = keys_of(&world, "fileSearchStores.create").remove(0);
    for _ in 0..3 {
        let path = format!("/upload/v1beta/{store}:uploadToFileSearchStore");
        let url = url_of(&start(&gate, &path).send().await.unwrap());
        let last = step(&gate, &url, "upload, finalize", 0).body("abcd").send().await.unwrap();
        assert_eq!(state(&last), (200, "final".to_owned()));
    }
    for action in ["upload.start", "upload.chunk"] {
        assert_eq!(keys_of(&world, action), [&*owner; 3], "{action}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_followed_through_the_gate_is_not_handed_out() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["header=x-goog-upload-url:https://elsewhere.example/upload/v1beta/files?session=1 fault=delay:1ms"]);
    let answer = start(&gate, FILES).send().await.unwrap();
    assert_eq!(header(&answer, "x-goog-upload-url"), "");
    let (status, refusal) = told(answer).await;
    assert_eq!((status, refusal["error"]["status"].as_str()), (502, Some("UNAVAILABLE")), "{refusal}");
}

#[tokio::test]
async fn no_log_tells_an_upload_id() {
    let trace = ("LOG_LEVEL", "TRACE");
    let (world, mut gate) = with_keys_and(&[K1, K2], &[trace, ("GEMINATE__POOL__MAX_WAIT_MS", "0")]).await;
    let url = begun(&gate).await;
    for fault in ["internal", "overloaded", "quota_day", "status:404", "cut:head", "api_key_invalid"] {
        world.clear_scripts();
        play(&world, &[&format!("action=upload.* fault={fault}")]);
        let said = step(&gate, &url, "upload", 0).body("abcd").send().await.unwrap().text().await.unwrap();
        assert!(!said.contains(&id_of(&url)), "{fault}: {said}");
    }
    for path in ["/monitor/full", "/monitor/errors", "/monitor/metrics"] {
        assert!(!gate.monitor(path).await.to_string().contains(&id_of(&url)), "{path}");
    }
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
    let log = gate.log();
    assert!(log.contains("upload.chunk") && !log.contains(&id_of(&url)));
}
