//! What the meter promises, one answer after another.

use super::*;

fn read(answer: &str) -> Meter {
    let mut meter = Meter::default();
    meter.feed(answer.as_bytes());
    meter
}

fn usage(prompt: u64, cached: u64, answer: u64, thoughts: u64, tool: u64) -> Usage {
    Usage {
        prompt_tokens: prompt,
        cached_tokens: cached,
        answer_tokens: answer,
        thought_tokens: thoughts,
        tool_tokens: tool,
    }
}

const FRAME: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}],\"role\": \"model\"},\"index\": 0}],\
    \"usageMetadata\": {\"promptTokenCount\": 8,\"candidatesTokenCount\": 1,\"totalTokenCount\": 9,\
    \"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 8}]},\"modelVersion\": \"m\"}\r\n\r\n";
const LAST: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thoughtSignature\":\"c2ln\"}]},\
    \"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":8,\"cachedContentTokenCount\":4,\
    \"candidatesTokenCount\":5,\"thoughtsTokenCount\":6,\"toolUsePromptTokenCount\":7}}\r\n\r\n";

#[test]
fn it_stays_small() {
    assert!(size_of::<Meter>() <= 256, "{}", size_of::<Meter>());
}

#[test]
fn of_a_stream_the_last_usage_stands() {
    let mut meter = read(FRAME);
    assert_eq!((meter.usage(), meter.complete(), meter.has_content()), (Some(usage(8, 0, 1, 0, 0)), false, true));
    meter.feed(LAST.as_bytes());
    assert_eq!((meter.usage(), meter.finish(), meter.error()), (Some(usage(8, 4, 5, 6, 7)), Finish::Stop, false));
}

#[test]
fn array_streams_and_whole_answers_read_alike() {
    let element = &FRAME[6..FRAME.len() - 4];
    let last = &LAST[6..LAST.len() - 4];
    for answer in [format!("[{element}\n,\r\n{last}\n]"), last.replace(',', ",\n  ")] {
        let meter = read(&answer);
        assert_eq!((meter.usage(), meter.finish()), (Some(usage(8, 4, 5, 6, 7)), Finish::Stop));
        assert!(!meter.at_boundary());
    }
}

#[test]
fn openai_answers_read_alike() {
    let body = r#"{"choices":[{"finish_reason":"length","message":{"content":"x"}}],"usage":{"prompt_tokens":9,
        "completion_tokens":7,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":3},
        "completion_tokens_details":{"reasoning_tokens":5}}}"#;
    assert_eq!((read(body).usage(), read(body).finish()), (Some(usage(9, 3, 2, 5, 0)), Finish::MaxTokens));
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]},\"finish_reason\":null}],\
        \"usage\":null}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let meter = read(stream);
    assert_eq!((meter.usage(), meter.finish(), meter.has_content()), (None, Finish::ToolCalls, true));
    assert_eq!((meter.at_boundary(), meter.newline_style()), (true, Newline::Lf));
    // Thoughts beside the completion, told by the total alone.
    let beside = r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40}}"#;
    assert_eq!(read(beside).usage(), Some(usage(10, 0, 5, 25, 0)));
    let embeddings = r#"{"data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":4,"total_tokens":4}}"#;
    assert_eq!(read(embeddings).usage(), Some(usage(4, 0, 0, 0, 0)));
}

