//! Equal questions asked at once make one call: whoever leaves, whatever comes of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use geminate::mock::{Ending, World};
use reqwest::Response;
use serde_json::json;
use tokio::time::sleep;

use crate::cache::{ON, ask, cold, source};
use crate::house::{House, PATIENCE, Wire, settings};
use crate::stage::{K1, NO_RETRIES, play, told};
use crate::world::{Gate, MODEL, TOKEN, header, with_keys_and};

async fn caching() -> (Arc<World>, Gate) {
    with_keys_and(&[K1], &[ON, NO_RETRIES]).await
}

async fn asked(gate: &Gate) -> Response {
    ask(gate, &format!("/v1beta/models/{MODEL}:generateContent"), &cold("hello"), &[]).await
}

/// Sends the question and leaves it open.
async fn sent(gate: &Gate) -> Wire {
    let mut wire = Wire::to(gate.data).await;
    let body = cold("hello").to_string();
    let head = format!("POST /v1beta/models/{MODEL}:generateContent HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}");
    // What may change an answer is as the other client sends it.
    let same = "accept: */*\r\ncontent-type: application/json";
    wire.say(&format!("{head}\r\n{same}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    wire
}

/// Waits until so many requests are under way, the page's own not counted.
async fn under_way(gate: &Gate, count: u64) {
    let look = async {
        while gate.monitor("/monitor/metrics").await["in_flight"] != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("so many never were under way");
}

/// The counts of the cache.
async fn counts(gate: &Gate) -> [u64; 3] {
    let cache = gate.monitor("/monitor/metrics").await["cache"].take();
    ["hits", "misses", "shared"].map(|name| cache[name].as_u64().unwrap())
}

#[tokio::test]
async fn fifty_equal_questions_at_once_are_one_call() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:1s times=1"]);
    let answers = join_all((0..50).map(|_| asked(&gate))).await;
    let mut bodies = Vec::new();
    for answer in answers {
        let said = (answer.status().as_u16(), header(&answer, "x-geminate-attempts"), header(&answer, "age"));
        let attempts = if source(&answer) == "miss" { "1" } else { "0" };
        assert_eq!(said, (200, attempts.to_owned(), "0".to_owned()));
        bodies.push(answer.bytes().await.unwrap());
    }
    assert_eq!(world.calls().len(), 1);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let [hits, misses, shared] = counts(&gate).await;
    assert_eq!((hits + shared, misses), (49, 1));
    assert!(shared > 0, "none of fifty asked while the first was waiting");
    let metrics = gate.monitor("/monitor/metrics").await;
    let tokens = metrics["tokens"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(metrics["outcomes"]["ok"], 50);
    // Another question of the same length: what one call costs.
    ask(&gate, &format!("/v1beta/models/{MODEL}:generateContent"), &cold("other"), &[]).await.bytes().await.unwrap();
    let after = gate.monitor("/monitor/metrics").await["tokens"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(after - tokens, tokens, "tokens of one call were counted for many");
}

#[tokio::test]
async fn the_first_one_leaves_and_the_others_get_their_answer() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:2s times=1"]);
    let first = sent(&gate).await;
    world.until(PATIENCE, |calls| calls.len() == 1).await.unwrap();
    let others = join_all((0..5).map(|_| asked(&gate)));
    let leaving = async {
        under_way(&gate, 6).await;
        drop(first);
        gate.logged(|line| line["outcome"] == "client_gone" && line["cache"] == "miss").await;
    };
    let (others, ()) = tokio::join!(others, leaving);
    for answer in others {
        assert_eq!((answer.status().as_u16(), source(&answer).as_str()), (200, "shared"));
        answer.bytes().await.unwrap();
    }
    assert_eq!((world.calls().len(), world.calls()[0].ending), (1, Ending::Complete));
    let kept = asked(&gate).await;
    assert_eq!(source(&kept), "hit");
    kept.bytes().await.unwrap();
    // Its tokens are counted, though the one who asked first was gone before they were known.
    let tokens = &gate.monitor("/monitor/metrics").await["tokens"]["answer_tokens"];
    assert!(tokens.as_u64().unwrap() > 0);
}

#[tokio::test]
async fn when_everybody_left_the_call_ends_at_google_and_blames_nobody() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:30s times=1"]);
    let first = sent(&gate).await;
    let other = sent(&gate).await;
    under_way(&gate, 2).await;
    world.until(PATIENCE, |calls| calls.len() == 1).await.unwrap();
    drop((first, other));
    let gone = |calls: &[geminate::mock::SeenCall]| calls.first().is_some_and(|call| call.ending == Ending::Gone);
    world.until(PATIENCE, gone).await.expect("the call was left running");
    let answer = asked(&gate).await;
    assert_eq!((answer.status().as_u16(), source(&answer).as_str()), (200, "miss"));
    assert_eq!(crate::stage::key(&gate, 0).await["effective_weight"], 1.0);
}

#[tokio::test]
async fn an_error_is_shared_with_those_who_wait_and_with_nobody_after_them() {
    for (fault, status) in [("invalid_argument", 400), ("internal", 500)] {
        let (world, gate) = caching().await;
        play(&world, &[&format!("fault=delay:2s,{fault} times=1")]);
        let first = sent(&gate).await;
        world.until(PATIENCE, |calls| calls.len() == 1).await.unwrap();
        let (others, ()) = tokio::join!(join_all((0..5).map(|_| asked(&gate))), under_way(&gate, 6));
        for answer in others {
            let (code, error) = told(answer).await;
            assert_eq!((code, &error["error"]["code"]), (status, &json!(status)), "{fault}");
        }
        drop(first);
        assert_eq!(world.calls().len(), 1, "{fault}");
        assert_eq!(source(&asked(&gate).await), "miss", "{fault}");
        assert_eq!(world.calls().len(), 2, "{fault}");
    }
}

#[tokio::test]
async fn a_refusal_of_google_s_that_is_shared_is_no_fault_of_those_who_share_it() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:2s,limit_zero times=1"]);
    let (answers, ()) = tokio::join!(join_all((0..3).map(|_| asked(&gate))), under_way(&gate, 3));
    for answer in answers {
        assert_eq!(told(answer).await.0, 429);
    }
    assert_eq!(world.calls().len(), 1);
    under_way(&gate, 0).await;
    let outcomes = gate.monitor("/monitor/metrics").await["outcomes"].take();
    assert_eq!((&outcomes["upstream_error"], &outcomes["caller_error"]), (&json!(3), &json!(0)), "{outcomes}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_for_all() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:2s,cut:1 times=1"]);
    let (answers, ()) = tokio::join!(join_all((0..3).map(|_| asked(&gate))), under_way(&gate, 3));
    for answer in answers {
        assert_eq!(told(answer).await.0, 502);
    }
    assert_eq!(world.calls().len(), 1);
    assert_eq!(asked(&gate).await.status(), 200);
}

