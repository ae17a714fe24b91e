//! A question: a call whose answer may be given again, known by the digest of all that its answer hangs on.

use http::{HeaderMap, HeaderName};

use crate::affinity::Bound;
use crate::call::{Call, Payload};
use crate::endpoint::{Action, parameters};
use crate::secret::Digest;
use crate::skim::constancy::constancy;

/// A larger body is not digested: it would hold up the thread, and seldom comes twice.
const BODY_BYTES_MAX: usize = 32 << 20;

/// What most heads take.
const HEAD_BYTES: usize = 512;

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Question {
    /// What it is known by.
    pub(super) digest: Digest,
    /// Whether the answer is generated, and may therefore end before it is whole.
    pub(super) generates: bool,
}

/// The question that a call is; `None` of a call that must not be answered from memory.
///
/// Two calls are one question if they come from the same client with the same method, path, parameters (in any order),
/// body (to the byte) and headers, but for those headers that only say who speaks.
pub(super) fn of(call: &Call) -> Option<Question> {
    let Payload::Kept(body, _) = &call.payload else { return None };
    if !asks_again(call.endpoint.action) || body.len() > BODY_BYTES_MAX || is_of_one_project(call) {
        return None;
    }
    let generates = matches!(call.endpoint.action, Action::Generate | Action::Chat);
    if !body.is_empty() {
        let said = constancy(body);
        let same = !generates || said.cold && !said.outside || call.wish.allow;
        if !same || said.stream {
            return None;
        }
    }
    Some(Question { digest: digest(call, body), generates })
}

/// The operations whose answers are worth keeping. Whatever else there is passes by.
const fn asks_again(action: Action) -> bool {
    match action {
        Action::Generate
        | Action::Chat
        | Action::CountTokens
        | Action::Embed
        | Action::BatchEmbed
        | Action::Embeddings
        | Action::ModelList
        | Action::ModelGet => true,
        Action::StreamSse
        | Action::StreamArray
        | Action::Interaction
        | Action::Upload
        | Action::UploadStart
        | Action::UploadChunk
        | Action::Live
        | Action::Realtime
        | Action::Other => false,
    }
}

/// Whether it names what one project owns; a tuned model is such, whichever way it is named.
fn is_of_one_project(call: &Call) -> bool {
    let tuned = call.endpoint.target.path().contains("/tunedModels") || call.lane.starts_with("tunedModels/");
    tuned || !matches!(call.bound, Bound::Free)
}

fn digest(call: &Call, body: &[u8]) -> Digest {
    let (target, client) = (&call.endpoint.target, &call.client);
    // All of the operator's tokens are one client; a token of another's may be named as they are.
    let group: [&[u8]; 2] = if client.operator() { [b"operator", b""] } else { [b"client", client.id().as_bytes()] };
    let what = [call.endpoint.surface.name(), call.method.as_str(), target.path()].map(str::as_bytes);
    let parameters = sorted(parameters(target.query()));
    let headers = telling(&call.headers);
    let mut head = Vec::with_capacity(HEAD_BYTES);
    // With lengths and counts, so that no two heads are the same text.
    let mut put = |part: &[u8]| {
        head.extend_from_slice(&part.len().to_le_bytes());
        head.extend_from_slice(part);
    };
    group.into_iter().chain(what).for_each(&mut put);
    put(&parameters.len().to_le_bytes());
    parameters.iter().for_each(|parameter| put(parameter.as_bytes()));
    headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value]).for_each(&mut put);
    put(Digest::of(body).as_bytes());
    Digest::of(&head)
}

/// In the order of their names; those of one name keep theirs, which may mean something.
fn sorted<'q>(parameters: impl Iterator<Item = &'q str>) -> Vec<&'q str> {
    let mut all: Vec<&str> = parameters.collect();
    all.sort_by_key(|parameter| parameter.split_once('=').map_or(*parameter, |(name, _)| name));
    all
}

/// The headers on which an answer may hang, in the order of their names: all that go up but those known to change
/// nothing. A header that Google invents tomorrow keeps answers apart.
fn telling(headers: &HeaderMap) -> Vec<(&HeaderName, &[u8])> {
    let telling = headers.iter().filter(|(name, _)| !changes_nothing(name));
    let mut all: Vec<_> = telling.map(|(name, value)| (name, value.as_bytes())).collect();
    all.sort_by_key(|(name, _)| name.as_str());
    all
}

