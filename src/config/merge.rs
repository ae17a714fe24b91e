//! The sources laid over each other and made into [`Settings`].

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use crate::config::fault::Fault;
use crate::config::leaf::Leaf;
use crate::settings::Settings;

/// The defaults, under `file`, under `variables`. Leaves that did not fit are left out.
pub(super) fn settings(file: &[Leaf], variables: &[Leaf]) -> Result<Settings, Fault> {
    let builder = Config::builder().add_source(Leaves(file.to_vec())).add_source(Leaves(variables.to_vec()));
    builder.build().and_then(Config::try_deserialize).map_err(|error| match error {
        ConfigError::Type { key, expected, .. } => {
            Fault::new(&key.unwrap_or_default(), &format!("allowed is {expected}"))
        }
        // Each leaf was tried before, so this is about how they stand together.
        error => Fault::new("configuration", &error.to_string()),
    })
}

#[derive(Clone, Debug)]
struct Leaves(Vec<Leaf>);

impl Source for Leaves {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut root = Map::new();
        let mut keys: Vec<Map<String, Value>> = Vec::new();
        for leaf in &self.0 {
            let path: Vec<_> = leaf.path.iter().map(String::as_str).collect();
            match *path {
                // The tables' own leaves open one after another.
                ["keys", _] => keys.push(Map::new()),
                ["keys", n, field] => {
                    let table = n.parse::<usize>().ok().and_then(|n| keys.get_mut(n));
                    if let (Some(table), Some(value)) = (table, &leaf.value) {
                        table.insert(field.to_owned(), value_of(value, &leaf.at));
                    }
                }
                _ => {
                    if let Some(value) = &leaf.value {
                        put(&mut root, &path, value_of(value, &leaf.at));
                    }
                }
            }
        }
        if !keys.is_empty() {
            root.insert("keys".to_owned(), keys.into_iter().map(ValueKind::from).collect::<Vec<_>>().into());
        }
        Ok(root)
    }
}

fn put(table: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => drop(table.insert((*name).to_owned(), value)),
        [name, rest @ ..] => {
            let below = table.entry((*name).to_owned()).or_insert_with(|| Value::from(ValueKind::Table(Map::new())));
            if let ValueKind::Table(below) = &mut below.kind {
                put(below, rest, value);
            }
        }
    }
}

fn value_of(value: &serde_json::Value, at: &str) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Bool(value) => ValueKind::Boolean(*value),
        Json::Number(number) => number.as_u64().map_or(ValueKind::Nil, ValueKind::U64),
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(pieces) => ValueKind::Array(pieces.iter().map(|piece| value_of(piece, at)).collect()),
        Json::Null | Json::Object(_) => ValueKind::Nil,
    };
    Value::new(Some(&at.to_owned()), kind)
}
