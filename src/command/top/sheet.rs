//! The view: a head, the keys, the streams, as much as fits.

use std::cmp::Reverse;
use std::time::Duration;

use crate::command::figures::{bytes, many, millis, plain, rate, share};
use crate::command::pages::{Full, Key, Stream};
use crate::command::status::{sheet, verdict};
use crate::command::table::{Colour, Row, Table};
use crate::command::top::rates::Rates;
use crate::command::top::screen::Size;
use crate::command::words;

/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 28;
/// Lines of a table besides its rows: an empty one above, its head, and how many are left out.
const AROUND: usize = 3;

/// What is to be shown.
#[derive(Debug)]
pub(super) struct Scene<'s> {
    pub(super) full: &'s Full,
    pub(super) rates: &'s Rates,
    /// Why it is old, if it is.
    pub(super) trouble: Option<&'s str>,
}

impl Scene<'_> {
    /// The lines, no more than fit.
    pub(super) fn text(&self, at: &str, size: Size, colour: bool) -> String {
        let full = self.full;
        let head = sheet::head(full, &verdict::of(full), at, colour);
        let mut text = head + "\n\n" + &sheet::performance(full).text(colour);
        if let Some(trouble) = self.trouble {
            text = waiting(trouble, colour) + &text;
        }
        let room = usize::from(size.lines).saturating_sub(text.lines().count());
        let (keys, streams) = split(room, full.keys.keys.len(), full.streams.streams.len());
        text += &self.keys(keys, colour);
        text + &self.streams(streams, colour)
    }

    fn keys(&self, shown: usize, colour: bool) -> String {
        let mut keys: Vec<&Key> = self.full.keys.keys.iter().collect();
        if shown == 0 {
            return String::new();
        }
        if keys.len() > shown {
            // Those that want to be seen, then the busy ones.
            keys.sort_by_key(|key| (key.state == "usable" || key.state == "disabled", Reverse(key.in_flight)));
        }
        let head = ["KEY", "ENDS IN", "STATE", "WEIGHT", "SHARE", "IN FLIGHT", "ATTEMPTS/S", "FAILURES/S", "WHY"];
        let mut table = Table::new(head, 2);
        keys.iter().take(shown).for_each(|key| table.push(self.key(key)));
        format!("\n{}{}", table.text(colour), more(keys.len() as u64, shown, "key"))
    }

    fn key(&self, key: &Key) -> Row<9> {
        let rates = self.rates.of_key(&key.id);
        let per_second = |pick: fn((f64, f64)) -> f64| rates.map_or_else(|| "-".to_owned(), |both| rate(pick(both)));
        let cells = [
            name(&key.id),
            plain(&key.tail),
            plain(&key.state),
            format!("{:.1} of {}", key.effective_weight, key.configured_weight),
            share(key.actual_share),
            key.in_flight.to_string(),
            per_second(|(attempts, _)| attempts),
            per_second(|(_, failures)| failures),
            self.why(key),
        ];
        let colour = match key.state.as_str() {
            "usable" => Colour::Green,
            "disabled" => Colour::Grey,
            "dead" => Colour::Red,
            _ => Colour::Yellow,
        };
        Row { cells, colour, notes: Vec::new() }
    }

    fn why(&self, key: &Key) -> String {
        let now = self.full.health.at;
        let back = |at| format!(", back {}", words::when(at, now));
        match (&key.reason, key.cooling.first()) {
            (Some(reason), _) => plain(words::why_named(reason)) + &key.returns_at.map(back).unwrap_or_default(),
            (None, Some(rest)) => {
                let others = key.cooling.len() - 1;
                let others = if others > 0 { format!(" and {others} more") } else { String::new() };
                let back = rest.until.map(back).unwrap_or_default();
                format!("{}: {}{back}{others}", name(&rest.model), plain(words::why_named(&rest.reason)))
            }
            _ => String::new(),
        }
    }

    fn streams(&self, shown: usize, colour: bool) -> String {
        let streams = &self.full.streams;
        if shown == 0 {
            return String::new();
        }
        let mut table = Table::new(["STREAM", "MODEL", "CLIENT", "KEY", "AGE", "IDLE", "BYTES/S", "BYTES"], 5);
        streams.streams.iter().take(shown).for_each(|stream| table.push(self.stream(stream)));
        format!("\n{}{}", table.text(colour), more(streams.open, shown, "stream"))
    }

    fn stream(&self, stream: &Stream) -> Row<8> {
        let known = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), name);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate to be looked at")]
        let speed = self.rates.of_stream(&stream.id).map_or_else(|| "-".to_owned(), |rate| bytes(rate as u64));
        let idle = Duration::from_millis(stream.idle_ms);
        let colour = match idle.as_secs() {
            0..5 => Colour::Green,
            5..30 => Colour::Yellow,
            _ => Colour::Red,
        };
        let cells = [
            name(&stream.id),
            known(stream.fallback.as_ref().map_or(&stream.model, |_| &stream.fallback)),
            known(&stream.client),
            known(&stream.key),
            time(stream.age_ms),
            time(stream.idle_ms),
            speed,
            bytes(stream.bytes),
        ];
        Row { cells, colour, notes: Vec::new() }
    }
}

