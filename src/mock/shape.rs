//! The shapes that a minute's quota may have: how what was used comes back. Pure: `now` is an argument.
//!
//! Which of them Google uses is not published (Gemini API documentation, "Rate limits", 2026-10), so a gateway is tried
//! against all.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_mins(1);
/// Uses of a sliding minute that lie closer together than this come back together, so that its log is bounded by 1,200.
const TICK: Duration = Duration::from_millis(50);

/// How a minute is counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The minutes of the clock on the wall: when one ends, all of it comes back at once.
    #[default]
    Minute,
    /// Any sixty seconds: each use comes back a minute after it was made.
    Sliding,
    /// A bucket that holds a minute's worth and is refilled evenly.
    Bucket,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Sliding, Self::Bucket];
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Minute => "minute",
            Self::Sliding => "sliding",
            Self::Bucket => "bucket",
        })
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|shape| shape.to_string() == text);
        named.ok_or_else(|| format!("`{text}` is no shape: write minute, sliding or bucket"))
    }
}

/// How much of one minute's quota is used. Begins anew when it is counted in another shape.
#[derive(Clone, Debug, Default)]
pub struct Level {
    used: f64,
    shape: Shape,
    at: Duration,
    /// Of a sliding minute: when how much was used, oldest first.
    log: VecDeque<(Duration, f64)>,
}

impl Level {
    /// Lets come back what is due at `now`, the time since 1970; a clock that was set back gives nothing back.
    pub fn settle(&mut self, limit: Option<u64>, shape: Shape, now: Duration) {
        if self.shape != shape {
            *self = Self { shape, at: now, ..Self::default() };
        }
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        match shape {
            Shape::Minute if minute(self.at) != minute(now) => self.used = 0.0,
            Shape::Sliding => {
                while self.log.front().is_some_and(|(at, _)| *at + MINUTE <= now || *at > now) {
                    self.log.pop_front();
                }
                self.used = self.log.iter().map(|(_, amount)| amount).sum();
            }
            Shape::Bucket if elapsed > 0.0 => {
                let refill = limit.map_or(f64::INFINITY, |limit| real(limit) / MINUTE.as_secs_f64());
                self.used = (self.used - elapsed * refill).max(0.0);
            }
            Shape::Minute | Shape::Bucket => {}
        }
        self.at = now;
    }

    /// How long after the last settling until `amount` fits; `None` when it fits at once.
    pub fn wait(&self, amount: u64, limit: u64) -> Option<Duration> {
        let over = self.used + real(amount) - real(limit);
        if over <= 1e-6 {
            return None;
        }
        Some(match self.shape {
            Shape::Minute => rest_of_minute(self.at),
            Shape::Bucket if limit > 0 => Duration::from_secs_f64(over * MINUTE.as_secs_f64() / real(limit)),
            Shape::Bucket => MINUTE,
            Shape::Sliding => {
                let mut back = 0.0;
                let enough = self.log.iter().find(|(_, amount)| {
                    back += amount;
                    back >= over - 1e-6
                });
                enough.map_or(MINUTE, |(at, _)| (*at + MINUTE).saturating_sub(self.at))
            }
        })
    }

    /// Uses `amount` at the time of the last settling.
    pub fn add(&mut self, amount: u64) {
        self.used += real(amount);
        if self.shape == Shape::Sliding {
            match self.log.back_mut().filter(|(at, _)| *at + TICK > self.at) {
                Some((_, together)) => *together += real(amount),
                None => self.log.push_back((self.at, real(amount))),
            }
        }
    }

    /// How much is used, as of the last settling.
    pub const fn used(&self) -> f64 {
        self.used
    }
}

/// How long until the minute of the wall's clock ends.
pub(crate) fn rest_of_minute(now: Duration) -> Duration {
    let into = Duration::new(now.as_secs() % MINUTE.as_secs(), now.subsec_nanos());
    MINUTE.saturating_sub(into)
}

