//! What a list's query asks for, and the tokens by which its pages go on from project to project.

use http::Method;
use http::uri::PathAndQuery;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::call::Call;
use crate::endpoint::{Action, Surface, parameters};

/// The collections whose lists are merged; `models` is the same in every project.
const COLLECTIONS: [&str; 11] = [
    "files",
    "cachedContents",
    "batches",
    "fileSearchStores",
    "tunedModels",
    "corpora",
    "agents",
    "environments",
    "triggers",
    "webhooks",
    "interactions",
];
/// The entries of a page when nobody says how many, and the most there may be.
const PAGE: usize = 50;
const PAGE_MAX: usize = 1_000;
/// What a token of geminate's begins with.
const TOKEN: &str = "g1-";
/// So much of a key's digest tells its project.
const DIGEST_CHARS: usize = 16;

/// A list over all projects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct List {
    pub(super) collection: String,
    /// In OpenAI's form: `limit` and `after`, `data` and `has_more`.
    pub(super) openai: bool,
    /// As the Interactions API writes it: `page_size`, `next_page_token`.
    pub(super) worded: bool,
    /// The entries of a page.
    pub(super) size: usize,
    /// Where the page begins.
    pub(super) token: Option<String>,
    path: String,
    /// All other parameters, as they stand.
    rest: Vec<String>,
}

/// Where a page begins in one project's list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) project: u32,
    /// The project's own token; `None`: the list's beginning.
    pub(super) token: Option<String>,
}

impl List {
    /// The list a call asks for; `None` where it asks for something else, or in a way that Google must judge.
    pub(super) fn of(call: &Call) -> Option<Self> {
        let endpoint = &call.endpoint;
        if call.method != Method::GET || endpoint.action != Action::Other || endpoint.resource.is_some() {
            return None;
        }
        let path = endpoint.target.path();
        let collection = endpoint.collection();
        if !COLLECTIONS.contains(&collection) || !path.ends_with(collection) {
            return None;
        }
        let mut list = Self {
            collection: collection.to_owned(),
            openai: endpoint.surface == Surface::OpenAi,
            worded: endpoint.surface == Surface::Interactions,
            size: PAGE,
            token: None,
            path: path.to_owned(),
            rest: Vec::new(),
        };
        for parameter in parameters(endpoint.target.query()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = percent_decode_str(name).decode_utf8().ok()?;
            let value = percent_decode_str(value).decode_utf8().ok()?;
            match (&*name, list.openai) {
                ("pageSize" | "page_size", false) | ("limit", true) => {
                    list.size = match value.parse().ok()? {
                        0 => PAGE,
                        size => usize::min(size, PAGE_MAX),
                    }
                }
                ("pageToken" | "page_token", false) | ("after", true) => {
                    list.token = Some(value.into_owned()).filter(|token| !token.is_empty());
                }
                // Without its name an entry cannot be told from another's.
                ("fields" | "$fields", _) => {}
                _ => list.rest.push(parameter.to_owned()),
            }
        }
        Some(list)
    }

    /// The question to one project: `room` entries from `place` on.
    pub(super) fn target(&self, place: &Place, room: usize) -> PathAndQuery {
        let (size, token) = match (self.openai, self.worded) {
            (true, _) => ("limit", "after"),
            (_, true) => ("page_size", "page_token"),
            _ => ("pageSize", "pageToken"),
        };
        let mut text = format!("{}?{size}={room}", self.path);
        if let Some(value) = &place.token {
            text.extend(["&", token, "=", &utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()]);
        }
        self.rest.iter().for_each(|parameter| text.extend(["&", parameter]));
        // Made of pieces of a valid target, so it is one.
        PathAndQuery::try_from(text).unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }
}

/// The token of a place in the project that the key of this digest is of.
pub(super) fn write_token(digest: &str, token: Option<&str>) -> String {
    let digest = digest.get(..DIGEST_CHARS).unwrap_or(digest);
    format!("{TOKEN}{digest}-{}", token.unwrap_or_default())
}

/// The beginning of a key's digest, and the project's own token.
pub(super) fn read_token(token: &str) -> Option<(String, Option<String>)> {
    let (digest, token) = token.strip_prefix(TOKEN)?.split_once('-')?;
    let token = Some(token.to_owned()).filter(|token| !token.is_empty());
    (digest.len() == DIGEST_CHARS).then(|| (digest.to_owned(), token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str) -> List {
        let mut list = List {
            collection: "files".into(),
            openai: false,
            worded: false,
            size: 2,
            token: None,
            path: "/v1beta/files".into(),
            rest: Vec::new(),
        };
        list.rest.extend(parameters(Some(query)).map(str::to_owned));
        list
    }

    #[test]
    fn a_part_is_asked_for_with_everything_else_that_was_asked() {
        let place = |token: Option<&str>| Place { project: 1, token: token.map(str::to_owned) };
        assert_eq!(list("filter=a%20b").target(&place(None), 2).as_str(), "/v1beta/files?pageSize=2&filter=a%20b");
        let target = list("").target(&place(Some("a+b/c==")), 7);
        assert_eq!(target.as_str(), "/v1beta/files?pageSize=7&pageToken=a%2Bb%2Fc%3D%3D");
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_rubbish_is_none() {
        let digest = "0123456789abcdef0123";
        for token in [None, Some("t-o-k=="), Some("x")] {
            let read = read_token(&write_token(digest, token)).unwrap();
            assert_eq!(read, (digest[..16].to_owned(), token.map(str::to_owned)));
        }
        for rubbish in ["", "page7", "g1-", "g1-abc-x", "g2-0123456789abcdef-"] {
            assert_eq!(read_token(rubbish), None, "{rubbish}");
        }
    }
}
