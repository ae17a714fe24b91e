//! How fast the meter reads streams of realistic frames: `cargo bench --bench meter`. Wanted: 1 GB/s and more.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use geminate::meter::Meter;
use geminate::skim::peek;

/// How long one figure is measured; of several rounds the best stands, as others use the machine too.
const ROUND: Duration = Duration::from_millis(60);
const ROUNDS: usize = 7;

fn main() {
    println!("{:<28}{:>10}{:>12}{:>14}{:>14}", "frame", "bytes", "GB/s whole", "GB/s by 1400", "ns a frame");
    for (name, frame) in [
        ("a word", frame_of(" step")),
        ("short text", short()),
        ("long text", frame_of(&"A plain sentence of an answer, forty-eight bytes. ".repeat(80))),
        ("code full of escapes", frame_of(&"fn a() {\n\tlet s = \"x\";\n\tprintln!(\"{s}\\n\");\n}\n".repeat(75))),
        ("image", image(1_500_000)),
        ("thought signature", signed()),
        ("openai", openai()),
        ("openai, a word", openai().replace(" at this step by step, as it has two parts", "")),
        ("interaction", interaction()),
    ] {
        let whole = rate(&frame, frame.len());
        let cut = rate(&frame, 1400);
        #[expect(clippy::cast_precision_loss, reason = "frames are small")]
        let nanoseconds = frame.len() as f64 / whole;
        println!("{name:<28}{:>10}{whole:>12.2}{cut:>14.2}{nanoseconds:>14.0}", frame.len());
    }
    let body = prompt(2_000_000);
    println!(
        "{:<28}{:>10}{:>12.2}",
        "peek at a prompt",
        body.len(),
        best(body.len(), || drop(black_box(peek(body.as_bytes()))))
    );
}

/// GB/s of one meter over copies of the frame, fed in pieces of at most `piece` bytes.
fn rate(frame: &str, piece: usize) -> f64 {
    let stream = frame.repeat(usize::max(1, 64_000 / frame.len()));
    let mut meter = Meter::default();
    let rate = best(stream.len(), || {
        for chunk in stream.as_bytes().chunks(usize::min(piece, frame.len())) {
            meter.feed(black_box(chunk));
            black_box(meter.signatures().count());
        }
    });
    assert!(meter.at_boundary() && (meter.usage().is_some() || frame.starts_with("event:")));
    rate
}

/// The best rate of some rounds, in GB/s.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more")]
fn best(bytes: usize, mut run: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut runs = 0;
        while begin.elapsed() < ROUND {
            run();
            runs += 1;
        }
        best = best.max((bytes * runs) as f64 / begin.elapsed().as_nanos() as f64);
    }
    best
}

/// 490 bytes, as Google writes them.
fn short() -> String {
    let text = "Let me look at this step by step, as the question has two parts to it: first the lock, which is held across an await, and then why";
    let frame = frame_of(text);
    assert!((480..=500).contains(&frame.len()), "{}", frame.len());
    frame
}

fn frame_of(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(
        "data: {{\"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": {text}}}],\"role\": \"model\"}},\"index\": 0}}],\
         \"usageMetadata\": {{\"promptTokenCount\": 1024,\"candidatesTokenCount\": 213,\"totalTokenCount\": 1399,\
         \"promptTokensDetails\": [{{\"modality\": \"TEXT\",\"tokenCount\": 1024}}],\"thoughtsTokenCount\": 162}},\
         \"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"Zk0iacmVOb2Hz7IP4pKsmAc\"}}\r\n\r\n"
    )
}

fn image(bytes: usize) -> String {
    let data = "iVBORw0KGgoAAAANSUhEUgAA".repeat(bytes / 24);
    frame_of("")
        .replace("\"text\": \"\"", &format!("\"inlineData\": {{\"mimeType\": \"image/png\",\"data\": \"{data}\"}}"))
}

/// The end of a thought: 1,340 bytes, of which a signature is nearly all.
fn signed() -> String {
    let signature = "CqcBAdHtim9aB3x9".repeat(60);
    frame_of("").replace("\"text\": \"\"", &format!("\"text\": \"\",\"thoughtSignature\": \"{signature}\""))
}

/// 150 bytes of text as the Interactions API writes them: two lines, and no usage before the last event.
fn interaction() -> String {
    "event: step.delta\ndata: {\"event_type\":\"step.delta\",\"index\":0,\"delta\":{\"type\":\"text\",\
     \"text\":\"Let me look at this step by step, as it has two parts\"}}\n\n"
        .to_owned()
}

fn openai() -> String {
    "data: {\"choices\":[{\"delta\":{\"content\":\"Let me look at this step by step, as it has two parts\",\
     \"role\":\"assistant\"},\"index\":0}],\"created\":1763700000,\"id\":\"Zk0iacmVOb2Hz7IP4pKsmAc\",\
     \"model\":\"gemini-2.5-flash\",\"object\":\"chat.completion.chunk\",\
     \"usage\":{\"completion_tokens\":213,\"prompt_tokens\":1024,\"total_tokens\":1237}}\n\n"
        .to_owned()
}

/// An OpenAI request with a long history, prose and code.
fn prompt(bytes: usize) -> String {
    let text = "Some prose that goes on for a while, and then \"a quotation\" and a line's end.\nThen more of it. ";
    let message = serde_json::json!({"role": "user", "content": text.repeat(10)});
    let messages = vec![message; bytes / 1000];
    serde_json::json!({"messages": messages, "model": "gemini-2.5-flash", "stream": true}).to_string()
}
