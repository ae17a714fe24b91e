//! Words for people: why a key rests, when it returns, what its limits are.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::pool::key::Ceilings;
use crate::pool::reason::{ALL, Reason};

/// Why a key cannot serve.
pub(super) const fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Invalid => "Google does not know it",
        Reason::Banned => "Google has banned it",
        Reason::Blocked => "its set-up forbids the API",
        Reason::Precondition => "its place or its tier is not served",
        Reason::Disabled => "switched off by configuration",
        Reason::Billing => "its project has no money left",
        Reason::Spend => "its project has spent what it may",
        Reason::Grounding => "its project's searches are spent",
        Reason::QuotaDay => "the day's quota is spent",
        Reason::QuotaMinute => "the minute's quota is spent",
        Reason::NotInTier => "its tier has no quota for the model",
        Reason::QuotaBare => "refused without a reason",
        Reason::Budget => "there is no room below its limits",
        Reason::Forbidden => "its project may not use the model",
        Reason::ModelUnknown => "its project does not know the model",
        Reason::Failing => "it failed several times in a row",
        Reason::Storm => "many projects were refused at once without a reason",
        Reason::Network => "nothing comes through its proxy",
        Reason::Trial => "one request is trying whether it serves again",
    }
}

/// The same by a reason's name.
pub(super) fn why_named(name: &str) -> &str {
    ALL.into_iter().find(|reason| reason.name() == name).map_or(name, |reason| why(reason))
}

/// `in 12 min (14:05 UTC)`
pub(super) fn when(at: Timestamp, now: Timestamp) -> String {
    let zone = std::env::var("TZ").ok().and_then(|name| TimeZone::get(&name).ok());
    told(at, now, zone.unwrap_or(TimeZone::UTC))
}

fn told(at: Timestamp, now: Timestamp, zone: TimeZone) -> String {
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let clock = at.to_zoned(zone).strftime(if left < Duration::from_mins(2) { "%H:%M:%S %Z" } else { "%H:%M %Z" });
    format!("in {} ({clock})", span(left))
}

/// `48 s`, `12 min`, `5 h 12 min`, `9 days 4 h`; begun seconds and minutes count.
pub(super) fn span(left: Duration) -> String {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let minutes = seconds.div_ceil(60);
    match seconds {
        0..120 => format!("{seconds} s"),
        _ if minutes < 120 => format!("{minutes} min"),
        _ if minutes < 2 * 24 * 60 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} days {} h", minutes / (24 * 60), minutes / 60 % 24),
    }
}

/// `10 requests and 250000 input tokens a minute, 250 requests a day`; empty where none is known.
pub(super) fn limits(limits: Ceilings) -> String {
    let of = |number: Option<u64>, unit: &str| number.map(|number| format!("{number} {unit}"));
    let minute = [of(limits.rpm, "requests"), of(limits.tpm, "input tokens")];
    let minute: Vec<String> = minute.into_iter().flatten().collect();
    let minute = (!minute.is_empty()).then(|| format!("{} a minute", minute.join(" and ")));
    minute.into_iter().chain(of(limits.rpd, "requests a day")).collect::<Vec<_>>().join(", ")
}

/// The first few of many, and how many more there are.
pub(super) fn some(all: &[impl AsRef<str>], shown: usize) -> String {
    let first: Vec<&str> = all.iter().take(shown).map(AsRef::as_ref).collect();
    let more = all.len().saturating_sub(shown);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    first.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        let now: Timestamp = "2026-11-25T14:00:00Z".parse().unwrap();
        for (at, words) in [
            ("2026-11-25T14:00:48Z", "in 48 s (14:00:48 UTC)"),
            ("2026-11-25T14:12:00Z", "in 12 min (14:12 UTC)"),
            ("2026-11-25T19:12:00Z", "in 5 h 12 min (19:12 UTC)"),
            ("2026-11-25T13:00:00Z", "in 0 s (13:00:00 UTC)"),
            ("2026-11-28T15:30:00Z", "in 3 days 1 h (15:30 UTC)"),
        ] {
            assert_eq!(told(at.parse().unwrap(), now, TimeZone::UTC), words);
        }
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        assert_eq!(told("2026-11-26T08:00:00Z".parse().unwrap(), now, zone), "in 18 h 0 min (00:00 PST)");
    }

    #[test]
    fn limits_and_lists_read_as_sentences() {
        let all = Ceilings { rpm: Some(10), tpm: Some(250_000), rpd: Some(250) };
        assert_eq!(limits(all), "10 requests and 250000 input tokens a minute, 250 requests a day");
        assert_eq!(limits(Ceilings { rpd: Some(5), ..Ceilings::default() }), "5 requests a day");
        assert_eq!(limits(Ceilings::default()), "");
        assert_eq!((some(&["a", "b"], 2), some(&["a", "b", "c"], 1)), ("a, b".to_owned(), "a and 2 more".to_owned()));
        assert_eq!((why_named("quota_day"), why_named("new")), ("the day's quota is spent", "new"));
    }
}
