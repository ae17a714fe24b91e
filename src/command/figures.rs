//! Figures as people read them: counts in groups, times, bytes and shares with their units.

/// Bytes of a kilobyte, and of each unit the next.
const STEP: f64 = 1000.0;

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with what is counted: `1 key`, `12 keys`.
pub(super) fn many(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `0.31 ms`, `12.4 ms`, `850 ms`, `1.25 s`, `74 s`
pub(super) fn millis(ms: f64) -> String {
    match ms {
        _ if ms < 9.995 => format!("{ms:.2} ms"),
        _ if ms < 99.95 => format!("{ms:.1} ms"),
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ if ms < 9_995.0 => format!("{:.2} s", ms / STEP),
        _ if ms < 99_950.0 => format!("{:.1} s", ms / STEP),
        _ => format!("{:.0} s", ms / STEP),
    }
}

/// `512 B`, `1.5 kB`, `23 MB`
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    let mut left = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if left < 999.5 {
            return if left < 9.95 && unit != "B" { format!("{left:.1} {unit}") } else { format!("{left:.0} {unit}") };
        }
        left /= STEP;
    }
    format!("{left:.1} TB")
}

/// `0.25`, `12.3`, `4,120`: how often a second.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        _ if per_second < 0.005 => "0".to_owned(),
        _ if per_second < 9.995 => format!("{per_second:.2}"),
        _ if per_second < 999.5 => format!("{per_second:.1}"),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive and far below 2^64"
        )]
        _ => count(per_second.round() as u64),
    }
}

/// `100 %`, `99.4 %`. All of them and none are said only of exactly that.
pub(super) fn share(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        _ if part >= 1.0 => "100 %".to_owned(),
        _ if part <= 0.0 => "0 %".to_owned(),
        _ if percent > 99.9 => "over 99.9 %".to_owned(),
        _ if percent < 0.1 => "under 0.1 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// `part` of `whole`; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Without what a terminal would obey or a line would break at: names and words that came from elsewhere.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_and_their_unit() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((many(1, "key"), many(2_000, "key")), ("1 key".to_owned(), "2,000 keys".to_owned()));
        let times = [0.0, 0.314, 12.44, 850.2, 999.6, 1_250.0, 74_320.0, 742_000.0].map(millis);
        assert_eq!(times, ["0.00 ms", "0.31 ms", "12.4 ms", "850 ms", "1.00 s", "1.25 s", "74.3 s", "742 s"]);
        let sizes = [0, 999, 1_000, 1_540, 23_400_000, 5_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.5 kB", "23 MB", "5.0 TB"]);
        assert_eq!([0.0, 0.25, 12.34, 4_120.4].map(rate), ["0", "0.25", "12.3", "4,120"]);
    }

    #[test]
    fn nearly_all_is_not_all() {
        let shares = [0.0, 0.000_01, 0.5, 0.9944, 0.9999, 1.0].map(share);
        assert_eq!(shares, ["0 %", "under 0.1 %", "50.0 %", "99.4 %", "over 99.9 %", "100 %"]);
        assert_eq!((ratio(1, 4), ratio(1, 0)), (Some(0.25), None));
    }

    #[test]
    fn words_from_elsewhere_cannot_command_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d\u{e9}"), "a [2Jb c d\u{e9}");
    }
}
