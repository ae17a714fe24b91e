//! Which method of the API a path and a verb name.

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use crate::mock::auth;
use crate::mock::shelf::{Place, Verb};

/// What is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Models,
    Model,
    Generate(Framing),
    CountTokens,
    Embed,
    BatchEmbed,
    ChatOpenai,
    EmbedOpenai,
    ModelsOpenai,
    ModelOpenai,
    FilesOpenai(Verb),
    BatchesOpenai(Verb),
    ImagesOpenai,
    FilmsOpenai(Verb),
    /// A batch of prompts is taken, to be answered later.
    BatchGenerate,
    /// The same for texts to be embedded.
    AsyncBatchEmbed,
    /// Pictures, at once.
    Predict,
    /// A film, later.
    PredictLong,
    /// A turn of the Interactions API is made, or something is done to one.
    Interactions(Verb),
    /// Something is done to a resource or a collection of them.
    Resource(Verb),
    /// Bytes come, by whichever protocol; the action says what for.
    Upload,
    /// Answers with what arrived.
    Echo,
    /// Below a version of the API, but nothing that is mocked.
    Unknown,
    /// Not below any version.
    Nowhere,
}

/// How an answer is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// One JSON text.
    Unary,
    /// Server-sent events.
    Sse,
    /// A JSON array that arrives piecewise.
    Array,
    /// Server-sent events as `OpenAI` ends them, with `[DONE]`.
    Openai,
}

/// A path, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) call: Call,
    pub(crate) version: String,
    pub(crate) openai: bool,
    pub(crate) model: String,
    /// The action: as Google writes it in a URL (`generateContent`), a word of its own (`chat`, `embeddings`, `models`,
    /// `model`, `echo`, `upload.start`, `upload.chunk`, `upload.query`, `upload.cancel`, `upload.multipart`,
    /// `upload.raw`), or collection and verb (`files.create|list|get|delete|download|register`,
    /// `cachedContents.patch`, `batches.cancel`, `documents.list`, `operations.get`, `interactions.create` and so on).
    pub(crate) action: String,
    /// The resource or collection that is named, whole: `files/abc`, `fileSearchStores/s/documents`.
    pub(crate) name: String,
}

impl Route {
    pub(crate) fn parse(method: &Method, uri: &Uri) -> Self {
        let path = uri.path().trim_start_matches('/');
        let path = path.strip_prefix("download/").unwrap_or(path);
        let (path, uploads) = path.strip_prefix("upload/").map_or((path, false), |path| (path, true));
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        let versioned = version.starts_with('v') && version[1..].starts_with(|c: char| c.is_ascii_digit());
        let mut route = Self {
            call: if versioned { Call::Unknown } else { Call::Nowhere },
            version: version.to_owned(),
            openai: false,
            model: String::new(),
            action: "unknown".to_owned(),
            name: String::new(),
        };
        if path.contains("echo") {
            route.set(Call::Echo, "echo");
        } else if !versioned {
            return route;
        } else if uploads {
            route.parse_upload(method, rest);
        } else if let Some(rest) = rest.strip_prefix("openai/") {
            route.openai = true;
            route.parse_openai(method, rest);
        } else {
            route.parse_native(method, rest, uri);
        }
        route.openai = route.openai || rest.starts_with("openai/");
        route
    }

