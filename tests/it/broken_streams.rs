//! A stream that fails before its first byte is never noticed; after it, its client can read that it failed.

use geminate::mock::Ending;
use serde_json::Value;

use crate::stage::states;
use crate::streams::{ARRAY, CHAT, SSE, directly, ending, heard, piece, play, question};
use crate::world::{header, json_of, prompt, with_keys, with_keys_and};

const KEY: &str = "fake-key-0001";
const OTHER: &str = "fake-key-0002";

#[tokio::test]
async fn a_failure_before_the_first_byte_is_never_noticed() {
    for fault in ["cut:head", "reset:head", "cut:0", "reset:0", "stall:0", "delay:60s"] {
        for path in [SSE, ARRAY, CHAT] {
            let patience = [("GEMINATE__UPSTREAM__FIRST_BYTE_TIMEOUT_MS", "300")];
            let (world, gate) = with_keys_and(&[KEY, OTHER], &patience).await;
            play(&world, &format!("fault={fault} times=1"));
            let answer = gate.post(path, &question()).await;
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()),
                (200, "2"),
                "{fault}"
            );
            let (text, whole) = heard(answer).await;
            assert!(whole && text.contains("STOP") | text.contains("[DONE]"), "{fault} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_begins_with_an_error_is_tried_elsewhere() {
    for error in ["internal@0", "quota_day@0,split:1", "api_key_invalid@0", "consumer_suspended@0,split:7/1ms"] {
        for path in [SSE, ARRAY, CHAT] {
            let (world, gate) = with_keys(&[KEY, OTHER]).await;
            play(&world, &format!("fault=stream_error:{error} times=1"));
            let answer = gate.post(path, &question()).await;
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()),
                (200, "2"),
                "{error}"
            );
            let (text, whole) = heard(answer).await;
            assert!(whole && !text.contains("error"), "{error} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn an_error_that_comes_behind_content_in_the_first_piece_is_judged_by_its_own_code() {
    for path in [SSE, ARRAY, CHAT] {
        let (world, gate) = with_keys(&[KEY, OTHER]).await;
        play(&world, "fault=stream_error:quota_day@1,merge:9 times=1");
        play(&world, "fault=stream_error:overloaded@1,merge:9 times=1");
        let (text, whole) = heard(gate.post(path, &question()).await).await;
        assert!(whole && !text.contains("error"), "{path}: {text}");
        let keys = gate.monitor("/monitor/keys").await;
        let reason = |at: usize| keys["keys"][at]["cooling"][0]["reason"].clone();
        assert_eq!((reason(0), reason(1)), ("quota_day".into(), Value::Null), "{path}: {keys}");

        let (world, gate) = with_keys(&[KEY, OTHER]).await;
        play(&world, "fault=stream_error:invalid_argument@1,merge:9");
        let answer = gate.post(path, &question()).await;
        assert_eq!(answer.status(), 400, "{path}");
        let told = json_of(answer).await;
        assert_eq!(told["error"]["status"], "INVALID_ARGUMENT", "{path}: {told}");
        assert_eq!(world.calls().len(), 1, "it is the caller's own");
        assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
    }
}

#[tokio::test]
async fn an_error_behind_what_was_read_ahead_is_judged_by_its_own_code() {
    let thoughts = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true}]}}]}\r\n\r\n";
    // Too little to tell whether it is an error.
    let beginning = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: ";
    for (path, before) in [(SSE, thoughts), (CHAT, beginning)] {
        for (code, expected) in [(400, (400, "1")), (503, (200, "2"))] {
            let (world, gate) = with_keys_and(&[KEY, OTHER], &[("EMPTY_RETRIES", "1")]).await;
            let (kind, split) = ("header=content-type:text/event-stream", before.len());
            let error = format!(r#"{{"error":{{"code":{code},"message":"why not","status":"UNKNOWN"}}}}"#);
            play(&world, &format!("fault=split:{split}/20ms times=1 {kind} body={before}{error}\n\n"));
            let answer = gate.post(path, &question()).await;
            assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts").as_str()), expected, "{path}");
            let text = answer.text().await.unwrap();
            assert!(code == 503 || text.starts_with("{\"error\"") && text.contains("why not"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_native_stream_that_breaks_ends_with_one_bare_error_alone() {
    for fault in ["cut:1", "reset:1", "cut:2,lf"] {
        let (world, gate) = with_keys(&[KEY, OTHER]).await;
        play(&world, &format!("fault={fault}"));
        let mut answer = gate.stream("hello").await;
        let mut pieces = vec![piece(&mut answer).await];
        while let Ok(Some(chunk)) = answer.chunk().await {
            pieces.push(String::from_utf8(chunk.to_vec()).unwrap());
        }
        let last = pieces.pop().unwrap();
        let error: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("{fault}: {last:?} stands not alone"));
        assert_eq!(error["error"]["code"], 502, "{error}");
        assert_eq!(error["error"]["status"], "UNAVAILABLE");
        assert!(pieces.concat().ends_with('\n'), "frames before it are whole");
        assert_eq!(world.calls().len(), 1, "what began is never asked for again");
        gate.logged(|line| line["outcome"] == "stream_broken").await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_within_a_frame_still_ends_with_a_line_of_its_own() {
    let (world, gate) = with_keys(&[KEY]).await;
    let body = r#"data: {"candidates":[{"content":{"parts":[{"text":"half"}]}}]}"#;
    play(&world, &format!("fault=cut:1 header=content-type:text/event-stream body={body}"));
    let (text, _) = heard(gate.stream("hello").await).await;
    let last = text.rsplit('\n').next().unwrap();
    let error: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{text:?}"));
    assert_eq!(error["error"]["code"], 502);
}

#[tokio::test]
async fn a_chat_that_breaks_ends_with_an_error_and_never_says_done() {
    let (world, gate) = with_keys(&[KEY, OTHER]).await;
    play(&world, "fault=cut:1");
    let (text, whole) = heard(gate.post(CHAT, &question()).await).await;
    assert!(whole && !text.contains("[DONE]") && text.ends_with("\n\n"), "{text}");
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((error["error"]["type"].as_str(), &error["error"]["param"]), (Some("server_error"), &Value::Null));
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test]
async fn a_chat_that_fails_midway_ends_with_an_error_that_openai_s_sdks_raise_however_google_worded_it() {
    let half = "half an answer ".repeat(9);
    let chunk = format!(r#"data: {{"object":"chat.completion.chunk","choices":[{{"delta":{{"content":"{half}"}}}}]}}"#);
    let error = r#"{"code": 503, "message": "The model is overloaded, fake-key-0001.", "status": "UNAVAILABLE"}"#;
    for dress in [
        format!("{{\n  \"error\": {error}\n}}\n"),
        format!("[{{\n  \"error\": {error}\n}}\n]"),
        format!("data: [{{\"error\": {error}}}]\n\ndata: [DONE]\n\n"),
        format!("data: {{\"error\": {error}}}\n\n"),
    ] {
        for passed in [0, 3, 9, 13] {
            let split = format!(",split:{}/200ms", chunk.len() + 2 + passed);
            let (world, gate) = with_keys(&[KEY, OTHER]).await;
            let body = format!("{chunk}\n\n{dress}");
            play(&world, &format!("fault=status:200{split} header=content-type:text/event-stream body={body}"));
            let (text, whole) = heard(gate.post(CHAT, &question()).await).await;
            assert!(whole && text.starts_with(&format!("{chunk}\n\n")) && text.ends_with("\n\n"), "{text:?}");
            assert!(!text.contains("[DONE]") && !text.contains(KEY), "{text:?}");
            let last = text.trim_end().rsplit("\n\n").next().unwrap().lines().last().unwrap();
            let Some(Ok(told)) = last.strip_prefix("data: ").map(serde_json::from_str::<Value>) else {
                panic!("{dress} {passed}: {text:?}")
            };
            assert_eq!(
                (&told["error"]["code"], &told["error"]["type"]),
                (&"UNAVAILABLE".into(), &"server_error".into())
            );
            assert_eq!(told["error"]["message"], "The model is overloaded, [key].");
            gate.logged(|line| line["outcome"] == "stream_broken").await;
            assert_eq!(world.calls().len(), 1);
        }
    }
}

#[tokio::test]
async fn an_array_or_a_whole_answer_that_breaks_is_seen_to_be_broken() {
    for path in [ARRAY, "/v1beta/models/gemini-3.8-flash:generateContent"] {
        let (world, gate) = with_keys(&[KEY, OTHER]).await;
        play(&world, "fault=cut:2");
        let (text, whole) = heard(gate.post(path, &prompt("hello")).await).await;
        assert!(!whole && !text.is_empty(), "{path}: {text}");
        assert_eq!(world.calls().len(), 1);
        gate.logged(|line| line["outcome"] == "stream_broken").await;
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_goes_on_without_the_key() {
    let canary = "AIzaFakeCanaryFakeCanaryFakeCanaryFake01";
    for split in ["", ",split:3", ",split:50/1ms"] {
        for path in [SSE, ARRAY, CHAT] {
            let (world, gate) = with_keys(&[canary, OTHER]).await;
            play(&world, &format!("key={canary} fault=stream_error:consumer_suspended@2{split}"));
            let (text, _) = heard(gate.post(path, &question()).await).await;
            assert!(text.contains("CONSUMER_SUSPENDED"), "{path}: {text}");
            assert!(!text.contains(canary) && !gate.log().contains(canary), "{path}: {text}");
            assert_eq!(world.calls().len(), 1);
            gate.logged(|line| line["outcome"] == "stream_broken").await;
        }
    }
}

#[tokio::test]
async fn a_stream_without_its_end_is_passed_and_counted_as_failed() {
    for path in [SSE, ARRAY, CHAT] {
        let (world, gate) = with_keys(&[KEY]).await;
        play(&world, "fault=unfinished");
        let (_, whole) = heard(gate.post(path, &question()).await).await;
        assert!(whole);
        gate.logged(|line| line["outcome"] == "stream_unfinished").await;
        let metrics = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(crate::world::TOKEN);
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        let counted = |line: &str| line.contains("outcome=\"stream_unfinished\"") && line.ends_with(" 1");
        assert!(metrics.lines().any(|line| line.starts_with("geminate_requests_total") && counted(line)), "{path}");
    }
}

#[tokio::test]
async fn a_blank_event_keeps_a_silent_stream_alive_between_frames_only() {
    let beat = [("GEMINATE__DEADLINE__HEARTBEAT_INTERVAL_MS", "20")];
    for fault in ["stall:1/300ms", "stall:2/300ms,stall:3/100ms", "drip:40/50ms"] {
        let (world, gate) = with_keys_and(&[KEY], &beat).await;
        play(&world, &format!("fault={fault}"));
        let (text, whole) = heard(gate.post(SSE, &question()).await).await;
        let expected = directly("", SSE).await;
        let frames =
            |text: &str| text.split("\r\n\r\n").filter(|f| !f.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert!(whole);
        assert_eq!(frames(&text), frames(&expected), "{fault}");
        if fault.starts_with("stall") {
            assert!(text.contains("\r\n\r\n\r\n\r\n"), "{fault}: {text:?}");
        }
    }
}

#[tokio::test]
async fn an_array_gets_no_heartbeat() {
    let (world, gate) = with_keys_and(&[KEY], &[("GEMINATE__DEADLINE__HEARTBEAT_INTERVAL_MS", "20")]).await;
    play(&world, "fault=stall:1/200ms");
    let (text, whole) = heard(gate.post(ARRAY, &question()).await).await;
    assert!(whole && text == directly("", ARRAY).await);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_ended() {
    for path in [SSE, CHAT, ARRAY] {
        let (world, gate) = with_keys_and(&[KEY], &[("STREAM_IDLE_TIMEOUT", "200")]).await;
        play(&world, "fault=stall:1");
        let (text, whole) = heard(gate.post(path, &question()).await).await;
        assert_eq!((whole, text.contains("\"error\"")), (path != ARRAY, path != ARRAY), "{path}: {text}");
        assert_eq!(ending(&world).await, Ending::Gone);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_a_504_of_google_s_shape() {
    for silence in ["delay:60s", "stall:0"] {
        let (world, gate) = with_keys_and(&[KEY, OTHER], &[("REQUEST_TIMEOUT", "300")]).await;
        play(&world, &format!("fault={silence}"));
        let answer = gate.stream("hello").await;
        assert_eq!(answer.status(), 504);
        assert_eq!(json_of(answer).await["error"]["status"], "DEADLINE_EXCEEDED");
        assert_eq!(ending(&world).await, Ending::Gone);
    }
}

#[tokio::test]
async fn a_client_may_ask_for_more_time_up_to_the_ceiling() {
    let limits = [("REQUEST_TIMEOUT", "200"), ("GEMINATE__DEADLINE__REQUEST_TIMEOUT_CEILING_MS", "2000")];
    let (world, gate) = with_keys_and(&[KEY], &limits).await;
    play(&world, "model=gemini-3.8-flash fault=delay:700ms times=1");
    play(&world, "fault=delay:60s");
    for status in [200, 504] {
        let request =
            gate.ask(reqwest::Method::POST, SSE).header("x-server-timeout", "100").body(question().to_string());
        let began = tokio::time::Instant::now();
        assert_eq!(request.send().await.unwrap().status(), status);
        assert!(began.elapsed() < std::time::Duration::from_secs(6));
    }
}

#[tokio::test]
async fn a_stream_that_runs_may_outlive_the_deadline() {
    let (world, gate) = with_keys_and(&[KEY], &[("REQUEST_TIMEOUT", "200")]).await;
    play(&world, "fault=stall:1/800ms");
    let (text, whole) = heard(gate.post(SSE, &question()).await).await;
    assert!(whole && text == directly("", SSE).await);
}
