//! What the monitor says, and to whom.

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::pool::key::{Ceilings, KeySpec};
use crate::secret::Secret;
use crate::settings::Auth;

const KEY: &str = "fake-key-of-the-pool-1234";

fn room(keys: usize, token: Option<&str>) -> Arc<Monitor> {
    let spec = |n: usize| KeySpec {
        id: (n + 1).to_string().into(),
        secret: Secret::new(format!("{KEY}{n:04}")),
        weight: 10,
        project: None,
        egress: 0,
        ceilings: Ceilings::default(),
        enabled: true,
    };
    let specs: Vec<_> = (0..keys).map(spec).collect();
    let now = Instant::now();
    let auth = Auth { tokens: token.map(|t| Secret::new(t.into())).into_iter().collect(), ..Auth::default() };
    Arc::new(Monitor {
        telemetry: Telemetry::new(now),
        pool: Arc::new(KeyPool::new(&specs, Clocks { now, wall: clock() }).unwrap()),
        clients: Arc::new(Clients::new(&auth, &crate::settings::Clients::default(), None, true).unwrap()),
        guesses: Arc::default(),
        proxies: Arc::default(),
        readiness: Arc::default(),
        affinity: Arc::new(Affinity::new(&crate::settings::Affinity::default())),
        answers: None,
        aliases: Aliases::default(),
        files: Vec::new(),
        tokens: token.is_some(),
        enabled: true,
    })
}

async fn get(router: &Router, uri: &str, token: &str) -> (u16, String) {
    let request = Request::get(uri).header("authorization", format!("Bearer {token}"));
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
}

const PAGES: [&str; 7] = [
    "/monitor/health",
    "/monitor/metrics",
    "/monitor/keys",
    "/monitor/streams",
    "/monitor/errors",
    "/monitor/performance",
    "/monitor/full",
];

#[tokio::test]
async fn no_page_shows_a_key_and_every_page_is_json() {
    let router = router(room(3, None), Listener::Admin, true);
    for page in PAGES {
        let (status, text) = get(&router, page, "").await;
        assert_eq!(status, 200, "{page}");
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_object());
        assert!(!text.contains(KEY), "{page} shows a key");
    }
    let (status, text) = get(&router, "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(!text.contains(KEY));
}

#[tokio::test]
async fn strangers_learn_the_status_alone() {
    let router = router(room(1, Some("operators-token")), Listener::Data, false);
    assert_eq!(get(&router, "/monitor/health", "guess").await, (200, r#"{"status":"ok"}"#.to_owned()));
    for page in &PAGES[1..] {
        assert_eq!(get(&router, page, "guess").await.0, 401, "{page}");
        assert_eq!(get(&router, page, "operators-token").await.0, 200, "{page}");
    }
    assert!(get(&router, "/monitor/health", "operators-token").await.1.contains("keys_usable"));
    assert_eq!(get(&router, "/metrics", "operators-token").await.0, 404);
    assert_eq!(get(&router, "/readyz", "").await.0, 503);
    assert_eq!(get(&router, "/healthz", "").await.0, 200);
}

#[tokio::test]
async fn without_a_key_that_can_serve_health_is_503() {
    let router = router(room(0, None), Listener::Data, true);
    assert_eq!(get(&router, "/monitor/health", "").await.0, 503);
}

#[tokio::test]
async fn a_monitor_that_is_switched_off_is_not_there() {
    let mut room = room(1, None);
    Arc::get_mut(&mut room).unwrap().enabled = false;
    let router = router(room, Listener::Admin, true);
    for page in PAGES {
        assert_eq!(get(&router, page, "").await.0, 404, "{page}");
    }
    assert_eq!(get(&router, "/healthz", "").await.0, 200);
}

#[tokio::test]
async fn lists_of_ten_thousand_keys_are_cut_to_what_was_asked_for() {
    let router = router(room(10_000, None), Listener::Admin, true);
    let keys: Value = serde_json::from_str(&get(&router, "/monitor/keys?limit=7", "").await.1).unwrap();
    assert_eq!((keys["total"].as_u64(), keys["keys"].as_array().unwrap().len()), (Some(10_000), 7));
    let full: Value = serde_json::from_str(&get(&router, "/monitor/full", "").await.1).unwrap();
    assert_eq!(full["keys"]["keys"].as_array().unwrap().len(), LISTED_IN_FULL);
    assert_eq!(full["metrics"]["outcomes"]["ok"], 0);
}

#[tokio::test]
async fn both_doors_to_prometheus_show_text_that_it_can_read() {
    let router = router(room(2, None), Listener::Admin, true);
    for uri in ["/metrics", "/monitor/metrics?format=prometheus"] {
        let (_, text) = get(&router, uri, "").await;
        let mut families = std::collections::HashSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                assert!(families.insert(family.split(' ').next().unwrap().to_owned()), "{line} comes twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                let name = name.split('{').next().unwrap();
                let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
                assert!(parts.chain([name]).any(|name| families.contains(name)), "{line} has no type");
            }
        }
        for family in ["geminate_key_state", "geminate_in_flight", "process_open_fds", "geminate_build_info"] {
            assert!(families.contains(family), "{family} is missing");
        }
        assert!(text.contains(r#"geminate_key_state{key="2",state="usable"} 1"#));
    }
}
