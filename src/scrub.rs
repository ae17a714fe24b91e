//! The scrubber: takes every known secret, and whatever looks like a key of Google's, out of text that leaves.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use arc_swap::ArcSwap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::secret::{Digest, Secret};

/// What stands where a secret stood.
const MASK: &[u8] = b"[key]";
/// How Google's keys begin; what follows in key characters belongs to the key.
const PREFIXES: [&str; 2] = ["AIza", "AQ."];
/// Shorter than this after a prefix of Google's is prose, not a key.
const PATTERN_BYTES_MIN: usize = 24;
/// Secrets that are known at once.
const KNOWN_MAX: usize = 50_000;
/// No key of Google's is longer: a longer run of its characters is none.
const RUN_BYTES_MAX: usize = 512;
/// A secret shorter than this is masked only where it stands alone: `k1` must not eat `task1`.
const EMBEDDED_BYTES_MIN: usize = 8;

/// Knows all secrets of the process, plain and URL-encoded. Made once, shared.
#[derive(Debug)]
pub struct Scrubber {
    automaton: ArcSwap<AhoCorasick>,
    /// No secret is shorter: what most headers say need not be looked through.
    shortest: AtomicUsize,
    /// Every secret that is configured, and as many of those that were as there is room for.
    known: Mutex<Vec<Secret>>,
    known_max: usize,
}

impl Scrubber {
    /// A scrubber for `secrets` and for the patterns of Google's keys.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Result<Self, BuildError> {
        let known: Vec<Secret> = secrets.into_iter().cloned().collect();
        Ok(Self {
            automaton: ArcSwap::from_pointee(automaton(&known)?),
            shortest: AtomicUsize::new(shortest(&known)),
            known: Mutex::new(known),
            known_max: KNOWN_MAX,
        })
    }

    /// Knows these as well from now on. What is configured no more stays known: it may still be on its way.
    pub fn learn<'s>(&self, secrets: impl IntoIterator<Item = &'s Secret>) -> Result<(), BuildError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let digests: HashSet<Digest> = known.iter().map(Secret::digest).collect();
        let secrets: Vec<&Secret> = secrets.into_iter().collect();
        let configured: HashSet<Digest> = secrets.iter().map(|secret| secret.digest()).collect();
        let fresh: Vec<Secret> =
            secrets.into_iter().filter(|secret| !digests.contains(&secret.digest())).cloned().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        // Of those that are configured no more the oldest go, where keys come and go without end; never one of these.
        let beyond = (known.len() + fresh.len()).saturating_sub(self.known_max);
        let mut gone = 0;
        known.retain(|secret| {
            let goes = gone < beyond && !configured.contains(&secret.digest());
            gone += usize::from(goes);
            !goes
        });
        known.extend(fresh);
        self.shortest.fetch_min(shortest(&known), Relaxed);
        self.automaton.store(Arc::new(automaton(&known)?));
        Ok(())
    }

    /// The bytes without secrets; borrowed when there were none.
    pub fn scrub<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        self.replace(text, |clean, _| clean.extend_from_slice(MASK))
    }

    /// The bytes with every byte of a secret starred out, so that their number stays what a head has promised.
    pub fn mask<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        self.replace(text, |clean, len| clean.resize(clean.len() + len, b'*'))
    }

    fn replace<'t>(&self, text: &'t [u8], put: impl Fn(&mut Vec<u8>, usize)) -> Cow<'t, [u8]> {
        if text.len() < self.shortest.load(Relaxed) {
            return Cow::Borrowed(text);
        }
        let mut clean = Vec::new();
        let mut kept = 0;
        for (start, end) in found(&self.automaton.load(), text) {
            clean.extend_from_slice(&text[kept..start]);
            put(&mut clean, end - start);
            kept = end;
        }
        if kept == 0 {
            return Cow::Borrowed(text);
        }
        clean.extend_from_slice(&text[kept..]);
        Cow::Owned(clean)
    }

    /// How many of the first bytes can be masked by themselves, whatever comes after the last: no secret that the end may
    /// have cut in two is among them. All but a bounded number.
    pub fn settled(&self, text: &[u8]) -> usize {
        let automaton = self.automaton.load();
        let settled = text.len().saturating_sub(automaton.max_pattern_len().max(RUN_BYTES_MAX));
        let across = found(&automaton, text).find(|(_, end)| *end > settled);
        match across.filter(|(start, _)| *start < settled) {
            Some((start, end)) if end - start > RUN_BYTES_MAX => end,
            Some((start, _)) => start,
            None => settled,
        }
    }

    /// The same for text.
    pub fn scrub_str<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scrub(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
        }
    }
}

