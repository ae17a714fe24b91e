//! What can be set: the fields of [`Settings`] by path, and whether a value fits one.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::settings::{ClientLimits, KeyTable, Settings};

/// Every field with its default.
static DEFAULTS: LazyLock<Value> = LazyLock::new(|| tree(&Settings::default()));
static KEY: LazyLock<Value> = LazyLock::new(|| tree(&KeyTable::default()));
static MODEL: LazyLock<Value> = LazyLock::new(|| Value::from(""));
static MODELS: LazyLock<Value> = LazyLock::new(|| Value::Array(Vec::new()));
static CLIENT: LazyLock<Value> = LazyLock::new(|| tree(&ClientLimits::default()));

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// A table.
    Section,
    /// A field, by its default.
    Field(&'static Value),
    /// Nothing that is known.
    Unknown,
}

/// What stands at `path`.
pub(super) fn at(path: &[&str]) -> Shape {
    let found = match *path {
        ["keys", _] => Some(&*KEY),
        ["keys", _, field] => KEY.get(field),
        ["models", "aliases", _] => Some(&*MODEL),
        ["models", "fallback", _] => Some(&*MODELS),
        ["clients", name] if CLIENT.get(name).is_none() => Some(&*CLIENT),
        ["clients", name, field] if CLIENT.get(name).is_none() => CLIENT.get(field),
        _ => path.iter().try_fold(&*DEFAULTS, |value, name| value.get(name)),
    };
    match found {
        Some(Value::Object(_)) => Shape::Section,
        Some(default) => Shape::Field(default),
        None => Shape::Unknown,
    }
}

/// The known path that was probably meant, written with dots.
pub(super) fn nearest(path: &[&str]) -> Option<String> {
    let mut known = Vec::new();
    let root: Vec<_> = match *path {
        ["keys", n, ..] => vec!["keys".to_owned(), n.to_owned()],
        _ => Vec::new(),
    };
    let tree = if root.is_empty() { &DEFAULTS } else { &KEY };
    collect(tree, &root, &mut known);
    let asked = path.join(".");
    let last = path.last()?;
    let near = known.iter().map(|path| (distance(&asked, path), path)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= 2.max(last.len() / 3))
        .map(|(_, path)| path.clone())
        .or_else(|| known.into_iter().find(|path| path.rsplit('.').next() == Some(last)))
}

/// Whether nobody but its owner may see what stands at `path`.
pub(super) fn secret(path: &[&str]) -> bool {
    matches!(path, ["auth", "tokens" | "admin_token"] | ["auth", "jwt", "secret"] | ["keys", _, "key" | "proxy"])
}

/// The value as the field takes it, or what is allowed there. `value` is a text where it comes from a variable
/// (`typed` is false), and what TOML says otherwise.
pub(super) fn fit(path: &[&str], default: &Value, value: &Value, typed: bool) -> Result<Value, String> {
    match (default, value) {
        (Value::Number(_), _) => {
            let bounds = Settings::bounds(path).unwrap_or(0..=u64::MAX);
            let number = match value {
                Value::String(text) if !typed => text.trim().parse().ok(),
                _ => value.as_u64(),
            };
            let allowed = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
            number.filter(|number| bounds.contains(number)).map(Value::from).ok_or_else(allowed)
        }
        (Value::Bool(_), Value::Bool(_)) => Ok(value.clone()),
        (Value::Bool(_), Value::String(text)) if !typed => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true.into()),
            "false" | "0" | "no" | "off" => Ok(false.into()),
            _ => Err("true or false".into()),
        },
        (Value::Bool(_), _) => Err("true or false".into()),
        (Value::Array(_), Value::String(text)) if !typed => {
            let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
            probe(path, &pieces.map(Value::from).collect())
        }
        (Value::Array(_), Value::Array(pieces)) if pieces.iter().all(Value::is_string) => probe(path, value),
        (Value::Array(_), _) => Err("a list of texts".into()),
        (_, Value::String(text)) => probe(path, &Value::from(text.trim())),
        _ => Err("a text in quotes".into()),
    }
}

/// Tries the value in an otherwise default configuration, so that the field's own type judges it.
fn probe(path: &[&str], value: &Value) -> Result<Value, String> {
    let table = |name: &str, value| Value::from(Map::from_iter([(name.to_owned(), value)]));
    let tried = if let ["keys", _, field] = *path {
        serde_json::from_value::<KeyTable>(table(field, value.clone())).map(drop)
    } else {
        let nested = path.iter().rev().fold(value.clone(), |inner, name| table(name, inner));
        serde_json::from_value::<Settings>(nested).map(drop)
    };
    tried.map(|()| value.clone()).map_err(|error| {
        let message = error.to_string();
        message.rsplit_once("expected ").map_or(message.as_str(), |(_, allowed)| allowed).to_owned()
    })
}

fn tree(settings: &impl serde::Serialize) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

fn collect(tree: &Value, path: &[String], known: &mut Vec<String>) {
    let Value::Object(fields) = tree else { return known.push(path.join(".")) };
    for (name, value) in fields {
        let below: Vec<_> = path.iter().chain([name]).cloned().collect();
        collect(value, &below, known);
    }
}

/// Levenshtein's: single letters added, dropped or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_bounds_that_hold_its_default() {
        for (tree, root) in [(&DEFAULTS, vec![]), (&KEY, vec!["keys".into(), "0".into()])] {
            let mut known = Vec::new();
            collect(tree, &root, &mut known);
            for path in &known {
                let path: Vec<_> = path.split('.').collect();
                if let Shape::Field(default @ Value::Number(_)) = at(&path) {
                    assert!(Settings::bounds(&path).is_some(), "{path:?}");
                    assert_eq!(fit(&path, default, default, true).as_ref(), Ok(default), "{path:?}");
                }
            }
        }
    }

    #[test]
    fn a_slip_finds_what_was_meant() {
        assert_eq!(nearest(&["server", "prot"]).as_deref(), Some("server.port"));
        assert_eq!(nearest(&["port"]).as_deref(), Some("server.port"));
        assert_eq!(nearest(&["keys", "3", "wieght"]).as_deref(), Some("keys.3.weight"));
        assert_eq!(nearest(&["something", "else"]), None);
    }
}
