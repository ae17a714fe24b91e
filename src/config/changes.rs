//! What differs between two configurations, field by field, so that nobody is surprised.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::config::lasting::flat;
use crate::config::sources::Configuration;
use crate::settings::{Key, Settings};

/// One field that changes. Secrets are shown as such.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// The field, written with dots; `keys.ID` is a key, `keys.ID.weight` a field of one.
    pub field: String,
    /// What it was; nothing where it was not there.
    pub from: Value,
    /// What it is to be; nothing where it goes.
    pub to: Value,
    /// Whether it counts from the next start on.
    pub needs_restart: bool,
    /// The variable that holds it, so that what the file says does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
}

/// Everything that `new` changes of `old`; `asked` is what `new` says of fields that need a restart.
pub(super) fn between(old: &Configuration, new: &Configuration) -> Vec<Change> {
    let (was, is) = (flat(&old.settings), flat(&new.settings));
    let names = was.keys().chain(is.keys().filter(|name| !was.contains_key(*name)));
    let of = |fields: &BTreeMap<String, Value>, name: &String| fields.get(name).cloned().unwrap_or_default();
    let plain = |field: &String| Change {
        field: field.clone(),
        from: of(&was, field),
        to: of(&is, field),
        needs_restart: false,
        shadowed_by: None,
    };
    let mut changes: Vec<Change> = names.map(plain).filter(|change| change.from != change.to).collect();
    changes.extend(secrets(&old.settings, &new.settings));
    for field in new.needs_restart.iter().filter(|field| !old.needs_restart.contains(field)) {
        changes.push(Change { to: of(&new.written, field), needs_restart: true, ..plain(field) });
    }
    for (field, variable) in &new.environment {
        let said = new.written.get(field).filter(|said| old.written.get(field) != Some(said));
        changes.extend(said.map(|said| Change {
            to: said.clone(),
            shadowed_by: Some(variable.clone()),
            ..plain(field)
        }));
    }
    changes.extend(keys(&old.keys, &new.keys));
    changes.sort_by(|one, other| one.field.cmp(&other.field));
    changes
}

/// Secrets look alike: what differs is told by themselves.
fn secrets(old: &Settings, new: &Settings) -> Vec<Change> {
    let (was, is) = (&old.auth, &new.auth);
    let changed = [
        ("auth.tokens", was.tokens != is.tokens, was.tokens.is_empty(), is.tokens.is_empty()),
        ("auth.admin_token", was.admin_token != is.admin_token, was.admin_token.is_none(), is.admin_token.is_none()),
        ("auth.jwt.secret", was.jwt.secret != is.jwt.secret, was.jwt.secret.is_none(), is.jwt.secret.is_none()),
    ];
    let shown = |absent: bool| if absent { Value::Null } else { Value::from("[secret]") };
    let both = changed.into_iter().filter(|(_, changed, was, is)| *changed && !was && !is);
    let change = |(field, _, was, is): (&str, bool, bool, bool)| Change {
        field: field.to_owned(),
        from: shown(was),
        to: shown(is),
        needs_restart: false,
        shadowed_by: None,
    };
    // Where one came or went, the mask itself differs and was told.
    both.map(change).collect()
}

fn keys(old: &[Key], new: &[Key]) -> Vec<Change> {
    let change =
        |field: String, from: Value, to: Value| Change { field, from, to, needs_restart: false, shadowed_by: None };
    let by_id = |keys: &[Key]| keys.iter().map(|key| (key.id.to_string(), shown(key))).collect::<BTreeMap<_, _>>();
    let (was, is) = (by_id(old), by_id(new));
    let mut changes = Vec::new();
    for (id, fields) in &was {
        let Some(others) = is.get(id) else {
            changes.push(change(format!("keys.{id}"), Value::Object(fields.clone()), Value::Null));
            continue;
        };
        for (name, value) in fields.iter().filter(|(name, value)| others.get(*name) != Some(value)) {
            changes.push(change(format!("keys.{id}.{name}"), value.clone(), others[name].clone()));
        }
        let secret = |keys: &[Key]| keys.iter().find(|key| *key.id == **id).map(|key| key.secret.digest());
        if secret(old) != secret(new) && fields["tail"] == others["tail"] {
            changes.push(change(format!("keys.{id}.key"), json!("[secret]"), json!("[secret]")));
        }
    }
    for (id, fields) in is.into_iter().filter(|(id, _)| !was.contains_key(id)) {
        changes.push(change(format!("keys.{id}"), Value::Null, Value::Object(fields)));
    }
    changes
}

fn shown(key: &Key) -> Map<String, Value> {
    let fields = json!({
        "tail": key.secret.tail(),
        "weight": key.weight,
        "project": key.project,
        "proxy": key.proxy.as_ref().map(|proxy| format!("[secret] {}", &proxy.digest().to_string()[..8])),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "rpd": key.rpd,
        "enabled": key.enabled,
    });
    fields.as_object().cloned().unwrap_or_default()
}
