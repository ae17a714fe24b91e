//! Leaves: single settings with the place they come from, out of the file and out of variables.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::fault::Fault;
use crate::config::otel;
use crate::config::shape::{self, Shape};

/// The well-known variables and the field each one sets.
const FLAT: [(&str, &str); 22] = [
    ("ADMIN_HOST", "server.admin_host"),
    ("ADMIN_PORT", "server.admin_port"),
    ("ADMIN_TOKEN", "auth.admin_token"),
    ("ALLOW_ANONYMOUS", "server.allow_anonymous"),
    ("AUTH_TOKEN", "auth.tokens"),
    ("CORS_ORIGINS", "server.cors_origins"),
    ("DATA_DIR", "data_dir"),
    ("EMPTY_RETRIES", "retry.empty_retries"),
    ("ENABLE_CACHING", "cache.enabled"),
    ("ENABLE_MONITORING", "monitoring.enabled"),
    ("GEMINI_BASE_URL", "upstream.base_url"),
    ("HOST", "server.host"),
    ("JWT_SECRET", "auth.jwt.secret"),
    ("LOG_FORMAT", "log.format"),
    ("LOG_LEVEL", "log.level"),
    ("MAX_CONCURRENT_REQUESTS", "admit.concurrent_max"),
    ("PORT", "server.port"),
    ("PUBLIC_URL", "server.public_url"),
    ("RATE_LIMIT_PER_MINUTE", "clients.rate_limit_per_minute"),
    ("REQUEST_TIMEOUT", "deadline.request_timeout_ms"),
    ("SSL_CERT_FILE", "upstream.ca_file"),
    ("STREAM_IDLE_TIMEOUT", "deadline.stream_idle_timeout_ms"),
];
/// Before each field's own variable.
const PREFIX: &str = "GEMINATE__";

/// One setting from one source.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    /// As the field takes it; `None` when it did not fit, which was told.
    pub(super) value: Option<Value>,
    /// The variable, or the file's name and line.
    pub(super) at: String,
}

/// Whether a variable is one of ours.
pub(super) fn ours(name: &str) -> bool {
    let begins = [PREFIX, "GEMINI_API_KEY", otel::PREFIX].iter().any(|prefix| name.starts_with(prefix));
    begins || FLAT.iter().any(|(flat, _)| *flat == name)
}

/// Where `path` was set, the last source first; the variable to set it by when it was not.
pub(super) fn origin(leaves: &[Leaf], path: &str) -> String {
    let set = leaves.iter().rev().find(|leaf| leaf.path.join(".") == path).map(|leaf| leaf.at.clone());
    let flat = || FLAT.iter().find(|(_, flat)| *flat == path).map(|(name, _)| (*name).to_owned());
    set.or_else(flat).unwrap_or_else(|| path.to_owned())
}

/// The fields that a variable sets, by its name, and those that the file sets, with what it says; `[[keys]]` apart.
pub(super) fn by_source(leaves: &[Leaf]) -> (BTreeMap<String, String>, BTreeMap<String, Value>) {
    let (mut environment, mut written) = (BTreeMap::new(), BTreeMap::new());
    for leaf in leaves.iter().filter(|leaf| leaf.path.first().is_none_or(|section| section != "keys")) {
        let path: Vec<_> = leaf.path.iter().map(String::as_str).collect();
        if ours(&leaf.at) {
            environment.insert(leaf.path.join("."), leaf.at.clone());
        } else {
            let value =
                if shape::secret(&path) { Value::from("[secret]") } else { leaf.value.clone().unwrap_or_default() };
            written.insert(leaf.path.join("."), value);
        }
    }
    (environment, written)
}

/// Where each `[[keys]]` begins, by position.
pub(super) fn places_of_keys(leaves: &[Leaf]) -> HashMap<usize, &str> {
    let place = |leaf: &'_ Leaf| match &leaf.path[..] {
        [keys, n] if keys == "keys" => n.parse().ok(),
        _ => None,
    };
    leaves.iter().filter_map(|leaf| Some((place(leaf)?, leaf.at.as_str()))).collect()
}

/// The leaves of `variables`, the flat names last, so that they win.
pub(super) fn of_variables(variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) -> Vec<Leaf> {
    let long = variables.keys().filter_map(|name| {
        let path = name.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
        Some((name.as_str(), path))
    });
    let flat = FLAT.iter().map(|(name, path)| (*name, path.split('.').map(str::to_owned).collect::<Vec<_>>()));
    let mut leaves = Vec::new();
    for (name, path) in long.chain(flat) {
        let Some(text) = variables.get(name) else { continue };
        let parts: Vec<_> = path.iter().map(String::as_str).collect();
        // Lists of tables have no variables: their keys come from the file or from GEMINI_API_KEY.
        match if parts[0] == "keys" { Shape::Unknown } else { shape::at(&parts) } {
            Shape::Field(default) => {
                leaves.push(judge(name, &path, default, &Value::from(text.as_str()), false, faults));
            }
            Shape::Section => faults.push(Fault::new(name, "a section, not a field: add `__` and the field's name")),
            Shape::Unknown => {
                let meant = shape::nearest(&parts).filter(|_| parts[0] != "keys");
                let meant = meant.map(|path| format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase()));
                faults.push(unknown(name, "", meant));
            }
        }
    }
    leaves
}

