//! What a project may use of a model: requests and input tokens a minute, requests a day.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::mock::shape::{Level, Shape, rest_of_minute};

/// Limits of one project for one model. `None` is no limit, 0 is no access at all.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Input tokens a minute.
    pub tpm: Option<u64>,
    /// Requests a day, which begins at midnight in Los Angeles.
    pub rpd: Option<u64>,
}

/// `rpm=10,tpm=250000,rpd=250`, each at most once.
impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut quota = Self::default();
        for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
            let wrong = || format!("`{part}` is no quota: write rpm=10,tpm=250000,rpd=250");
            let (name, limit) = part.split_once('=').ok_or_else(wrong)?;
            let place = match name {
                "rpm" => &mut quota.rpm,
                "tpm" => &mut quota.tpm,
                "rpd" => &mut quota.rpd,
                _ => return Err(wrong()),
            };
            if place.replace(limit.parse().map_err(|_| wrong())?).is_some() {
                return Err(wrong());
            }
        }
        Ok(quota)
    }
}

/// What a project pays; Google names its quotas by it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Nothing.
    #[default]
    Free,
    /// Billing is linked.
    Paid,
    /// The second paid tier.
    Paid2,
}

/// A quota that can run out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Measure {
    /// Requests a minute.
    MinuteRequests,
    /// Input tokens a minute.
    MinuteTokens,
    /// Requests a day.
    DayRequests,
}

/// The kind of work a quota is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Work {
    #[default]
    Generate,
    Embed,
}

/// One quota that a call would exceed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which.
    pub measure: Measure,
    /// How much it allows.
    pub limit: u64,
}

/// Why a call may not pass now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shortage {
    /// The quotas exceeded, the day's first.
    pub violations: Vec<Violation>,
    /// When the minute's quotas allow the call. For a day's quota Google names the same short wait, which misleads.
    pub retry: Duration,
}

/// A moment as quotas see it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time since 1970.
    pub wall: Duration,
    /// The date in Los Angeles.
    pub date: Date,
}

/// What one project has used of one model.
#[derive(Clone, Debug)]
pub struct Usage {
    requests: Level,
    tokens: Level,
    date: Date,
    today: u64,
}

impl Usage {
    /// Nothing used yet.
    pub fn new(now: &Moment) -> Self {
        Self { requests: Level::default(), tokens: Level::default(), date: now.date, today: 0 }
    }

    /// Counts a call of `tokens` input tokens, or says what it would exceed; a refused call uses nothing.
    pub fn take(&mut self, quota: &Quota, shape: Shape, tokens: u64, now: &Moment) -> Result<(), Shortage> {
        if self.date != now.date {
            self.date = now.date;
            self.today = 0;
        }
        let mut violations = Vec::new();
        let mut retry = Duration::ZERO;
        if let Some(limit) = quota.rpd.filter(|limit| self.today >= *limit) {
            violations.push(Violation { measure: Measure::DayRequests, limit });
            retry = rest_of_minute(now.wall);
        }
        let minutes = [
            (&mut self.requests, Measure::MinuteRequests, 1, quota.rpm),
            (&mut self.tokens, Measure::MinuteTokens, tokens, quota.tpm),
        ];
        for (level, measure, amount, limit) in minutes {
            level.settle(limit, shape, now.wall);
            if let Some((limit, wait)) = limit.and_then(|limit| Some((limit, level.wait(amount, limit)?))) {
                violations.push(Violation { measure, limit });
                retry = retry.max(wait);
            }
        }
        if violations.is_empty() {
            self.today += 1;
            self.requests.add(1);
            self.tokens.add(tokens);
            Ok(())
        } else {
            Err(Shortage { violations, retry })
        }
    }

    /// Requests and tokens of the running minute, requests of the day; as they stood at the last call.
    pub(crate) fn counts(&self) -> (f64, f64, u64) {
        (self.requests.used(), self.tokens.used(), self.today)
    }
}

