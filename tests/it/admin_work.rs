//! What the admin API shows and does beyond its door: requests, errors, the playground, profiles, the dashboard's files.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{ADMIN, admin, bare, guarded, problem, sent};
use crate::stage::{K1, K2, play};
use crate::world::{MODEL, header, json_of, prompt, with_keys_and};

#[tokio::test]
async fn requests_that_run_are_listed_with_what_is_known_of_them() {
    let (world, gate) = with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN)]).await;
    play(&world, &["fault=stall:1/600s times=1"]);
    let mut stream = gate.stream("hello").await;
    stream.chunk().await.unwrap();
    let listed = json_of(admin(&gate, Method::GET, "/api/streams?limit=1").send().await.unwrap()).await;
    let one = &listed["in_flight"][0];
    assert_eq!((&listed["total"], &one["model"], &one["key"]), (&1.into(), &MODEL.into(), &"1".into()), "{listed}");
    assert_eq!((&one["client"], &one["streaming"], &one["attempts"]), (&"operator".into(), &true.into(), &1.into()));
    assert_eq!(one["id"], header(&stream, "x-request-id"));
}

#[tokio::test]
async fn the_document_is_open_and_describes_the_routes() {
    let gate = guarded().await;
    let document = json_of(bare(&gate, Method::GET, "/api/openapi.json").send().await.unwrap()).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/api/overview"]["get"]["responses"]["200"].is_object());
    assert!(document["components"]["schemas"]["Problem"].is_object());
    // As readers of such documents want it: every reference leads somewhere, every operation has a name of its own, all
    // that a path names is described, and every response.
    let text = document.to_string();
    for name in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name} is nowhere");
    }
    let mut names = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
            }
            for named in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                let described = operation["parameters"].as_array().into_iter().flatten();
                assert!(
                    described.into_iter().any(|one| one["name"] == named && one["in"] == "path"),
                    "{method} {path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_query_that_does_not_fit_is_a_problem_that_names_its_field() {
    let gate = guarded().await;
    let answer = sent(&gate, Method::POST, "/api/reload?dry_run=maybe", "").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (422, "application/problem+json"));
    assert_eq!(json_of(answer).await["errors"][0]["field"], "dry_run");
}

#[tokio::test]
async fn a_prompt_of_the_playground_goes_through_the_gateway_as_the_dashboard() {
    let (world, gate) = with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN)]).await;
    let body = json!({"model": MODEL, "prompt": "hello", "system": "be brief", "temperature": 0.2}).to_string();
    let answer = sent(&gate, Method::POST, "/api/playground", &body).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (200, "text/event-stream"));
    assert!(!header(&answer, "x-request-id").is_empty());
    assert_eq!(header(&answer, "x-geminate-key"), "1");
    let through = answer.text().await.unwrap();
    assert!(through.starts_with("data: ") && through.contains("STOP"), "{through}");
    gate.logged(|line| line["client"] == "dashboard" && line["outcome"] == "ok").await;
    assert_eq!(world.calls().len(), 1);
    assert!(!gate.log().contains(K1));
    // Nobody else is that client, whatever is presented.
    for (name, value) in [("x-goog-api-key", "dashboard"), ("authorization", "Bearer dashboard")] {
        let url = format!("http://{}/v1beta/models/{MODEL}:generateContent", gate.data);
        let answer = gate.http.post(url).header(name, value).body(prompt("x").to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{name}");
    }
}

#[tokio::test]
async fn whoever_leaves_the_playground_ends_the_answer() {
    let (world, gate) = with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN)]).await;
    play(&world, &["fault=stall:1/600s times=1"]);
    let body = json!({"model": MODEL, "prompt": "hello"}).to_string();
    let mut answer = sent(&gate, Method::POST, "/api/playground", &body).send().await.unwrap();
    answer.chunk().await.unwrap();
    drop(answer);
    gate.logged(|line| line["client"] == "dashboard" && line["outcome"] == "client_gone").await;
    for (field, body) in [
        ("model", json!({"model": "../x", "prompt": "hello"})),
        ("prompt", json!({"model": MODEL, "prompt": ""})),
        ("temperature", json!({"model": MODEL, "prompt": "x", "temperature": 9})),
    ] {
        let (status, told) = problem(sent(&gate, Method::POST, "/api/playground", &body.to_string())).await;
        assert_eq!((status, &told["errors"][0]["field"]), (422, &field.into()), "{told}");
    }
}

