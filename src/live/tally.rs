//! What a session used: the turns' tokens, added up.

use crate::live::message::Told;
use crate::meter::Meter;
use crate::usage::Usage;

/// Google counts within a turn cumulatively, and bills each turn for all that the session holds by then: the last
/// count of a turn stands, and turns add up (ai.google.dev, Live API, 2026-10).
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of the turns that are over.
    before: Usage,
    /// The last count.
    last: Option<Usage>,
    /// Whether the turn of the last count is over.
    over: bool,
}

impl Tally {
    /// Reads a message of Google's: whether the sum has changed.
    pub(super) fn read(&mut self, message: &[u8], told: &Told) -> bool {
        let mut meter = Meter::default();
        meter.feed(message);
        let usage = meter.usage();
        if let Some(usage) = usage {
            if self.over
                && let Some(last) = self.last
            {
                self.before = sum(self.before, last);
            }
            (self.last, self.over) = (Some(usage), false);
        }
        self.over |= told.turn_complete;
        usage.is_some()
    }

    /// All that was used so far.
    pub(super) fn sum(&self) -> Usage {
        sum(self.before, self.last.unwrap_or_default())
    }
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        prompt_tokens: a.prompt_tokens + b.prompt_tokens,
        cached_tokens: a.cached_tokens + b.cached_tokens,
        answer_tokens: a.answer_tokens + b.answer_tokens,
        thought_tokens: a.thought_tokens + b.thought_tokens,
        tool_tokens: a.tool_tokens + b.tool_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(messages: &[&str]) -> (u64, u64) {
        let mut tally = Tally::default();
        for message in messages {
            tally.read(message.as_bytes(), &Told::read(message.as_bytes()));
        }
        (tally.sum().prompt_tokens, tally.sum().answer_tokens)
    }

    #[test]
    fn within_a_turn_the_last_count_stands_and_turns_add_up() {
        let count = |prompt, answer, over| {
            format!(
                r#"{{"serverContent":{{"turnComplete":{over}}},"usageMetadata":{{"promptTokenCount":{prompt},
                "responseTokenCount":{answer}}}}}"#
            )
        };
        let (begun, one, two) = (count(5, 1, false), count(5, 4, true), count(12, 3, true));
        assert_eq!(tally(&[&begun, &one, &two]), (17, 7));
        let (over, late) =
            (r#"{"serverContent":{"turnComplete":true}}"#, r#"{"usageMetadata":{"promptTokenCount":5}}"#);
        assert_eq!(tally(&[over, late, over, late]), (10, 0), "a count may follow the end of its turn");
        assert_eq!(tally(&[r#"{"setupComplete":{}}"#, "rubbish"]), (0, 0));
    }
}
