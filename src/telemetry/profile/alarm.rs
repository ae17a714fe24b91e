//! The alarm: when the CPU has been busy for so long that a profile should tell with what.

use std::time::Duration;

use tokio::time::Instant;

/// How often the CPU time is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// So many looks in a row make it sustained: a minute.
const LOOKS: u32 = 6;
/// The least time between two profiles.
const PAUSE: Duration = Duration::from_mins(10);

/// What it has seen.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    seen: Option<(Instant, f64)>,
    above: u32,
    rang: Option<Instant>,
}

impl Alarm {
    /// At `now` the process has taken `cpu_seconds` of CPU time since its start. The percentage of one core since the
    /// last look, when that and those before it were all at `threshold` or above and a profile is due.
    pub(super) fn look(&mut self, cpu_seconds: f64, threshold: f64, now: Instant) -> Option<f64> {
        let (at, before) = self.seen.replace((now, cpu_seconds))?;
        let wall = now.saturating_duration_since(at).as_secs_f64();
        if wall <= 0.0 {
            return None;
        }
        let percent = (cpu_seconds - before) / wall * 100.0;
        self.above = if percent >= threshold { self.above + 1 } else { 0 };
        let rested = self.rang.is_none_or(|rang| now.saturating_duration_since(rang) >= PAUSE);
        if self.above < LOOKS || !rested {
            return None;
        }
        (self.above, self.rang) = (0, Some(now));
        Some(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks, counted from 1, at which it rings, of a process that takes these percentages.
    fn rings(percents: impl IntoIterator<Item = f64>) -> Vec<usize> {
        let (mut alarm, mut now, mut cpu) = (Alarm::default(), Instant::now(), 5.0);
        assert_eq!(alarm.look(cpu, 80.0, now), None);
        let mut look = |percent: f64| {
            now += LOOK;
            cpu += percent / 100.0 * LOOK.as_secs_f64();
            alarm.look(cpu, 80.0, now).inspect(|told| assert!((told - percent).abs() < 0.01, "{told}"))
        };
        (1..).zip(percents).filter_map(|(n, percent)| look(percent).map(|_| n)).collect()
    }

    #[test]
    fn it_rings_after_a_minute_without_a_rest() {
        assert_eq!(rings([90.0; 6]), [6]);
        assert_eq!(rings([90.0; 5]), Vec::<usize>::new());
        assert_eq!(rings([90.0, 90.0, 90.0, 90.0, 90.0, 10.0, 90.0, 90.0, 90.0, 90.0, 90.0, 190.0]), [12]);
        assert_eq!(rings([79.0; 600]), Vec::<usize>::new());
    }

    #[test]
    fn it_rings_at_most_once_in_ten_minutes() {
        assert_eq!(rings([150.0; 200]), [6, 66, 126, 186]);
    }
}
