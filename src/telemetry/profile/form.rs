//! The two forms that a profile is shown in.

use std::io;

use crate::telemetry::profile::protobuf::encode;
#[cfg(feature = "pprof")]
use crate::telemetry::profile::sample::Stack;
use crate::telemetry::profile::sample::{SAMPLES_PER_S, Stacks};

/// How a profile is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// For `go tool pprof` and its like.
    Pprof,
    /// A flame graph.
    Svg,
}

impl Stacks {
    /// The profile, written.
    pub fn write(&self, form: Form) -> io::Result<Vec<u8>> {
        match form {
            Form::Pprof => Ok(encode(self, SAMPLES_PER_S.unsigned_abs().into())),
            Form::Svg => self.svg(),
        }
    }

    #[cfg(feature = "pprof")]
    fn svg(&self) -> io::Result<Vec<u8>> {
        // A name may hold what parts frames from each other: an array's type does.
        let plain = |name: &String| name.replace(';', ",");
        let line = |stack: &Stack| {
            let frames: Vec<String> = [&stack.thread].into_iter().chain(&stack.frames).map(plain).collect();
            format!("{} {}", frames.join(";"), stack.count)
        };
        let mut lines: Vec<String> = self.all.iter().map(line).collect();
        if lines.is_empty() {
            lines.push("no CPU time was taken 1".to_owned());
        }
        let mut options = inferno::flamegraph::Options::default();
        options.title = format!("geminate: CPU time of {:.0} s", self.span.lasted.as_secs_f64());
        let mut svg = Vec::new();
        inferno::flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
        Ok(svg)
    }

    #[cfg(not(feature = "pprof"))]
    #[expect(clippy::unused_self, reason = "the same signature as with the feature")]
    fn svg(&self) -> io::Result<Vec<u8>> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

#[cfg(feature = "pprof")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::telemetry::profile::sample::Span;

    fn stacks(all: Vec<Stack>) -> Stacks {
        Stacks { span: Span { began: Timestamp::UNIX_EPOCH, lasted: Duration::from_secs(10) }, all }
    }

    #[test]
    fn a_flame_graph_shows_each_frame_by_its_name() {
        let frames = vec!["main".to_owned(), "geminate::work::<[u8; 4]>".to_owned()];
        let all = vec![Stack { thread: "worker-0".to_owned(), frames, count: 7 }];
        let svg = String::from_utf8(stacks(all).write(Form::Svg).unwrap()).unwrap();
        assert!(svg.contains("<svg") && svg.contains("worker-0") && svg.contains("geminate::work::&lt;[u8, 4]&gt;"));
        assert!(svg.contains("CPU time of 10 s"));
    }

    #[test]
    fn a_process_at_rest_has_a_profile_as_well() {
        let quiet = stacks(Vec::new());
        assert_eq!(quiet.samples(), 0);
        assert!(String::from_utf8(quiet.write(Form::Svg).unwrap()).unwrap().contains("no CPU time"));
        assert!(!quiet.write(Form::Pprof).unwrap().is_empty());
    }
}
