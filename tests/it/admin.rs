//! The admin API refuses what is not the operator's, and says why; what it does takes effect at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{K1, K2, play, told, with_config};
use crate::world::{Gate, TOKEN, header, json_of, with_keys, with_keys_and};

/// The operator's token of these tests.
pub(crate) const ADMIN: &str = "fake-token-admin";

/// A gate with an admin token.
pub(crate) async fn guarded() -> Gate {
    with_keys_and(&[K1, K2], &[("ADMIN_TOKEN", ADMIN)]).await.1
}

/// A request to the admin listener, without a credential.
pub(crate) fn bare(gate: &Gate, method: Method, path: &str) -> reqwest::RequestBuilder {
    gate.http.request(method, format!("http://{}{path}", gate.admin))
}

/// The same with the admin token.
pub(crate) fn admin(gate: &Gate, method: Method, path: &str) -> reqwest::RequestBuilder {
    bare(gate, method, path).bearer_auth(ADMIN)
}

/// The same with a body of JSON.
pub(crate) fn sent(gate: &Gate, method: Method, path: &str, body: &str) -> reqwest::RequestBuilder {
    admin(gate, method, path).header("content-type", "application/json").body(body.to_owned())
}

/// An answer's status and its problem, which it must be.
pub(crate) async fn problem(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let (status, problem) = told(answer).await;
    assert_eq!((&problem["status"], &problem["type"]), (&status.into(), &"about:blank".into()));
    (status, problem)
}

#[tokio::test]
async fn the_admin_token_opens_the_api_in_both_forms_and_nothing_else_does() {
    let gate = guarded().await;
    for path in ["/api/overview", "/api/streams", "/api/nothing", "/api", "/debug/pprof/profile", "/debug/x"] {
        let answer = bare(&gate, Method::GET, path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "www-authenticate").as_str()), (401, "Bearer"), "{path}");
    }
    for (name, value, status) in [
        ("authorization", format!("Bearer {ADMIN}"), 200),
        ("x-api-key", ADMIN.to_owned(), 200),
        ("authorization", format!("Bearer {TOKEN}"), 401),
        ("x-api-key", format!("{ADMIN}x"), 401),
        ("cookie", format!("geminate_session={ADMIN}"), 401),
    ] {
        let answer = bare(&gate, Method::GET, "/api/overview").header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
    }
    let in_query = bare(&gate, Method::GET, &format!("/api/overview?key={ADMIN}")).send().await.unwrap();
    assert_eq!(in_query.status(), 401);
    // The data listener has none of it: there it is a path of Google's, or nobody's.
    let data = gate.http.get(format!("http://{}/api/overview", gate.data)).bearer_auth(ADMIN).send().await.unwrap();
    assert!(data.status().is_client_error(), "{}", data.status());
}

