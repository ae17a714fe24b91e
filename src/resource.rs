//! Resources: what lives in one Google project, and the forms in which requests and answers name it.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::secret::Digest;

/// A resource's canonical name: `files/abc`, `fileSearchStores/s`, `models/veo/operations/o`, `interactions/v1_x`.
///
/// What lives within another one goes by that one's name: documents and operations of a store by the store's.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Resource(Box<str>);

/// A collection of Google's, and how long its members are remembered.
#[derive(Clone, Copy, Debug)]
struct Collection {
    name: &'static str,
    life: Duration,
}

const DAY: Duration = Duration::from_hours(24);
/// Longer than anything that Google keeps and that a client comes back to.
const LONG: Duration = Duration::from_hours(24 * 400);

/// The collections whose members belong to a project. Lives are Google's where it tells one (Gemini API documentation,
/// 2026-10): files 48 h, a batch's results 48 h after its 48 h, interactions 55 days, ephemeral tokens and Live's handles
/// within a day. Caches live as long as their owner wishes.
const COLLECTIONS: [Collection; 16] = [
    Collection { name: "files", life: Duration::from_hours(48) },
    Collection { name: "cachedContents", life: Duration::from_hours(24 * 30) },
    Collection { name: "batches", life: Duration::from_hours(24 * 14) },
    Collection { name: "operations", life: Duration::from_hours(24 * 14) },
    Collection { name: "fileSearchStores", life: LONG },
    Collection { name: "tunedModels", life: LONG },
    Collection { name: "corpora", life: LONG },
    Collection { name: "interactions", life: Duration::from_hours(24 * 55) },
    Collection { name: "agents", life: LONG },
    Collection { name: "environments", life: LONG },
    Collection { name: "triggers", life: LONG },
    Collection { name: "webhooks", life: LONG },
    Collection { name: "videos", life: Duration::from_hours(24 * 14) },
    Collection { name: TOKENS, life: DAY },
    Collection { name: SESSIONS, life: DAY },
    Collection { name: UPLOADS, life: Duration::from_hours(24 * 7) },
];

/// Ephemeral tokens, as Google names them.
const TOKENS: &str = "auth_tokens";
/// Live's resumption handles; no path and no value names them.
const SESSIONS: &str = "sessions";
/// Resumable uploads; no path and no value names them either.
const UPLOADS: &str = "uploads";
/// Whoever has the id of one of these may use it, so only its digest is kept.
const BEARERS: [&str; 3] = [TOKENS, SESSIONS, UPLOADS];
/// The longest name that is remembered; Live's handles and interactions' ids are the long ones.
const NAME_BYTES_MAX: usize = 1024;

impl Resource {
    /// What a path names, `rest` being what follows the API's version: `files/abc:download`, `openai/files/files%2Fabc`,
    /// `fileSearchStores/s/documents/d`. `None` for collections themselves and for what belongs to no project.
    pub fn of_path(rest: &str) -> Option<Self> {
        let rest = rest.strip_prefix("openai/").unwrap_or(rest);
        // Only an id may be written encoded, and only the OpenAI SDKs write one so.
        if rest.contains('%') {
            let decoded = percent_decode_str(rest).decode_utf8().ok()?;
            return Self::of_name(&decoded);
        }
        Self::of_name(rest)
    }

    /// What a value of a request or an answer names: a name (`files/abc`), or a URI whose path does, with its scheme or
    /// without.
    pub fn of_value(text: &str) -> Option<Self> {
        let Some((_, path)) = host_and_path(text) else { return Self::of_name(text) };
        let mut path = path.trim_start_matches('/');
        while let Some(rest) = ["download/", "upload/"].iter().find_map(|head| path.strip_prefix(head)) {
            path = rest.trim_start_matches('/');
        }
        Self::of_name(path.split_once('/').filter(|(version, _)| version.starts_with('v'))?.1)
    }

    /// Whether a path that follows the API's version is of this resource itself and not of a part of it.
    pub fn is_whole(&self, rest: &str) -> bool {
        let Ok(rest) = percent_decode_str(rest.strip_prefix("openai/").unwrap_or(rest)).decode_utf8() else {
            return false;
        };
        let name = whole(&rest);
        let parts = |text: &str| text.split('/').count();
        parts(name) == parts(&self.0) && !name.contains(':') && Self::of_name(name).as_ref() == Some(self)
    }

    /// Whether it is something that goes on at Google's, and becomes or makes other resources.
    pub fn is_operation(&self) -> bool {
        ["models/", "operations/", "batches/"].iter().any(|head| self.0.starts_with(head))
    }

    /// Whether it is a member of `collection`.
    pub fn is_in(&self, collection: &str) -> bool {
        self.0.strip_prefix(collection).is_some_and(|rest| rest.starts_with('/'))
    }

    /// A member of `collection` by its bare id, as the Interactions family names its resources. `None` where the
    /// collection belongs to no project.
    pub fn of_id(collection: &str, id: &str) -> Option<Self> {
        if id.contains('/') { Self::of_name(id) } else { Self::of_name(&format!("{collection}/{id}")) }
    }

