//! The retry plan: whether another attempt may succeed where one failed, after which pause.

use std::time::Duration;

use crate::verdict::Verdict;

/// An overload is tried again at most this often.
const OVERLOADS_MAX: u32 = 3;
/// The pauses between them begin here, double, and end there.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(2);
const OVERLOAD_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Projects that are asked for a resource whose owner is not known.
const OWNERS_MAX: u32 = 3;
/// A bare 429 is taken to another key at most this often.
const BARE_MAX: u32 = 2;

/// What the plan knows of a failure beside its verdict.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each named where it is set")]
pub struct Facts {
    /// Whether the body is at hand to be sent again.
    pub kept: bool,
    /// Whether sending the request twice can do no harm.
    pub replayable: bool,
    /// Whether an overload is waited for, as no other model may serve.
    pub patient: bool,
    /// Whether the prompt is so long that an internal error is likely its fault.
    pub long_prompt: bool,
    /// Whether the call had tried this key before.
    pub tried: bool,
    /// Whether so many overloads came in a row that another try is a waste.
    pub breaker_open: bool,
    /// Whether the model was unknown everywhere a moment ago.
    pub unknown_lately: bool,
    /// Whether another project is known to have made a thought signature of the history, and may be asked.
    pub maker_known: bool,
    /// Time left until the deadline, and the whole of it.
    pub left: Duration,
    /// All of the time the call had.
    pub whole: Duration,
    /// A throw between 0 and 1.
    pub dice: f64,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Another attempt after a pause.
    Again {
        /// How long to wait first.
        pause: Duration,
        /// Whether the failed key's project must not be asked again.
        elsewhere: bool,
        /// Whether it needs a share of the retry budget.
        budgeted: bool,
    },
    /// No other attempt can help.
    Stop,
}

/// The attempts of one call so far.
#[derive(Clone, Debug)]
pub struct Plan {
    limit: u32,
    empty_retries: u32,
    counted: u32,
    by_verdict: Vec<Verdict>,
}

impl Plan {
    /// A plan for a pool of `keys` keys: at most `retries` + 1 attempts are counted, and no more than twice the keys.
    /// Attempts that take their key out of play are free, unless the call comes back to the key.
    pub fn new(retries: u32, empty_retries: u32, keys: usize) -> Self {
        let twice = u32::try_from(keys).unwrap_or(u32::MAX).saturating_mul(2);
        Self { limit: (retries + 1).min(twice), empty_retries, counted: 0, by_verdict: Vec::new() }
    }

    /// The same for a call that had some of its attempts before: so many are left to it.
    #[must_use]
    pub fn at_most(self, left: u32) -> Self {
        Self { limit: self.limit.min(left), ..self }
    }

    /// How many attempts count at most.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many attempts that count are left.
    pub const fn left(&self) -> u32 {
        self.limit.saturating_sub(self.counted)
    }

    /// Decides what follows an attempt that came to `verdict`.
    pub fn after(&mut self, verdict: Verdict, facts: &Facts) -> Next {
        let before = u32::try_from(self.by_verdict.iter().filter(|v| **v == verdict).count()).unwrap_or(u32::MAX);
        self.by_verdict.push(verdict);
        let next = self.next(verdict, before, facts);
        let counts = !removes_its_key(verdict) || facts.tried;
        self.counted += u32::from(counts);
        let Next::Again { pause, .. } = next else { return Next::Stop };
        let repeatable = facts.kept && (facts.replayable || verdict.proves_no_effect());
        let spent = counts && self.counted >= self.limit && !matches!(verdict, Verdict::Empty);
        if !repeatable || spent || pause >= facts.left { Next::Stop } else { next }
    }