#[tokio::test]
async fn a_session_opens_what_the_token_does_until_it_is_closed() {
    let gate = guarded().await;
    let look = |cookie: String| bare(&gate, Method::GET, "/api/session").header("cookie", cookie);
    let nobody = json_of(look(String::new()).send().await.unwrap()).await;
    assert_eq!((&nobody["authenticated"], &nobody["token_needed"]), (&false.into(), &true.into()));
    let login = |token: &str| {
        let body = json!({ "token": token }).to_string();
        bare(&gate, Method::POST, "/api/session").header("content-type", "application/json").body(body)
    };
    assert_eq!(problem(login("wrong")).await.0, 401);
    let answer = login(ADMIN).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let set = header(&answer, "set-cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Secure"), "it came in the clear: {set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    assert!(!set.contains(ADMIN));
    for path in ["/api/overview", "/monitor/keys", "/monitor/full"] {
        let of = |cookie: &str| bare(&gate, Method::GET, path).header("cookie", cookie);
        assert_eq!(of("other=1").send().await.unwrap().status(), 401, "{path}");
        assert_eq!(of(&format!("other=1; {cookie}")).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(json_of(look(cookie.clone()).send().await.unwrap()).await["authenticated"], true);
    let closed = bare(&gate, Method::DELETE, "/api/session").header("cookie", &cookie).send().await.unwrap();
    assert_eq!((closed.status().as_u16(), header(&closed, "set-cookie").contains("Max-Age=0")), (204, true));
    assert_eq!(bare(&gate, Method::GET, "/api/overview").header("cookie", &cookie).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn wrong_tokens_are_slowed_and_sessions_are_not() {
    let gate = guarded().await;
    let login = json!({ "token": ADMIN }).to_string();
    let answer = bare(&gate, Method::POST, "/api/session").header("content-type", "application/json").body(login);
    let set = header(&answer.send().await.unwrap(), "set-cookie");
    let cookie = set.split(';').next().unwrap();
    let guess = || bare(&gate, Method::GET, "/api/overview").bearer_auth("guess").send();
    let mut statuses = Vec::new();
    for _ in 0..13 {
        statuses.push(guess().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses[..11], [401; 11], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    let slowed = admin(&gate, Method::GET, "/api/overview").send().await.unwrap();
    if slowed.status() == 429 {
        let wait: u64 = header(&slowed, "retry-after").parse().unwrap();
        assert!((1..=6).contains(&wait), "{wait}");
    }
    assert_eq!(bare(&gate, Method::GET, "/api/overview").header("cookie", cookie).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_write_nor_read_nor_take_our_name() {
    let (_world, gate) = with_keys(&[K1]).await;
    let own = format!("http://{}", gate.admin);
    // No token is set: the address alone keeps strangers out.
    assert_eq!(bare(&gate, Method::GET, "/api/overview").send().await.unwrap().status(), 200);
    for (method, path, name, value, status) in [
        (Method::POST, "/api/drain", "origin", "https://evil.example", 403),
        (Method::POST, "/api/drain", "origin", "null", 403),
        (Method::POST, "/api/drain", "sec-fetch-site", "cross-site", 403),
        (Method::POST, "/api/drain", "sec-fetch-site", "same-site", 403),
        (Method::PUT, "/api/log-level", "sec-fetch-site", "cross-site", 403),
        (Method::DELETE, "/api/session", "origin", "https://evil.example", 403),
        (Method::DELETE, "/api/session", "origin", own.as_str(), 204),
        (Method::DELETE, "/api/session", "sec-fetch-site", "same-origin", 204),
        (Method::GET, "/api/overview", "sec-fetch-site", "cross-site", 403),
        (Method::GET, "/api/overview", "sec-fetch-site", "same-origin", 200),
        (Method::GET, "/api/overview", "host", "evil.example", 403),
        (Method::GET, "/monitor/keys", "host", "evil.example", 403),
        (Method::GET, "/metrics", "host", "evil.example", 403),
        (Method::GET, "/healthz", "host", "evil.example", 200),
        (Method::GET, "/api/overview", "host", "localhost:9090", 200),
    ] {
        let answer = bare(&gate, method.clone(), path).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path} {name}: {value}");
    }
    assert_eq!(json_of(bare(&gate, Method::GET, "/api/overview").send().await.unwrap()).await["draining"], false);
}

#[tokio::test]
async fn beyond_loopback_nothing_of_the_api_answers_without_an_admin_token() {
    let (_world, gate) = with_keys_and(&[K1], &[("ADMIN_HOST", "0.0.0.0")]).await;
    let port = gate.admin.port();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let answer = gate.http.get(url("/api/overview")).bearer_auth(TOKEN).send().await.unwrap();
    let (status, problem) = told(answer).await;
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("ADMIN_TOKEN"), "{problem}");
    let login = gate.http.post(url("/api/session")).header("content-type", "application/json");
    assert_eq!(login.body(json!({ "token": TOKEN }).to_string()).send().await.unwrap().status(), 403);
    assert_eq!(gate.http.get(url("/monitor/keys")).bearer_auth(TOKEN).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_names_what_is_wrong() {
    let gate = guarded().await;
    let put = |body: &str| sent(&gate, Method::PUT, "/api/log-level", body);
    assert_eq!(problem(admin(&gate, Method::GET, "/api/nothing")).await.0, 404);
    assert_eq!(problem(admin(&gate, Method::GET, "/nothing")).await.0, 404);
    let answer = admin(&gate, Method::PATCH, "/api/log-level").send().await.unwrap();
    assert!(header(&answer, "allow").contains("PUT"), "{:?}", answer.headers());
    assert_eq!(problem(admin(&gate, Method::PATCH, "/api/log-level")).await.0, 405);
    assert_eq!(problem(put(r#"{"filter":"#)).await.0, 400);
    assert_eq!(problem(put("")).await.0, 400);
    let bare_body = admin(&gate, Method::PUT, "/api/log-level").body(r#"{"filter":"info"}"#);
    assert_eq!(problem(bare_body).await.0, 415);
    let long = format!(r#"{{"filter":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(problem(put(&long)).await.0, 413);
    for (body, field) in [
        (r#"{"filter":"info","colour":"red"}"#, "colour"),
        (r#"{"filter":7}"#, "filter"),
        (r#"{"filter":"LOUD"}"#, "filter"),
        ("{}", "filter"),
    ] {
        let (status, told) = problem(put(body)).await;
        assert_eq!((status, &told["errors"][0]["field"]), (422, &field.into()), "{body}: {told}");
    }
    assert_eq!(problem(admin(&gate, Method::GET, "/api/requests/%ff")).await.0, 404);
    let (status, told) = problem(admin(&gate, Method::GET, "/api/streams?limit=many")).await;
    assert_eq!((status, &told["errors"][0]["field"]), (422, &"limit".into()), "{told}");
}

#[tokio::test]
async fn the_log_says_more_from_the_moment_that_it_is_told_to() {
    let (_world, gate) =
        with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN), ("LOG_LEVEL", "INFO,geminate::calls=OFF")]).await;
    let calls = || gate.log().matches(r#""message":"served""#).count();
    let look = admin(&gate, Method::GET, "/api/log-level").send().await.unwrap();
    assert_eq!(json_of(look).await["filter"], "INFO,geminate::calls=OFF");
    gate.generate("quiet").await.text().await.unwrap();
    let set = sent(&gate, Method::PUT, "/api/log-level", r#"{"filter":"info"}"#).send().await.unwrap();
    assert_eq!(told(set).await, (200, json!({"filter": "info"})));
    gate.logged(|line| line["filter"] == "info").await;
    assert_eq!(calls(), 0);
    gate.generate("loud").await.text().await.unwrap();
    gate.logged(|line| line["message"] == "served").await;
}

#[tokio::test]
async fn a_drain_ends_the_process_as_sigterm_does() {
    let (_world, mut gate) = with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN)]).await;
    for _ in 0..2 {
        let answer = admin(&gate, Method::POST, "/api/drain").send().await;
        // The second word may find nobody left; one that is heard does not cut what the first one lets finish.
        assert!(answer.map_or(true, |answer| answer.status() == 202));
    }
    assert_eq!(gate.exited().await, Some(0));
}

#[tokio::test]
async fn the_overview_says_what_is_wrong_in_a_word_with_its_numbers() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("ADMIN_TOKEN", ADMIN)]).await;
    let look = || async { json_of(admin(&gate, Method::GET, "/api/overview").send().await.unwrap()).await };
    let well = look().await;
    assert_eq!((&well["verdict"]["state"], &well["verdict"]["code"]), (&"ok".into(), &"all_well".into()), "{well}");
    assert_eq!((&well["keys"]["total"], &well["keys"]["usable"]), (&2.into(), &2.into()));
    play(&world, &[&format!("key={K1} fault=api_key_invalid")]);
    for _ in 0..4 {
        gate.generate("hello").await.text().await.unwrap();
    }
    let out = look().await;
    assert_eq!((&out["verdict"]["code"], &out["keys"]["dead"]), (&"keys_out".into(), &1.into()), "{out}");
    assert_eq!((&out["minute"]["requests"], &out["waste"]["wasted_attempts"]), (&4.into(), &1.into()), "{out}");
    assert!(out["tokens"]["prompt_tokens"].as_u64().unwrap() > 0);
    assert!(!out.to_string().contains("fake-key"), "{out}");
}

#[tokio::test]
async fn another_admin_token_ends_what_the_old_one_opened() {
    let file = |token: &str| format!("[auth]\nadmin_token = \"{token}\"\n");
    let (_world, gate) = with_config(&[K1], &file("fake-token-first"), &[("GEMINI_API_KEY", K1)]).await;
    let look = |token: &str| bare(&gate, Method::GET, "/api/overview").bearer_auth(token).send();
    let login = json!({ "token": "fake-token-first" }).to_string();
    let login = bare(&gate, Method::POST, "/api/session").header("content-type", "application/json").body(login);
    let set = header(&login.send().await.unwrap(), "set-cookie");
    let in_session = |path: &str| {
        let cookie = set.split(';').next().unwrap().to_owned();
        bare(&gate, Method::GET, path).header("cookie", cookie).send()
    };
    let mut live = in_session("/api/live").await.unwrap();
    assert!(live.chunk().await.unwrap().is_some());
    std::fs::write(gate.dir.path().join("config.toml"), file("fake-token-second")).unwrap();
    gate.signal("HUP");
    gate.logged(|line| line["message"] == "took up a new configuration").await;
    assert_eq!(look("fake-token-second").await.unwrap().status(), 200);
    assert_eq!(look("fake-token-first").await.unwrap().status(), 401);
    assert_eq!(in_session("/api/overview").await.unwrap().status(), 401);
    let ends = async { while live.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(crate::house::PATIENCE, ends).await.expect("it went on to hear");
}
