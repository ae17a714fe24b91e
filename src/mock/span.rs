//! Spans of time as a person writes them: `250ms`, `1.5s`, `2m`, `forever`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// What stands for a wait without an end: longer than any test and any client's patience.
pub(crate) const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Reads a span; a bare number is refused because nobody can tell its unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "forever" {
        return Ok(FOREVER);
    }
    let wrong = || format!("`{text}` is not a span of time: write 250ms, 1.5s, 2m or forever");
    let unit_at = text.find(|c: char| c != '.' && !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong()).map(|span| span.min(FOREVER))
}

/// Writes a span so that [`parse`] reads it again, to the millisecond.
pub(crate) fn text(span: Duration) -> String {
    if span >= FOREVER {
        "forever".to_owned()
    } else if span.subsec_millis() == 0 {
        format!("{}s", span.as_secs())
    } else {
        format!("{}ms", span.as_millis())
    }
}

/// For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*span))
}

/// For `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_they_were_written() {
        for (written, millis) in [("250ms", 250), ("1.5s", 1500), ("2m", 120_000), ("0s", 0), ("1h", 3_600_000)] {
            let span = parse(written).unwrap();
            assert_eq!(span, Duration::from_millis(millis));
            assert_eq!(parse(&text(span)).unwrap(), span);
        }
        assert_eq!(text(parse("forever").unwrap()), "forever");
    }

    #[test]
    fn a_span_without_a_unit_is_refused() {
        for wrong in ["", "5", "s", "5d", "1.2.3s", "-1s"] {
            assert!(parse(wrong).unwrap_err().contains("250ms"), "{wrong}");
        }
    }
}
