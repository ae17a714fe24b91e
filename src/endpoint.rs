//! Which operation of which surface a request names, parsed once at the edge.

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

use crate::alias::Aliases;
use crate::resource::Resource;

mod action;
mod query;
mod path;
mod target;
mod surface;

pub use action::{Action, Makes};
use path::{ambiguous, split};
pub use query::{key, parameters};
pub use surface::Surface;
use target::{bare, retargeted, target};

/// The API's versions; whatever path follows one is Google's to know.
const VERSIONS: [&str; 3] = ["v1", "v1beta", "v1alpha"];
/// The longest target that is passed on.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// A parsed target.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The shape of errors.
    pub surface: Surface,
    /// The operation.
    pub action: Action,
    /// The model named in the path, without `models/`.
    pub model: Option<Box<str>>,
    /// The resource of one project that the path names, or the upload that it goes on with.
    pub resource: Option<Resource>,
    /// Path and query for the upstream, without the client's credential.
    pub target: PathAndQuery,
    /// Whether sending it twice can do no harm beyond its price: reads, generations, counts, embeddings.
    pub replayable: bool,
    /// Whether the path called its model by another name than Google's: the body may do so as well.
    pub renamed: bool,
}

/// Why a target is no endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unroutable {
    /// Outside every surface.
    #[error(
        "no such path: the Gemini API is under /v1beta, /v1, /v1alpha, /upload, /download and /ws, OpenAI's under /v1"
    )]
    Unknown,
    /// A path that could be read in two ways.
    #[error("the path is ambiguous: dot segments, empty segments, backslashes and encoded slashes are refused")]
    Ambiguous,
    /// A query that asks for answers and errors in a form that cannot be read in passing.
    #[error(
        "alt=proto and callback are not served: an answer comes as JSON, as events (alt=sse) or as a file's content \
         (alt=media)"
    )]
    Unread,
    /// A query that names another method than the request's own.
    #[error("$httpMethod names another method: send the request by that method itself")]
    OtherMethod,
    /// Longer than 8 KiB of path and query.
    #[error("the path and query are longer than 8192 bytes")]
    TooLong,
}

impl Endpoint {
    /// Reads a request's target. `surface` is what [`Surface::of`] says of the whole request.
    pub fn parse(method: &Method, uri: &Uri, surface: Surface) -> Result<Self, Unroutable> {
        let asked = uri.path_and_query().ok_or(Unroutable::Unknown)?;
        if asked.as_str().len() > TARGET_BYTES_MAX {
            return Err(Unroutable::TooLong);
        }
        // A doubled leading slash is one: Google's JS SDK sends `//ws/...`.
        let path = if asked.path().starts_with("//") { &asked.path()[1..] } else { asked.path() };
        if ambiguous(path, surface == Surface::OpenAi) {
            return Err(Unroutable::Ambiguous);
        }
        let (head, rest) = split(&path[1..], b'/').unwrap_or((&path[1..], ""));
        let below = match head {
            "upload" | "download" => VERSIONS.contains(&rest.split('/').next().unwrap_or("")),
            "ws" => !rest.is_empty(),
            _ => VERSIONS.contains(&head) && !rest.is_empty(),
        };
        if !below {
            return Err(Unroutable::Unknown);
        }
        if query::is_unread(asked.query()) {
            return Err(Unroutable::Unread);
        }
        if query::overrides(asked.query(), method) {
            return Err(Unroutable::OtherMethod);
        }
        let (action, model) = match surface {
            Surface::Gemini | Surface::Interactions => gemini(method, head, rest, asked.query()),
            Surface::OpenAi => openai(method, rest.strip_prefix("openai/").unwrap_or(rest)),
        };
        let replayable = match action {
            _ if matches!(*method, Method::GET | Method::HEAD) => true,
            Action::Upload | Action::UploadStart | Action::UploadChunk | Action::Interaction => false,
            Action::Other => makes_nothing(rest),
            _ => true,
        };
        let target = target(asked, path, surface == Surface::OpenAi && !rest.starts_with("openai/"));
        let resource = match (head, action) {
            (_, Action::UploadChunk) => query::upload_id(asked.query()).and_then(|id| Resource::upload(path, &id)),
            ("upload" | "download", _) => rest.split_once('/').and_then(|(_, rest)| Resource::of_path(rest)),
            (_, Action::Other) => Resource::of_path(rest),
            // A tuned model is a project's own, whatever is asked of it.
            _ if rest.starts_with("tunedModels/") => Resource::of_path(rest),
            _ => None,
        };
        Ok(Self { surface, action, model: model.map(Into::into), resource, target, replayable, renamed: false })
    }

