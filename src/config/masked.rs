//! The file as it may be shown: each secret is a number, and finds its way back from there.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::fault::Fault;
use crate::config::shape;
use crate::scrub::Scrubber;

/// What stands around the number of a secret.
const OPEN: &str = "[secret ";

/// A text without its secrets.
#[derive(Debug)]
pub(super) struct Masked {
    /// Each secret stands there as `[secret N]`.
    pub(super) text: String,
    /// The secrets as they are written, quotes included where they have them.
    literals: Vec<String>,
}

impl Masked {
    /// Masks a text that can be parsed: what stands where secrets do, and elsewhere, in comments, what looks like one.
    pub(super) fn of(text: &str, scrubber: &Scrubber) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        let mut spans = Vec::new();
        walk(table.get_ref(), &[], &mut spans);
        spans.sort_by_key(|span: &std::ops::Range<usize>| span.start);
        let (mut masked, mut at) = (Self { text: String::new(), literals: Vec::new() }, 0);
        for span in spans {
            masked.between(&text[at..span.start], scrubber);
            masked.literals.push(text[span.clone()].to_owned());
            masked.text.extend(["\"", OPEN, &masked.literals.len().to_string(), "]\""]);
            at = span.end;
        }
        masked.between(&text[at..], scrubber);
        masked
    }

    /// Text between the secrets' places: whatever the scrubber would take out becomes a number as well.
    fn between(&mut self, text: &str, scrubber: &Scrubber) {
        for line in text.split_inclusive('\n') {
            let clean = scrubber.scrub_str(line);
            if clean == line {
                self.text.push_str(line);
                continue;
            }
            // In a comment: what follows the `#` is one. Elsewhere nothing that is known to be a secret has a place.
            let Some((before, comment)) = line.split_once('#') else {
                self.text.push_str(&clean);
                continue;
            };
            let (comment, end) = comment.strip_suffix('\n').map_or((comment, ""), |comment| (comment, "\n"));
            self.literals.push(format!("#{comment}"));
            let (before, number) = (scrubber.scrub_str(before), self.literals.len().to_string());
            self.text.extend([&before, "# ", OPEN, &number, "]", end]);
        }
    }

    /// The text with its secrets back in their places. A number where no secret may stand is a fault.
    pub(super) fn restore(&self, text: &str, name: &str) -> Result<String, Vec<Fault>> {
        let mut faults = Vec::new();
        let (table, _) = DeTable::parse_recoverable(text);
        strays(table.get_ref(), &[], &mut |path, offset| {
            let line = text[..offset].matches('\n').count() + 1;
            let what = format!("{path}: `{OPEN}N]` stands for a secret, and none belongs here");
            faults.push(Fault::new(&format!("{name}:{line}"), &what));
        });
        let mut whole = String::with_capacity(text.len());
        for (n, line) in text.split_inclusive('\n').enumerate() {
            match self.restored(line) {
                Ok(line) => whole.push_str(&line),
                Err(number) => {
                    let what = format!("there is no `{OPEN}{number}]`: write the secret itself");
                    faults.push(Fault::new(&format!("{name}:{}", n + 1), &what));
                }
            }
        }
        if faults.is_empty() { Ok(whole) } else { Err(faults) }
    }

    fn restored(&self, line: &str) -> Result<String, String> {
        let (mut whole, mut rest) = (String::new(), line);
        while let Some(start) = rest.find(OPEN) {
            let Some(length) = rest[start..].find(']') else { break };
            let number = &rest[start + OPEN.len()..start + length];
            let literal = number.parse::<usize>().ok().and_then(|n| self.literals.get(n.checked_sub(1)?));
            let literal = literal.ok_or_else(|| number.to_owned())?;
            let (mut from, mut to) = (start, start + length + 1);
            let before = rest[..from].chars().next_back();
            if let Some(quote) = before.filter(|quote| matches!(quote, '"' | '\'') && rest[to..].starts_with(*quote)) {
                (from, to) = (from - quote.len_utf8(), to + quote.len_utf8());
            } else if literal.starts_with('#') && rest[..from].ends_with("# ") {
                from -= 2;
            }
            whole.push_str(&rest[..from]);
            whole.push_str(literal);
            rest = &rest[to..];
        }
        whole.push_str(rest);
        Ok(whole)
    }
}

/// The places of all secrets.
fn walk(table: &DeTable<'_>, path: &[&str], spans: &mut Vec<std::ops::Range<usize>>) {
    each(table, path, &mut |path, value| {
        if shape::secret(path) && matches!(value.get_ref(), DeValue::String(_)) {
            spans.push(value.span());
        }
    });
}

/// Every text that holds a number and is no secret's place.
fn strays(table: &DeTable<'_>, path: &[&str], found: &mut impl FnMut(&str, usize)) {
    each(table, path, &mut |path, value| {
        let numbered = matches!(value.get_ref(), DeValue::String(text) if text.contains(OPEN));
        if numbered && !shape::secret(path) {
            found(&path.join("."), value.span().start);
        }
    });
}

fn each(table: &DeTable<'_>, path: &[&str], see: &mut impl FnMut(&[&str], &Spanned<DeValue<'_>>)) {
    for (name, value) in table {
        let below: Vec<&str> = path.iter().copied().chain([name.get_ref().as_ref()]).collect();
        look(value, &below, see);
    }
}

fn look(value: &Spanned<DeValue<'_>>, path: &[&str], see: &mut impl FnMut(&[&str], &Spanned<DeValue<'_>>)) {
    match value.get_ref() {
        DeValue::Table(table) => each(table, path, see),
        DeValue::Array(pieces) if path == ["keys"] => {
            for piece in pieces {
                look(piece, &["keys", "0"], see);
            }
        }
        DeValue::Array(pieces) => pieces.iter().for_each(|piece| look(piece, path, see)),
        _ => see(path, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const TEXT: &str = "# the old one: fake-key-0009\n[auth]\ntokens = [\"tok-a\", 'tok-b'] # two, not fake-key-0009\nadmin_token = \"ad\\u006Din\"\n\n[[keys]]\nid = \"one\"\nkey = \"fake-key-0001\"\nproxy = \"http://u:p@127.0.0.1:1\"\n";

    fn masked(text: &str) -> Masked {
        Masked::of(text, &Scrubber::new(&[Secret::new("fake-key-0009".into())]).unwrap())
    }

    #[test]
    fn every_secret_is_a_number_and_comes_back_as_it_was_written() {
        let masked = masked(TEXT);
        for secret in ["0009", "tok-", "006D", "fake-key", "u:p"] {
            assert!(!masked.text.contains(secret), "{secret} in {}", masked.text);
        }
        assert!(masked.text.contains("id = \"one\"\nkey = \"[secret 6]\"\n"), "{}", masked.text);
        assert_eq!(masked.restore(&masked.text, "c").unwrap(), TEXT);
    }

    #[test]
    fn a_number_can_move_with_its_key_and_nowhere_else() {
        let masked = masked(TEXT);
        let moved = "[[keys]]\nkey = '[secret 6]'\n[[keys]]\nkey = \"fake-key-new\"\n";
        let whole = masked.restore(moved, "c").unwrap();
        assert_eq!(whole, "[[keys]]\nkey = \"fake-key-0001\"\n[[keys]]\nkey = \"fake-key-new\"\n");
        let faults = masked.restore("[[keys]]\nid = \"[secret 6]\"\nkey = \"[secret 77]\"\n", "c").unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            told[0].starts_with("c:2: keys.0.id: `[secret N]`") && told[1].starts_with("c:3: there is no"),
            "{told:?}"
        );
    }
}