impl Violation {
    /// Google's metric, id and printed limit for this quota.
    pub(crate) fn names(&self, tier: Tier, work: Work) -> (String, String) {
        let (verb, noun) = match work {
            Work::Generate => ("generate_content", "Generate"),
            Work::Embed => ("embed_content", "EmbedContent"),
        };
        let suffix = match tier {
            Tier::Free => "-FreeTier",
            Tier::Paid => "",
            Tier::Paid2 => "-PaidTier2",
        };
        let (metric, id) = match (self.measure, tier) {
            (Measure::MinuteTokens, Tier::Free) => (
                format!("{verb}_free_tier_input_token_count"),
                "GenerateContentInputTokensPerModelPerMinute".to_owned(),
            ),
            (Measure::MinuteTokens, Tier::Paid | Tier::Paid2) => (
                format!("{verb}_paid_tier_{}input_token_count", if tier == Tier::Paid2 { "2_" } else { "" }),
                "GenerateContentPaidTierInputTokensPerModelPerMinute".to_owned(),
            ),
            (measure, _) => {
                let (per, day) = if measure == Measure::DayRequests { ("Day", "_per_day") } else { ("Minute", "") };
                let metric = match tier {
                    Tier::Free => format!("{verb}_free_tier_requests"),
                    Tier::Paid | Tier::Paid2 => format!("generate_requests_per_model{day}"),
                };
                (metric, format!("{noun}RequestsPer{per}PerProjectPerModel"))
            }
        };
        (format!("generativelanguage.googleapis.com/{metric}"), format!("{id}{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment { wall: Duration::from_secs_f64(seconds), date: date(2026, 11, 20) }
    }

    #[test]
    fn a_minute_allows_its_limit_and_says_when_the_next_begins() {
        let quota = Quota { rpm: Some(2), ..Quota::default() };
        let mut usage = Usage::new(&at(0.0));
        assert!(usage.take(&quota, Shape::Minute, 1, &at(1.0)).is_ok());
        assert!(usage.take(&quota, Shape::Minute, 1, &at(2.0)).is_ok());
        let short = usage.take(&quota, Shape::Minute, 1, &at(11.2)).unwrap_err();
        assert_eq!(short.retry, Duration::from_millis(48_800));
        assert_eq!(short.violations, [Violation { measure: Measure::MinuteRequests, limit: 2 }]);
        assert!(usage.take(&quota, Shape::Minute, 1, &at(60.0)).is_ok());
    }

    #[test]
    fn tokens_run_out_beside_requests_and_the_longer_wait_is_told() {
        let quota = Quota { rpm: Some(2), tpm: Some(60), rpd: None };
        let mut usage = Usage::new(&at(0.0));
        assert!(usage.take(&quota, Shape::Bucket, 60, &at(1.0)).is_ok());
        let short = usage.take(&quota, Shape::Bucket, 10, &at(1.0)).unwrap_err();
        assert_eq!((short.retry, short.violations[0].measure), (Duration::from_secs(10), Measure::MinuteTokens));
        assert!(usage.take(&quota, Shape::Bucket, 10, &at(11.0)).is_ok());
        let short = usage.take(&quota, Shape::Bucket, 1, &at(11.0)).unwrap_err();
        assert_eq!((short.violations.len(), short.retry), (2, Duration::from_secs(20)));
    }

    #[test]
    fn a_day_ends_with_its_date_only() {
        let quota = Quota { rpd: Some(1), ..Quota::default() };
        let mut usage = Usage::new(&at(0.0));
        assert!(usage.take(&quota, Shape::Minute, 1, &at(0.0)).is_ok());
        let short = usage.take(&quota, Shape::Minute, 1, &at(600.0)).unwrap_err();
        assert_eq!(short.violations[0].measure, Measure::DayRequests);
        assert!(short.retry <= Duration::from_mins(1));
        let tomorrow = Moment { date: date(2026, 11, 21), ..at(700.0) };
        assert!(usage.take(&quota, Shape::Minute, 1, &tomorrow).is_ok());
    }

    #[test]
    fn a_limit_of_zero_allows_nothing_and_refused_calls_use_nothing() {
        let quota = Quota { rpm: Some(0), rpd: Some(0), ..Quota::default() };
        let mut usage = Usage::new(&at(0.0));
        assert_eq!(usage.take(&quota, Shape::Bucket, 1, &at(0.0)).unwrap_err().violations.len(), 2);
        assert!(usage.take(&Quota { rpm: Some(1), ..Quota::default() }, Shape::Minute, 1, &at(0.0)).is_ok());
    }

    #[test]
    fn a_quota_reads_from_a_flag() {
        let quota = Quota { rpm: Some(10), rpd: Some(0), ..Quota::default() };
        assert_eq!("rpm=10,rpd=0".parse(), Ok(quota));
        assert!(["rpm", "rpm=x", "ipm=1", "rpm=1,rpm=2"].iter().all(|wrong| wrong.parse::<Quota>().is_err()));
    }

    #[test]
    fn quotas_bear_googles_names() {
        let day = Violation { measure: Measure::DayRequests, limit: 250 };
        let tokens = Violation { measure: Measure::MinuteTokens, limit: 250 };
        let (metric, id) = day.names(Tier::Free, Work::Generate);
        assert_eq!(metric, "generativelanguage.googleapis.com/generate_content_free_tier_requests");
        assert_eq!(id, "GenerateRequestsPerDayPerProjectPerModel-FreeTier");
        let (metric, id) = tokens.names(Tier::Paid2, Work::Generate);
        assert_eq!(metric, "generativelanguage.googleapis.com/generate_content_paid_tier_2_input_token_count");
        assert_eq!(id, "GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2");
        assert_eq!(tokens.names(Tier::Free, Work::Generate).1, "GenerateContentInputTokensPerModelPerMinute-FreeTier");
        assert_eq!(day.names(Tier::Paid, Work::Generate).1, "GenerateRequestsPerDayPerProjectPerModel");
    }
}
