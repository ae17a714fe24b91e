//! Scripts: which calls meet which faults, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mock::fault::Fault;
use crate::mock::refusals::Refusal;

/// Faults for the calls that match. A pattern may hold `*`; one that is absent matches all.
///
/// As text: `key=k2 model=gemini-* fault=delay:2s,overloaded times=3`; a value with spaces stands in `"`.
/// Values of `header` and `body` may hold `{key}`, which becomes the key that the call came with.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Pattern of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Pattern of the key's project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Pattern of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Pattern of the action, such as `streamGenerateContent`, `files.*` or `upload.chunk`; `route.rs` lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the path and query must contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many calls meet it; without one, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// How many matching calls pass before it begins.
    pub skip: u64,
    /// The chance that a matching call meets it.
    pub probability: f64,
    /// What goes wrong.
    #[serde(rename = "fault", with = "as_text")]
    pub faults: Vec<Fault>,
    /// Headers added to the answer.
    pub headers: BTreeMap<String, String>,
    /// A body in place of the answer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// The call that a script is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a str,
    pub(crate) project: &'a str,
    pub(crate) model: &'a str,
    pub(crate) action: &'a str,
    pub(crate) path: &'a str,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            key: None,
            project: None,
            model: None,
            action: None,
            path: None,
            times: None,
            skip: 0,
            probability: 1.0,
            faults: Vec::new(),
            headers: BTreeMap::new(),
            body: None,
        }
    }
}

impl Script {
    /// A script that gives `faults` to every call.
    pub fn of(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { faults: faults.into_iter().collect(), ..Self::default() }
    }

    /// Only for calls with this key.
    #[must_use]
    pub fn key(self, pattern: &str) -> Self {
        Self { key: Some(pattern.to_owned()), ..self }
    }

    /// Only for calls for this model.
    #[must_use]
    pub fn model(self, pattern: &str) -> Self {
        Self { model: Some(pattern.to_owned()), ..self }
    }

    /// Only for so many calls.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    pub(crate) fn matches(&self, call: &Subject<'_>) -> bool {
        let fits = |pattern: &Option<String>, text| pattern.as_ref().is_none_or(|pattern| glob(pattern, text));
        fits(&self.key, call.key)
            && fits(&self.project, call.project)
            && fits(&self.model, call.model)
            && fits(&self.action, call.action)
            && self.path.as_ref().is_none_or(|part| call.path.contains(part.as_str()))
    }

    /// The refusal that Google gives before it counts the call, if there is one.
    pub(crate) fn refuses_uncounted(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::Refuse(refusal, _) if !refusal.consumes()))
    }

    /// The refusal among the faults.
    pub(crate) fn refusal(&self) -> Option<(Refusal, Option<std::time::Duration>)> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Refuse(refusal, retry) => Some((*refusal, *retry)),
            _ => None,
        })
    }

    /// Whether it does anything; the one that stands for none does not.
    pub(crate) fn plays(&self) -> bool {
        !self.faults.is_empty() || !self.headers.is_empty() || self.body.is_some()
    }

    fn check(self) -> Result<Self, String> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!("probability={} is not between 0 and 1", self.probability));
        }
        for (name, value) in &self.headers {
            if http::HeaderName::from_str(name).is_err() || http::HeaderValue::from_str(value).is_err() {
                return Err(format!("`{name}: {value}` is not a header"));
            }
        }
        if !self.plays() {
            return Err("a script needs fault=, header= or body=".to_owned());
        }
        Ok(self)
    }

    /// Reads one script of the control route: an object, or its text form in a string.
    pub(crate) fn from_json(value: serde_json::Value) -> Result<Self, String> {
        match value {
            serde_json::Value::String(text) => text.parse(),
            value => serde_json::from_value::<Self>(value).map_err(|error| error.to_string())?.check(),
        }
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut script = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, after) = rest
                .split_once('=')
                .ok_or_else(|| format!("`{rest}` is not name=value, as in `key=k2 fault=overloaded times=3`"))?;
            if name == "body" {
                script.body = Some(after.to_owned());
                break;
            }
            let quoted = after.strip_prefix('"').and_then(|after| after.split_once('"'));
            let (value, more) = quoted.or_else(|| after.split_once(char::is_whitespace)).unwrap_or((after, ""));
            rest = more.trim_start();
            let pattern = || Some(value.to_owned());
            let wrong = |what| format!("{name}={value} is not {what}");
            match name {
                "key" => script.key = pattern(),
                "project" => script.project = pattern(),
                "model" => script.model = pattern(),
                "action" => script.action = pattern(),
                "path" => script.path = pattern(),
                "times" if value == "forever" => script.times = None,
                "times" => script.times = Some(value.parse().map_err(|_| wrong("a count or forever"))?),
                "skip" => script.skip = value.parse().map_err(|_| wrong("a count"))?,
                "probability" => script.probability = value.parse().map_err(|_| wrong("a number from 0 to 1"))?,
                "fault" => script.faults.extend(as_text::parse(value)?),
                "header" => {
                    let (name, value) = value.split_once(':').ok_or_else(|| wrong("NAME:VALUE"))?;
                    script.headers.insert(name.to_owned(), value.to_owned());
                }
                _ => {
                    return Err(format!(
                        "`{name}` is not a word of a script; allowed: key, project, model, action, path, times, skip, \
                         probability, fault, header, body (last, to the end)"
                    ));
                }
            }
        }
        script.check()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = [("key", &self.key), ("project", &self.project), ("model", &self.model)];
        for (name, pattern) in patterns.into_iter().chain([("action", &self.action), ("path", &self.path)]) {
            pattern.iter().try_for_each(|pattern| write!(f, "{name}={pattern} "))?;
        }
        self.times.iter().try_for_each(|times| write!(f, "times={times} "))?;
        write!(f, "fault={}", as_text::write(&self.faults))
    }
}

