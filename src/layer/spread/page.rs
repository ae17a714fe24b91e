//! A page that is filled from several projects' lists, its entries as Google wrote them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::layer::spread::query::List;
use crate::resource::Resource;

/// A page that has grown to this is full, however few its entries are.
const BYTES_MAX: usize = 16 << 20;

/// The page so far.
pub(super) struct Page {
    size: usize,
    /// What Google calls the entries.
    field: String,
    entries: Vec<Box<RawValue>>,
    /// What they take.
    bytes: usize,
}

/// What tells an entry's name.
#[derive(Deserialize)]
struct Entry<'e> {
    #[serde(borrow)]
    name: Option<Cow<'e, str>>,
    #[serde(borrow)]
    id: Option<Cow<'e, str>>,
}

impl Entry<'_> {
    /// The Interactions API's resources go by their ids; their names are their makers' to choose.
    fn name(&self, worded: bool) -> Option<&str> {
        let (name, id) = (self.name.as_deref(), self.id.as_deref());
        if worded { id } else { name.or(id) }
    }
}

impl Page {
    pub(super) fn new(list: &List) -> Self {
        let field = if list.openai { "data".to_owned() } else { list.collection.clone() };
        Self { size: list.size, field, entries: Vec::new(), bytes: 0 }
    }

    /// How many entries it may still take.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= BYTES_MAX { 0 } else { self.size.saturating_sub(self.entries.len()) }
    }

    /// Whether it has no entry yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes up one project's answer, of which the client sees what `shows` says of the entries' resources. Gives the
    /// token by which the project's list goes on, if it does. Fails on what is no list.
    pub(super) fn add(
        &mut self,
        list: &List,
        body: &[u8],
        shows: impl Fn(Option<&Resource>) -> bool,
    ) -> serde_json::Result<Option<String>> {
        let part: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body)?;
        let arrays = part.iter().find(|(_, value)| value.get().starts_with('['));
        let mut newest = None;
        if let Some((field, array)) = arrays {
            field.as_ref().clone_into(&mut self.field);
            let entries: Vec<&RawValue> = serde_json::from_str(array.get())?;
            for entry in entries {
                let read: Entry<'_> = serde_json::from_str(entry.get())?;
                let name = read.name(list.worded);
                let resource = name.and_then(|name| Resource::of_id(&list.collection, name));
                if shows(resource.as_ref()) {
                    self.bytes += entry.get().len();
                    self.entries.push(entry.to_owned());
                }
                newest = name.map(str::to_owned);
            }
        }
        let member = |name: &str| part.get(name).map(|value| value.get());
        if list.openai {
            return Ok(newest.filter(|_| member("has_more") == Some("true")));
        }
        let token = member("nextPageToken").or_else(|| member("next_page_token"));
        let token = token.and_then(|token| serde_json::from_str::<String>(token).ok());
        Ok(token.filter(|token| !token.is_empty()))
    }

    /// The page as its surface writes one; `token` is where the next one begins.
    pub(super) fn write(&self, list: &List, token: Option<&str>) -> Bytes {
        let text = if list.openai {
            let id = |entry: Option<&Box<RawValue>>| {
                entry.and_then(|entry| serde_json::from_str::<Entry<'_>>(entry.get()).ok()?.id.map(Cow::into_owned))
            };
            let (first_id, last_id) = (id(self.entries.first()), id(self.entries.last()));
            let has_more = token.is_some();
            serde_json::to_string(&OpenAi { object: "list", data: &self.entries, first_id, last_id, has_more })
        } else {
            let field = (!self.entries.is_empty()).then(|| (self.field.as_str(), Member::Entries(&self.entries)));
            let name = if list.worded { "next_page_token" } else { "nextPageToken" };
            let token = token.map(|token| (name, Member::Token(token)));
            serde_json::to_string(&field.into_iter().chain(token).collect::<BTreeMap<_, _>>())
        };
        // Of texts and JSON that was read before: it can always be written.
        Bytes::from(text.unwrap_or_default())
    }
}

/// A member of a list of Google's.
#[derive(Serialize)]
#[serde(untagged)]
enum Member<'p> {
    Entries(&'p [Box<RawValue>]),
    Token(&'p str),
}

/// A list of OpenAI's.
#[derive(Serialize)]
struct OpenAi<'p> {
    object: &'static str,
    data: &'p [Box<RawValue>],
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}