/// What is shown before anything is known.
pub(super) fn nothing(at: &str, trouble: Option<&str>) -> String {
    trouble.map_or_else(|| format!("geminate at {at} is asked"), |trouble| waiting(trouble, false))
}

fn waiting(trouble: &str, colour: bool) -> String {
    let text = format!("NOT HEARD: {}; it is asked again and again", plain(trouble));
    (if colour { Colour::Red.paint(&text) } else { text }) + "\n"
}

/// How many keys and streams are shown where so many lines are left: all, or each a half, or what the other leaves.
fn split(room: usize, keys: usize, streams: usize) -> (usize, usize) {
    let around = if streams > 0 { 2 * AROUND } else { AROUND };
    let rows = room.saturating_sub(around);
    let for_keys = keys.min(rows.saturating_sub(streams).max(rows.div_ceil(2)));
    (for_keys, streams.min(rows - for_keys))
}

fn more(total: u64, shown: usize, one: &str) -> String {
    match total.saturating_sub(shown as u64) {
        0 => String::new(),
        left => format!("and {} more\n", many(left, one)),
    }
}

fn name(text: &str) -> String {
    let text = plain(text);
    if text.chars().count() <= NAME_CHARS_MAX {
        return text;
    }
    text.chars().take(NAME_CHARS_MAX - 2).collect::<String>() + ".."
}

/// Short times to the millisecond, long ones to the minute.
#[expect(clippy::cast_precision_loss, reason = "times are bounded")]
fn time(ms: u64) -> String {
    if ms < 120_000 { millis(ms as f64) } else { words::span(Duration::from_millis(ms)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::looks;

    /// Two keys and a stream, seconds after the start.
    fn look(second: u64, attempts: u64, failed: u64, bytes: u64) -> Full {
        let outcomes = json!({"success": attempts - failed, "overloaded": failed});
        let steady = json!({"id": "1", "tail": "0001", "state": "usable", "configured_weight": 10,
                            "effective_weight": 10.0, "actual_share": 0.5, "attempts": attempts, "outcomes": outcomes});
        let dead = json!({"id": "2", "tail": "0002", "state": "dead", "reason": "banned", "configured_weight": 8});
        let health = json!({"at": format!("2026-11-25T14:00:{second:02}Z"), "uptime_seconds": 100 + second});
        let stream = json!({"id": "stream-1", "client": "alice", "model": "gemini-x", "key": "1", "age_ms": 1_500,
                            "idle_ms": 20, "bytes": bytes});
        let more = json!({
            "health": health, "metrics": {"in_flight": 1, "streams_open": 1},
            "streams": {"open": 1, "streams": [stream]},
        });
        looks::full(&json!([steady, dead]), &more)
    }

    fn shown(lines: u16, trouble: Option<&str>) -> Vec<String> {
        let (before, full) = (look(0, 10, 2, 1_000), look(4, 30, 4, 9_000));
        let rates = Rates::between(&before, &full);
        let scene = Scene { full: &full, rates: &rates, trouble };
        let text = scene.text("127.0.0.1:9090", Size { columns: 200, lines }, false);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_view_tells_of_keys_and_streams_with_their_rates() {
        let lines = shown(24, None);
        let expected = [
            "geminate 0.1.0 at 127.0.0.1:9090: 1 of 2 keys is out",
            "Up for 104 s. 1 of 2 keys can serve (1 dead).",
            "Now: 1 in flight, 1 stream, 0 waiting for a key, 0 connections.",
            "",
            "SPAN         REQUESTS  A SECOND  SERVED  FIRST BYTE P50  P95  P99  WHOLE P50  P95  P99",
            "last minute  0         0         -       -               -    -    -          -    -",
            "5 minutes    0         0         -       -               -    -    -          -    -",
            "",
            "KEY  ENDS IN  STATE   WEIGHT      SHARE   IN FLIGHT  ATTEMPTS/S  FAILURES/S  WHY",
            "1    0001     usable  10.0 of 10  50.0 %  0          5.00        0.50",
            "2    0002     dead    0.0 of 8    0 %     0          0           0           Google has banned it",
            "",
            "STREAM    MODEL     CLIENT  KEY  AGE     IDLE     BYTES/S  BYTES",
            "stream-1  gemini-x  alice   1    1.50 s  20.0 ms  2.0 kB   9.0 kB",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_low_terminal_shows_those_that_want_to_be_seen_and_counts_the_rest() {
        let lines = shown(12, Some("no answer at 127.0.0.1:9090: refused"));
        assert!(lines[0].starts_with("NOT HEARD: no answer at 127.0.0.1:9090: refused"), "{lines:?}");
        let lines = shown(14, None);
        assert!(lines.len() <= 14, "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("2    0002     dead")), "{lines:?}");
        assert!(lines.contains(&"and 1 key more".to_owned()), "{lines:?}");
    }

    #[test]
    fn room_is_shared_and_what_one_leaves_the_other_takes() {
        assert_eq!(split(100, 5, 7), (5, 7));
        assert_eq!(split(26, 50, 50), (10, 10));
        assert_eq!(split(26, 50, 3), (17, 3));
        assert_eq!(split(26, 3, 50), (3, 17));
        assert_eq!(split(13, 50, 0), (10, 0));
        assert_eq!(split(2, 5, 5), (0, 0));
    }
}
