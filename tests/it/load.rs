//! `geminate load`: what is asked of an endpoint, how it is measured, and that it ends.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use geminate::mock::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::house::{eventually, free_port};
use crate::stage::{K1, K2, calls_of, play};
use crate::status::geminate;
use crate::world::{TOKEN, google, with_keys};

const MODEL: &str = "gemini-3.5-flash-lite";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[tokio::test]
async fn a_gateway_is_measured_whole_and_every_question_is_another() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let url = format!("http://{}", gate.data);
    let port = gate.data.port().to_string();
    // The gateway of this configuration is known by its port, so that its token need not be given.
    let words = ["load", &url, "--concurrency", "4", "--requests", "40", "--json"];
    let ran = geminate(&words, &[("PORT", &port)]).await;
    let page = ran.json();
    assert_eq!(ran.code, Some(0), "{page}");
    let counts = ["requests", "succeeded", "failed", "cut"].map(|name| page[name].clone());
    assert_eq!(counts, [json!(40), json!(40), json!(0), json!(0)]);
    assert_eq!(
        (&page["concurrency"], &page["ended"], &page["total_ms"]["count"]),
        (&json!(4), &json!("done"), &json!(40))
    );
    let spread = ["min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"].map(|name| number(&page["total_ms"][name]));
    assert!(spread.is_sorted() && spread[0] > 0.0, "{page}");
    assert!(number(&page["tokens"]["answer_tokens"]) > 0.0 && number(&page["bytes"]) > 1_000.0, "{page}");
    let calls = world.calls();
    assert_eq!(calls.len(), 40);
    assert!(calls.iter().all(|call| call.model == MODEL), "{calls:?}");
    let mut bodies: Vec<String> = calls.iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 40, "no two alike");
}

#[tokio::test]
async fn streams_of_both_apis_have_a_first_byte_and_pauses_between_their_pieces() {
    let interval = Duration::from_millis(30);
    let settings = Settings { chunks: 4, chunk_interval: interval, latency: interval, ..Settings::with_keys([K1]) };
    let (_world, origin) = google(settings).await;
    let openai = format!("{origin}/v1beta/openai");
    for (url, api) in [(&origin, "gemini"), (&openai, "openai")] {
        let words = ["load", url, "--api", api, "--stream", "--requests", "6", "--concurrency", "3", "--json"];
        let ran = geminate(&words, &[("GEMINATE_TOKEN", K1)]).await;
        let page = ran.json();
        assert_eq!((ran.code, &page["succeeded"]), (Some(0), &json!(6)), "{page}");
        let (first, total) = (number(&page["first_byte_ms"]["min"]), number(&page["total_ms"]["min"]));
        assert!(first >= 29.0 && total >= 110.0, "{page}");
        assert_eq!(page["gap_ms"]["count"].as_u64().unwrap() + 6, page["chunks"].as_u64().unwrap());
        assert!(number(&page["gap_ms"]["max"]) >= 20.0, "{page}");
        assert!(number(&page["tokens_per_second"]) > 0.0, "{page}");
        assert!(number(&page["stream_tokens_per_second"]["count"]) >= 1.0, "{page}");
    }
}