impl Scrubber {
    /// Whether there is a secret in it.
    pub fn finds(&self, text: &[u8]) -> bool {
        matches!(self.scrub(text), Cow::Owned(_))
    }

    /// A name as it may stand in lists and labels. Most are too short for a secret, and are not looked through.
    pub fn name(&self, name: Box<str>) -> Box<str> {
        if self.finds(name.as_bytes()) { self.scrub_str(&name).into() } else { name }
    }
}

/// Where secrets stand, from the first one on.
fn found<'t>(automaton: &'t AhoCorasick, text: &'t [u8]) -> impl Iterator<Item = (usize, usize)> + 't {
    let mut kept = 0;
    automaton.find_iter(text).filter_map(move |found| {
        let (start, mut end) = (found.start(), found.end());
        if start < kept {
            return None;
        }
        if found.pattern().as_usize() < PREFIXES.len() {
            end += text[end..].iter().take_while(|b| key_byte(**b)).count();
            if end - start < PATTERN_BYTES_MIN {
                return None;
            }
        } else if end - start < EMBEDDED_BYTES_MIN && !alone(text, start, end) {
            return None;
        }
        kept = end;
        Some((start, end))
    })
}

/// Of these secrets and of Google's patterns. URL-encoded none becomes shorter.
fn shortest(secrets: &[Secret]) -> usize {
    let lengths = secrets.iter().map(|secret| secret.expose().len()).filter(|len| *len > 0);
    lengths.min().map_or(PATTERN_BYTES_MIN, |len| len.min(PATTERN_BYTES_MIN))
}

fn automaton(secrets: &[Secret]) -> Result<AhoCorasick, BuildError> {
    let mut words: Vec<String> = PREFIXES.map(str::to_owned).into();
    for secret in secrets {
        let plain = secret.expose();
        let encoded = utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string();
        words.extend([plain.to_owned(), encoded.to_lowercase(), encoded]);
    }
    words.retain(|word| !word.is_empty());
    AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words)
}

