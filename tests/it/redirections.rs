//! Redirections: Google leads a download on, the client follows, and nothing but a path of this gateway is told.

use geminate::mock::World;
use http::Method;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::stage::{K1, K2, K3, play, states};
use crate::world::{Gate, TOKEN, header, json_of, with_keys};

/// A client that shows where it is led.
fn standing() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(Policy::none()).build().unwrap()
}

/// Asks as the operator, and stays.
async fn ask(gate: &Gate, path: &str) -> reqwest::Response {
    let request = standing().get(format!("http://{}{path}", gate.data)).header("x-goog-api-key", TOKEN);
    request.send().await.unwrap()
}

/// A film that was made: the path at which its operation says it can be fetched.
async fn film(gate: &Gate) -> String {
    let asked = json!({"instances": [{"prompt": "a cat"}]});
    let begun = json_of(gate.post("/v1beta/models/veo-3.1:predictLongRunning", &asked).await).await;
    let path = format!("/v1beta/{}", begun["name"].as_str().unwrap());
    let done = json_of(gate.ask(Method::GET, &path).send().await.unwrap()).await;
    let uri = done["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"].as_str().unwrap();
    uri.strip_prefix("https://generativelanguage.googleapis.com").unwrap().to_owned()
}

/// The projects that downloads were asked of since `from`.
fn projects(world: &World, from: usize) -> Vec<String> {
    let calls = world.calls().into_iter().skip(from).filter(|call| call.action == "files.download");
    calls.map(|call| call.project.unwrap()).collect()
}

#[tokio::test]
async fn a_film_is_fetched_by_whoever_follows_and_each_step_finds_its_project() {
    let (world, gate) = with_keys(&["fake-key-0001@a", "fake-key-0002@b", "fake-key-0003@c"]).await;
    for _ in 0..3 {
        let path = film(&gate).await;
        let from = world.calls().len();
        let fetched = gate.ask(Method::GET, &path).send().await.unwrap();
        let came = fetched.url().to_string();
        assert_eq!((fetched.status().as_u16(), header(&fetched, "content-type").as_str()), (200, "video/mp4"));
        assert_eq!(came, format!("http://{}/download{path}", gate.data));
        let projects = projects(&world, from);
        assert!(projects.len() == 2 && projects[0] == projects[1], "{projects:?}");
    }
}

#[tokio::test]
async fn a_redirection_is_one_attempt_and_no_fault_of_the_key_s_whatever_page_comes_with_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let path = film(&gate).await;
    let before = world.calls().len();
    let led = ask(&gate, &path).await;
    assert_eq!((led.status().as_u16(), header(&led, "x-geminate-attempts").as_str()), (302, "1"));
    assert_eq!(header(&led, "location"), format!("../../download{path}"));
    assert!(led.text().await.unwrap().contains("Moved"), "the page is Google's");
    assert_eq!(world.calls().len(), before + 1);
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
    let keys = gate.monitor("/monitor/keys").await;
    let keys = keys["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key["last_error"].is_null() && key["health"] == keys[0]["health"]), "{keys:?}");
}

#[tokio::test]
async fn who_is_known_by_the_query_alone_can_follow() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    let path = film(&gate).await;
    let url = format!("http://{}{path}&key={TOKEN}", gate.data);
    let fetched = gate.http.get(url).send().await.unwrap();
    assert_eq!((fetched.status().as_u16(), header(&fetched, "content-type").as_str()), (200, "video/mp4"));
    assert!(world.calls().iter().all(|call| !call.path_and_query.contains(TOKEN)));
}

#[tokio::test]
async fn the_one_place_that_is_told_is_this_gateway_without_google_s_credentials() {
    let (world, gate) = with_keys(&[K1]).await;
    ask(&gate, "/v1beta/models").await;
    let origin = world.calls()[0].headers["host"].to_str().unwrap().to_owned();
    for (location, told) in [
        (
            format!("http://{origin}/download/v1beta/files/f?alt=media&key={{key}}&a=1"),
            "../../download/v1beta/files/f?alt=media&a=1",
        ),
        ("/v1beta/files/f?access_token={key}".to_owned(), "../../v1beta/files/f"),
        ("https://generativelanguage.googleapis.com/v1beta/files/f".to_owned(), "../../v1beta/files/f"),
        ("https://elsewhere.example/v1beta/files/f?key={key}".to_owned(), ""),
        (format!("https://{origin}/v1beta/files/f"), ""),
        ("/monitor/keys".to_owned(), ""),
        ("/v1beta/a%2f..%2fb".to_owned(), ""),
    ] {
        for (status, body) in [(302, "{}"), (307, ""), (308, "<html>")] {
            if told.is_empty() && body == "<html>" {
                continue;
            }
            world.clear_scripts();
            play(&world, &[&format!("path=files/x fault=status:{status} header=location:{location} body={body}")]);
            let led = ask(&gate, "/v1beta/files/x").await;
            assert_eq!(
                (i32::from(led.status().as_u16()), header(&led, "location").as_str()),
                (status, told),
                "{location}"
            );
            assert!(!format!("{:?}", led.headers()).contains(K1));
            assert!(!led.text().await.unwrap().contains(K1));
        }
        play(&world, &[&format!("path=files/y fault=status:201 header=location:{location}")]);
        assert_eq!(header(&ask(&gate, "/v1beta/files/y").await, "location"), "", "a redirection alone leads on");
    }
}

#[tokio::test]
async fn a_page_that_leads_elsewhere_is_the_edge_s_and_another_key_is_asked() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let sorry = "https://www.google.com/sorry/index?continue=x";
    play(&world, &[&format!("action=generateContent times=1 fault=status:302 header=location:{sorry} body=<html>")]);
    let answer = gate.generate("hi").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()), (200, "2"));
}