    /// A Live session's resumption handle.
    pub fn session(handle: &str) -> Option<Self> {
        Self::bearer(SESSIONS, handle)
    }

    /// A resumable upload, by its path and its `upload_id`: the id opens no other path.
    pub fn upload(path: &str, id: &str) -> Option<Self> {
        let path = path.trim_start_matches('/');
        Self::bearer(UPLOADS, id).and_then(|_| Self::bearer(UPLOADS, &format!("{path}?{id}")))
    }

    /// The canonical name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// How long it is worth remembering.
    pub fn life(&self) -> Duration {
        // Operations below a model are operations.
        let name = if self.0.starts_with("models/") { "operations" } else { self.0.split('/').next().unwrap_or("") };
        COLLECTIONS.iter().find(|collection| collection.name == name).map_or(DAY, |collection| collection.life)
    }

    /// Reads back a name that [`Resource::name`] gave.
    pub fn recall(name: &str) -> Option<Self> {
        let digested = name.split_once('/').is_some_and(|(head, id)| BEARERS.contains(&head) && !id.is_empty());
        if digested { Some(Self(name.into())) } else { Self::of_name(name) }
    }

    fn bearer(collection: &str, id: &str) -> Option<Self> {
        let sane = !id.is_empty() && id.len() <= NAME_BYTES_MAX;
        sane.then(|| Self(format!("{collection}/{}", Digest::of(id.as_bytes())).into()))
    }

    /// `collection/id`, and what may follow: a verb, a query, a part of the resource.
    fn of_name(name: &str) -> Option<Self> {
        let name = whole(name.trim_start_matches('/'));
        let mut parts = name.split('/');
        let (head, second) = (parts.next()?, parts.next()?);
        let words = |word: &str| word.find([':', '?', '#']).unwrap_or(word.len());
        let id = &second[..words(second)];
        if id.is_empty() {
            return None;
        }
        if head == "models" {
            let (nested, operation) = (parts.next()?, parts.next()?);
            let operation = &operation[..words(operation)];
            let plain = nested == "operations" && !operation.is_empty() && name.len() <= NAME_BYTES_MAX;
            return plain.then(|| Self(format!("models/{id}/operations/{operation}").into()));
        }
        if head == TOKENS {
            return Self::bearer(TOKENS, id);
        }
        let known = COLLECTIONS.iter().any(|collection| collection.name == head) && !BEARERS.contains(&head);
        let sane = head.len() + id.len() < NAME_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
        (known && sane).then(|| Self(format!("{head}/{id}").into()))
    }
}

/// OpenAI's routes name Google's resources by their whole names, `files/files/abc` and
/// `videos/models/veo/operations/o`: what of such a path is the name.
fn whole(name: &str) -> &str {
    let mut name = name;
    while let Some((head, rest)) = name.split_once('/')
        && let Some((second, third)) = rest.split_once('/')
        && !third.is_empty()
        && (head == second || head == "videos" && (second == "models" || second == "operations"))
    {
        name = rest;
    }
    name
}

