//! Lists of what lives in projects: the whole pool's, page by page, as the SDKs read them.

use std::sync::Arc;

use geminate::mock::{Settings, World};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sender::file;
use crate::stage::{K1, K2, K3, K4, play, told};
use crate::world::{Gate, TOKEN, google, header, json_of};

/// So many projects.
async fn with_projects(count: usize) -> (Arc<World>, Gate, String, Vec<String>) {
    let keys: Vec<String> = (1..=count).map(|n| format!("fake-key-{n:04}")).collect();
    let (world, origin) = google(Settings::with_keys(keys.iter().map(String::as_str))).await;
    let list = keys.join(",");
    let gate = Gate::open(&[("GEMINI_API_KEY", &list), ("GEMINI_BASE_URL", &origin)]).await;
    (world, gate, origin, keys)
}

/// All names of a list, page by page.
async fn listed(gate: &Gate, path: &str, field: &str, size: usize) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let query = if token.is_empty() { String::new() } else { format!("&pageToken={token}") };
        let answer = gate.ask(Method::GET, &format!("{path}?pageSize={size}{query}")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let page = json_of(answer).await;
        let entries = page[field].as_array().cloned().unwrap_or_default();
        assert!(entries.len() <= size, "{page}");
        assert!(
            !entries.is_empty() || pages == 0 && page["nextPageToken"].is_null(),
            "no SDK reads such a page: {page}"
        );
        pages += 1;
        names.extend(entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return (names, pages),
        }
    }
}

#[tokio::test]
async fn a_list_shows_the_whole_pool_and_its_pages_join() {
    let (_world, origin) = google(Settings::with_keys([K1, K2, K3])).await;
    let keys = format!("{K1},{K2},{K3}");
    let gate = Gate::open(&[("GEMINI_API_KEY", &keys), ("GEMINI_BASE_URL", &origin)]).await;
    assert_eq!(listed(&gate, "/v1beta/files", "files", 10).await, (Vec::new(), 1));
    let mut made = Vec::new();
    for key in [K1, K1, K1, K2, K3, K3, K3] {
        made.push(file(&origin, ("x-goog-api-key", key), "text").await);
    }
    made.sort_unstable();
    for (size, most) in [(100, 1), (7, 1), (3, 4), (2, 5), (1, 8)] {
        let (mut names, pages) = listed(&gate, "/v1beta/files", "files", size).await;
        names.sort_unstable();
        assert_eq!(names, made, "pages of {size}");
        assert!(pages <= most, "{pages} pages of {size}");
    }
    let answer = gate.ask(Method::GET, "/v1beta/files?pageToken=nonsense").send().await.unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_list_without_one_project_says_that_it_is_a_part() {
    let (world, origin) = google(Settings::with_keys([K1, K2])).await;
    let keys = format!("{K1},{K2}");
    let gate = Gate::open(&[("GEMINI_API_KEY", &keys), ("GEMINI_BASE_URL", &origin)]).await;
    let name = file(&origin, ("x-goog-api-key", K1), "text").await;
    play(&world, &[&format!("key={K2} fault=api_key_invalid")]);
    let answer = gate.ask(Method::GET, "/v1beta/files").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-partial").as_str()), (200, "1"));
    assert_eq!(json_of(answer).await["files"][0]["name"], name.as_str());
    play(&world, &["fault=api_key_invalid"]);
    let answer = gate.ask(Method::GET, "/v1beta/files").send().await.unwrap();
    assert_eq!(answer.status(), 503, "nobody is left to ask");
}

#[tokio::test]
async fn a_list_goes_on_past_projects_whose_last_key_was_taken_away() {
    let keys = [K1, K2, K3, K4];
    let (_world, origin) = google(Settings::with_keys(keys)).await;
    let dir = Arc::new(TempDir::new().unwrap());
    let configure = |keys: &[&str]| {
        let lines: Vec<String> = keys.iter().map(|key| format!("[[keys]]\nkey = \"{key}\"\n")).collect();
        std::fs::write(dir.path().join("config.toml"), lines.concat()).unwrap();
    };
    configure(&keys);
    let gate = Gate::open_in(Arc::clone(&dir), &[("GEMINI_BASE_URL", &origin)]).await;
    let mut names = Vec::new();
    for key in keys {
        names.push(file(&origin, ("x-goog-api-key", key), "text").await);
    }
    let page = async |query: &str| {
        let answer = gate.ask(Method::GET, &format!("/v1beta/files?{query}")).send().await.unwrap();
        let partial = header(&answer, "x-geminate-partial");
        let (status, page) = told(answer).await;
        assert_eq!((status, partial.as_str()), (200, ""), "{page}");
        page
    };
    let token = page("pageSize=1").await["nextPageToken"].as_str().unwrap().to_owned();
    configure(&[K2, K4]);
    gate.logged(|line| line["message"] == "took up a new configuration" && line["keys"] == 2).await;
    assert_eq!(page("").await["files"].as_array().unwrap().len(), 2);
    assert_eq!(listed(&gate, "/v1beta/files", "files", 1).await.0, [names[1].as_str(), &names[3]]);
    configure(&[K4]);
    gate.logged(|line| line["message"] == "took up a new configuration" && line["keys"] == 1).await;
    let rest = page(&format!("pageSize=1&pageToken={token}")).await;
    assert_eq!(rest["files"][0]["name"], names[3].as_str(), "a page that was begun before goes on");
}

#[tokio::test]
async fn a_page_that_ends_with_the_last_entry_has_no_token() {
    let (world, gate, origin, keys) = with_projects(3).await;
    for owner in &keys {
        for _ in 0..4 {
            file(&origin, ("x-goog-api-key", owner), "text").await;
        }
        let (made, _) = listed(&gate, "/v1beta/files", "files", 100).await;
        for size in [1, 2, 4, made.len()] {
            let (names, pages) = listed(&gate, "/v1beta/files", "files", size).await;
            assert_eq!((names.len(), pages), (made.len(), made.len() / size), "pages of {size}");
        }
    }
    world.reset();
    listed(&gate, "/v1beta/files", "files", 100).await;
    assert_eq!(world.calls().len(), 3, "a few projects are asked once each");
}

#[tokio::test]
async fn a_list_of_many_projects_finds_the_last_one_and_shows_nothing_where_there_is_nothing() {
    let (_world, gate, origin, keys) = with_projects(40).await;
    for collection in ["files", "cachedContents", "batches", "fileSearchStores"] {
        assert_eq!(listed(&gate, &format!("/v1beta/{collection}"), collection, 50).await, (Vec::new(), 1));
    }
    let openai = async |query: &str| {
        let request = gate.http.get(format!("http://{}/v1/files{query}", gate.data)).bearer_auth(TOKEN);
        json_of(request.send().await.unwrap()).await
    };
    assert_eq!(
        openai("").await,
        json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false})
    );
    let last = file(&origin, ("x-goog-api-key", &keys[39]), "text").await;
    let page = openai("?limit=1").await;
    assert_eq!((&page["last_id"], &page["has_more"]), (&json!(last), &json!(false)), "{page}");
    assert_eq!(listed(&gate, "/v1beta/files", "files", 50).await, (vec![last.clone()], 1));
    let first = file(&origin, ("x-goog-api-key", &keys[2]), "text").await;
    let page = openai("?limit=1").await;
    assert_eq!((&page["last_id"], &page["has_more"]), (&json!(first), &json!(true)), "{page}");
    let page = openai(&format!("?limit=1&after={first}")).await;
    assert_eq!((&page["last_id"], &page["has_more"]), (&json!(last), &json!(false)), "{page}");
    assert_eq!(listed(&gate, "/v1beta/files", "files", 1).await, (vec![first, last], 2));
}