    /// The same, a model in the path that has another name for Google going by that.
    pub fn named(method: &Method, uri: &Uri, surface: Surface, aliases: &Aliases) -> Result<Self, Unroutable> {
        let endpoint = Self::parse(method, uri, surface)?;
        let Some(model) = endpoint.model.as_deref() else { return Ok(endpoint) };
        let target = aliases.real(model).and_then(|real| retargeted(&endpoint.target, model, real));
        let Some(target) = target else { return Ok(endpoint) };
        Ok(Self { renamed: true, ..Self::parse(method, &target.into(), surface)? })
    }

    /// The same of another model; `None` where the path names none.
    pub fn of_model(&self, model: &str) -> Option<Self> {
        let target = retargeted(&self.target, self.model.as_deref()?, model)?;
        Some(Self { target, model: Some(model.into()), ..self.clone() })
    }

    /// The same, where a header says that a resumable upload begins with it.
    #[must_use]
    pub fn with_headers(mut self, headers: &HeaderMap) -> Self {
        if self.action == Action::Upload && starts_upload(headers) {
            self.action = Action::UploadStart;
        }
        self
    }

    /// Whether its body is a file, or a part of one, and not a request to be read.
    pub const fn is_upload(&self) -> bool {
        matches!(self.action, Action::Upload | Action::UploadStart | Action::UploadChunk)
    }

    /// What it makes that may be named together with what else its client makes.
    pub fn makes(&self, method: &Method) -> Option<Makes> {
        let new = *method == Method::POST && self.resource.is_none() && !self.replayable;
        if new { self.action.makes(self.collection()) } else { None }
    }

    /// Whether its answer is a file's content, which says nothing of the call.
    pub fn is_download(&self) -> bool {
        let (path, query) = (self.target.path(), self.target.query());
        let content = || percent_decode_str(path).collect::<Vec<_>>().ends_with(b"/content");
        self.action == Action::Other && (path.starts_with("/download/") || content() || query::asks_for(query, "media"))
    }

    /// The collection that the path leads to, such as `files` or `interactions`.
    pub fn collection(&self) -> &str {
        let below = self.below();
        let below = below.strip_prefix("openai/").unwrap_or(below);
        &below[..below.find(['/', ':']).unwrap_or(below.len())]
    }

    /// Whether the path names `resource` itself and not a part of it.
    pub fn is_of(&self, resource: &Resource) -> bool {
        resource.is_whole(self.below())
    }

    /// What of the path follows the API's version.
    fn below(&self) -> &str {
        let path = self.target.path();
        let path = path.strip_prefix("/upload").or_else(|| path.strip_prefix("/download")).unwrap_or(path);
        path.trim_start_matches('/').split_once('/').map_or("", |(_, rest)| rest)
    }

    /// Whether its answers may name resources that its project owns.
    pub const fn names_resources(&self) -> bool {
        self.is_upload() || matches!(self.action, Action::Other | Action::Interaction)
    }

    /// Whether the model stands in the body: OpenAI's generations, and interactions.
    pub fn names_model_in_body(&self) -> bool {
        matches!(self.action, Action::Chat | Action::Embeddings | Action::Interaction)
            || self.surface == Surface::OpenAi && MODEL_IN_BODY.contains(&self.collection())
    }

    /// The operation's text for logs: never a string of the client's.
    pub const fn route(&self) -> &'static str {
        self.action.name()
    }
}

/// The `upload_id` of a request that goes on with a resumable upload, by which it is known without a credential; empty
/// where there are several. Exactly those are [`Action::UploadChunk`].
pub fn upload_id(uri: &Uri) -> Option<String> {
    let path = uri.path();
    let path = if path.starts_with("//") { &path[1..] } else { path };
    query::upload_id(uri.query()).filter(|_| path.starts_with("/upload/"))
}

fn starts_upload(headers: &HeaderMap) -> bool {
    let command = headers.get("x-goog-upload-command").and_then(|value| value.to_str().ok()).unwrap_or("");
    command.split(',').any(|word| word.trim().eq_ignore_ascii_case("start"))
}

