//! Google's quotas: which window and unit a quota id names, and when Google's day ends.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::refusal::{Refusal, Violation};

/// More than this is no limit, and can be counted with.
pub const LIMIT_MAX: u64 = 1 << 40;
/// Google's clock and this machine's may be so far apart; and so long after a midnight a refusal for a spent day is not
/// believed to be about the new one.
pub const YOUNG: Duration = Duration::from_mins(5);
/// A project's number is no longer.
const NUMBER_DIGITS_MAX: usize = 20;
/// How long a project's id is (Resource Manager documentation, "projects", 2026-10).
const ID_BYTES: std::ops::RangeInclusive<usize> = 6..=30;

/// The time over which a quota counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// A minute.
    Minute,
    /// A day that ends at midnight in Los Angeles.
    Day,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens of the prompts.
    InputTokens,
}

/// A limit that a refusal taught us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lesson {
    /// Over which time.
    pub window: Window,
    /// Of what.
    pub unit: Unit,
    /// How many.
    pub limit: u64,
}

/// The limits that a refusal states. Ids that name no window teach nothing.
pub fn lessons(refusal: &Refusal) -> impl Iterator<Item = Lesson> {
    refusal.violations.iter().filter_map(lesson)
}

fn lesson(violation: &Violation) -> Option<Lesson> {
    let id = violation.quota_id.as_str();
    let window = if id.contains("PerDay") || id.contains("Daily") {
        Window::Day
    } else if id.contains("PerMinute") {
        Window::Minute
    } else {
        return None;
    };
    let unit = if id.contains("Token") { Unit::InputTokens } else { Unit::Requests };
    // None at all is said of a model that is not in the project's tier.
    let limit = violation.value.filter(|limit| *limit > 0)?;
    Some(Lesson { window, unit, limit: limit.min(LIMIT_MAX) })
}

/// What a quota's id holds where it is one of a tier, and the tier's name; of several the first is meant.
const TIERS: [(&str, &str); 4] =
    [("FreeTier", "free"), ("PaidTier3", "paid 3"), ("PaidTier2", "paid 2"), ("PaidTier", "paid")];

/// The tier that a refusal reveals: `free`, or `paid` with its number.
pub fn tier(refusal: &Refusal) -> Option<&'static str> {
    let of = |id: &str| TIERS.iter().find(|(part, _)| id.contains(part)).map(|(_, name)| *name);
    refusal.violations.iter().find_map(|violation| of(&violation.quota_id))
}

/// The tier of this name.
pub fn tier_named(name: &str) -> Option<&'static str> {
    TIERS.iter().map(|(_, tier)| *tier).find(|tier| *tier == name)
}

/// The project that the refusal names, by its number or its id: `projects/N`. Whatever else stands there is none, a key
/// among it.
pub fn consumer(refusal: &Refusal) -> Option<&str> {
    Some(refusal.consumer.as_str()).filter(|consumer| is_consumer(consumer))
}

/// Whether it can name a project.
pub fn is_consumer(name: &str) -> bool {
    name.strip_prefix("projects/").is_some_and(|project| is_number(project) || is_id(project))
}

fn is_number(project: &str) -> bool {
    (1..=NUMBER_DIGITS_MAX).contains(&project.len()) && project.bytes().all(|b| b.is_ascii_digit())
}

fn is_id(project: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    ID_BYTES.contains(&project.len())
        && project.starts_with(|c: char| c.is_ascii_lowercase())
        && project.bytes().all(plain)
}

/// Whether a refusal for a spent day may be about the day before: it came so soon after midnight, or to a call that was
/// made before it and has taken so long.
pub fn may_be_of_yesterday(now: Timestamp, took: Duration) -> bool {
    let began = now.checked_sub(took.max(YOUNG)).unwrap_or(now);
    until_midnight(began) <= took.max(YOUNG)
}

/// How long until Google's day ends: midnight in Los Angeles, daylight saving included.
pub fn until_midnight(now: Timestamp) -> Duration {
    let midnight = || {
        let here = now.to_zoned(TimeZone::get("America/Los_Angeles").ok()?);
        let tomorrow = here.date().checked_add(1.day()).ok()?;
        tomorrow.to_zoned(here.time_zone().clone()).ok()
    };
    let left = midnight().and_then(|end| Duration::try_from(end.timestamp().duration_since(now)).ok());
    // The zone is inside the binary, so that only the end of all days has none; and no day is much longer.
    left.unwrap_or(Duration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes_until_midnight(now: &str) -> u64 {
        until_midnight(now.parse().unwrap()).as_secs() / 60
    }

    #[test]
    fn the_day_ends_at_midnight_in_los_angeles() {
        assert_eq!(minutes_until_midnight("2026-07-01T06:30:00Z"), 30, "23:30 PDT");
        assert_eq!(minutes_until_midnight("2026-12-01T08:00:00Z"), 24 * 60, "00:00 PST");
        assert_eq!(minutes_until_midnight("2026-03-08T08:00:00Z"), 23 * 60, "the day that loses an hour");
        assert_eq!(minutes_until_midnight("2026-11-01T07:00:00Z"), 25 * 60, "the day that gains one");
    }

    #[test]
    fn a_refusal_soon_after_midnight_may_be_of_yesterday() {
        let may = |now: &str, took| may_be_of_yesterday(now.parse().unwrap(), Duration::from_secs(took));
        assert!(may("2026-12-01T08:00:00Z", 0) && may("2026-12-01T08:04:59Z", 0));
        assert!(!may("2026-12-01T07:59:59Z", 60) && !may("2026-12-01T08:05:01Z", 60));
        assert!(may("2026-12-01T08:09:00Z", 600), "it was made before");
    }

    #[test]
    fn no_day_and_no_limit_is_beyond_counting() {
        assert!(until_midnight(Timestamp::MAX) <= Duration::from_hours(25));
        let violation = Violation { quota_id: "RequestsPerDay".into(), value: Some(u64::MAX), ..Violation::default() };
        assert_eq!(lesson(&violation).unwrap().limit, LIMIT_MAX);
    }

    #[test]
    fn a_project_is_a_number_or_an_id_and_nothing_else() {
        let named = |consumer: &str| {
            let refusal = Refusal { consumer: consumer.to_owned(), ..Refusal::default() };
            super::consumer(&refusal).map(str::to_owned)
        };
        for project in
            ["projects/1", "projects/123456789012", "projects/my-project-7", "projects/gen-lang-client-01234"]
        {
            assert_eq!(named(project).as_deref(), Some(project));
        }
        for other in [
            "",
            "projects/",
            "123",
            "projects/short",
            "projects/7-begins-with-a-digit",
            "projects/AIzaFakeFakeFakeFakeFakeFakeFakeFake",
            "projects/AQ.Fake-Fake_Fake",
            "projects/[key]",
            "projects/1/x",
            "projects/a-name-that-is-longer-than-an-id-can-be",
            "projects/111111111111111111111",
            "folders/123456",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn quota_ids_teach_limits() {
        let violation = |id: &str| Violation { quota_id: id.into(), value: Some(7), ..Violation::default() };
        let refusal = Refusal {
            violations: vec![
                violation("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
                violation("GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2"),
                violation("SomethingNew"),
            ],
            ..Refusal::default()
        };
        let learnt: Vec<_> = lessons(&refusal).map(|l| (l.window, l.unit, l.limit)).collect();
        assert_eq!(learnt, [(Window::Day, Unit::Requests, 7), (Window::Minute, Unit::InputTokens, 7)]);
        assert_eq!(tier(&refusal), Some("free"));
    }
}
