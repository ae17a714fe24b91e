//! Storms: bare refusals of several projects at once, which are the address's or the model's fault and no key's.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// This many different projects ...
const PROJECTS: usize = 3;
/// ... within this time make a storm.
const SPAN: Duration = Duration::from_secs(10);
/// More refusals than this are not needed to see one.
const KEPT_MAX: usize = 32;

/// The latest bare refusals.
#[derive(Debug, Default)]
pub struct Storms {
    seen: VecDeque<(Instant, u32)>,
}

impl Storms {
    /// Notes a bare refusal of `project`; whether it makes a storm.
    pub fn bare(&mut self, project: u32, now: Instant) -> bool {
        self.seen.retain(|(at, other)| now.saturating_duration_since(*at) <= SPAN && *other != project);
        self.seen.truncate(KEPT_MAX - 1);
        self.seen.push_back((now, project));
        self.seen.len() >= PROJECTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_projects_within_ten_seconds_make_a_storm() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut storms = Storms::default();
        assert!(!storms.bare(1, at(0)) && !storms.bare(1, at(1)) && !storms.bare(2, at(2)));
        assert!(storms.bare(3, at(3)));
        assert!(!Storms::default().bare(1, at(30)));
        assert!(!storms.bare(4, at(30)), "the others are long past");
    }
}