/// Of OpenAI's further calls, those whose body names a model.
const MODEL_IN_BODY: [&str; 6] = ["images", "videos", "audio", "responses", "completions", "moderations"];

/// Whether a call that is not told apart leaves nothing behind, as its path says: sending it twice costs its price.
fn makes_nothing(rest: &str) -> bool {
    const CALLS: [&str; 3] = ["images/generations", "completions", "moderations"];
    rest.ends_with(":predict")
        || rest.ends_with(":generateAnswer")
        || CALLS.contains(&rest.strip_prefix("openai/").unwrap_or(rest))
}

/// What a Gemini path names, `head` being its first segment.
fn gemini<'p>(method: &Method, head: &str, rest: &'p str, query: Option<&str>) -> (Action, Option<&'p str>) {
    match head {
        "upload" if query::upload_id(query).is_some() => return (Action::UploadChunk, None),
        "upload" => return (Action::Upload, None),
        "ws" => return (Action::Live, None),
        _ => {}
    }
    if rest == "interactions" && *method == Method::POST {
        return (Action::Interaction, None);
    }
    let Some(name) = rest.strip_prefix("models").map(|name| name.strip_prefix('/').unwrap_or(name)) else {
        let tuned = rest.strip_prefix("tunedModels/").and_then(|name| name.split_once(':'));
        return tuned.map_or((Action::Other, None), |(model, verb)| (verb_of(verb, query), Some(model)));
    };
    match split(name, b':') {
        Some((model, verb)) if *method == Method::POST => (verb_of(verb, query), Some(model)),
        None if name.is_empty() && *method == Method::GET => (Action::ModelList, None),
        None if *method == Method::GET && !name.contains('/') => (Action::ModelGet, Some(name)),
        Some((model, _)) => (Action::Other, Some(model)),
        None => (Action::Other, name.split('/').next().filter(|model| !model.is_empty())),
    }
}

fn verb_of(verb: &str, query: Option<&str>) -> Action {
    match verb {
        "generateContent" => Action::Generate,
        "streamGenerateContent" if query::asks_for(query, "sse") => Action::StreamSse,
        "streamGenerateContent" => Action::StreamArray,
        "countTokens" => Action::CountTokens,
        "embedContent" => Action::Embed,
        "batchEmbedContents" => Action::BatchEmbed,
        _ => Action::Other,
    }
}

