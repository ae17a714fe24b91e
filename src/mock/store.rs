//! What the projects own: files, caches, batches and all else that lives in one project of Google's.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use crate::mock::content::Content;
use crate::secret::Digest;

/// How many things are kept; beyond them the oldest goes.
const THINGS_MAX: usize = 10_000;
/// How many bytes of files are kept together; beyond them the oldest files lose theirs and keep their length.
const CONTENTS_MAX: usize = 256 << 20;

/// One thing that a project owns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thing {
    pub(crate) project: String,
    /// Its whole name, such as `files/abc` or `fileSearchStores/s/documents/d`.
    pub(crate) name: String,
    /// As Google shows it.
    pub(crate) value: Value,
    /// What it becomes when it is asked for next: so operations end.
    pub(crate) next: Option<Value>,
    /// When it is gone by itself.
    pub(crate) expires: Option<Timestamp>,
    /// The bytes of a file.
    pub(crate) content: Option<Content>,
}

/// One page of a list; the newest stands first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) values: Vec<Value>,
    pub(crate) next: Option<String>,
}

/// Everything owned in one world.
#[derive(Debug, Default)]
pub(crate) struct Store {
    things: BTreeMap<u64, Thing>,
    numbers: HashMap<(String, String), u64>,
    last: u64,
    bytes: usize,
}

impl Store {
    /// Adds a thing; one of the same name in the same project gives way.
    pub(crate) fn put(&mut self, thing: Thing) {
        self.take(&thing.project, &thing.name);
        while self.things.len() >= THINGS_MAX {
            let Some((project, name)) = self.things.values().next().map(|it| (it.project.clone(), it.name.clone()))
            else {
                break;
            };
            self.take(&project, &name);
        }
        self.last += 1;
        self.bytes += kept(&thing);
        self.numbers.insert((thing.project.clone(), thing.name.clone()), self.last);
        self.things.insert(self.last, thing);
        self.shrink();
    }

    /// The thing, if this project has it and its time is not over.
    pub(crate) fn find(&self, project: &str, name: &str, now: Timestamp) -> Option<&Thing> {
        let number = self.numbers.get(&(project.to_owned(), name.to_owned()))?;
        self.things.get(number).filter(|thing| lives(thing, now))
    }

    /// The project that has a thing of this name.
    pub(crate) fn owner(&self, name: &str, now: Timestamp) -> Option<&str> {
        let named = self.things.values().find(|thing| thing.name == name && lives(thing, now));
        named.map(|thing| thing.project.as_str())
    }

    /// The same, to be changed. Contents are not changed through it.
    pub(crate) fn find_mut(&mut self, project: &str, name: &str, now: Timestamp) -> Option<&mut Thing> {
        let number = self.numbers.get(&(project.to_owned(), name.to_owned()))?;
        self.things.get_mut(number).filter(|thing| lives(thing, now))
    }

    /// The thing as it is shown to one who asks for it; an operation comes to its end by that.
    pub(crate) fn poll(&mut self, project: &str, name: &str, now: Timestamp) -> Option<Value> {
        let thing = self.find_mut(project, name, now)?;
        if let Some(next) = thing.next.take() {
            thing.value = next;
        }
        Some(thing.value.clone())
    }

    /// Takes the thing away with all that stands below its name.
    pub(crate) fn remove(&mut self, project: &str, name: &str, now: Timestamp) -> Option<Thing> {
        self.find(project, name, now)?;
        let below = format!("{name}/");
        let children: Vec<String> = self
            .things
            .values()
            .filter(|thing| thing.project == project && thing.name.starts_with(&below))
            .map(|thing| thing.name.clone())
            .collect();
        for child in children {
            self.take(project, &child);
        }
        self.take(project, name)
    }

    /// A page of what stands directly in `collection`. `None` for a token that is none of this list's in this project.
    pub(crate) fn page(
        &self,
        project: &str,
        collection: &str,
        size: usize,
        token: Option<&str>,
        now: Timestamp,
    ) -> Option<Page> {
        let before = match token.filter(|token| !token.is_empty()) {
            Some(token) => {
                let (_, number) = token.split_once('-')?;
                let number: u64 = number.parse().ok()?;
                if token != page_token(project, collection, number) {
                    return None;
                }
                number
            }
            None => u64::MAX,
        };
        let belongs = |thing: &Thing| {
            let parent = thing.name.rsplit_once('/').map(|(parent, _)| parent);
            thing.project == project && parent == Some(collection) && lives(thing, now)
        };
        let mut found = self.things.range(..before).rev().filter(|(_, thing)| belongs(thing)).peekable();
        let (mut values, mut last) = (Vec::new(), 0);
        while values.len() < size {
            let Some((number, thing)) = found.next() else { break };
            values.push(thing.value.clone());
            last = *number;
        }
        let next = found.peek().map(|_| page_token(project, collection, last));
        Some(Page { values, next })
    }