    fn next(&self, verdict: Verdict, before: u32, facts: &Facts) -> Next {
        let again = |pause| Next::Again { pause, elsewhere: false, budgeted: false };
        let budgeted = |pause| Next::Again { pause, elsewhere: false, budgeted: true };
        let elsewhere = Next::Again { pause: Duration::ZERO, elsewhere: true, budgeted: false };
        let short = Duration::from_millis(500).mul_f64(1.0 + facts.dice);
        // An answer is at hand: the second chance that it gets is one on another key, and never a third.
        let at_hand = self.by_verdict.contains(&Verdict::Empty) && verdict != Verdict::Empty;
        match verdict {
            verdict if at_hand && !removes_its_key(verdict) => Next::Stop,
            Verdict::Success | Verdict::Caller | Verdict::Broken | Verdict::Unfinished | Verdict::Abandoned => {
                Next::Stop
            }
            Verdict::Grounding => elsewhere,
            Verdict::NotOwner if before + 1 < OWNERS_MAX => elsewhere,
            Verdict::ForeignSignature if before == 0 && facts.maker_known => again(Duration::ZERO),
            verdict if removes_its_key(verdict) => again(Duration::ZERO),
            Verdict::Precondition | Verdict::ModelForbidden if before == 0 => elsewhere,
            Verdict::ModelUnknown if before == 0 && !facts.unknown_lately => elsewhere,
            Verdict::QuotaBare if before < BARE_MAX => again(short),
            Verdict::Internal if before == 0 && !facts.long_prompt => budgeted(short),
            Verdict::Edge | Verdict::Interrupted if before == 0 => budgeted(short),
            Verdict::Deadline if before == 0 && facts.left * 2 >= facts.whole => budgeted(short),
            // One other key at once, then the next model.
            Verdict::Overloaded if !facts.patient && before == 0 && !facts.breaker_open => budgeted(short),
            Verdict::Overloaded if facts.patient && before < OVERLOADS_MAX && !facts.breaker_open => {
                let pause = OVERLOAD_PAUSE.saturating_mul(1 << before).min(OVERLOAD_PAUSE_MAX);
                budgeted(pause.mul_f64(0.9 + 0.2 * facts.dice))
            }
            Verdict::Connect | Verdict::DoubleCredential if before == 0 => again(Duration::ZERO),
            Verdict::Connect => again(Duration::from_millis(200).mul_f64(1.0 + 4.0 * facts.dice)),
            Verdict::Empty if before < self.empty_retries => again(Duration::ZERO),
            _ => Next::Stop,
        }
    }
}

