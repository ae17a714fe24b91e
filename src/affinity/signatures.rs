//! Which project made which signature of thoughts, so that a conversation which brings one back can go there.

use std::time::Duration;

use moka::sync::Cache;

use crate::signature::in_history;
use crate::signature::trail::Signature;

/// The signatures that are known at a time.
const KNOWN_MAX: u64 = 50_000;
/// How long one is known: a conversation that rests longer is answered as if nobody knew.
const LIFE: Duration = Duration::from_hours(6);

/// Which project made which signature. Shared, in memory alone; of two equal digests the later one stands.
#[derive(Debug)]
pub struct Signatures(Cache<Signature, u32>);

impl Default for Signatures {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(KNOWN_MAX).time_to_live(LIFE).build())
    }
}

impl Signatures {
    /// An answer of `project` held it.
    pub fn learn(&self, signature: Signature, project: u32) {
        self.0.insert(signature, project);
    }

    /// Which project, beside `refused`, made the last signature in a request's history of those whose maker is known.
    pub fn maker(&self, body: &[u8], refused: u32) -> Option<u32> {
        let makers = in_history(body).into_iter().rev().filter_map(|signature| self.0.get(&signature));
        makers.into_iter().find(|project| *project != refused)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::signature::trail::Trail;

    /// A value as Google writes one: long, and alike at its beginning.
    fn value(made_by: &str) -> String {
        format!("CqcBAdHtim9/+{}{made_by}+/{}==", "Ab3/".repeat(30), "x/Y+".repeat(200))
    }

    fn body(signatures: &[&str]) -> Vec<u8> {
        let part = |value: &&str| json!({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": value});
        let parts: Vec<_> = signatures.iter().map(part).collect();
        json!({"contents": [{"role": "model", "parts": parts}]}).to_string().into_bytes()
    }

    fn learnt(values: &[(&str, u32)]) -> Signatures {
        let signatures = Signatures::default();
        for (value, project) in values {
            let (mut trail, answer) = (Trail::default(), format!("{value}\""));
            trail.begins(0);
            trail.follow(answer.as_bytes());
            trail.found().for_each(|signature| signatures.learn(signature, *project));
        }
        signatures
    }

    #[test]
    fn a_history_leads_to_who_made_its_last_known_signature() {
        let (one, two, three) = (value("one"), value("two"), value("three"));
        let known = learnt(&[(&one, 1), (&two, 2)]);
        for (history, refused, maker) in [
            (&[one.as_str()][..], 0, Some(1)),
            (&[&one, &two], 0, Some(2)),
            (&[&one, &two], 2, Some(1)),
            (&[&one], 1, None),
            (&[&three], 0, None),
            (&[], 0, None),
        ] {
            assert_eq!(known.maker(&body(history), refused), maker);
        }
    }

    #[test]
    fn a_signature_is_the_same_however_it_is_written() {
        let one = value("one");
        let known = learnt(&[(&one, 1)]);
        let url_safe = one.replace('+', "-").replace('/', "_");
        let in_openai = json!({"messages": [{"role": "assistant", "tool_calls": [
            {"function": {"arguments": "{}"}, "extra_content": {"google": {"thought_signature": one}}}]}]});
        for history in [
            body(&[&url_safe]),
            body(&[&url_safe.replace('=', "")]),
            String::from_utf8(body(&[&one])).unwrap().replace('+', "\\u002B").replace('/', "\\/").into_bytes(),
            String::from_utf8(body(&[&one])).unwrap().replace("thoughtSignature", "thought_signature").into_bytes(),
            in_openai.to_string().into_bytes(),
        ] {
            assert_eq!(known.maker(&history, 0), Some(1), "{}", String::from_utf8_lossy(&history));
        }
    }

    #[test]
    fn what_was_said_or_handed_to_a_function_is_no_signature() {
        let one = value("one");
        let known = learnt(&[(&one, 1)]);
        for part in [
            json!({"text": format!("\"thoughtSignature\": \"{one}\"")}),
            json!({"functionCall": {"args": {"thoughtSignature": one}}}),
            json!({"functionResponse": {"response": {"thoughtSignature": one}}}),
            json!({"thoughtSignature": 7}),
            json!({"thoughtSignature": "short"}),
        ] {
            let history = json!({"contents": [{"parts": [part]}]}).to_string();
            assert_eq!(known.maker(history.as_bytes(), 0), None, "{history}");
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_survived(body in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..300) {
            let known = Signatures::default();
            let _ = known.maker(&[&b"{\"thoughtSignature\":\""[..], &body].concat(), 0);
            let mut trail = Trail::default();
            trail.begins(at);
            trail.follow(&body);
            trail.follow(&body);
            trail.found().for_each(drop);
        }
    }
}