    /// How many things there are, by project.
    pub(crate) fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for thing in self.things.values() {
            *counts.entry(thing.project.as_str()).or_default() += 1;
        }
        counts
    }

    fn take(&mut self, project: &str, name: &str) -> Option<Thing> {
        let number = self.numbers.remove(&(project.to_owned(), name.to_owned()))?;
        let thing = self.things.remove(&number)?;
        self.bytes -= kept(&thing);
        Some(thing)
    }

    fn shrink(&mut self) {
        for thing in self.things.values_mut() {
            if self.bytes <= CONTENTS_MAX {
                break;
            }
            self.bytes -= kept(thing);
            if let Some(content) = &mut thing.content {
                content.head.clear();
            }
        }
    }
}

fn kept(thing: &Thing) -> usize {
    thing.content.as_ref().map_or(0, |content| content.head.len())
}

fn lives(thing: &Thing, now: Timestamp) -> bool {
    thing.expires.is_none_or(|expires| now < expires)
}

/// Says where the next page begins, and nothing to another project or another list.
fn page_token(project: &str, collection: &str, number: u64) -> String {
    let digest = Digest::of(format!("{project}\n{collection}\n{number}").as_bytes()).to_string();
    format!("{}-{number}", &digest[..16])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn thing(project: &str, name: &str) -> Thing {
        let (project, name) = (project.to_owned(), name.to_owned());
        Thing { value: json!({"name": name}), project, name, ..Thing::default() }
    }

    #[test]
    fn a_thing_is_its_projects_alone() {
        let mut store = Store::default();
        store.put(thing("p", "files/a"));
        assert!(store.find("p", "files/a", NOW).is_some());
        assert!(store.find("q", "files/a", NOW).is_none() && store.remove("q", "files/a", NOW).is_none());
        assert!(store.remove("p", "files/a", NOW).is_some() && store.find("p", "files/a", NOW).is_none());
    }

    #[test]
    fn pages_join_to_the_whole_list_and_their_tokens_are_the_projects_own() {
        let mut store = Store::default();
        for n in 0..5 {
            store.put(thing("p", &format!("files/{n}")));
            store.put(thing("q", &format!("files/{n}")));
        }
        store.put(thing("p", "files/0/permissions/x"));
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let page = store.page("p", "files", 2, token.as_deref(), NOW).unwrap();
            seen.extend(page.values.iter().map(|value| value["name"].as_str().unwrap().to_owned()));
            // What comes in between stands before the first page and moves none of the others.
            store.put(thing("p", &format!("files/new{}", seen.len())));
            let Some(next) = page.next else { break };
            assert!(store.page("q", "files", 2, Some(&next), NOW).is_none());
            assert!(store.page("p", "batches", 2, Some(&next), NOW).is_none());
            token = Some(next);
        }
        assert_eq!(seen, ["files/4", "files/3", "files/2", "files/1", "files/0"]);
        assert!(store.page("p", "files", 2, Some("nonsense"), NOW).is_none());
    }

    #[test]
    fn what_is_over_is_gone_and_what_is_polled_ends() {
        let mut store = Store::default();
        store.put(Thing { expires: Some(NOW), ..thing("p", "files/a") });
        assert!(store.find("p", "files/a", NOW).is_none());
        assert!(store.page("p", "files", 9, None, NOW).unwrap().values.is_empty());
        store.put(Thing { next: Some(json!({"done": true})), ..thing("p", "operations/o") });
        assert!(store.find("p", "operations/o", NOW).unwrap().value.get("done").is_none());
        assert_eq!(store.poll("p", "operations/o", NOW).unwrap()["done"], true);
    }

    #[test]
    fn the_store_is_bounded_in_things_and_in_bytes() {
        let mut store = Store::default();
        for n in 0..=THINGS_MAX {
            store.put(thing("p", &format!("files/{n}")));
        }
        assert!(store.find("p", "files/0", NOW).is_none() && store.find("p", "files/1", NOW).is_some());
        assert_eq!((store.things.len(), store.numbers.len()), (THINGS_MAX, THINGS_MAX));
        let content = Content::of(&vec![1; 4 << 20]);
        for n in 0..65 {
            store.put(Thing { content: Some(content.clone()), ..thing("p", &format!("files/big{n}")) });
        }
        assert_eq!(store.bytes, CONTENTS_MAX);
        let first = store.find("p", "files/big0", NOW).unwrap().content.clone().unwrap();
        assert_eq!((first.head.len(), first.length), (0, 4 << 20));
    }
}
