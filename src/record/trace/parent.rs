//! What a client's request says of the trace it stands in, as the W3C's Trace Context has it.

use http::{HeaderMap, HeaderName};

/// Names the trace, the client's span in it, and whether it is kept.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What the systems on the way have noted.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00: version, trace, span and flags with hyphens between.
const BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
/// The flag of a trace that is kept.
const SAMPLED: u8 = 1;
/// The longest `tracestate` that is kept; the W3C asks for at least so much.
const STATE_BYTES_MAX: usize = 512;
/// Systems that may have noted something, as the W3C says.
const STATE_MEMBERS_MAX: usize = 32;

/// The client's span, of which the call is a part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parent {
    /// The trace's id.
    pub trace: u128,
    /// The id of the client's span.
    pub span: u64,
    /// Whether the client keeps the trace.
    pub sampled: bool,
    /// Its `tracestate`: visible ASCII with blanks and tabs; `None` when there is none, or it cannot be kept.
    pub state: Option<Box<str>>,
}

impl Parent {
    /// Reads it; `None` when there is none, or what is there is no `traceparent`: then the state says nothing either.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        Self::parse(only.as_bytes()).map(|parent| Self { state: state(headers), ..parent })
    }

    /// A later version may say more after the flags; what stands before is as in the first.
    fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(BYTES)?;
        let version = hex(&head[..2])?;
        let longer = version > 0 && rest.first() == Some(&b'-');
        let hyphens = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        if version == 0xff || !hyphens || !(rest.is_empty() || longer) {
            return None;
        }
        let (trace, span, flags) = (hex(&head[3..35])?, hex(&head[36..52])?, hex(&head[53..])?);
        let span = u64::try_from(span).ok().filter(|span| *span > 0)?;
        let sampled = flags & u128::from(SAMPLED) != 0;
        (trace > 0).then_some(Self { trace, span, sampled, state: None })
    }
}

/// A number in lower-case hexadecimal digits, of which there are at most 32.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(value))
    })
}

fn state(headers: &HeaderMap) -> Option<Box<str>> {
    let lines = headers.get_all(TRACESTATE).iter().map(|line| line.to_str());
    let joined = lines.collect::<Result<Vec<_>, _>>().ok()?.join(",");
    let members = joined.split(',').map(str::trim).filter(|member| !member.is_empty());
    let sane =
        members.clone().all(|member| member.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value)));
    let short = joined.len() <= STATE_BYTES_MAX && (1..=STATE_MEMBERS_MAX).contains(&members.clone().count());
    (sane && short).then(|| members.collect::<Vec<_>>().join(",").into())
}

fn is_key(key: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    key.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) && key.bytes().all(known)
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parsed(text: &str) -> Option<Parent> {
        Parent::parse(text.as_bytes())
    }

    #[test]
    fn a_traceparent_is_read() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            let parent = parsed(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            let wanted = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331, sampled);
            assert_eq!((parent.trace, parent.span, parent.sampled), wanted);
        }
        assert!(parsed(&format!("01-{TRACE}-{SPAN}-01")).is_some());
        assert!(parsed(&format!("cc-{TRACE}-{SPAN}-01-more of it")).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-1g"),
            format!("00-{}-{SPAN}-01", TRACE.replace('0', "\u{e4}")),
        ] {
            assert_eq!(parsed(&text), None, "{text}");
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn two_of_them_name_nothing_and_a_state_alone_says_nothing() {
        let one = format!("00-{TRACE}-{SPAN}-01");
        let state = ("tracestate", "a=1");
        assert!(Parent::read(&headers(&[("traceparent", &one), state])).is_some());
        assert_eq!(Parent::read(&headers(&[("traceparent", &one), ("traceparent", &one)])), None);
        assert_eq!(Parent::read(&headers(&[state])), None);
    }

    #[test]
    fn a_state_is_kept_as_far_as_it_is_one() {
        let long = format!("a={}", "x".repeat(STATE_BYTES_MAX));
        let many = ["a=1"; STATE_MEMBERS_MAX + 1].join(",");
        for (lines, kept) in [
            (&["a=1, b@c=2", ",d=x y"][..], Some("a=1,b@c=2,d=x y")),
            (&[], None),
            (&[""], None),
            (&["a"], None),
            (&["A=1"], None),
            (&["a=1=2"], None),
            (&[&long], None),
            (&[&many], None),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("tracestate", *line)).collect();
            assert_eq!(state(&headers(&lines)).as_deref(), kept, "{lines:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>) {
            let _ = Parent::parse(&text);
        }
    }
}