#[tokio::test]
async fn who_has_more_time_than_the_one_it_follows_has_all_of_it() {
    let (world, gate) = with_keys_and(&[K1], &[ON, NO_RETRIES, ("REQUEST_TIMEOUT", "1500")]).await;
    play(&world, &["fault=delay:60s times=1"]);
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    let (body, longer) = (cold("hello"), [("x-server-timeout", "60")]);
    let followed = async {
        world.until(PATIENCE, |calls| calls.len() == 1).await.unwrap();
        ask(&gate, &path, &body, &longer).await
    };
    let (first, followed) = tokio::join!(asked(&gate), followed);
    let (status, error) = told(first).await;
    assert_eq!((status, &error["error"]["message"]), (504, &json!("no answer within 1.5 s")));
    assert_eq!((followed.status().as_u16(), source(&followed).as_str(), world.calls().len()), (200, "miss", 2));
}

#[tokio::test]
async fn an_answer_that_has_begun_to_come_is_in_time_however_long_its_end_takes() {
    let upstream = Router::new().fallback(|| {
        let begin =
            stream::once(async { Ok::<_, Infallible>(Bytes::from(format!("{{\"embedding\": [{}", "1,".repeat(100)))) });
        let end = stream::once(async {
            sleep(Duration::from_secs(2)).await;
            Ok(Bytes::from_static(b"2]}"))
        });
        let body = Body::from_stream(begin.chain(end));
        async { ([("content-type", "application/json")], body) }
    });
    let house = House::open(settings(), upstream);
    let origin = format!("http://{}", house.data);
    let short = ("REQUEST_TIMEOUT", "1000");
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin), ON, short]).await;
    let embed = "/v1beta/models/gemini-embedding-001:embedContent";
    for answer in join_all((0..3).map(async |_| ask(&gate, embed, &json!({}), &[]).await)).await {
        let (status, body) = told(answer).await;
        assert_eq!((status, body["embedding"].as_array().map(Vec::len)), (200, Some(101)));
    }
    assert_eq!(ask(&gate, embed, &json!({}), &[("cache-control", "no-cache")]).await.status(), 200, "alone as well");
}