#[tokio::test]
async fn a_server_that_stalls_cannot_hide_behind_requests_that_were_not_sent() {
    // One at a time: whoever comes while it is busy is kept waiting, as behind one slow worker.
    let busy = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let one_by_one = move || {
        let busy = std::sync::Arc::clone(&busy);
        async move {
            let _place = busy.acquire().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}"#
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(one_by_one);
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    // Twice what it can bear: the tenth request is due after 450 ms and answered after 1000 ms.
    let ran = geminate(&["load", &url, "--rate", "20", "--requests", "10", "--json"], &[]).await;
    let page = ran.json();
    assert_eq!((ran.code, &page["succeeded"], &page["requests_per_second"].is_number()), (Some(0), &json!(10), &true));
    assert!(number(&page["total_ms"]["max"]) >= 500.0, "{page}");
    assert!(number(&page["elapsed_seconds"]) >= 1.0, "{page}");
    let calm = geminate(&["load", &url, "--concurrency", "1", "--requests", "5", "--json"], &[]).await.json();
    assert!(number(&calm["total_ms"]["p50"]) < number(&page["total_ms"]["max"]), "{calm}");
}

#[tokio::test]
async fn failures_are_told_apart_by_status_and_kind() {
    let (world, origin) = google(Settings::with_keys([K1])).await;
    let faults = [("overloaded", 2), ("quota_minute", 1), ("cut:head", 1), ("stall", 1)];
    play(
        &world,
        &faults.map(|(fault, times)| format!("key={K1} fault={fault} times={times}")).each_ref().map(String::as_str),
    );
    let words = ["load", &origin, "--concurrency", "1", "--requests", "8", "--timeout", "1", "--json"];
    let ran = geminate(&words, &[("GEMINATE_TOKEN", K1)]).await;
    let page = ran.json();
    assert_eq!((ran.code, &page["succeeded"], &page["failed"]), (Some(1), &json!(3), &json!(5)), "{page}");
    let errors = &page["errors"];
    assert_eq!(errors["status_503"]["count"], 2, "{page}");
    assert!(errors["status_503"]["first_message"].as_str().unwrap().contains("overloaded"), "{page}");
    let counts = ["status_429", "broken_off", "timed_out"].map(|name| errors[name]["count"].clone());
    assert_eq!(counts, [1, 1, 1], "{page}");
    assert_eq!((&page["total_ms"]["count"], &page["failed_ms"]["count"]), (&json!(3), &json!(5)));
}

#[tokio::test]
async fn streams_that_break_or_tell_of_an_error_are_no_answers() {
    let (world, origin) = google(Settings::with_keys([K1])).await;
    play(&world, &[&format!("key={K1} fault=cut:2 times=1")]);
    let words = ["load", &origin, "--stream", "--concurrency", "1", "--requests", "2", "--json"];
    let page = geminate(&words, &[("GEMINATE_TOKEN", K1)]).await.json();
    assert_eq!((&page["succeeded"], &page["failed"]), (&json!(1), &json!(1)), "{page}");
    assert_eq!(page["errors"]["broken_off"]["count"], 1, "{page}");
}

#[tokio::test]
async fn nobody_there_is_a_failure_of_every_request_and_exits_2() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let ran = geminate(&["load", &url, "--requests", "3", "--concurrency", "2"], &[]).await;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("Failed: 3 times no_connection"), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}') && ran.err.is_empty(), "no bar where nobody looks: {}", ran.err);
}

#[tokio::test]
async fn nothing_is_sent_beyond_this_machine_without_a_yes() {
    let ran = geminate(&["load", "http://gemini.invalid", "--rate", "5", "--duration", "4"], &[]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(64), ""));
    assert!(ran.err.contains("up to 20 requests to http://gemini.invalid") && ran.err.contains("--yes"), "{}", ran.err);
    for wrong in
        [&["--rate", "0"][..], &["--rate", "5", "--concurrency", "2"], &["--requests", "0"], &["--duration", "9999"]]
    {
        let ran = geminate(&[&["load", "http://127.0.0.1:1"], wrong].concat(), &[]).await;
        assert_eq!(ran.code, Some(2), "{wrong:?}{}", ran.err);
    }
    let ran = geminate(&["load", "http://user:fake-key-of-somebody@127.0.0.1:1"], &[]).await;
    assert_eq!(ran.code, Some(64), "and a URL that holds a secret is neither taken nor shown: {}", ran.err);
}

#[tokio::test]
async fn a_token_of_the_configuration_goes_nowhere_but_to_its_gateway() {
    let (world, origin) = google(Settings::with_keys([TOKEN])).await;
    geminate(&["load", &origin, "--requests", "1"], &[("PORT", &free_port().to_string())]).await;
    assert!(world.calls().iter().all(|call| call.credentials.is_empty()), "{:?}", world.calls());
    assert_eq!(calls_of(&world, TOKEN).len(), 0);
}

#[tokio::test]
async fn the_time_ends_it_and_ctrl_c_ends_it_earlier_with_a_report() {
    let settings = Settings { latency: Duration::from_millis(20), ..Settings::with_keys([K1]) };
    let (world, origin) = google(settings).await;
    let began = Instant::now();
    let ran =
        geminate(&["load", &origin, "--duration", "1", "--rate", "30", "--json"], &[("GEMINATE_TOKEN", K1)]).await;
    let page = ran.json();
    assert_eq!((ran.code, &page["requests"]), (Some(0), &json!(30)), "{page}");
    assert!(began.elapsed() >= Duration::from_millis(900), "they were spread over the second");
    play(&world, &[&format!("key={K1} fault=stall")]);
    let dir = TempDir::new().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_geminate"))
        .args(["load", &origin, "--duration", "60", "--concurrency", "3", "--json"])
        .env_clear()
        .env("GEMINATE_TOKEN", K1)
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually(|| world.calls().len() >= 33).await;
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ended = tokio::task::spawn_blocking(move || {
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (child.wait().unwrap().code(), out)
    });
    let (code, out) = tokio::time::timeout(crate::house::PATIENCE, ended).await.expect("it did not end").unwrap();
    let page: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &page["ended"], &page["cut"]), (Some(130), &json!("interrupted"), &json!(3)), "{page}");
}
