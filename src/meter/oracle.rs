//! The meter against a full parse of the same frames, however they are cut.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What can be seen of a meter from outside.
fn seen(meter: &Meter) -> (Option<Usage>, Finish, bool, bool, bool) {
    (meter.usage(), meter.finish(), meter.has_content(), meter.error(), meter.at_boundary())
}

fn fed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Meter {
    let mut meter = Meter::default();
    chunks.into_iter().for_each(|chunk| meter.feed(chunk));
    meter
}

/// Cuts `bytes` at the given places, wherever they fall.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Values that imitate what the meter looks for, in places where it must not count.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[\"\\\\\n\r\t{}\\[\\]:,é€😀]{0,60}".prop_map(Value::from),
        Just(json!("data: {\"error\":{}}\r\n\r\n")),
    ];
    let key = prop_oneof![
        Just("error".to_owned()),
        Just("usageMetadata".to_owned()),
        Just("finishReason".to_owned()),
        Just("promptTokenCount".to_owned()),
        ".{0,12}",
    ];
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn part() -> impl Strategy<Value = Value> {
    prop_oneof![
        (".{0,60}", any::<bool>()).prop_map(|(text, thought)| json!({"text": text, "thought": thought})),
        anything().prop_map(|args| json!({"functionCall": {"name": "f", "args": args}})),
        Just(json!({"text": "", "thoughtSignature": "c2ln"})),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let candidate = (prop::collection::vec(part(), 0..3), prop::option::of("STOP|MAX_TOKENS|SAFETY|[A-Z_]{1,40}"));
    let count = || prop::option::of(any::<u32>());
    let usage = (count(), count(), count(), count(), anything());
    (prop::option::of(candidate), prop::option::of(usage), anything(), prop::bool::weighted(0.1)).prop_map(
        |(candidate, usage, other, error)| {
            let mut document = json!({"other": other});
            if let Some((parts, finish)) = candidate {
                document["candidates"] = json!([{"content": {"parts": parts}, "avg": 1.5}]);
                if let Some(finish) = finish {
                    document["candidates"][0]["finishReason"] = finish.into();
                }
            }
            if let Some((prompt, answer, thoughts, tool, other)) = usage {
                document["usageMetadata"] = json!({"promptTokenCount": prompt, "candidatesTokenCount": answer,
                    "thoughtsTokenCount": thoughts, "toolUsePromptTokenCount": tool, "promptTokensDetails": other});
            }
            if error {
                document["error"] = other_error();
            }
            document
        },
    )
}

fn other_error() -> Value {
    json!({"code": 503, "message": "over\nloaded", "details": [{"error": 1}]})
}

/// What a parser makes of the documents.
fn expected(documents: &[Value]) -> (Option<Usage>, Finish, bool, bool) {
    let (mut usage, mut finish, mut content, mut error) = (None, Finish::Open, false, false);
    for document in documents {
        error |= document.get("error").is_some();
        let counts = &document["usageMetadata"];
        let count = |name: &str| counts[name].as_u64();
        let all =
            ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount"].map(count);
        if all.iter().any(Option::is_some) {
            let [prompt_tokens, answer_tokens, thought_tokens, tool_tokens] = all.map(Option::unwrap_or_default);
            usage = Some(Usage { prompt_tokens, cached_tokens: 0, answer_tokens, thought_tokens, tool_tokens });
        }
        let candidate = &document["candidates"][0];
        if let Some(reason) = candidate["finishReason"].as_str() {
            finish = Finish::of(if reason.len() > GATHERED_BYTES_MAX { b"LONG" } else { reason.as_bytes() });
        }
        let parts = candidate["content"]["parts"].as_array().map_or(&[][..], Vec::as_slice);
        content |= parts.iter().any(|part| {
            part["thought"] != json!(true)
                && (part["text"] != json!("") && part["text"].is_string() || part["functionCall"].is_object())
        });
    }
    (usage, finish, content, error)
}

/// The documents as one stream in some framing.
fn framed(documents: &[Value], framing: u8) -> String {
    let joined = |before: &str, after: &str| {
        documents.iter().map(|d| format!("{before}{d}{after}")).collect::<Vec<_>>().concat()
    };
    let pretty = |d: &Value| serde_json::to_string_pretty(d).unwrap();
    match framing {
        0 => joined("data: ", "\r\n\r\n"),
        1 => joined("data:", "\n\n"),
        2 => format!("[{}\n]", documents.iter().map(pretty).collect::<Vec<_>>().join("\n,\r\n")),
        3 => joined("event: x\r\ndata: ", "\r\n\r\n: note\r\n\r\n"),
        _ => documents.iter().map(|d| pretty(d) + "\r\n\r\n").collect(),
    }
}

proptest! {
    #[test]
    fn it_reads_what_a_parser_reads_however_it_is_cut(
        documents in prop::collection::vec(document(), 1..5),
        framing in 0_u8..5,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let stream = framed(&documents, framing);
        let (usage, finish, content, error) = expected(&documents);
        let boundary = matches!(framing, 0 | 1 | 3);
        for meter in [fed([stream.as_bytes()]), fed(pieces(stream.as_bytes(), &cuts)), fed(stream.as_bytes().chunks(1))] {
            prop_assert_eq!(seen(&meter), (usage, finish, content, error, boundary), "{}", stream);
        }
    }

    #[test]
    fn rubbish_is_survived_and_read_alike_however_it_is_cut(
        stream in "([dat: \"\\\\{}\\[\\],\r\nué0-9]|data: |\"error\":|\"candidates\":\\[\\{|\"finishReason\":\"|\"usage\":\\{){0,60}",
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = fed([stream.as_bytes()]);
        prop_assert_eq!(seen(&fed(pieces(stream.as_bytes(), &cuts))), seen(&whole), "{}", stream);
        prop_assert_eq!(seen(&fed(stream.as_bytes().chunks(1))), seen(&whole), "{}", stream);
    }
}