fn minute(now: Duration) -> u64 {
    now.as_secs() / MINUTE.as_secs()
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Uses `amount` at `seconds`, or says in how many seconds it may.
    fn take(level: &mut Level, shape: Shape, limit: u64, amount: u64, seconds: f64) -> Result<(), f64> {
        level.settle(Some(limit), shape, Duration::from_secs_f64(seconds));
        match level.wait(amount, limit) {
            None => {
                level.add(amount);
                Ok(())
            }
            Some(wait) => Err((wait.as_secs_f64() * 1000.0).round() / 1000.0),
        }
    }

    #[test]
    fn a_minute_ends_with_the_walls() {
        let mut level = Level::default();
        let mut take = |at| take(&mut level, Shape::Minute, 2, 1, at);
        assert_eq!([take(119.0), take(119.5), take(119.75)], [Ok(()), Ok(()), Err(0.25)]);
        assert_eq!([take(120.0), take(120.5), take(131.2)], [Ok(()), Ok(()), Err(48.8)]);
    }

    #[test]
    fn a_sliding_minute_gives_each_use_back_a_minute_after_it() {
        let mut level = Level::default();
        let mut take = |amount, at| take(&mut level, Shape::Sliding, 10, amount, at);
        assert_eq!(
            [take(4, 10.0), take(6, 30.0), take(1, 40.0), take(5, 40.0)],
            [Ok(()), Ok(()), Err(30.0), Err(50.0)]
        );
        assert_eq!([take(4, 70.0), take(1, 70.0)], [Ok(()), Err(20.0)]);
        assert_eq!(take(11, 70.0), Err(60.0), "it will never fit");
    }

    #[test]
    fn a_bucket_gives_back_evenly() {
        let mut level = Level::default();
        let mut take = |amount, at| take(&mut level, Shape::Bucket, 60, amount, at);
        assert_eq!(
            [take(60, 1.0), take(10, 1.0), take(10, 11.0), take(1, 11.0)],
            [Ok(()), Err(10.0), Ok(()), Err(1.0)]
        );
        assert_eq!(take(60, 600.0), Ok(()), "it holds no more than a minute's worth");
        assert_eq!(take(1, 600.0), Err(1.0));
    }

    #[test]
    fn another_shape_begins_anew_and_a_clock_set_back_gives_nothing_back() {
        let mut level = Level::default();
        for shape in [Shape::Sliding, Shape::Bucket, Shape::Minute] {
            assert_eq!(take(&mut level, shape, 1, 1, 1_000.0), Ok(()), "{shape}");
            assert!(take(&mut level, shape, 1, 1, 1_000.5).is_err(), "{shape}");
        }
        let mut bucket = Level::default();
        assert_eq!(take(&mut bucket, Shape::Bucket, 1, 1, 1_000.0), Ok(()));
        assert!(take(&mut bucket, Shape::Bucket, 1, 1, 500.0).is_err());
    }

    proptest! {
        #[test]
        fn what_is_told_is_the_time_of_return(
            shape in prop::sample::select(&Shape::ALL[..]),
            limit in 1..20_u64,
            pauses in prop::collection::vec(0.0..20.0_f64, 1..60),
        ) {
            let (mut level, mut now) = (Level::default(), 1_000.0);
            for pause in pauses {
                now += pause;
                if let Err(wait) = take(&mut level, shape, limit, 1, now) {
                    prop_assert!(wait <= 60.0);
                    prop_assert!(wait < 0.01 || take(&mut level.clone(), shape, limit, 1, now + wait - 0.01).is_err());
                    prop_assert!(take(&mut level.clone(), shape, limit, 1, now + wait + 0.01).is_ok());
                }
            }
        }

        #[test]
        fn no_minute_takes_more_than_its_shape_allows(
            shape in prop::sample::select(&Shape::ALL[..]),
            pauses in prop::collection::vec(0.0..4.0_f64, 1..200),
        ) {
            let (mut level, mut now, mut taken) = (Level::default(), 0.0, Vec::new());
            for pause in pauses {
                now += pause;
                if take(&mut level, shape, 10, 1, now).is_ok() {
                    taken.push(now);
                }
                let lately = taken.iter().filter(|at| **at > now - 59.9).count();
                let most = if shape == Shape::Sliding { 10 } else { 20 };
                prop_assert!(lately <= most);
            }
            prop_assert!(shape == Shape::Sliding || real(taken.len() as u64) <= 10.0 * (2.0 + (now / 60.0).floor()));
        }
    }
}