#[test]
fn interactions_read_alike() {
    let used = r#"{"total_input_tokens":9,"total_cached_tokens":2,"total_output_tokens":7,"total_thought_tokens":5,
        "total_tool_use_tokens":3,"total_tokens":24,"input_tokens_by_modality":[{"modality":"text","tokens":9}]}"#
        .replace(['\n', ' '], "");
    let whole = format!(r#"{{"id":"v1_x","status":"completed","steps":[{{"type":"x","usage":{{}}}}],"usage":{used}}}"#);
    assert_eq!((read(&whole).usage(), read(&whole).finish()), (Some(usage(9, 2, 7, 5, 3)), Finish::Stop));

    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"event_type\":\"{kind}\",{rest}}}\n\n");
    for (last, kind) in [
        (event("interaction.completed", &format!(r#""interaction":{{"status":"completed","usage":{used}}}"#)), "stop"),
        (event("interaction.complete", &format!(r#""interaction":{{"usage":{used}}}"#)), "stop"),
        (
            event("interaction.completed", &format!(r#""interaction":{{"status":"requires_action","usage":{used}}}"#)),
            "tool_calls",
        ),
        (event("interaction.status_update", &format!(r#""status":"budget_exceeded","usage":{used}"#)), "other"),
        (event("interaction.completed", &format!(r#""metadata":{{"total_usage":{used}}}"#)), "stop"),
    ] {
        let mut meter = read(&event("interaction.created", r#""interaction":{"status":"in_progress"}"#));
        let delta = r#""index":0,"delta":{"type":"text","text":"{\"error\":1}","status":"completed"}"#;
        meter.feed(event("step.delta", delta).as_bytes());
        meter.feed(event("interaction.status_update", r#""interaction_id":"v1_x","status":"queued""#).as_bytes());
        assert!(!meter.complete() && !meter.error() && meter.at_boundary());
        meter.feed(last.as_bytes());
        meter.feed(b"event: done\ndata: [DONE]\n\n");
        assert_eq!((meter.usage(), meter.finish().name()), (Some(usage(9, 2, 7, 5, 3)), kind), "{last}");
        assert!(meter.at_boundary());
    }

    let error = event("error", r#""error":{"code":"api_error","message":"no"}"#);
    assert!(read(&error).began_with_error());
    let late = read(&format!("{}{error}", event("interaction.created", r#""interaction":{}"#)));
    assert!(late.error() && !late.began_with_error());
}

#[test]
fn a_count_of_tokens_is_no_usage() {
    assert_eq!(read(r#"{"totalTokens":31,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}"#).usage(), None);
}

#[test]
fn nothing_below_the_root_can_imitate_it() {
    let meter = read(
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"args\":{\"usageMetadata\":\
        {\"promptTokenCount\":1},\"error\":{},\"finishReason\":\"STOP\",\"x\":[{\"error\":{}}]}}},\
        {\"text\":\"{\\\"error\\\":{}}\\n\\ndata: {\\\"error\\\":1}\"}]}}]}\r\n\r\n",
    );
    assert_eq!((meter.usage(), meter.complete(), meter.error()), (None, false, false));
    assert!(meter.has_content());
}

#[test]
fn reasons_keep_their_words() {
    let blocked = read(r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#);
    assert_eq!((blocked.finish().name(), blocked.finish().word()), ("blocked", "PROHIBITED_CONTENT"));
    assert!(blocked.complete() && !blocked.has_content());
    for (reason, name, word) in [
        ("SAFETY", "other", "SAFETY"),
        ("a b\\u00e9\\n", "other", "a?b???"),
        ("MAX_TOKENS", "max_tokens", "max_tokens"),
        (&"X".repeat(99), "other", "LONG"),
    ] {
        let finish = read(&format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#)).finish();
        assert_eq!((finish.name(), finish.word()), (name, word));
    }
}

#[test]
fn thoughts_alone_are_no_content() {
    for (part, content) in [
        (r#"{"text":"hm","thought":true}"#, false),
        (r#"{"thought":true,"inlineData":{"data":"aGk="}}"#, false),
        (r#"{"text":"","thoughtSignature":"c2ln"}"#, false),
        (r#"{"text":"a","thought":false}"#, true),
        (r#"{"thoughtSignature":"c2ln","functionCall":{"name":"f"}}"#, true),
        (r#"{"inlineData":{"mimeType":"image/png","data":""}}"#, true),
        (r#"{"partOfTomorrow":{}}"#, true),
    ] {
        let meter = read(&format!(r#"{{"candidates":[{{"content":{{"parts":[{part}]}},"finishReason":"STOP"}}]}}"#));
        assert_eq!(meter.has_content(), content, "{part}");
    }
}

#[test]
fn an_error_is_found_in_every_form_and_withheld_from_its_first_byte() {
    let pretty = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"AIza\"\n  }\n}\n";
    for error in
        [pretty, "data: {\"error\":{}}\n\n", "[{\"error\":{}}]", "data: [{\"error\":{}}]\n\n", "{\"error\":\"k\"}"]
    {
        for before in ["", FRAME, "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"cut\r\n\r\n", "data: {}"]
        {
            let stream = format!("{before}{error}");
            let meter = read(&stream);
            assert!(meter.error(), "{stream}");
            let offset = meter.error_offset().unwrap();
            let bracket = error.find('[').map_or(0, |bracket| bracket + 1);
            assert!((before.len()..=before.len() + bracket).contains(&offset), "{stream} {offset}");
        }
    }
    let mut meter = read(&format!("[{{}}\n,\r\n{pretty}"));
    assert_eq!(meter.error_offset(), Some(7));
    meter.feed(b" more of it");
    assert_eq!((meter.error_offset(), meter.error_document()), (Some(0), Some(7)));
    for harmless in
        ["{\"error\":null}", "data: {\"a\":{\"error\":{}}}\n\n", "[[{\"error\":{}}]]", "<html>{\"error\":1}"]
    {
        assert!(!read(harmless).error(), "{harmless}");
    }
}

#[test]
fn an_error_cut_anywhere_lets_none_of_its_values_pass() {
    let stream = format!("{FRAME}{{\n \"error\": {{\"message\": \"SECRET\"}}}}");
    let error = FRAME.len();
    for cut in 0..stream.len() {
        let mut meter = Meter::default();
        let mut passed = String::new();
        for chunk in [&stream[..cut], &stream[cut..]] {
            meter.feed(chunk.as_bytes());
            passed.push_str(&chunk[..meter.error_offset().unwrap_or(chunk.len())]);
        }
        assert!(passed.len() >= error && !passed.contains('S'), "{cut} {passed}");
        assert_eq!(meter.error_document(), Some(error), "{cut}");
    }
}

#[test]
fn boundaries_are_after_empty_lines_only() {
    for (end, style) in [("\r\n", Newline::CrLf), ("\n", Newline::Lf)] {
        let stream = FRAME.trim_end().to_owned() + end + end + ": note" + end + end;
        let frame = FRAME.trim_end().len() + 2 * end.len();
        let mut meter = Meter::default();
        assert!(meter.at_boundary());
        for (at, byte) in stream.bytes().enumerate() {
            meter.feed(&[byte]);
            assert_eq!(meter.at_boundary(), at + 1 == frame || at + 1 == stream.len(), "{at}");
        }
        assert_eq!(meter.newline_style(), style);
    }
    assert_eq!(Newline::CrLf.empty_event(), "\r\n\r\n");
}

#[test]
fn a_frame_that_broke_off_does_not_hide_the_next() {
    for broken in [
        "data: {\"a\": \"open\r\n\r\n",
        "data: {\"a\": {\"b\": [[{\r\n\r\n",
        "data: {\"candidates\": [{\"content\r\n",
        "data: {\"x\":\"\\\n",
        "data: }]]],,,\"\n",
        "\"\n",
        "nonsense { [ \" \n",
    ] {
        let meter = read(&format!("{broken}{LAST}"));
        assert_eq!((meter.usage(), meter.complete()), (Some(usage(8, 4, 5, 6, 7)), true), "{broken}");
        assert!(meter.at_boundary());
    }
}

#[test]
fn neither_depth_nor_size_moves_it() {
    let deep = 100_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}1{}", open.repeat(deep), close.repeat(deep));
        for at in ["x", "candidates", "usageMetadata", "error"] {
            let stream = format!("data: {{\"{at}\":{nested}}}\r\n\r\n{LAST}");
            let meter = read(&stream);
            assert_eq!(meter.usage(), Some(usage(8, 4, 5, 6, 7)));
        }
        let mut meter = read(&nested);
        meter.feed(open.repeat(deep).as_bytes());
    }
    let image = format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"inlineData\":{{\"data\":\"{}\"}}}}]}}}}]}}\r\n\r\n{LAST}",
        "QUJD".repeat(1 << 19)
    );
    let mut meter = Meter::default();
    image.as_bytes().chunks(8 << 10).for_each(|chunk| meter.feed(chunk));
    assert!(meter.has_content() && meter.complete() && meter.at_boundary());
}

#[test]
fn signatures_are_met_in_parts_and_tool_calls_in_any_pieces() {
    let long = |made_by: &str| format!("CqcBAdHtim9/{made_by}{}", "aB3+".repeat(100));
    let part = |made_by: &str| {
        format!(
            "{{\"functionCall\":{{\"args\":{{\"thoughtSignature\":\"{}\"}}}},\"thoughtSignature\":\"{}\"}}",
            long("args"),
            long(made_by)
        )
    };
    let gemini = format!("{{\"candidates\":[{{\"content\":{{\"parts\":[{},{}]}}}}]}}", part("one"), part("two"));
    let call = format!(
        "{{\"function\":{{\"arguments\":\"\"}},\"extra_content\":{{\"google\":{{\"thought_signature\":\"{}\"}}}}}}",
        long("one")
    );
    let openai = format!("{{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}");
    for (answer, count) in [
        (format!("data: {gemini}\r\n\r\n"), 2),
        (format!("[{gemini}\n,\r\n{gemini}]"), 4),
        (gemini.clone(), 2),
        (openai.replace("delta", "message"), 1),
        (format!("data: {openai}\n\n"), 1),
        (gemini.replace("\"thoughtSignature\":", "\"text\":"), 0),
    ] {
        let met = |piece: usize| {
            let (mut meter, mut met) = (Meter::default(), Vec::new());
            for piece in answer.as_bytes().chunks(piece) {
                meter.feed(piece);
                met.extend(meter.signatures());
            }
            met
        };
        let whole = met(answer.len());
        assert_eq!(whole.len(), count, "{answer}");
        assert!(count != 2 || whole[0] != whole[1]);
        for piece in (1..40).chain([255, 256, 257, 300, 512]) {
            assert_eq!(met(piece), whole, "in pieces of {piece}");
        }
    }
}
