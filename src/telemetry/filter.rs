//! Which of the calls that ended lately somebody wants to see.

use std::ops::RangeInclusive;

use crate::record::Record;

/// Every field that is there must fit.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The id of a key that one of its attempts was made with.
    pub key: Option<String>,
    /// The model that was asked for, or the one that served in its place.
    pub model: Option<String>,
    /// The id of the client.
    pub client: Option<String>,
    /// The status that the client got; see [`statuses`].
    pub status: Option<RangeInclusive<u16>>,
    /// One of the names of [`Outcome`](crate::record::Outcome), or the reason of a refusal.
    pub outcome: Option<String>,
    /// Only what is older: than the call with this id, or than this time by RFC 3339.
    pub before: Option<String>,
    /// How many at most.
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self { key: None, model: None, client: None, status: None, outcome: None, before: None, limit: 100 }
    }
}

impl Filter {
    /// Whether the record of a call that is over fits, its time apart.
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let fits = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        self.status.as_ref().is_none_or(|statuses| statuses.contains(&record.status()))
            && fits(&self.client, &|client| record.client_id().is_some_and(|id| **id == *client))
            && fits(&self.model, &|model| {
                record.model_asked() == Some(model) || record.fallback().as_deref() == Some(model)
            })
            && fits(&self.outcome, &|name| {
                record.ended().is_some_and(|outcome| outcome.name() == name || outcome.reason() == Some(name))
            })
            && fits(&self.key, &|key| record.asked_key(key))
    }
}

/// `503` is that status alone, `5xx` all of its class, 0 an answer that never began. `None`: it is neither.
pub fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let status = text.parse().ok().filter(|status| *status == 0 || (100..=599).contains(status))?;
    Some(status..=status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_class() {
        assert_eq!((statuses("503"), statuses("5xx"), statuses("0")), (Some(503..=503), Some(500..=599), Some(0..=0)));
        for text in ["", "xx", "0xx", "9xx", "99", "600", "-1", "abc"] {
            assert_eq!(statuses(text), None, "{text}");
        }
    }
}