    fn parse_native(&mut self, method: &Method, rest: &str, uri: &Uri) {
        let get = method == Method::GET;
        if let Some(place) = Place::parse(method, rest) {
            let interaction = place.name == "interactions" || place.name.starts_with("interactions/");
            self.call = if interaction { Call::Interactions(place.verb) } else { Call::Resource(place.verb) };
            (self.name, self.action) = (place.name, place.action);
            return;
        }
        let Some(model) = rest.strip_prefix("models") else { return };
        let model = model.trim_start_matches('/');
        let (model, action) = model.split_once(':').map_or((model, None), |(model, action)| (model, Some(action)));
        model.clone_into(&mut self.model);
        let sse = || auth::asks_for(uri.query().unwrap_or(""), "sse");
        match action {
            None if get && model.is_empty() => self.set(Call::Models, "models"),
            None if get => self.set(Call::Model, "model"),
            Some(action) if method == Method::POST => self.set(
                match action {
                    "generateContent" => Call::Generate(Framing::Unary),
                    "streamGenerateContent" if sse() => Call::Generate(Framing::Sse),
                    "streamGenerateContent" => Call::Generate(Framing::Array),
                    "countTokens" => Call::CountTokens,
                    "embedContent" => Call::Embed,
                    "batchEmbedContents" => Call::BatchEmbed,
                    "batchGenerateContent" => Call::BatchGenerate,
                    "asyncBatchEmbedContent" => Call::AsyncBatchEmbed,
                    "predict" => Call::Predict,
                    "predictLongRunning" => Call::PredictLong,
                    _ => Call::Unknown,
                },
                action,
            ),
            _ => {}
        }
    }

    /// Any verb below an upload's path: later chunks come by POST or by PUT.
    fn parse_upload(&mut self, method: &Method, rest: &str) {
        let store = rest.strip_suffix(":uploadToFileSearchStore").filter(|it| it.starts_with("fileSearchStores/"));
        if (rest == "files" || store.is_some()) && (method == Method::POST || method == Method::PUT) {
            self.call = Call::Upload;
            store.unwrap_or(rest).clone_into(&mut self.name);
        }
    }

    fn parse_openai(&mut self, method: &Method, rest: &str) {
        match (method.as_str(), rest) {
            ("POST", "chat/completions") => self.set(Call::ChatOpenai, "chat"),
            ("POST", "embeddings") => self.set(Call::EmbedOpenai, "embeddings"),
            ("GET", "models") => self.set(Call::ModelsOpenai, "models"),
            ("POST", "images/generations") => self.set(Call::ImagesOpenai, "images"),
            ("POST", "videos") => self.set(Call::FilmsOpenai(Verb::Create), "videos.create"),
            (_, rest) if ["files", "batches", "videos"].iter().any(|word| rest.starts_with(word)) => {
                self.parse_owned(method, rest);
            }
            ("GET", rest) => {
                // Ids hold their collection's name here as well, and the SDKs encode the slash behind it.
                if let Some(model) = rest.strip_prefix("models/") {
                    let model = percent_decode_str(model).decode_utf8_lossy();
                    model.trim_start_matches("models/").clone_into(&mut self.model);
                    self.set(Call::ModelOpenai, "model");
                }
            }
            _ => {}
        }
    }

    /// Resources whose ids hold their collection's name, so that it stands twice in a path: `files/files/abc`, its
    /// second slash often encoded.
    fn parse_owned(&mut self, method: &Method, rest: &str) {
        let path = percent_decode_str(rest).decode_utf8_lossy();
        let mut words: Vec<&str> = path.split('/').collect();
        if words.len() > 1 && words[0] == words[1] {
            words.remove(0);
        }
        let verb = match (method.as_str(), &words[..]) {
            ("POST", [_]) => Verb::Create,
            ("GET", [_]) => Verb::List,
            ("GET", [_, _]) => Verb::Get,
            ("DELETE", ["files", _]) => Verb::Delete,
            ("GET", ["files", _, "content"]) => Verb::Download,
            ("POST", ["batches", _, "cancel"]) => Verb::Cancel,
            _ => return,
        };
        let (call, action): (fn(Verb) -> Call, &str) = match words[0] {
            "files" => (Call::FilesOpenai, "files"),
            "batches" => (Call::BatchesOpenai, "batches"),
            "videos" if verb == Verb::Get => (Call::FilmsOpenai, "videos"),
            _ => return,
        };
        self.set(call(verb), &format!("{action}.{}", verb.word()));
        self.name = words.iter().take(2).copied().collect::<Vec<_>>().join("/");
    }

    fn set(&mut self, call: Call, action: &str) {
        self.call = call;
        action.clone_into(&mut self.action);
    }