fn changes_nothing(name: &HeaderName) -> bool {
    matches!(name.as_str(), "user-agent" | "x-goog-api-client" | "x-server-timeout" | "traceparent" | "tracestate")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{HeaderValue, Method, Uri};
    use tokio::time::Instant;

    use super::*;
    use crate::call::wish::Wish;
    use crate::client::Client;
    use crate::endpoint::{Endpoint, Surface};
    use crate::prefix::Prefix;
    use crate::record::Record;
    use crate::settings::ClientLimits;

    const COLD: &str = r#"{"contents":[],"generationConfig":{"temperature":0}}"#;
    const GENERATE: &str = "/v1beta/models/m:generateContent";

    fn call(method: &str, uri: &str, body: &'static str) -> Call {
        let (method, uri): (Method, Uri) = (method.parse().unwrap(), uri.parse().unwrap());
        let endpoint = Endpoint::parse(&method, &uri, Surface::of(&uri, &HeaderMap::new())).unwrap();
        let now = Instant::now();
        Call {
            endpoint,
            record: Arc::new(Record::new(HeaderValue::from_static("r"), method.clone(), now)),
            method,
            headers: HeaderMap::new(),
            payload: Payload::Kept(Bytes::from_static(body.as_bytes()), None),
            client: client("alice", false),
            wish: Wish::default(),
            left: None,
            patient: true,
            lane: "m".into(),
            bound: Bound::Free,
            prefix: Prefix::default(),
            arrived: now,
            deadline: now,
            time: std::time::Duration::ZERO,
            coming: std::sync::atomic::AtomicBool::new(false),
        }
    }

    fn client(id: &str, operator: bool) -> Client {
        Client::new(id, operator, &ClientLimits::default())
    }

    fn with(call: Call, headers: &[(&'static str, &'static str)]) -> Option<Question> {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        of(&Call { headers: headers.collect(), ..call })
    }

    #[test]
    fn what_cannot_differ_may_be_kept_and_nothing_else() {
        for (method, uri, body, kept) in [
            ("POST", "/v1beta/models/m:countTokens", "{}", true),
            ("POST", "/v1beta/models/m:embedContent", "{}", true),
            ("POST", "/v1beta/models/m:batchEmbedContents", "{}", true),
            ("POST", "/v1/embeddings", "{}", true),
            ("GET", "/v1beta/models", "", true),
            ("GET", "/v1beta/models/m", "", true),
            ("POST", GENERATE, COLD, true),
            ("POST", GENERATE, r#"{"generationConfig":{"temperature":1}}"#, false),
            ("POST", GENERATE, "{}", false),
            ("POST", GENERATE, r#"{"generationConfig":{"temperature":0},"tools":[{"googleSearch":{}}]}"#, false),
            ("POST", "/v1/chat/completions", r#"{"temperature":0}"#, true),
            ("POST", "/v1/chat/completions", r#"{"temperature":0,"stream":true}"#, false),
            ("POST", "/v1beta/models/m:streamGenerateContent", COLD, false),
            ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", COLD, false),
            ("POST", "/v1beta/tunedModels/t:generateContent", COLD, false),
            ("GET", "/v1beta/tunedModels", "", false),
            ("GET", "/v1beta/files/f", "", false),
            ("POST", "/upload/v1beta/files", "{}", false),
            ("POST", "/v1beta/models/m:predict", "{}", false),
        ] {
            assert_eq!(of(&call(method, uri, body)).is_some(), kept, "{method} {uri} {body}");
        }
    }

    #[test]
    fn a_caller_may_allow_what_chance_forbids_but_no_resource_and_no_stream() {
        let allowed = |uri, body| {
            let wish = Wish { allow: true, ..Wish::default() };
            of(&Call { wish, ..call("POST", uri, body) }).is_some()
        };
        assert!(allowed(GENERATE, "{}") && allowed(GENERATE, r#"{"tools":[{"googleSearch":{}}]}"#));
        let bound = Bound::Unknown([].into());
        let named = Call { bound, wish: Wish { allow: true, ..Wish::default() }, ..call("POST", GENERATE, COLD) };
        assert_eq!(of(&named), None);
        assert!(!allowed("/v1/chat/completions", r#"{"stream":true}"#));
        assert!(!allowed("/v1beta/models/m:streamGenerateContent", "{}"));
        assert!(!allowed("/v1beta/cachedContents", "{}"));
    }

    #[test]
    fn questions_are_one_only_if_their_answer_must_be() {
        let ask = |uri, body| of(&call("POST", uri, body)).unwrap();
        let count = "/v1beta/models/m:countTokens";
        let one = ask(count, "{}");
        assert_eq!(ask(count, "{}"), one);
        let b = "/v1beta/models/m:countTokens?b=2&a=1";
        assert_eq!(ask("/v1beta/models/m:countTokens?a=1&key=fake&b=2", "{}"), ask(b, "{}"));
        let twice = ["/v1beta/models/m:countTokens?a=1&a=2", "/v1beta/models/m:countTokens?a=2&a=1"];
        let others = [
            ask(count, "{ }"),
            ask("/v1/models/m:countTokens", "{}"),
            ask("/v1beta/models/n:countTokens", "{}"),
            ask(b, "{}"),
            ask("/v1beta/models/m:embedContent", "{}"),
            ask(twice[0], "{}"),
            ask(twice[1], "{}"),
        ];
        for (n, other) in others.iter().enumerate() {
            assert!(*other != one && !others[..n].contains(other), "{n}");
        }
    }

    #[test]
    fn no_client_has_anothers_questions_whatever_it_is_called() {
        let by = |client| of(&Call { client, ..call("POST", "/v1beta/models/m:countTokens", "{}") }).unwrap();
        assert_eq!(by(client("operator", true)), by(client("operator-2", true)));
        assert_eq!(by(client("alice", false)), by(client("alice", false)));
        assert_ne!(by(client("alice", false)), by(client("bob", false)));
        assert_ne!(by(client("operator", false)), by(client("operator", true)));
    }

    #[test]
    fn headers_count_unless_they_only_say_who_speaks() {
        let ask = |headers: &[_]| with(call("POST", "/v1beta/models/m:countTokens", "{}"), headers).unwrap();
        let plain = ask(&[]);
        assert_eq!(ask(&[("x-goog-api-client", "genai-js/3"), ("user-agent", "curl")]), plain);
        for header in [("api-revision", "2026-01-01"), ("accept-language", "de"), ("x-goog-fieldmask", "a")] {
            assert_ne!(ask(&[header]), plain, "{header:?}");
        }
        let (a, b) = (("accept", "x"), ("api-revision", "y"));
        assert_eq!(ask(&[a, b]), ask(&[b, a]));
    }
}