#[tokio::test]
async fn a_project_that_cannot_say_what_it_has_makes_no_token() {
    let (world, gate, origin, keys) = with_projects(3).await;
    file(&origin, ("x-goog-api-key", &keys[0]), "text").await;
    play(&world, &[&format!("key={K2} fault=api_key_invalid")]);
    let answer = gate.ask(Method::GET, "/v1beta/files?pageSize=1").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-partial").as_str()), (200, "1"));
    assert_eq!(json_of(answer).await["nextPageToken"], Value::Null);
}

#[tokio::test]
async fn a_project_that_says_nothing_holds_up_a_list_no_longer_than_its_time_and_hides_no_other() {
    let keys = [K1, K2, K3];
    let (world, origin) = google(Settings::with_keys(keys)).await;
    let list = keys.join(",");
    let variables = [("GEMINI_API_KEY", list.as_str()), ("GEMINI_BASE_URL", &origin), ("REQUEST_TIMEOUT", "1500")];
    let gate = Gate::open(&variables).await;
    file(&origin, ("x-goog-api-key", K1), "text").await;
    play(&world, &[&format!("key={K2} fault=stall")]);
    for last in [false, true] {
        if last {
            file(&origin, ("x-goog-api-key", K3), "text").await;
        }
        let answer = gate.ask(Method::GET, "/v1beta/files?pageSize=1").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-partial").as_str()), (200, "1"));
        let page = json_of(answer).await;
        assert_eq!((page["files"].as_array().unwrap().len(), page["nextPageToken"].is_string()), (1, last), "{page}");
    }
}
