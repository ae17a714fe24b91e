//! What lasts as long as the process: settings that a running gateway cannot take up.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::settings::{Server, Settings};

/// Puts what runs in the place of what cannot be changed while it does, and names the fields that would have changed.
pub(super) fn keep(settings: &mut Settings, running: &Settings) -> Vec<String> {
    let asked = settings.clone();
    let Server { public_url, cors_origins, allow_anonymous, body_bytes_max, body_read_timeout_ms, .. } =
        asked.server.clone();
    settings.server = Server {
        public_url,
        cors_origins,
        allow_anonymous,
        body_bytes_max,
        body_read_timeout_ms,
        ..running.server.clone()
    };
    settings.data_dir.clone_from(&running.data_dir);
    settings.affinity = running.affinity.clone();
    settings.pool.prefix_affinity = running.pool.prefix_affinity;
    settings.log.format = running.log.format;
    let taken = flat(settings);
    let differs = |(field, value): (String, Value)| (taken.get(&field) != Some(&value)).then_some(field);
    flat(&asked).into_iter().filter_map(differs).collect()
}

/// Every field of the settings but the keys, written with dots.
pub(super) fn flat(settings: &Settings) -> BTreeMap<String, Value> {
    fn walk(value: Value, path: &str, all: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                let dot = if path.is_empty() { "" } else { "." };
                fields.into_iter().for_each(|(name, value)| walk(value, &format!("{path}{dot}{name}"), all));
            }
            value => drop(all.insert(path.to_owned(), value)),
        }
    }
    let mut all = BTreeMap::new();
    let mut tree = serde_json::to_value(settings).unwrap_or_default();
    tree.as_object_mut().map(|tree| tree.remove("keys"));
    walk(tree, "", &mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::WebOrigin;

    #[test]
    fn a_listener_stays_where_it_is_and_what_can_change_does() {
        let running = Settings::default();
        let mut settings = Settings::default();
        (settings.server.port, settings.retry.retries, settings.affinity.isolate_clients) = (1234, 7, true);
        assert_eq!(keep(&mut settings, &running), ["affinity.isolate_clients", "server.port"]);
        assert_eq!((settings.server.port, settings.retry.retries), (8080, 7));
        settings.server.cors_origins = vec![WebOrigin::Any];
        assert!(keep(&mut settings, &running).is_empty() && settings.server.cors_origins == [WebOrigin::Any]);
    }
}
