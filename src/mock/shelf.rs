//! Where resources stand: the collections of the API, and what a path below one of them asks for.

use http::Method;
use percent_encoding::percent_decode_str;

/// One collection.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Its word in paths.
    pub(crate) word: &'static str,
    /// The field of a list that holds its resources.
    pub(crate) list: &'static str,
    /// How many a page holds when no size is asked for, and at most.
    pub(crate) page: usize,
    pub(crate) page_max: usize,
    /// Whether it belongs to the Interactions API, which writes names with `_` and codes of errors as words.
    pub(crate) worded: bool,
    /// Whether a POST to it makes a resource.
    pub(crate) creates: bool,
}

const fn shelf(word: &'static str, list: &'static str, page: usize, page_max: usize, creates: bool) -> Shelf {
    Shelf { word, list, page, page_max, worded: false, creates }
}

const fn worded(word: &'static str) -> Shelf {
    Shelf { word, list: word, page: 50, page_max: 1000, worded: true, creates: true }
}

/// The collections that paths may begin with.
static ROOTS: [Shelf; 13] = [
    shelf("files", "files", 10, 100, true),
    shelf("cachedContents", "cachedContents", 50, 1000, true),
    shelf("batches", "operations", 50, 1000, false),
    shelf("fileSearchStores", "fileSearchStores", 10, 20, true),
    shelf("operations", "operations", 50, 1000, false),
    shelf("tunedModels", "tunedModels", 10, 1000, true),
    shelf("corpora", "corpora", 10, 20, true),
    shelf("auth_tokens", "auth_tokens", 50, 1000, true),
    worded("interactions"),
    worded("agents"),
    worded("environments"),
    worded("triggers"),
    worded("webhooks"),
];

/// The collections that stand below a resource.
static BELOW: [Shelf; 6] = [
    shelf("documents", "documents", 10, 20, true),
    shelf("chunks", "chunks", 10, 100, true),
    shelf("permissions", "permissions", 10, 1000, true),
    shelf("operations", "operations", 50, 1000, false),
    shelf("upload/operations", "operations", 50, 1000, false),
    worded("executions"),
];

/// What is done to a resource or a collection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Create,
    List,
    Get,
    Patch,
    Delete,
    Cancel,
    Download,
    /// Files of Google's cloud storage are made known.
    Register,
    /// A file becomes a document of a store.
    Import,
    /// Another word of the Interactions family behind a colon: answered with nothing when the resource is there.
    Custom,
}

impl Verb {
    /// As actions name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Get => "get",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Cancel => "cancel",
            Self::Download => "download",
            Self::Register => "register",
            Self::Import => "importFile",
            Self::Custom => "custom",
        }
    }
}

/// A path, read.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) shelf: &'static Shelf,
    pub(crate) verb: Verb,
    /// The resource's whole name, or the collection's.
    pub(crate) name: String,
    /// `files.get`, `documents.list`, `fileSearchStores.importFile` and so on.
    pub(crate) action: String,
}

impl Place {
    /// Reads the path behind its version; `None` when it names no resource and no collection, or when its method is
    /// none of theirs.
    pub(crate) fn parse(method: &Method, path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let (path, custom) = path.rsplit_once(':').map_or((&*path, None), |(path, word)| (path, Some(word)));
        let (path, custom) = match path.strip_suffix("/cancel") {
            Some(rest) if custom.is_none() && rest.starts_with("interactions/") => (rest, Some("cancel")),
            _ => (path, custom),
        };
        let joined = path.replace("/upload/operations", "/upload\0operations");
        let words: Vec<&str> = joined.split('/').collect();
        if words.iter().any(|word| word.is_empty()) {
            return None;
        }
        let collection = words.len() % 2 == 1;
        let last = words[if collection { words.len() - 1 } else { words.len() - 2 }].replace('\0', "/");
        let rooted = ROOTS.iter().find(|shelf| shelf.word == words[0]);
        let of_model = words[0] == "models" && words.get(2) == Some(&"operations");
        let shelf = if words.len() <= 2 {
            rooted?
        } else {
            BELOW.iter().find(|shelf| shelf.word == last).filter(|_| rooted.is_some() || of_model)?
        };
        let verb = verb(method, shelf, collection, custom)?;
        let word = custom.unwrap_or(verb.word());
        let action = format!("{}.{word}", last.rsplit('/').next().unwrap_or(&last));
        Some(Self { shelf, verb, name: path.to_owned(), action })
    }
}

/// The collection of a resource's name, or the collection itself.
pub(crate) fn collection(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(collection, _)| collection)
}

fn verb(method: &Method, shelf: &Shelf, collection: bool, custom: Option<&str>) -> Option<Verb> {
    Some(match (method.as_str(), custom) {
        ("POST", None) if collection && shelf.creates => Verb::Create,
        ("GET", None) if collection => Verb::List,
        ("GET", None) => Verb::Get,
        ("PATCH", None) if !collection => Verb::Patch,
        ("DELETE", None) if !collection => Verb::Delete,
        ("GET", Some("download")) if !collection => Verb::Download,
        ("POST", Some("register")) if collection && shelf.word == "files" => Verb::Register,
        ("POST", Some("cancel")) if !collection => Verb::Cancel,
        ("POST", Some("importFile")) if !collection && shelf.word == "fileSearchStores" => Verb::Import,
        ("POST", Some(_)) if !collection && shelf.worded => Verb::Custom,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources_and_what_is_done_to_them() {
        for (line, name, action) in [
            ("GET files", "files", "files.list"),
            ("GET files/a", "files/a", "files.get"),
            ("GET files%2Fa", "files/a", "files.get"),
            ("GET files/a:download", "files/a", "files.download"),
            ("POST files:register", "files", "files.register"),
            ("PATCH cachedContents/c", "cachedContents/c", "cachedContents.patch"),
            ("POST batches/b:cancel", "batches/b", "batches.cancel"),
            ("POST fileSearchStores/s:importFile", "fileSearchStores/s", "fileSearchStores.importFile"),
            ("GET fileSearchStores/s/documents", "fileSearchStores/s/documents", "documents.list"),
            ("DELETE fileSearchStores/s/documents/d", "fileSearchStores/s/documents/d", "documents.delete"),
            ("GET fileSearchStores/s/upload/operations/o", "fileSearchStores/s/upload/operations/o", "operations.get"),
            ("GET models/m/operations/o", "models/m/operations/o", "operations.get"),
            ("POST interactions", "interactions", "interactions.create"),
            ("POST interactions/i/cancel", "interactions/i", "interactions.cancel"),
            ("POST webhooks/w:ping", "webhooks/w", "webhooks.ping"),
        ] {
            let (method, path) = line.split_once(' ').unwrap();
            let place = Place::parse(&method.parse().unwrap(), path).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((place.name.as_str(), place.action.as_str()), (name, action), "{line}");
        }
    }

    #[test]
    fn what_google_does_not_have_is_nothing() {
        for line in ["POST batches", "GET models/m", "PUT files/a", "GET files//a", "GET nonsense/a", "DELETE files"] {
            let (method, path) = line.split_once(' ').unwrap();
            assert!(Place::parse(&method.parse().unwrap(), path).is_none(), "{line}");
        }
    }
}