    /// Whether the body, not the path, names the model.
    pub(crate) fn names_model_in_body(&self) -> bool {
        matches!(
            self.call,
            Call::ChatOpenai
                | Call::EmbedOpenai
                | Call::ImagesOpenai
                | Call::FilmsOpenai(Verb::Create)
                | Call::Interactions(Verb::Create)
        )
    }

    /// Whether the call is refused when there is no such model.
    pub(crate) fn needs_model(&self) -> bool {
        !matches!(
            self.call,
            Call::Echo
                | Call::Models
                | Call::ModelsOpenai
                | Call::Resource(_)
                | Call::Interactions(_)
                | Call::FilesOpenai(_)
                | Call::BatchesOpenai(_)
                | Call::FilmsOpenai(Verb::Get)
        )
    }

    /// Whether a POST may come without a body of JSON.
    pub(crate) fn may_be_without_json(&self) -> bool {
        matches!(
            self.call,
            Call::Echo
                | Call::Resource(Verb::Cancel | Verb::Custom)
                | Call::Interactions(Verb::Cancel)
                | Call::BatchesOpenai(Verb::Cancel)
                | Call::FilesOpenai(_)
        )
    }

    /// Whether errors come wrapped in an array.
    pub(crate) fn errors_in_array(&self) -> bool {
        self.openai || self.call == Call::Generate(Framing::Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_what_they_name() {
        for (line, call, model) in [
            ("GET /v1beta/models?pageSize=2", Call::Models, ""),
            ("GET /v1/models/gemini-2.5-pro", Call::Model, "gemini-2.5-pro"),
            ("POST /v1beta/models/m:generateContent", Call::Generate(Framing::Unary), "m"),
            ("POST //v1beta/models/m:streamGenerateContent?alt=sse", Call::Generate(Framing::Sse), "m"),
            ("POST /v1beta/models/m:streamGenerateContent", Call::Generate(Framing::Array), "m"),
            ("POST /v1beta/models/m:countTokens", Call::CountTokens, "m"),
            ("POST /v1beta/openai/chat/completions", Call::ChatOpenai, ""),
            ("POST /v1beta/models/m:streamGenerateContent?%61lt=%73se", Call::Generate(Framing::Sse), "m"),
            ("POST /v1beta/models/m:streamGenerateContent?$alt=sse", Call::Generate(Framing::Sse), "m"),
            ("GET /v1beta/openai/models/models/m", Call::ModelOpenai, "m"),
            ("GET /v1beta/openai/models/models%2Fm", Call::ModelOpenai, "m"),
            ("GET /v1beta/openai/files/files%2Fa", Call::FilesOpenai(Verb::Get), ""),
            ("GET /v1beta/openai/files/a/content", Call::FilesOpenai(Verb::Download), ""),
            ("POST /v1beta/openai/batches/batches%2Fb/cancel", Call::BatchesOpenai(Verb::Cancel), ""),
            ("PATCH /v1beta/openai/files/a", Call::Unknown, ""),
            ("PATCH /v1beta/some/echo", Call::Echo, ""),
            ("GET /v1beta/models/m:generateContent", Call::Unknown, "m"),
            ("GET /v1beta/files", Call::Resource(Verb::List), ""),
            ("GET /v1beta/models/m/operations/o", Call::Resource(Verb::Get), ""),
            ("POST /upload/v1beta/files", Call::Upload, ""),
            ("PUT /upload/v1beta/fileSearchStores/s:uploadToFileSearchStore", Call::Upload, ""),
            ("GET /upload/v1beta/files", Call::Unknown, ""),
            ("POST /v1beta/models/m:predictLongRunning", Call::PredictLong, "m"),
            ("POST /v1beta/batches", Call::Unknown, ""),
            ("GET /video", Call::Nowhere, ""),
        ] {
            let (method, uri) = line.split_once(' ').unwrap();
            let route = Route::parse(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!((route.call, route.model.as_str()), (call, model), "{line}");
        }
    }
}