fn key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn alone(text: &[u8], start: usize, end: usize) -> bool {
    let free = |byte: Option<&u8>| byte.is_none_or(|b| !key_byte(*b));
    free(start.checked_sub(1).and_then(|n| text.get(n))) && free(text.get(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber(secrets: &[&str]) -> Scrubber {
        let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::new((*s).into())).collect();
        Scrubber::new(&secrets).unwrap()
    }

    #[test]
    fn known_secrets_go_in_every_spelling() {
        let scrubber = scrubber(&["fake.key-one_1", "k1"]);
        for (dirty, clean) in [
            ("at fake.key-one_1!", "at [key]!"),
            ("?key=fake%2Ekey%2Done%5F1&x", "?key=[key]&x"),
            ("?key=fake%2ekey%2done%5f1", "?key=[key]"),
            ("xfake.key-one_1x", "x[key]x"),
            ("key k1, task1", "key [key], task1"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(scrubber.scrub_str(dirty), clean);
        }
    }

    #[test]
    fn unknown_keys_of_google_go_too() {
        let scrubber = scrubber(&[]);
        let standard = format!("api_key:AIza{}.", "x".repeat(35));
        assert_eq!(scrubber.scrub_str(&standard), "api_key:[key]");
        assert_eq!(scrubber.scrub_str("'AQ.FakeFakeFakeFakeFakeFakeFake'"), "'[key]'");
        assert_eq!(scrubber.scrub_str("AIza is a prefix, AQ. too"), "AIza is a prefix, AQ. too");
    }

    #[test]
    fn what_is_learnt_later_goes_too_and_what_was_known_still_does() {
        let scrubber = scrubber(&["fake-key-0001"]);
        let later = [Secret::new("fake-key-0002".into())];
        assert_eq!(scrubber.scrub_str("fake-key-0002"), "fake-key-0002");
        scrubber.learn(&later).unwrap();
        assert_eq!(scrubber.scrub_str("fake-key-0001, fake-key-0002"), "[key], [key]");
        assert_eq!(scrubber.scrub_str("at k1"), "at k1");
        scrubber.learn(&[Secret::new("k1".into())]).unwrap();
        assert_eq!(scrubber.scrub_str("at k1"), "at [key]", "one shorter than all before");
    }

    #[test]
    fn where_there_is_no_more_room_what_is_configured_stays_known() {
        let secret = |n: usize| Secret::new(format!("fake-key-{n:04}"));
        let scrubber = Scrubber { known_max: 3, ..scrubber(&["fake-key-0000", "fake-key-0001"]) };
        scrubber.learn(&[secret(0), secret(2), secret(3)]).unwrap();
        assert_eq!(scrubber.scrub_str("fake-key-0000 fake-key-0001 fake-key-0003"), "[key] fake-key-0001 [key]");
        let many: Vec<Secret> = (0..6).map(secret).collect();
        scrubber.learn(&many).unwrap();
        assert_eq!(scrubber.scrub_str("fake-key-0000 fake-key-0005"), "[key] [key]", "more than there is room for");
    }

    #[test]
    fn a_name_is_kept_unless_a_secret_stands_in_it() {
        let scrubber = scrubber(&["fake-key-0001"]);
        let name = |name: &str| scrubber.name(name.into()).to_string();
        assert_eq!((name("gemini-x"), name("gemini-3.8-flash")), ("gemini-x".into(), "gemini-3.8-flash".into()));
        assert_eq!((name("fake-key-0001"), name("models/fake-key-0001")), ("[key]".into(), "models/[key]".into()));
        assert!(scrubber.finds(b"a fake-key-0001") && !scrubber.finds(b"a fake-key-0002"));
    }

    #[test]
    fn what_is_settled_holds_no_half_of_a_secret_wherever_the_text_is_cut() {
        let scrubber = scrubber(&["fake-key-0001"]);
        let google = format!("AIza{}", "x".repeat(35));
        let text = format!("{} fake-key-0001 {google} {}", "a".repeat(700), "b ".repeat(400)).into_bytes();
        for cut in 0..=text.len() {
            let settled = scrubber.settled(&text[..cut]);
            let masked = [scrubber.mask(&text[..settled]), scrubber.mask(&text[settled..])].concat();
            assert_eq!(masked, scrubber.mask(&text).into_owned(), "cut at {cut}");
            assert!(cut - settled <= 2 * RUN_BYTES_MAX, "{settled} of {cut}");
        }
        let run = format!("AIza{}", "x".repeat(4_000));
        assert_eq!(scrubber.settled(run.as_bytes()), run.len(), "no key is so long");
    }

    #[test]
    fn a_mask_keeps_the_length() {
        let masked = scrubber(&["fake-key-1"]).mask(b"{\"k\":\"fake-key-1\"}").into_owned();
        assert_eq!(masked, b"{\"k\":\"**********\"}");
    }

    #[test]
    fn a_longer_key_is_taken_whole() {
        let scrubber = scrubber(&["fake-key-1", "fake-key-12"]);
        assert_eq!(scrubber.scrub_str("fake-key-12 fake-key-1"), "[key] [key]");
    }
}