#[tokio::test]
async fn a_profile_shows_where_the_time_goes_and_one_is_taken_at_a_time() {
    let gate = guarded().await;
    let profile = |query: &str| admin(&gate, Method::GET, &format!("/debug/pprof/profile{query}")).send();
    for query in ["?seconds=0", "?seconds=61", "?seconds=x", "?format=png", "?colour=red"] {
        assert_eq!(profile(query).await.unwrap().status(), 422, "{query}");
    }
    let (svg, second) = tokio::join!(profile("?seconds=2&format=svg"), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        profile("?seconds=1").await.unwrap().status().as_u16()
    });
    let svg = svg.unwrap();
    assert_eq!((svg.status().as_u16(), second), (200, 409));
    assert!(header(&svg, "content-security-policy").starts_with("sandbox"));
    assert!(svg.text().await.unwrap().contains("<svg"));
    let pprof = profile("?seconds=1").await.unwrap();
    assert_eq!(header(&pprof, "content-type"), "application/octet-stream");
    assert!(!pprof.bytes().await.unwrap().is_empty());
    let kept = json_of(admin(&gate, Method::GET, "/api/profiles").send().await.unwrap()).await;
    assert_eq!(kept, json!({"threshold_percent": 0, "profiles": []}));
    let (status, _) = problem(admin(&gate, Method::GET, "/api/profiles/..%2Fpool")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_dashboard_is_open_strict_and_asked_for_once() {
    let gate = guarded().await;
    let page = bare(&gate, Method::GET, "/").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!((page.status().as_u16(), header(&page, "content-encoding").as_str()), (200, "gzip"));
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(header(&page, name), value, "{name}");
    }
    let tag = header(&page, "etag");
    let again = bare(&gate, Method::GET, "/").header("accept-encoding", "gzip").header("if-none-match", tag);
    assert_eq!(again.send().await.unwrap().status(), 304);
    let html = bare(&gate, Method::GET, "/").send().await.unwrap().text().await.unwrap();
    for path in ["/assets/app.js", "/assets/app.css"] {
        assert!(html.contains(path), "{html}");
        assert_eq!(bare(&gate, Method::GET, path).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(bare(&gate, Method::POST, "/").send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn without_monitoring_the_dashboard_is_gone_and_the_api_stays() {
    let (_world, gate) = with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN), ("ENABLE_MONITORING", "false")]).await;
    for (path, status) in [("/", 404), ("/assets/app.js", 404), ("/monitor/keys", 404), ("/api/overview", 200)] {
        assert_eq!(admin(&gate, Method::GET, path).send().await.unwrap().status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn an_operator_ends_a_stream_and_finds_it_among_the_requests_with_its_attempts() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("ADMIN_TOKEN", ADMIN)]).await;
    play(&world, &[&format!("key={K1} fault=overloaded times=1"), "fault=stall:1/600s times=1"]);
    let mut stream = gate.stream("hello").await;
    stream.chunk().await.unwrap();
    let id = header(&stream, "x-request-id");
    let runs = json_of(admin(&gate, Method::GET, &format!("/api/requests/{id}")).send().await.unwrap()).await;
    assert_eq!((&runs["id"], &runs["outcome"]), (&id.clone().into(), &Value::Null), "{runs}");
    let cancel = || admin(&gate, Method::DELETE, &format!("/api/streams/{id}"));
    assert_eq!(cancel().send().await.unwrap().status(), 204);
    let rest = stream.text().await.unwrap();
    assert!(rest.contains("cancelled"), "{rest}");
    gate.logged(|line| line["request_id"] == id && line["outcome"] == "cancelled").await;
    assert_eq!(problem(cancel()).await.0, 404);
    let find = |query: &str| admin(&gate, Method::GET, &format!("/api/requests?{query}")).send();
    let found = json_of(find("outcome=cancelled&key=1&client=operator").await.unwrap()).await;
    assert_eq!((&found["total"], &found["requests"][0]["id"]), (&1.into(), &id.clone().into()), "{found}");
    let tries = found["requests"][0]["attempts"].as_array().unwrap();
    assert_eq!((tries.len(), &tries[0]["verdict"]), (2, &"overloaded".into()), "{tries:?}");
    assert_eq!(json_of(find("key=nobody").await.unwrap()).await["total"], 0);
    for (query, status) in [("status=9xx", 422), ("colour=red", 422), ("limit=x", 422), ("status=4xx&limit=1", 200)] {
        assert_eq!(find(query).await.unwrap().status().as_u16(), status, "{query}");
    }
    assert_eq!(problem(admin(&gate, Method::GET, "/api/requests/nobody")).await.0, 404);
}

#[tokio::test]
async fn errors_and_the_last_hour_are_told_in_steps() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("ADMIN_TOKEN", ADMIN)]).await;
    play(&world, &[&format!("key={K1} fault=overloaded times=1")]);
    gate.generate("hello").await.text().await.unwrap();
    let errors = json_of(admin(&gate, Method::GET, "/api/errors?limit=5").send().await.unwrap()).await;
    assert_eq!((&errors["by_class"]["overloaded"], &errors["by_key"]["1"]), (&1.into(), &1.into()), "{errors}");
    assert_eq!((&errors["last"][0]["class"], &errors["last"][0]["key"]), (&"overloaded".into(), &"1".into()));
    assert!(errors["last"][0]["did"].is_string() && errors["series"]["classes"]["overloaded"].is_array(), "{errors}");
    for (span, step) in [("", 10), ("?span=hour", 10), ("?span=day", 300)] {
        let series = json_of(admin(&gate, Method::GET, &format!("/api/series{span}")).send().await.unwrap()).await;
        assert_eq!(series["step_seconds"], step, "{series}");
        assert_eq!(
            series["points"]["at"].as_array().map(Vec::len),
            series["points"]["p95_ms"].as_array().map(Vec::len)
        );
    }
    assert_eq!(problem(admin(&gate, Method::GET, "/api/series?span=week")).await.0, 422);
    assert_eq!(problem(admin(&gate, Method::GET, "/api/errors?limit=x")).await.0, 422);
}
