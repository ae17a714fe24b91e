//! Single keys changed in the file's text, which stays as its writer left it otherwise.

use serde::{Deserialize, Serialize};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value, value};

use crate::config::sources::Configuration;
use crate::secret::Secret;

/// A key to be added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The key itself.
    pub key: Secret,
    /// Its name; the next free number where none is given.
    pub id: Option<String>,
    /// Whatever else is to be said of it.
    #[serde(flatten)]
    pub rest: KeyFields,
}

/// What may be said of a key. What is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct KeyFields {
    /// 1 to 1000.
    pub weight: Option<u64>,
    /// The project whose quota it shares; empty: its own.
    pub project: Option<String>,
    /// Requests a minute; 0 is what Google says.
    pub rpm: Option<u64>,
    /// Input tokens a minute; 0 is what Google says.
    pub tpm: Option<u64>,
    /// Requests a day; 0 is what Google says.
    pub rpd: Option<u64>,
    /// Whether it takes part.
    pub enabled: Option<bool>,
}

/// A change of one key.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// Whose.
    pub id: String,
    /// Its new name.
    pub name: Option<String>,
    /// The proxy it is to go through.
    pub proxy: Option<Secret>,
    /// Whatever else.
    pub fields: KeyFields,
    /// Whether a key of a variable may be adjusted in the file.
    pub over_environment: bool,
}

/// Why a key cannot be changed so.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// No key has this id.
    #[error("no key has the id {0:?}")]
    Unknown(String),
    /// It is there.
    #[error("the key is there already: it is {0:?}")]
    Known(String),
    /// It comes from a variable.
    #[error("{0}")]
    Environment(String),
    /// The file is not written so that it could be changed.
    #[error("{0}")]
    Text(String),
}

/// The text with a key more, and its id.
pub(super) fn add(
    text: &str,
    now: &Configuration,
    new: &NewKey,
    proxy: Option<&Secret>,
) -> Result<(String, String), Unfit> {
    let digest = new.key.digest();
    if let Some(key) = now.keys.iter().find(|key| key.secret.digest().matches(&digest)) {
        return Err(Unfit::Known(key.id.to_string()));
    }
    let taken = |id: &str| now.keys.iter().any(|key| *key.id == *id);
    // Of one number more than there are keys, one is free.
    let numbers = now.keys.len() + 1..=now.keys.len() * 2 + 1;
    let free = || numbers.map(|n| n.to_string()).find(|id| !taken(id)).unwrap_or_default();
    let id = new.id.clone().unwrap_or_else(free);
    if taken(&id) {
        return Err(Unfit::Known(id));
    }
    let mut document = parse(text)?;
    let mut table = Table::new();
    table.insert("key", value(new.key.expose().trim()));
    table.insert("id", value(&id));
    fill(&mut table, &new.rest);
    if let Some(proxy) = proxy {
        table.insert("proxy", value(proxy.expose()));
    }
    tables(&mut document)?.push(table);
    Ok((document.to_string(), id))
}

/// The text with these keys changed.
pub(super) fn alter(text: &str, now: &Configuration, changes: &[KeyChange]) -> Result<String, Unfit> {
    let mut document = parse(text)?;
    for change in changes {
        let place = place(now, &change.id)?;
        let source = &now.key_sources[place];
        if source.table.is_none() || source.adjusted.is_some() {
            let variable = &source.name;
            if !change.over_environment {
                let what = format!(
                    "key {:?} comes from {variable}: change it there, or send `over_environment: true` to adjust it in the file",
                    change.id
                );
                return Err(Unfit::Environment(what));
            }
            if change.name.is_some() {
                return Err(Unfit::Environment(format!(
                    "key {:?} comes from {variable}, which gives it its id",
                    change.id
                )));
            }
        }
        let tables = tables(&mut document)?;
        let at = source.table.unwrap_or_else(|| {
            let mut table = Table::new();
            table.insert("id", value(&change.id));
            tables.push(table);
            tables.len() - 1
        });
        let Some(table) = tables.get_mut(at) else {
            return Err(Unfit::Text("the file is not what runs: reload it first".to_owned()));
        };
        if let Some(name) = &change.name {
            table.insert("id", value(name));
        }
        if let Some(proxy) = &change.proxy {
            put(table, "proxy", (!proxy.expose().is_empty()).then(|| Value::from(proxy.expose())));
        }
        // Its place in the list is no name that lasts when the list is edited.
        if !table.contains_key("id") {
            table.insert("id", value(&change.id));
        }
        fill(table, &change.fields);
    }
    Ok(document.to_string())
}

/// The text without a key.
pub(super) fn remove(text: &str, now: &Configuration, id: &str) -> Result<String, Unfit> {
    let source = &now.key_sources[place(now, id)?];
    let Some(at) = source.table.filter(|_| source.adjusted.is_none()) else {
        let what = format!("key {id:?} comes from {}: remove it there, or disable it", source.name);
        return Err(Unfit::Environment(what));
    };
    let mut document = parse(text)?;
    let tables = tables(&mut document)?;
    // Those behind it that have no name of their own keep the one they had.
    for (source, key) in now.key_sources.iter().zip(&now.keys) {
        if let Some(table) = source.table.filter(|table| *table > at).and_then(|table| tables.get_mut(table))
            && !table.contains_key("id")
        {
            table.insert("id", value(&*key.id));
        }
    }
    tables.remove(at);
    Ok(document.to_string())
}

fn place(now: &Configuration, id: &str) -> Result<usize, Unfit> {
    now.keys.iter().position(|key| *key.id == *id).ok_or_else(|| Unfit::Unknown(id.to_owned()))
}

fn parse(text: &str) -> Result<DocumentMut, Unfit> {
    // The error's own text quotes the line, which may hold a secret.
    text.parse().map_err(|_| Unfit::Text("the file is no TOML: mend it first".to_owned()))
}

fn tables(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, Unfit> {
    let keys = document.entry("keys").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if keys.as_array().is_some_and(toml_edit::Array::is_empty) {
        *keys = Item::ArrayOfTables(ArrayOfTables::new());
    }
    keys.as_array_of_tables_mut()
        .ok_or_else(|| Unfit::Text("the keys are written in one line: write each as [[keys]]".to_owned()))
}

fn fill(table: &mut Table, fields: &KeyFields) {
    let KeyFields { weight, project, rpm, tpm, rpd, enabled } = fields;
    let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    for (name, said) in [("weight", weight), ("rpm", rpm), ("tpm", tpm), ("rpd", rpd)] {
        if let Some(said) = said {
            put(table, name, Some(number(*said)));
        }
    }
    if let Some(project) = project {
        put(table, "project", (!project.is_empty()).then(|| Value::from(project)));
    }
    if let Some(enabled) = enabled {
        put(table, "enabled", Some(Value::from(*enabled)));
    }
}

/// Sets a field, with the comment that stands behind it; `None` takes it out.
fn put(table: &mut Table, name: &str, said: Option<Value>) {
    let Some(mut said) = said else {
        table.remove(name);
        return;
    };
    if let Some(old) = table.get(name).and_then(Item::as_value) {
        *said.decor_mut() = old.decor().clone();
    }
    table.insert(name, Item::Value(said));
}
