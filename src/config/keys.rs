//! The keys of all sources, made usable.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::config::fault::Fault;
use crate::config::leaf::{self, Leaf};
use crate::config::{key_list, proxy};
use crate::secret::Secret;
use crate::settings::{Key, KeyTable};

/// The variable with the list of keys, and the one that names a file with it.
const VARIABLES: [&str; 2] = ["GEMINI_API_KEY", "GEMINI_API_KEY_FILE"];

/// Where a key is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The variable, or the file's name and line.
    pub name: String,
    /// Its `[[keys]]`, by position: where it is written out, or adjusted.
    pub table: Option<usize>,
    /// The file's name and line where a key of a variable is adjusted.
    pub adjusted: Option<String>,
}

/// Resolves all keys in order; whatever is wrong goes to `faults`.
pub(super) fn resolve(
    tables: &[KeyTable],
    variables: &BTreeMap<String, String>,
    leaves: &[Leaf],
    faults: &mut Vec<Fault>,
) -> Vec<(Source, Key)> {
    let before = faults.len();
    // With the place each one comes from.
    let mut found: Vec<(Source, Key)> = Vec::new();
    if let Some(list) = variables.get(VARIABLES[0]) {
        listed(VARIABLES[0], list, &mut found, faults);
    }
    if let Some(path) = variables.get(VARIABLES[1]) {
        match read(Path::new(path)) {
            Ok(list) => listed(VARIABLES[1], &list, &mut found, faults),
            Err(wrong) => faults.push(Fault::new(VARIABLES[1], &wrong)),
        }
    }
    let places = leaf::places_of_keys(leaves);
    for (n, table) in tables.iter().enumerate() {
        let at = places.get(&n).map_or_else(|| format!("keys.{n}"), |at| (*at).to_owned());
        if adjust(n, table, &at, leaves, &mut found) {
            continue;
        }
        match of_table(table, variables) {
            Ok(secret) => {
                let key = made(secret, table, found.len());
                if key.id.is_empty() || key.id.len() > 64 || key_list::wrong(&key.id).is_some() {
                    faults.push(Fault::new(&at, "id: allowed are 1 to 64 letters, digits, `.`, `_` and `-`"));
                }
                if key.proxy.as_ref().is_some_and(|proxy| !proxies(proxy.expose())) {
                    faults.push(Fault::new(&at, &format!("proxy: allowed is {}", proxy::ALLOWED)));
                }
                found.push((Source { name: at, table: Some(n), adjusted: None }, key));
            }
            Err(wrong) => faults.push(Fault::new(&at, &wrong)),
        }
    }
    unique(&found, faults);
    if faults.len() == before && !found.iter().any(|(_, key)| key.enabled) {
        let what = if found.is_empty() { "no key is configured" } else { "no key is enabled" };
        faults.push(Fault::new(VARIABLES[0], &format!("{what}: set it to `key[:weight],...`, or write [[keys]]")));
    }
    found
}

/// A table with an id and no key adjusts the key of a variable that has this id: whatever else stands in it holds.
/// Whether it was such a table.
fn adjust(n: usize, table: &KeyTable, at: &str, leaves: &[Leaf], found: &mut [(Source, Key)]) -> bool {
    let (None, None, None, Some(id)) = (&table.key_env, &table.key_file, &table.key, &table.id) else { return false };
    let Some((source, key)) = found.iter_mut().find(|(source, key)| source.table.is_none() && *key.id == **id) else {
        return false;
    };
    let field = |name: &str| [String::from("keys"), n.to_string(), name.to_owned()];
    let set = |name: &str| leaves.iter().any(|leaf| leaf.path == field(name));
    let said = made(key.secret.clone(), table, 0);
    if set("weight") {
        key.weight = said.weight;
    }
    if set("project") {
        key.project = said.project;
    }
    if set("proxy") {
        key.proxy = said.proxy;
    }
    for (name, limit, new) in
        [("rpm", &mut key.rpm, said.rpm), ("tpm", &mut key.tpm, said.tpm), ("rpd", &mut key.rpd, said.rpd)]
    {
        if set(name) {
            *limit = new;
        }
    }
    if set("enabled") {
        key.enabled = said.enabled;
    }
    (source.table, source.adjusted) = (Some(n), Some(at.to_owned()));
    true
}

fn listed(at: &str, list: &str, found: &mut Vec<(Source, Key)>, faults: &mut Vec<Fault>) {
    match key_list::parse(list) {
        Ok(keys) => {
            for (secret, weight) in keys {
                let table = KeyTable { weight, ..KeyTable::default() };
                let source = Source { name: at.to_owned(), table: None, adjusted: None };
                found.push((source, made(secret, &table, found.len())));
            }
        }
        Err(wrong) => faults.extend(wrong.iter().map(|wrong| Fault::new(at, wrong))),
    }
}

fn of_table(table: &KeyTable, variables: &BTreeMap<String, String>) -> Result<Secret, String> {
    let text = match (&table.key_env, &table.key_file, &table.key) {
        (Some(name), None, None) => {
            variables.get(name).cloned().ok_or_else(|| format!("the variable {name} is not set"))?
        }
        (None, Some(path), None) => read(path)?,
        (None, None, Some(key)) => key.expose().to_owned(),
        _ => {
            let what =
                "allowed is exactly one of key_env, key_file and key, or none with the id of a key of GEMINI_API_KEY";
            return Err(what.to_owned());
        }
    };
    let text = text.trim();
    key_list::wrong(text).map_or_else(|| Ok(Secret::new(text.to_owned())), |wrong| Err(wrong.to_owned()))
}

fn made(secret: Secret, table: &KeyTable, position: usize) -> Key {
    let limit = |number: u64| (number > 0).then_some(number);
    Key {
        id: table.id.clone().unwrap_or_else(|| (position + 1).to_string()).into(),
        secret,
        weight: table.weight,
        project: table.project.as_deref().map(Into::into),
        proxy: table.proxy.clone(),
        rpm: limit(table.rpm),
        tpm: limit(table.tpm),
        rpd: limit(table.rpd),
        enabled: table.enabled,
    }
}

/// No key and no id may be there twice.
fn unique(found: &[(Source, Key)], faults: &mut Vec<Fault>) {
    let (mut digests, mut ids) = (HashMap::new(), HashMap::new());
    for (n, (Source { name: at, .. }, key)) in found.iter().enumerate() {
        let (same_key, same_id) = (digests.insert(key.secret.digest(), n), ids.insert(&*key.id, n));
        if let Some(first) = same_key {
            let what = format!("key {} is key {} again (ends in {:?})", n + 1, first + 1, key.secret.tail());
            faults.push(Fault::new(at, &what));
        } else if let Some(first) = same_id {
            faults.push(Fault::new(at, &format!("key {} has the id {:?} of key {}", n + 1, key.id, first + 1)));
        }
    }
}

/// Whether requests can go through `proxy`, which the file names with its scheme.
fn proxies(proxy: &str) -> bool {
    proxy.contains("://") && proxy::leads(proxy)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
