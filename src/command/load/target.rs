//! What is asked: where, in which API's shape, with which credential and question.

use anyhow::Context as _;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::{Request, Url};
use serde_json::{Value, json};

use crate::secret::Secret;

/// The question where none is given.
pub(super) const PROMPT: &str = "In one short sentence: why is the sky blue?";
/// What long questions are made of.
const WORDS: &str = "the quick brown fox jumps over the lazy dog and ";

/// Which API is spoken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Api {
    /// Google's own
    #[default]
    Gemini,
    /// OpenAI's chat completions
    Openai,
}

/// What is said.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// This, after the question's number.
    Text(String),
    /// So many bytes, the number included.
    Bytes(usize),
}

/// Everything that a request is made of but its number.
#[derive(Debug)]
pub(super) struct Target {
    url: Url,
    api: Api,
    model: String,
    stream: bool,
    headers: HeaderMap,
    token: Option<Secret>,
    question: Question,
    max_tokens: Option<u32>,
    run: u64,
}

/// A URL that can be asked and shown: http or https, and nothing in it but a host, a port and a path.
pub(super) fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "it is none, such as http://127.0.0.1:8080 is".to_owned())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    match url.scheme() {
        _ if !plain || url.fragment().is_some() => Err("it holds a user, a query or a fragment".to_owned()),
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("it does not begin with http:// or https://".to_owned()),
    }
}

/// Whether only this machine is asked.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().map_or(bare == "localhost", |address| address.is_loopback())
}

/// The URL without a slash at its end.
pub(super) fn shown(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

impl Target {
    /// The API at `base`, which [`base`] has let through. Fails on a token that is no header's value.
    pub(super) fn new(base: &Url, api: Api, model: &str, stream: bool, token: Option<Secret>) -> anyhow::Result<Self> {
        let url = Url::parse(&endpoint(base, api, model, stream)).context("the URL")?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static(if stream { "text/event-stream" } else { "application/json" }));
        if let Some(token) = &token {
            let (name, text) = match api {
                Api::Gemini => (HeaderName::from_static("x-goog-api-key"), token.expose().to_owned()),
                Api::Openai => (AUTHORIZATION, format!("Bearer {}", token.expose())),
            };
            // What is wrong with it is not said: it is a secret.
            let mut value = HeaderValue::from_str(&text).ok().context("the token cannot stand in a header")?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let (model, question) = (model.to_owned(), Question::Text(PROMPT.to_owned()));
        Ok(Self { url, api, model, stream, headers, token, question, max_tokens: None, run: 0 })
    }

    /// The same with another question; `run` tells its questions from another run's.
    pub(super) fn asking(self, question: Question, max_tokens: Option<u32>, run: u64) -> Self {
        Self { question, max_tokens, run, ..self }
    }

    /// Request number `n`.
    pub(super) fn request(&self, n: u64) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = Some(self.body(n).to_string().into());
        request
    }

    /// Where the requests go.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn api(&self) -> Api {
        self.api
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn streams(&self) -> bool {
        self.stream
    }

    /// What must not be printed.
    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    fn body(&self, n: u64) -> Value {
        let text = self.text(n);
        let mut body = match self.api {
            Api::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
            Api::Openai => json!({"model": self.model, "messages": [{"role": "user", "content": text}]}),
        };
        match (self.api, self.max_tokens) {
            (_, None) => {}
            (Api::Gemini, Some(most)) => body["generationConfig"] = json!({"maxOutputTokens": most}),
            (Api::Openai, Some(most)) => body["max_tokens"] = most.into(),
        }
        if self.api == Api::Openai && self.stream {
            body["stream"] = true.into();
            // Without it no tokens are told.
            body["stream_options"] = json!({"include_usage": true});
        }
        body
    }

    /// The number comes first: a cache that knows how other questions began is of no use.
    fn text(&self, n: u64) -> String {
        let number = format!("Question {} of run {}: ", n + 1, self.run);
        match &self.question {
            Question::Text(text) => number + text,
            Question::Bytes(bytes) => number.chars().chain(WORDS.chars().cycle()).take(*bytes).collect(),
        }
    }
}

/// The path of the API below the one that was given, as its SDKs put it there.
fn endpoint(base: &Url, api: Api, model: &str, stream: bool) -> String {
    let given = shown(base);
    let at_root = base.path() == "/";
    match api {
        Api::Gemini => {
            let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let version = if at_root { "/v1beta" } else { "" };
            let model = model.trim_start_matches("models/");
            format!("{given}{version}/models/{model}:{verb}")
        }
        Api::Openai if at_root => format!("{given}/v1/chat/completions"),
        Api::Openai if given.ends_with("/chat/completions") => given.to_owned(),
        Api::Openai => format!("{given}/chat/completions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_found_below_what_was_given() {
        use Api::{Gemini, Openai};
        for (given, api, stream, asked) in [
            ("http://h:1", Gemini, false, "http://h:1/v1beta/models/m:generateContent"),
            ("http://h:1/", Gemini, true, "http://h:1/v1beta/models/m:streamGenerateContent?alt=sse"),
            ("https://h/v1/", Gemini, false, "https://h/v1/models/m:generateContent"),
            ("http://h:1", Openai, true, "http://h:1/v1/chat/completions"),
            ("https://h/v1beta/openai", Openai, false, "https://h/v1beta/openai/chat/completions"),
            ("https://h/v1/chat/completions", Openai, false, "https://h/v1/chat/completions"),
        ] {
            assert_eq!(endpoint(&base(given).unwrap(), api, "m", stream), asked);
        }
    }

    #[test]
    fn a_url_that_could_hold_a_secret_is_none() {
        for text in ["", "h", "ftp://h", "http://u@h", "http://u:p@h", "http://h?key=k", "http://h#f", "unix:/x"] {
            assert!(base(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, own) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("http://localhost:8080", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("https://gemini.example", false),
        ] {
            assert_eq!(is_loopback(&base(url).unwrap()), own, "{url}");
        }
    }

    #[test]
    fn every_question_is_another_and_a_credential_is_never_printed() {
        let url = base("http://h:1").unwrap();
        let token = Secret::new("fake-token-0001".to_owned());
        let target = Target::new(&url, Api::Openai, "m", true, Some(token)).unwrap();
        let target = target.asking(Question::Bytes(100), Some(8), 7);
        let text = |n| target.body(n)["messages"][0]["content"].as_str().unwrap().to_owned();
        assert!(text(0).starts_with("Question 1 of run 7: the quick"), "{}", text(0));
        assert_eq!((text(1).len(), text(99).len()), (100, 100));
        assert_eq!((&target.body(0)["max_tokens"], &target.body(0)["stream"]), (&json!(8), &json!(true)));
        assert!(!format!("{target:?}{:?}", target.request(1)).contains("fake-token"));
    }
}