/// The host and the path of a URI; `None` for a bare name.
fn host_and_path(text: &str) -> Option<(&str, &str)> {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest,
        // Without a scheme, what looks like a host is one.
        None => text.strip_prefix("//").or_else(|| {
            let first = text.split('/').next().unwrap_or("");
            (first.contains('.') && text.contains('/')).then_some(text)
        })?,
    };
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// Whether a value is a URI of Google's API; `None`: it is no URI.
pub fn of_google(text: &str) -> Option<bool> {
    let (host, _) = host_and_path(text)?;
    let host = host.rsplit('@').next().unwrap_or("").split(':').next().unwrap_or("").trim_end_matches('.');
    let host = host.to_ascii_lowercase();
    Some(host == "googleapis.com" || host.ends_with(".googleapis.com"))
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is known by its digest is told by what it is.
        match self.0.split_once('/') {
            Some((TOKENS, _)) => f.write_str("the token"),
            Some((UPLOADS, _)) => f.write_str("the upload"),
            Some((SESSIONS, _)) => f.write_str("the session"),
            _ => f.write_str(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(resource: Option<Resource>) -> Option<String> {
        resource.map(|resource| resource.name().to_owned())
    }

    #[test]
    fn a_path_names_what_lives_in_a_project_and_nothing_else() {
        for (rest, expected) in [
            ("files/abc", Some("files/abc")),
            ("files/abc:download", Some("files/abc")),
            ("files", None),
            ("files:register", None),
            ("files/", None),
            ("models", None),
            ("models/gemini-x", None),
            ("models/gemini-x:generateContent", None),
            ("models/veo-3.1/operations/op-1", Some("models/veo-3.1/operations/op-1")),
            ("fileSearchStores/s/documents/d", Some("fileSearchStores/s")),
            ("fileSearchStores/s:importFile", Some("fileSearchStores/s")),
            ("tunedModels/t/operations/o", Some("tunedModels/t")),
            ("interactions/v1_a-b/cancel", Some("interactions/v1_a-b")),
            ("batches/b:cancel", Some("batches/b")),
            ("openai/files/files/abc/content", Some("files/abc")),
            ("openai/files/files%2Fabc", Some("files/abc")),
            ("openai/batches/batches/b/cancel", Some("batches/b")),
            ("openai/videos/models%2Fveo-3.1%2Foperations%2Fo", Some("models/veo-3.1/operations/o")),
            ("openai/videos/models%2Fveo-3.1%2Foperations%2Fo/content", Some("models/veo-3.1/operations/o")),
            ("openai/videos/v_1/content", Some("videos/v_1")),
            ("openai/chat/completions", None),
            ("sessions/x", None),
            ("uploads/x", None),
        ] {
            assert_eq!(name(Resource::of_path(rest)).as_deref(), expected, "{rest}");
        }
    }

    #[test]
    fn a_value_names_a_resource_bare_or_by_its_uri() {
        for (text, expected) in [
            ("files/abc", Some("files/abc")),
            ("https://generativelanguage.googleapis.com/v1beta/files/abc", Some("files/abc")),
            ("https://generativelanguage.googleapis.com/v1beta/files/abc:download?alt=media", Some("files/abc")),
            (
                "https://generativelanguage.googleapis.com/download/v1beta/files/abc:download?alt=media",
                Some("files/abc"),
            ),
            ("https://gateway.example:8443/v1/files/abc", Some("files/abc")),
            ("https://generativelanguage.googleapis.com//v1beta//files/abc", Some("files/abc")),
            ("https://generativelanguage.googleapis.com/upload/v1beta/files/abc", Some("files/abc")),
            ("generativelanguage.googleapis.com/v1beta/files/abc", Some("files/abc")),
            ("//generativelanguage.googleapis.com/v1beta/files/abc", Some("files/abc")),
            ("https://youtu.be/files/abc", None),
            ("gs://bucket/files/abc", None),
            ("cachedContents/c", Some("cachedContents/c")),
            ("read files/abc", None),
            ("files/a b", None),
            ("", None),
            ("https://", None),
        ] {
            assert_eq!(name(Resource::of_value(text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_part_of_a_resource_is_not_the_resource() {
        let store = Resource::of_value("fileSearchStores/a").unwrap();
        assert!(store.is_whole("fileSearchStores/a"));
        assert!(!store.is_whole("fileSearchStores/a/documents/report-a"));
        assert!(!store.is_whole("fileSearchStores/a/documents/a"));
        assert!(!store.is_whole("fileSearchStores/a:importFile"));
        let file = Resource::of_value("files/a").unwrap();
        assert!(file.is_whole("openai/files/files%2Fa") && file.is_whole("files/files/a"));
        assert!(Resource::of_value("auth_tokens/a").unwrap().is_whole("auth_tokens/a"));
        let operation = Resource::of_value("models/veo/operations/o").unwrap();
        assert!(operation.is_whole("models/veo/operations/o"));
        assert!(operation.is_whole("openai/videos/models%2Fveo%2Foperations%2Fo"));
    }

    #[test]
    fn googles_host_is_known_however_it_is_written() {
        for (text, expected) in [
            ("files/a", None),
            ("https://generativelanguage.googleapis.com/v1beta/files/a", Some(true)),
            ("HTTPS://u:p@GenerativeLanguage.googleapis.com.:443/v1beta/files/a", Some(true)),
            ("generativelanguage.googleapis.com/v1beta/files/a", Some(true)),
            ("https://googleapis.com.evil.example/v1beta/files/a", Some(false)),
            ("https://youtu.be/a", Some(false)),
        ] {
            assert_eq!(of_google(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_remembered_is_read_back_and_has_a_life() {
        for resource in
            [Resource::of_value("files/a"), Resource::session("h/1=="), Resource::upload("/upload/v1/files", "u")]
        {
            let resource = resource.unwrap();
            assert_eq!(Resource::recall(resource.name()), Some(resource));
        }
        assert_eq!(Resource::of_value("files/a").unwrap().life(), Duration::from_hours(48));
        assert_eq!(Resource::of_value("models/m/operations/o").unwrap().life(), Duration::from_hours(24 * 14));
        assert_eq!(name(Resource::of_id("interactions", "v1_x")).as_deref(), Some("interactions/v1_x"));
        assert_eq!(Resource::of_id("models", "x"), None);
        assert_eq!(Resource::upload("/upload/v1/files", &"x".repeat(5_000)), None);
        let token = || Resource::of_value("auth_tokens/fake-id");
        assert_eq!(token(), Resource::recall(token().unwrap().name()));
        for bearer in [Resource::upload("/upload/v1/files", "fake-id"), Resource::session("fake-id"), token()] {
            assert!(
                !format!("{bearer:?} {}", bearer.as_ref().unwrap()).contains("fake-id"),
                "who has the id may use it"
            );
        }
    }
}
