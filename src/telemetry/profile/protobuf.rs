//! A profile as `go tool pprof` reads it: the few messages of pprof's `profile.proto`, written by hand.

use std::collections::HashMap;

use crate::telemetry::profile::sample::Stacks;

/// Fields of the message `Profile`, by their numbers.
mod field {
    pub(super) const SAMPLE_TYPE: u64 = 1;
    pub(super) const SAMPLE: u64 = 2;
    pub(super) const LOCATION: u64 = 4;
    pub(super) const FUNCTION: u64 = 5;
    pub(super) const STRING: u64 = 6;
    pub(super) const TIME_NANOS: u64 = 9;
    pub(super) const DURATION_NANOS: u64 = 10;
    pub(super) const PERIOD_TYPE: u64 = 11;
    pub(super) const PERIOD: u64 = 12;
}

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message within, of numbers.
    fn inner(&mut self, field: u64, numbers: &[(u64, u64)]) {
        let mut inner = Self::default();
        numbers.iter().for_each(|(field, value)| inner.number(*field, *value));
        self.bytes(field, &inner.0);
    }
}

/// Texts, each kept once and known by its number; number 0 is the empty one.
#[derive(Default)]
struct Texts {
    known: HashMap<String, u64>,
    all: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.all.len() as u64;
        self.known.insert(text.to_owned(), number);
        self.all.push(text.to_owned());
        number
    }
}

/// Writes the stacks: samples, and the CPU time that they stand for. Each function is one location.
pub(super) fn encode(stacks: &Stacks, samples_per_s: u64) -> Vec<u8> {
    let mut profile = Message::default();
    let mut texts = Texts::default();
    texts.number("");
    let period = 1_000_000_000 / samples_per_s.max(1);
    let of_samples = [(1, texts.number("samples")), (2, texts.number("count"))];
    let of_time = [(1, texts.number("cpu")), (2, texts.number("nanoseconds"))];
    profile.inner(field::SAMPLE_TYPE, &of_samples);
    profile.inner(field::SAMPLE_TYPE, &of_time);
    let thread = texts.number("thread");
    let mut functions = HashMap::<&str, u64>::new();
    for stack in &stacks.all {
        let mut sample = Message::default();
        // The innermost first.
        for frame in stack.frames.iter().rev() {
            let next = functions.len() as u64 + 1;
            sample.number(1, *functions.entry(frame).or_insert(next));
        }
        sample.number(2, stack.count);
        sample.number(2, stack.count * period);
        sample.inner(3, &[(1, thread), (2, texts.number(&stack.thread))]);
        profile.bytes(field::SAMPLE, &sample.0);
    }
    let mut functions: Vec<_> = functions.into_iter().collect();
    functions.sort_unstable_by_key(|(_, id)| *id);
    for (name, id) in functions {
        let name = texts.number(name);
        profile.inner(field::FUNCTION, &[(1, id), (2, name), (3, name)]);
        let mut location = Message::default();
        location.number(1, id);
        location.inner(4, &[(1, id)]);
        profile.bytes(field::LOCATION, &location.0);
    }
    texts.all.iter().for_each(|text| profile.bytes(field::STRING, text.as_bytes()));
    let began = u64::try_from(stacks.span.began.as_nanosecond()).unwrap_or(0);
    let lasted = u64::try_from(stacks.span.lasted.as_nanos()).unwrap_or(u64::MAX);
    profile.number(field::TIME_NANOS, began);
    profile.number(field::DURATION_NANOS, lasted);
    profile.inner(field::PERIOD_TYPE, &of_time);
    profile.number(field::PERIOD, period);
    profile.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::telemetry::profile::sample::{Span, Stack};

    /// The fields of a message: numbers, or bytes.
    fn read(mut from: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
        fn varint(from: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (byte, rest) = from.split_first().unwrap();
                *from = rest;
                value |= u64::from(byte & 0x7f) << shift;
                if *byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut fields = Vec::new();
        while !from.is_empty() {
            let tag = varint(&mut from);
            let value = varint(&mut from);
            if tag & 7 == 2 {
                let (bytes, rest) = from.split_at(usize::try_from(value).unwrap());
                fields.push((tag >> 3, value, bytes.to_vec()));
                from = rest;
            } else {
                fields.push((tag >> 3, value, Vec::new()));
            }
        }
        fields
    }

    #[test]
    fn samples_name_their_functions_from_the_innermost_out() {
        let stack = |frames: &[&str], count| Stack {
            thread: "worker-0".to_owned(),
            frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
            count,
        };
        let span = Span { began: Timestamp::from_second(1_700_000_000).unwrap(), lasted: Duration::from_secs(10) };
        let stacks = Stacks { span, all: vec![stack(&["main", "work"], 300), stack(&["main"], 5)] };
        let profile = read(&encode(&stacks, 100));
        let of = |number| profile.iter().filter(move |(field, ..)| *field == number);
        let texts: Vec<_> = of(field::STRING).map(|(_, _, text)| String::from_utf8(text.clone()).unwrap()).collect();
        assert_eq!(texts[0], "");
        let names: HashMap<u64, String> = of(field::FUNCTION)
            .map(|(_, _, function)| {
                let fields = read(function);
                (fields[0].1, texts[usize::try_from(fields[1].1).unwrap()].clone())
            })
            .collect();
        let samples: Vec<_> = of(field::SAMPLE).map(|(_, _, sample)| read(sample)).collect();
        let frames = |n: usize| -> Vec<&str> {
            samples[n].iter().filter(|(field, ..)| *field == 1).map(|(_, id, _)| names[id].as_str()).collect()
        };
        assert_eq!((frames(0), frames(1)), (vec!["work", "main"], vec!["main"]));
        let values: Vec<_> = samples[0].iter().filter(|(field, ..)| *field == 2).map(|(_, value, _)| *value).collect();
        assert_eq!(values, [300, 3_000_000_000]);
        assert_eq!(of(field::TIME_NANOS).next().unwrap().1, 1_700_000_000_000_000_000);
        assert_eq!(of(field::LOCATION).count(), 2);
    }
}