fn openai<'p>(method: &Method, rest: &'p str) -> (Action, Option<&'p str>) {
    match (rest, method) {
        ("chat/completions", &Method::POST) => (Action::Chat, None),
        ("embeddings", &Method::POST) => (Action::Embeddings, None),
        ("models", &Method::GET) => (Action::ModelList, None),
        (path, _) if path == "realtime" || path.starts_with("realtime/") => (Action::Realtime, None),
        (_, &Method::GET) => match rest.strip_prefix("models/") {
            Some(model) => (Action::ModelGet, Some(bare(model))),
            None => (Action::Other, None),
        },
        _ => (Action::Other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, uri: &str) -> Result<Endpoint, Unroutable> {
        parse_with(method, uri, &[])
    }

    fn parse_with(method: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> Result<Endpoint, Unroutable> {
        let headers = headers.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap())).collect();
        let uri = uri.parse().unwrap();
        Endpoint::parse(&method.parse().unwrap(), &uri, Surface::of(&uri, &headers))
    }

    #[test]
    fn operations_are_told_apart() {
        for (method, uri, action, model) in [
            ("POST", "/v1beta/models/gemini-x:generateContent", Action::Generate, Some("gemini-x")),
            ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", Action::StreamSse, Some("m")),
            ("POST", "/v1beta/models/m:streamGenerateContent?%61lt=%73se", Action::StreamSse, Some("m")),
            ("POST", "/v1/models/m:streamGenerateContent", Action::StreamArray, Some("m")),
            ("POST", "/v1beta/tunedModels/t:generateContent", Action::Generate, Some("t")),
            ("GET", "/v1beta/models?pageSize=5", Action::ModelList, None),
            ("GET", "/v1beta/models/m", Action::ModelGet, Some("m")),
            ("GET", "/v1beta/models/m/operations/o", Action::Other, Some("m")),
            ("POST", "/v1/chat/completions", Action::Chat, None),
            ("POST", "/v1beta/openai/chat/completions", Action::Chat, None),
            ("POST", "/upload/v1beta/files", Action::Upload, None),
            ("PUT", "//upload/v1/files?a=1&upload_id=u", Action::UploadChunk, None),
            ("GET", "/download/v1beta/files/f:download?alt=media", Action::Other, None),
            ("PATCH", "/v1beta/somethingNew/of/google:undreamtOf", Action::Other, None),
        ] {
            let endpoint = parse(method, uri).unwrap();
            assert_eq!((endpoint.action, endpoint.model.as_deref()), (action, model), "{method} {uri}");
        }
    }

    #[test]
    fn a_files_content_is_known_however_it_is_asked_for() {
        for uri in [
            "/v1beta/files/f:download?alt=media",
            "/v1beta/files/f:download?a=1&%61lt=%6Dedia",
            "/v1beta/files/f?$alt=media",
            "/v1beta/files/f?%24alt=MEDIA",
            "/v1/files/f/%63ontent",
            "/download/v1beta/files/f:download",
        ] {
            assert!(parse("GET", uri).unwrap().is_download(), "{uri}");
        }
        assert!(!parse("GET", "/v1beta/files/f?alt=json").unwrap().is_download());
    }

    #[test]
    fn a_tuned_model_is_a_resource_whatever_is_asked_of_it() {
        for (method, path) in [
            ("POST", "tunedModels/t:generateContent"),
            ("POST", "tunedModels/t:streamGenerateContent?alt=sse"),
            ("POST", "tunedModels/t:countTokens"),
            ("GET", "tunedModels/t"),
        ] {
            let resource = parse(method, &format!("/v1beta/{path}")).unwrap().resource;
            assert_eq!(resource.as_ref().map(Resource::name), Some("tunedModels/t"), "{path}");
        }
    }

    #[test]
    fn the_credential_leaves_the_query_and_nothing_else_does() {
        for (asked, sent) in [
            ("/v1beta/models?key=secret", "/v1beta/models"),
            ("/v1beta/models?a=1&key=secret&b=%20", "/v1beta/models?a=1&b=%20"),
            ("/v1beta/models?%6bey=secret&keys=2", "/v1beta/models?keys=2"),
            ("//v1beta/models", "/v1beta/models"),
            ("/v1/embeddings?x=1", "/v1beta/openai/embeddings?x=1"),
        ] {
            assert_eq!(parse("GET", asked).unwrap().target.as_str(), sent);
        }
    }

    #[test]
    fn models_belong_to_the_surface_of_the_credential() {
        let bearer = ("authorization", "Bearer t");
        let goog = ("x-goog-api-key", "t");
        assert_eq!(parse_with("GET", "/v1/models", &[bearer]).unwrap().surface, Surface::OpenAi);
        assert_eq!(parse_with("GET", "/v1/models", &[goog]).unwrap().surface, Surface::Gemini);
        assert_eq!(parse_with("GET", "/v1/models", &[bearer, goog]).unwrap().surface, Surface::Gemini);
        assert_eq!(parse_with("GET", "/v1/models?key=t", &[bearer]).unwrap().surface, Surface::Gemini);
        let native = parse_with("POST", "/v1/models/m:generateContent", &[bearer]).unwrap();
        assert_eq!((native.surface, native.target.as_str()), (Surface::Gemini, "/v1/models/m:generateContent"));
    }

    #[test]
    fn no_path_leads_elsewhere() {
        for uri in ["/", "/v1beta", "/v2/models", "/monitor/keys", "/upload/x", "/metrics"] {
            assert_eq!(parse("GET", uri).unwrap_err(), Unroutable::Unknown, "{uri}");
        }
        for uri in [
            "/v1beta/../api/keys",
            "/v1beta/%2e%2e/x",
            "/v1beta/a%2fb",
            "/v1beta/a%5cb",
            "/v1beta//models",
            "///v1beta/models",
            "/v1beta/./models",
            "/v1beta/a%00b",
        ] {
            assert!(parse("GET", uri).is_err(), "{uri}");
        }
        assert_eq!(parse("GET", &format!("/v1beta/{}", "a".repeat(9000))).unwrap_err(), Unroutable::TooLong);
    }
}