/// Whether the verdict takes its key, or the key's project, out of play for the call: such switches are bounded by the
/// keys themselves, and not to make them would fail a request that another key can serve.
pub const fn removes_its_key(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::KeyInvalid
            | Verdict::Unauthorized
            | Verdict::Banned
            | Verdict::KeyBlocked
            | Verdict::Billing
            | Verdict::QuotaDay
            | Verdict::QuotaMinute
            | Verdict::NotInTier
            | Verdict::Spend
            | Verdict::Grounding
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Facts = Facts {
        kept: true,
        replayable: true,
        patient: true,
        long_prompt: false,
        tried: false,
        breaker_open: false,
        unknown_lately: false,
        maker_known: false,
        left: Duration::from_mins(5),
        whole: Duration::from_mins(5),
        dice: 0.5,
    };

    /// How often a plan goes on when every attempt comes to `verdict`.
    fn attempts(verdict: Verdict, facts: &Facts, keys: usize) -> u32 {
        let mut plan = Plan::new(3, 0, keys);
        let mut attempts = 1;
        while attempts < 100 && plan.after(verdict, facts) != Next::Stop {
            attempts += 1;
        }
        attempts
    }

    #[test]
    fn each_verdict_has_its_number_of_attempts() {
        for (verdict, most) in [
            (Verdict::Caller, 1),
            (Verdict::Internal, 2),
            (Verdict::Overloaded, 4),
            (Verdict::QuotaBare, 3),
            (Verdict::Edge, 2),
            (Verdict::Interrupted, 2),
            (Verdict::Deadline, 2),
            (Verdict::ModelUnknown, 2),
            (Verdict::ModelForbidden, 2),
            (Verdict::Precondition, 2),
            (Verdict::DoubleCredential, 2),
            (Verdict::Connect, 4),
            (Verdict::Empty, 1),
            (Verdict::NotOwner, 3),
            (Verdict::Broken, 1),
        ] {
            assert_eq!(attempts(verdict, &CALM, 10), most, "{verdict:?}");
        }
        assert_eq!(attempts(Verdict::KeyInvalid, &CALM, 10), 100, "bounded by the keys, not by the plan");
        assert_eq!(attempts(Verdict::Overloaded, &CALM, 1), 2, "no more than twice the keys");
    }

    #[test]
    fn what_may_have_happened_is_not_done_twice() {
        let creating = Facts { replayable: false, ..CALM };
        for verdict in [Verdict::Internal, Verdict::Interrupted, Verdict::Overloaded, Verdict::Edge, Verdict::Deadline]
        {
            assert_eq!(attempts(verdict, &creating, 10), 1, "{verdict:?}");
        }
        for verdict in [Verdict::QuotaDay, Verdict::KeyInvalid, Verdict::Connect] {
            assert!(attempts(verdict, &creating, 10) > 1, "{verdict:?}");
        }
        let streamed = Facts { kept: false, ..CALM };
        assert_eq!(attempts(Verdict::KeyInvalid, &streamed, 10), 1);
    }

    #[test]
    fn a_thought_signature_is_taken_to_its_maker_once() {
        assert_eq!(attempts(Verdict::ForeignSignature, &CALM, 10), 1, "nobody knows its maker");
        let known = Facts { maker_known: true, replayable: false, ..CALM };
        assert_eq!(attempts(Verdict::ForeignSignature, &known, 10), 2);
        assert_eq!(attempts(Verdict::ForeignSignature, &Facts { kept: false, ..known }, 10), 1);
    }

    #[test]
    fn coming_back_to_a_key_counts_even_where_it_was_taken_out() {
        let again = Facts { tried: true, ..CALM };
        for verdict in [Verdict::QuotaMinute, Verdict::Grounding] {
            assert_eq!(attempts(verdict, &again, 10), 4, "{verdict:?}");
        }
    }

    #[test]
    fn after_an_empty_answer_only_another_key_in_the_place_of_one_that_is_out_is_asked() {
        for (verdict, goes_on) in [
            (Verdict::QuotaDay, true),
            (Verdict::KeyInvalid, true),
            (Verdict::Internal, false),
            (Verdict::Overloaded, false),
            (Verdict::QuotaBare, false),
            (Verdict::Empty, false),
        ] {
            let mut plan = Plan::new(3, 1, 10);
            assert_ne!(plan.after(Verdict::Empty, &CALM), Next::Stop);
            assert_eq!(plan.after(verdict, &CALM) != Next::Stop, goes_on, "{verdict:?}");
        }
    }

    #[test]
    fn what_is_asked_again_has_only_what_was_left() {
        let mut plan = Plan::new(3, 0, 10);
        assert_ne!(plan.after(Verdict::Overloaded, &CALM), Next::Stop);
        assert_eq!(plan.after(Verdict::Overloaded, &Facts { patient: false, ..CALM }), Next::Stop);
        let mut again = Plan::new(3, 0, 10).at_most(plan.left());
        assert_ne!(again.after(Verdict::Overloaded, &CALM), Next::Stop);
        assert_eq!((again.after(Verdict::Overloaded, &CALM), again.left()), (Next::Stop, 0));
    }

    #[test]
    fn circumstances_stop_a_retry() {
        assert_eq!(attempts(Verdict::Overloaded, &Facts { breaker_open: true, ..CALM }, 10), 1);
        assert_eq!(attempts(Verdict::Overloaded, &Facts { patient: false, ..CALM }, 10), 2);
        assert_eq!(attempts(Verdict::Internal, &Facts { long_prompt: true, ..CALM }, 10), 1);
        assert_eq!(attempts(Verdict::Deadline, &Facts { left: Duration::from_mins(2), ..CALM }, 10), 1);
        assert_eq!(attempts(Verdict::ModelUnknown, &Facts { unknown_lately: true, ..CALM }, 10), 1);
        assert_eq!(attempts(Verdict::Overloaded, &Facts { left: Duration::from_secs(1), ..CALM }, 10), 1);
    }

    #[test]
    fn overloads_are_given_time() {
        let mut plan = Plan::new(3, 0, 10);
        let mut pause = || match plan.after(Verdict::Overloaded, &CALM) {
            Next::Again { pause, .. } => pause.as_secs(),
            Next::Stop => 0,
        };
        assert_eq!([pause(), pause(), pause(), pause()], [2, 4, 8, 0]);
    }
}
