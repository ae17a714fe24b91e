//! Traces: what a call and its attempts were, told to a collector that can neither slow a call nor hold up the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use geminate::mock::World;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use tokio::time::Instant;

use crate::collector::{Collector, Manner, Span};
use crate::house::free_port;
use crate::live::{LIVE, PATH, Session};
use crate::stage::{K1, K2, NO_RETRIES, play};
use crate::streams::{heard, piece};
use crate::world::{Gate, MODEL, TOKEN, prompt, with_keys, with_keys_and};

/// A client's own place in a trace.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// Batches come soon.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

/// Google with two keys, a gate in front of it, and a collector to which it sends.
async fn traced(manner: Manner, variables: &[(&str, &str)]) -> (Arc<World>, Gate, Arc<Collector>) {
    let collector = Collector::open(manner).await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.origin.as_str());
    let (world, gate) = with_keys_and(&[K1, K2], &[&[endpoint, SOON], variables].concat()).await;
    (world, gate, collector)
}

/// A question whose client stands in a trace.
async fn ask(gate: &Gate, headers: &[(&str, &str)]) -> reqwest::Response {
    let request = gate.ask(http::Method::POST, &format!("/v1beta/models/{MODEL}:generateContent"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(prompt("a fake prompt").to_string()).send().await.unwrap()
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// What Google was told of the trace, call by call.
fn told(world: &World, name: &str) -> Vec<String> {
    let of = |headers: &http::HeaderMap| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    world.calls().iter().map(|call| of(&call.headers)).collect()
}

fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// The call's span and those of its attempts, in their order.
fn family(mut spans: Vec<Span>) -> (Span, Vec<Span>) {
    let call = spans.remove(spans.iter().position(|span| span.kind == SpanKind::Server).unwrap());
    spans.sort_by_key(|span| span.time.0);
    (call, spans)
}

#[tokio::test]
async fn a_call_with_a_retry_is_one_span_with_two_attempts_below_it() {
    let (world, gate, collector) = traced(Manner::Takes, &[]).await;
    play(&world, &["fault=overloaded times=1"]);
    let began = nanos(SystemTime::now());
    let answer = ask(&gate, &[("traceparent", &parent("01")), ("tracestate", "a=1, b=2")]).await;
    assert_eq!(answer.status(), 200);
    let (call, attempts) = family(collector.until(3).await);
    let ended = nanos(SystemTime::now());

    assert_eq!((&*call.trace, &*call.parent, &*call.state), (TRACE, SPAN, "a=1,b=2"));
    assert_eq!((&*call.name, call.failed), (&*format!("generate_content {MODEL}"), false));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("geminate.model", MODEL),
        ("geminate.attempts", "2"),
        ("geminate.outcome", "ok"),
        ("geminate.client", "operator"),
        ("geminate.route", "generateContent"),
        ("error.type", ""),
    ] {
        assert_eq!(call.get(name), value, "{name}");
    }
    assert!(call.get("geminate.waited_ms").parse::<f64>().unwrap() > 0.0, "it paused before the second attempt");

    let [first, second] = &attempts[..] else { panic!("{attempts:#?}") };
    for attempt in [first, second] {
        assert_eq!((attempt.kind, &*attempt.trace, &*attempt.parent), (SpanKind::Client, TRACE, &*call.id));
        assert_eq!(attempt.name, format!("generate_content {MODEL}"));
        for (name, value) in [
            ("gen_ai.provider.name", "gcp.gemini"),
            ("gen_ai.operation.name", "generate_content"),
            ("gen_ai.request.model", MODEL),
            ("server.address", "127.0.0.1"),
        ] {
            assert_eq!(attempt.get(name), value, "{name}");
        }
    }
    let named = |name| (first.get(name), second.get(name));
    assert_eq!(named("geminate.verdict"), ("overloaded", "success"));
    assert_eq!(named("http.response.status_code"), ("503", "200"));
    assert_eq!(named("error.type"), ("overloaded", ""));
    assert_eq!(named("geminate.attempt"), ("1", "2"));
    assert_eq!(named("gen_ai.response.model"), ("", MODEL));
    assert_eq!((first.failed, second.failed), (true, false));
    assert_ne!(first.get("geminate.key"), second.get("geminate.key"));
    assert_eq!(first.get("gen_ai.usage.input_tokens"), "");
    let tokens = |name| second.get(name).parse::<u64>().unwrap();
    assert!(tokens("gen_ai.usage.input_tokens") > 0 && tokens("gen_ai.usage.output_tokens") > 0);

    let times = [began, call.time.0, first.time.0, first.time.1, second.time.0, second.time.1, call.time.1, ended];
    assert!(times.is_sorted(), "{times:?}");
    assert!(call.events["first_byte"] >= second.time.0 && call.events["first_byte"] <= call.time.1);
    assert_eq!(told(&world, "traceparent"), [first.traceparent(), second.traceparent()], "each went up as itself");
    assert_eq!(told(&world, "tracestate"), ["a=1,b=2", "a=1,b=2"]);
}

#[tokio::test]
async fn a_stream_s_spans_end_with_its_last_byte() {
    let (world, gate, collector) = traced(Manner::Takes, &[]).await;
    play(&world, &["fault=stall:1/300ms times=1"]);
    let mut answer = gate.stream("hello").await;
    piece(&mut answer).await;
    assert!(heard(answer).await.1);
    let (call, attempts) = family(collector.until(2).await);
    assert_eq!((call.parent.as_str(), call.get("geminate.stream")), ("", "true"));
    for span in [&call, &attempts[0]] {
        assert!(span.time.1 >= span.events["first_byte"] + 250_000_000, "{span:#?}");
    }
    assert_eq!(attempts[0].get("gen_ai.request.stream"), "true");
    assert!(attempts[0].get("gen_ai.response.time_to_first_chunk").parse::<f64>().unwrap() < 10.0);
}

#[tokio::test]
async fn a_failure_and_a_client_that_leaves_have_their_spans() {
    let (world, gate, collector) = traced(Manner::Takes, &[NO_RETRIES]).await;
    play(&world, &["fault=overloaded times=1"]);
    assert_eq!(ask(&gate, &[]).await.status(), 503);
    let (call, attempts) = family(collector.until(2).await);
    assert_eq!((call.failed, call.get("error.type")), (true, "upstream_error"));
    assert_eq!((attempts[0].failed, attempts[0].get("geminate.verdict")), (true, "overloaded"));

    play(&world, &["fault=stall:1/60s times=1"]);
    let mut answer = gate.stream("hello").await;
    piece(&mut answer).await;
    drop(answer);
    let (call, attempts) = family(collector.until(4).await.split_off(2));
    assert_eq!((call.failed, call.get("geminate.outcome")), (false, "client_gone"));
    assert_eq!((attempts[0].failed, attempts[0].get("geminate.verdict")), (false, "abandoned"));
}

#[tokio::test]
async fn of_two_attempts_at_once_the_one_that_is_not_needed_ends_with_the_other_s_answer() {
    let (world, gate, collector) = traced(Manner::Takes, &[("GEMINATE__RETRY__HEDGE", "true")]).await;
    play(&world, &["fault=delay:300ms"]);
    join_all((0..60).map(|_| async { ask(&gate, &[]).await.status() })).await;
    crate::house::eventually(|| collector.spans().len() >= 120).await;
    world.reset();
    play(&world, &["fault=delay:60s times=1", "fault=stall:1/1s times=1"]);
    let answer = ask(&gate, &[]).await;
    assert_eq!(answer.headers()["x-geminate-attempts"], "2");
    assert!(heard(answer).await.1);
    let hedged = |span: &Span| span.kind == SpanKind::Server && span.get("geminate.attempts") == "2";
    crate::house::eventually(|| collector.spans().iter().any(hedged)).await;
    let call = collector.spans().into_iter().find(hedged).unwrap();
    let below = collector.spans().into_iter().filter(|span| span.parent == call.id).collect::<Vec<_>>();
    let (_, attempts) = family([below, vec![call.clone()]].concat());
    let [slow, fast] = &attempts[..] else { panic!("{attempts:#?}") };
    assert_eq!((slow.get("geminate.verdict"), fast.get("geminate.verdict")), ("abandoned", "success"));
    assert!(slow.time.1 < fast.time.1 && slow.time.1 > fast.time.0, "{attempts:#?}");
    assert_eq!((slow.get("gen_ai.usage.input_tokens"), call.get("geminate.key")), ("", fast.get("geminate.key")));
}

#[tokio::test]
async fn a_live_session_is_a_span_and_its_handshake_carries_the_attempt_s() {
    let (world, gate, collector) = traced(Manner::Takes, &[]).await;
    let mut session = Session::begun(&gate, PATH).await;
    session.0.close(None).await.unwrap();
    drop(session);
    let (call, attempts) = family(collector.until(2).await);
    assert_eq!((call.get("geminate.route"), &*attempts[0].name), ("live", &*format!("live {LIVE}")));
    assert!(told(&world, "traceparent").contains(&attempts[0].traceparent()), "{:?}", told(&world, "traceparent"));
}

#[tokio::test]
async fn a_refusal_is_a_span_without_attempts() {
    let (_, gate, collector) = traced(Manner::Takes, &[]).await;
    let request = gate.http.get(format!("http://{}/v1beta/models", gate.data)).header("x-goog-api-key", "fake-wrong-1");
    assert_eq!(request.send().await.unwrap().status(), 401);
    let call = collector.until(1).await.remove(0);
    assert_eq!((call.get("geminate.refusal"), call.get("http.response.status_code")), ("unauthenticated", "401"));
    assert!(!call.failed, "whose credential is wrong has not met a failing server");
}

#[tokio::test]
async fn without_a_collector_the_client_s_word_goes_up_as_it_is() {
    let (world, gate) = with_keys(&[K1]).await;
    let own = parent("00");
    ask(&gate, &[("traceparent", &own), ("tracestate", "a=1")]).await;
    ask(&gate, &[]).await;
    assert_eq!(told(&world, "traceparent"), [&*own, ""]);
    assert_eq!(told(&world, "tracestate"), ["a=1", ""]);
}

#[tokio::test]
async fn a_word_that_is_none_begins_a_new_trace_and_does_not_go_up() {
    let (world, gate, collector) = traced(Manner::Takes, &[]).await;
    ask(&gate, &[("traceparent", "00-nonsense-of-a-client-01"), ("tracestate", "a=1")]).await;
    let (call, attempts) = family(collector.until(2).await);
    assert_eq!((call.parent.as_str(), call.trace.len()), ("", 32));
    assert_eq!(
        (told(&world, "traceparent"), told(&world, "tracestate")),
        (vec![attempts[0].traceparent()], vec![String::new()])
    );
}

#[tokio::test]
async fn what_the_client_does_not_keep_is_not_kept_here_either() {
    let (world, gate, collector) = traced(Manner::Takes, &[]).await;
    let own = parent("00");
    ask(&gate, &[("traceparent", &own)]).await;
    ask(&gate, &[("traceparent", &parent("01"))]).await;
    let (call, _) = family(collector.until(2).await);
    assert_eq!(call.parent, SPAN);
    assert_eq!(told(&world, "traceparent")[0], own);
    let (_, gate, nothing) = traced(Manner::Takes, &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    ask(&gate, &[("traceparent", &parent("01"))]).await;
    gate.signal("TERM");
    let mut gate = gate;
    assert_eq!((gate.exited().await, nothing.batches()), (Some(0), 0));
}

#[tokio::test]
async fn who_sends_is_named_by_the_standard_variables_and_from_dot_env() {
    let collector = Collector::open(Manner::Takes).await;
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let lines = format!(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={}/v1/traces\nOTEL_SERVICE_NAME=front\n\
         OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test\nOTEL_BSP_SCHEDULE_DELAY=20\n\
         OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20fake-collector-token\n",
        collector.origin
    );
    std::fs::write(dir.path().join(".env"), lines).unwrap();
    // Nothing is asked of Google.
    let gate = Gate::open_in(dir, &[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", "http://127.0.0.1:9")]).await;
    let request = gate.http.get(format!("http://{}/v1beta/models", gate.data)).header("x-goog-api-key", "fake-wrong-1");
    request.send().await.unwrap();
    collector.until(1).await;
    let resource = collector.resource();
    assert_eq!((&*resource["service.name"], &*resource["deployment.environment.name"]), ("front", "test"));
    let (headers, _) = collector.sent().remove(0);
    assert_eq!(headers["authorization"], "Bearer fake-collector-token");
    assert_eq!(headers["content-type"], "application/x-protobuf");
}

#[tokio::test]
async fn no_span_and_no_line_of_the_log_holds_a_secret() {
    let collector = Collector::open(Manner::Refuses).await;
    let endpoint = collector.origin.replace("http://", "http://user:fake-collector-password@");
    let (world, gate) = with_keys_and(
        &[K1, K2],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=fake-collector-token"),
            ("LOG_LEVEL", "TRACE,h2=TRACE,hyper=TRACE,hyper_util=TRACE,reqwest=TRACE,opentelemetry=TRACE"),
            SOON,
        ],
    )
    .await;
    let google_s = format!("AIza{}", "Fake".repeat(9));
    play(&world, &["fault=leaked times=1", "fault=overloaded times=1"]);
    let state = format!("a={google_s}");
    ask(&gate, &[("x-request-id", K1), ("traceparent", &parent("01")), ("tracestate", &state)]).await;
    let model = format!("/v1beta/models/{google_s}:generateContent?key={TOKEN}&x={K2}");
    gate.ask(http::Method::POST, &model).body(prompt("a fake prompt").to_string()).send().await.unwrap();
    let body = json!({"model": K2, "messages": [{"role": "user", "content": "a fake prompt"}]});
    gate.post("/v1/chat/completions", &body).await;
    gate.logged(|line| line["message"].as_str().is_some_and(|text| text.starts_with("traces cannot be delivered")))
        .await;
    crate::house::eventually(|| collector.spans().iter().filter(|span| span.kind == SpanKind::Server).count() == 3)
        .await;
    let sent: Vec<u8> = collector.sent().iter().flat_map(|(_, body)| body.to_vec()).collect();
    let sent = String::from_utf8_lossy(&sent);
    for secret in [K1, K2, TOKEN, &google_s, "a fake prompt", "fake-collector-password", "fake-collector-token"] {
        assert!(!sent.contains(secret), "a span tells {secret}");
        assert!(!gate.log().contains(secret), "the log tells {secret}");
    }
    let basic = collector.sent()[0].0["authorization"].to_str().unwrap().to_owned();
    assert!(basic.starts_with("Basic ") && !gate.log().contains(&basic[6..]), "the log tells the password encoded");
}

/// So many questions at once; how long the slowest took.
async fn rush(gate: &Gate, count: usize) -> Duration {
    let began = Instant::now();
    let asked = join_all((0..count).map(|_| async { ask(gate, &[]).await.status() })).await;
    assert!(asked.iter().all(|status| *status == 200), "{asked:?}");
    began.elapsed()
}

#[tokio::test]
async fn a_collector_that_hangs_delays_neither_a_call_nor_the_end() {
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")];
    let (_, mut gate, collector) = traced(Manner::Hangs, &small).await;
    assert!(rush(&gate, 100).await < Duration::from_secs(8));
    crate::house::eventually(|| collector.batches() == 1).await;
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let page = page.text().await.unwrap();
    let dropped =
        page.lines().find_map(|line| line.strip_prefix("geminate_spans_dropped_total{reason=\"queue_full\"} "));
    // 200 spans, of which one batch is under way and a queue waits.
    assert!((100..=192).contains(&dropped.unwrap().parse::<u32>().unwrap()), "{page}");
    gate.signal("TERM");
    let began = Instant::now();
    assert_eq!(gate.exited().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(gate.log().contains("were not delivered within 3 s"), "{}", gate.log());
    assert!(!gate.log().contains("did not end in time"), "{}", gate.log());
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_taken_up_again() {
    let port = free_port();
    let away = format!("http://127.0.0.1:{port}");
    let (_, mut gate) = with_keys_and(&[K1], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &away), SOON]).await;
    for _ in 0..3 {
        rush(&gate, 20).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let lost =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("cannot be delivered"));
    assert!(!gate.logged(lost).await["why"].as_str().unwrap().is_empty());
    assert_eq!(gate.log().matches("cannot be delivered").count(), 1, "{}", gate.log());
    gate.signal("TERM");
    let began = Instant::now();
    assert_eq!(gate.exited().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(6));

    let (_, gate, collector) = traced(Manner::Refuses, &[]).await;
    ask(&gate, &[]).await;
    gate.logged(lost).await;
    collector.behave(Manner::Takes);
    ask(&gate, &[]).await;
    gate.logged(|line| line["message"] == "traces are delivered again").await;
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::open(Manner::Takes).await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.origin.as_str());
    let late = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let (_, mut gate) = with_keys_and(&[K1], &[endpoint, late]).await;
    rush(&gate, 30).await;
    assert_eq!(collector.batches(), 0);
    gate.signal("TERM");
    assert_eq!(gate.exited().await, Some(0));
    assert_eq!(collector.until(60).await.len(), 60);
    assert!(!gate.log().contains("not delivered"), "{}", gate.log());
}

#[test]
fn a_wrong_variable_is_a_fault_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_geminate"));
    command.env_clear().current_dir(dir.path()).env("GEMINI_API_KEY", K1);
    let wrong = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_TRACES_SAMPLER", "perhaps")];
    let output = command.envs(wrong).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.starts_with("OTEL_TRACES_SAMPLER: read \"perhaps\", allowed is one of always_on"), "{told}");
}
