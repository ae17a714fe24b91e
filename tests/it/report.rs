//! `geminate report`: what is told of the last hour or day, from where, and what to do about it.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::free_port;
use crate::stage::{K1, K2, play};
use crate::status::geminate;
use crate::world::{Gate, MODEL, with_keys};

async fn report(gate: &Gate, more: &[&str]) -> crate::keys_check::Ran {
    let port = gate.admin.port().to_string();
    geminate(&[&["report"], more].concat(), &[("ADMIN_PORT", &port)]).await
}

/// A gateway of two keys, of which the first turned out to be leaked.
async fn with_a_dead_key() -> Gate {
    let (google, gate) = with_keys(&[K1, K2]).await;
    play(&google, &[&format!("key={K1} fault=leaked")]);
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    gate
}

#[tokio::test]
async fn a_dead_key_is_told_to_be_replaced_and_all_is_counted() {
    let gate = with_a_dead_key().await;
    let ran = report(&gate, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for part in [
        "# geminate: the last hour\n",
        "**1 of 2 keys is out**",
        "- **Act:** Key 1 (..0001) is dead, Google has banned it: replace it",
        "| Requests | 4 |",
        "| wasted | 1 |",
        "\n## By model (since the start",
        "| banned | 1 |",
    ] {
        assert!(ran.out.contains(part), "{part}\n{}", ran.out);
    }
    assert!(ran.out.contains(&format!("| {MODEL} | 4 | 100 % |")), "{}", ran.out);
    let page = report(&gate, &["--format", "json", "--span", "day"]).await.json();
    assert_eq!((&page["span"], &page["findings"][0]["code"]), (&json!("day"), &json!("key_dead")));
    assert_eq!(page["stretch"]["totals"]["requests"], 4);
    assert_eq!(page["since_start"]["waste"]["wasted_attempts"], 1);
    // It covers what there is, not what was asked for.
    assert!(page["stretch"]["seconds"].as_u64().unwrap() < 600, "{page}");
}

#[tokio::test]
async fn whoever_comes_with_a_wrong_token_spoils_no_success_ratio() {
    let (_google, gate) = with_keys(&[K1]).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    for _ in 0..9 {
        let url = format!("http://{}/v1beta/models/{MODEL}:generateContent", gate.data);
        let answer = gate.http.post(url).header("x-goog-api-key", "wrong").body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    let page = report(&gate, &["--format", "json"]).await.json();
    let totals = &page["stretch"]["totals"];
    assert_eq!((&totals["refused"], &totals["success_ratio"]), (&json!(9), &json!(1.0)), "{page}");
    assert_eq!(gate.monitor("/monitor/performance").await["last_minute"]["success_ratio"], 1.0);
}

#[tokio::test]
async fn it_is_written_to_a_file_and_a_place_that_is_none_is_told() {
    let (_google, gate) = with_keys(&[K1]).await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("report.md");
    let ran = report(&gate, &["--output", file.to_str().unwrap()]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    assert!(std::fs::read_to_string(&file).unwrap().contains("Nothing needs to be done."));
    let nowhere = dir.path().join("no/report.md");
    let ran = report(&gate, &["--output", nowhere.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("cannot be written"), "{}", ran.err);
}

#[tokio::test]
async fn where_the_gateway_keeps_steps_the_whole_span_is_summed() {
    let gate = with_a_dead_key().await;
    let mut full = gate.monitor("/monitor/full").await;
    full["health"]["uptime_seconds"] = json!(100_000);
    let begun = 1_764_079_000;
    let at: Vec<i64> = (0..360).map(|n| begun + n * 10).collect();
    let (ones, twos) = (vec![1; 360], vec![2; 360]);
    let points = json!({"at": at, "requests": twos, "ok": ones, "failed": ones, "p95_ms": twos});
    let series = json!({"span": "hour", "step_seconds": 10, "from": begun, "points": points});
    let page = |value: Value| get(move || async move { value.to_string() });
    let router = Router::new().route("/monitor/full", page(full)).route("/api/series", page(series));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    let page = geminate(&["report", "--url", &url, "--format", "json"], &[]).await.json();
    let stretch = &page["stretch"];
    assert_eq!((&stretch["source"], &stretch["seconds"]), (&json!("series"), &json!(3_600)));
    assert_eq!((&stretch["totals"]["requests"], &stretch["totals"]["success_ratio"]), (&json!(720), &json!(0.5)));
    assert_eq!(stretch["times"][0]["name"], "p95_ms");
    let text = geminate(&["report", "--url", &url], &[]).await.out;
    assert!(text.contains("It covers 60 min, from ") && text.contains("| Requests | 720 |"), "{text}");
}

#[tokio::test]
async fn without_a_gateway_there_is_no_report() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let ran = geminate(&["report", "--url", &url], &[]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(69), ""));
    assert!(ran.err.contains("no answer at 127.0.0.1:"), "{}", ran.err);
}