/// Whether `text` is what `pattern` says, in which each `*` stands for anything.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::mock::fault::Fault;

    pub(super) fn parse(text: &str) -> Result<Vec<Fault>, String> {
        text.split(',').filter(|part| !part.is_empty()).map(str::parse).collect()
    }

    pub(super) fn write(faults: &[Fault]) -> String {
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    pub(super) fn serialize<S: Serializer>(faults: &[Fault], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write(faults))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Fault>, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Subject<'_> = Subject {
        key: "k2",
        project: "p1",
        model: "gemini-2.5-flash",
        action: "generateContent",
        path: "/v1beta/models/gemini-2.5-flash:generateContent",
    };

    #[test]
    fn a_script_reads_from_a_flag() {
        let script: Script = "key=k2 model=* fault=delay:2s,overloaded times=3 header=x-echo:{key}".parse().unwrap();
        assert!(script.matches(&CALL));
        assert_eq!(script.times, Some(3));
        assert_eq!(script.faults.len(), 2);
        assert_eq!(script.headers["x-echo"], "{key}");
        let script: Script = r#"header="set-cookie:a=b; Path=/" fault=lf"#.parse().unwrap();
        assert_eq!(script.headers["set-cookie"], "a=b; Path=/");
        let script: Script = "fault=status:418 body={\"a\": 1} and more".parse().unwrap();
        assert_eq!(script.body.as_deref(), Some("{\"a\": 1} and more"));
    }

    #[test]
    fn a_script_matches_only_the_calls_it_names() {
        for (text, expected) in [
            ("model=gemini-*-flash fault=empty", true),
            ("model=*pro* fault=empty", false),
            ("key=k fault=empty", false),
            ("project=p1 action=generateContent fault=empty", true),
            ("path=:stream fault=empty", false),
        ] {
            assert_eq!(text.parse::<Script>().unwrap().matches(&CALL), expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_script_says_what_is_wrong() {
        for (text, says) in [
            ("colour=red fault=empty", "allowed: key, project"),
            ("key=k1", "needs fault="),
            ("fault=nonsense", "`nonsense` is no fault"),
            ("times=x fault=empty", "times=x is not a count"),
            ("probability=2 fault=empty", "between 0 and 1"),
            ("overloaded", "not name=value"),
        ] {
            let error = text.parse::<Script>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn json_and_text_say_the_same() {
        let text: Script = "key=k2 fault=cut:2,lf times=1".parse().unwrap();
        let json = serde_json::to_value(&text).unwrap();
        assert_eq!(Script::from_json(json).unwrap(), text);
        assert!(Script::from_json(serde_json::json!({"fault": "lf", "colour": "red"})).is_err());
    }
}