#[tokio::test]
async fn an_answer_too_large_to_be_kept_reaches_everybody_by_calls_of_their_own() {
    let (world, gate) = caching().await;
    play(&world, &["fault=delay:2s,huge:2000000 times=1", "fault=huge:2000000"]);
    let (answers, ()) = tokio::join!(join_all((0..4).map(|_| asked(&gate))), under_way(&gate, 4));
    for answer in answers {
        assert_eq!((answer.status().as_u16(), source(&answer).as_str()), (200, "miss"));
        let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["candidates"][0]["finishReason"], "STOP");
    }
    assert_eq!(world.calls().len(), 4);
    assert_eq!(source(&asked(&gate).await), "miss");
    assert_eq!(gate.monitor("/monitor/metrics").await["cache"]["entries"], 0);
}

#[tokio::test]
async fn an_answer_that_turns_out_too_large_on_its_way_loses_no_byte() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    // Its length is not told, and every piece of it is another one.
    let upstream = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let piece = |n: u32| Ok::<_, Infallible>(Bytes::from(format!("\"{}\",", n.to_string().repeat(1_000))));
        let begin = stream::once(async {
            sleep(Duration::from_secs(1)).await;
            Ok(Bytes::from_static(b"{\"embedding\": ["))
        });
        let end = stream::once(async { Ok(Bytes::from_static(b"\"end\"]}")) });
        let body = Body::from_stream(begin.chain(stream::iter((0..500).map(piece))).chain(end));
        async { ([("content-type", "application/json")], body) }
    });
    let house = House::open(settings(), upstream);
    let origin = format!("http://{}", house.data);
    let gate = Gate::open(&[("GEMINI_API_KEY", K1), ("GEMINI_BASE_URL", &origin), ON]).await;
    let embed = "/v1beta/models/gemini-embedding-001:embedContent";
    let expected: Vec<String> = (0..500).map(|n: u32| n.to_string().repeat(1_000)).collect();
    for answer in join_all((0..3).map(async |_| ask(&gate, embed, &json!({}), &[]).await)).await {
        assert_eq!((answer.status().as_u16(), source(&answer).as_str()), (200, "miss"));
        let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let values = body["embedding"].as_array().unwrap();
        assert_eq!(values.len(), 501);
        assert!(values.iter().zip(&expected).all(|(value, expected)| value == expected));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn who_waits_for_anothers_answer_waits_no_longer_than_its_own_time() {
    let (world, gate) = with_keys_and(&[K1], &[ON, ("REQUEST_TIMEOUT", "1000")]).await;
    play(&world, &["fault=delay:30s times=1"]);
    for answer in join_all((0..3).map(|_| asked(&gate))).await {
        assert_eq!(told(answer).await.0, 504);
    }
    let gone = |calls: &[geminate::mock::SeenCall]| calls.first().is_some_and(|call| call.ending == Ending::Gone);
    assert_eq!(world.until(PATIENCE, gone).await.expect("the call was left running").len(), 1);
}

#[tokio::test]
async fn who_wants_it_fresh_does_not_share_and_a_stop_cuts_nobody_off() {
    let (world, mut gate) = caching().await;
    play(&world, &["fault=delay:1s"]);
    let mut first = sent(&gate).await;
    world.until(PATIENCE, |calls| calls.len() == 1).await.unwrap();
    let (path, body) = (format!("/v1beta/models/{MODEL}:generateContent"), cold("hello"));
    let fresh = ask(&gate, &path, &body, &[("cache-control", "no-cache")]);
    let (fresh, ()) = tokio::join!(fresh, async {
        world.until(PATIENCE, |calls| calls.len() == 2).await.expect("it shared");
        gate.signal("TERM");
        first.hear("\"finishReason\"").await;
    });
    assert_eq!((fresh.status().as_u16(), source(&fresh).as_str()), (200, "miss"));
    fresh.bytes().await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(8), gate.exited()).await.unwrap(), Some(0));
}