/// The leaves of a file.
pub(super) fn of_file(name: &str, text: &str, faults: &mut Vec<Fault>) -> Vec<Leaf> {
    let before = faults.len();
    let (table, errors) = DeTable::parse_recoverable(text);
    let ends = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = Reader { name, ends, leaves: Vec::new(), faults };
    for error in &errors {
        let at = reader.at(error.span().map_or(0, |span| span.start));
        // The message alone: the error's own text quotes the line, which may hold a secret.
        reader.faults.push(Fault::new(&at, &format!("this is no TOML: {}", error.message())));
    }
    reader.table(table.get_ref(), &[]);
    let leaves = reader.leaves;
    faults[before..].sort_by_key(Fault::line);
    leaves
}

struct Reader<'r> {
    name: &'r str,
    /// Where each line ends.
    ends: Vec<usize>,
    leaves: Vec<Leaf>,
    faults: &'r mut Vec<Fault>,
}

impl Reader<'_> {
    fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.name, self.ends.partition_point(|end| *end < offset) + 1)
    }

    fn table(&mut self, table: &DeTable<'_>, path: &[String]) {
        for (name, value) in table {
            let below: Vec<_> = path.iter().cloned().chain([name.get_ref().to_string()]).collect();
            self.entry(&self.at(name.span().start), &below, value);
        }
    }

    fn entry(&mut self, at: &str, path: &[String], value: &Spanned<DeValue<'_>>) {
        let parts: Vec<_> = path.iter().map(String::as_str).collect();
        match (shape::at(&parts), value.get_ref()) {
            (_, DeValue::Array(tables)) if parts == ["keys"] => {
                for (n, table) in tables.iter().enumerate() {
                    let below = [path, &[n.to_string()]].concat();
                    self.entry(&self.at(table.span().start), &below, table);
                }
            }
            (Shape::Section, DeValue::Table(table)) => {
                if parts[0] == "keys" {
                    // So that faults of a key as a whole find its line.
                    self.leaves.push(Leaf { path: path.to_vec(), value: None, at: at.to_owned() });
                }
                self.table(table, path);
            }
            (Shape::Section, _) => {
                self.faults.push(Fault::new(at, &format!("{} is a section: write [{0}]", path.join("."))));
            }
            (Shape::Field(_), _) if parts == ["keys"] => {
                self.faults.push(Fault::new(at, "keys are a list of tables: write [[keys]]"));
            }
            (Shape::Field(default), value) => {
                let leaf = judge(at, path, default, &plain(value), true, self.faults);
                self.leaves.push(leaf);
            }
            (Shape::Unknown, _) => {
                let meant = shape::nearest(&parts);
                self.faults.push(unknown(at, &path.join("."), meant));
            }
        }
    }
}

fn unknown(at: &str, name: &str, meant: Option<String>) -> Fault {
    let hint = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
    let name = if name.is_empty() { String::new() } else { format!("{name} ") };
    Fault::new(at, &format!("{name}is not known{hint}"))
}

fn judge(at: &str, path: &[String], default: &Value, value: &Value, typed: bool, faults: &mut Vec<Fault>) -> Leaf {
    let parts: Vec<_> = path.iter().map(String::as_str).collect();
    let fitted = shape::fit(&parts, default, value, typed);
    let value = fitted.map_err(|allowed| {
        let field = if typed { format!("{}: ", path.join(".")) } else { String::new() };
        faults.push(Fault::new(at, &format!("{field}read {}, allowed is {allowed}", shown(&parts, value))));
    });
    Leaf { path: path.to_vec(), value: value.ok(), at: at.to_owned() }
}

/// A value as a message may show it.
fn shown(path: &[&str], value: &Value) -> String {
    let text = value.to_string();
    // A URL with an `@` carries a password.
    if shape::secret(path) || text.contains('@') {
        return format!("[secret] of {} characters", value.as_str().unwrap_or(&text).chars().count());
    }
    text.chars().take(100).collect()
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(value) => Value::from(*value),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(pieces) => pieces.iter().map(|piece| plain(piece.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(name, value)| (name.get_ref().to_string(), plain(value.get_ref()))).collect()
        }
    }
}
