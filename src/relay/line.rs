//! The line of a stream of events that is under way: what its client has of it already.

/// So much of a line's beginning tells it apart from that of an error's frame.
const BEGINNING_BYTES_MAX: usize = 32;

/// The beginning of the last line that passed, as long as the line has no end.
#[derive(Debug, Default)]
pub struct Line(Vec<u8>);

impl Line {
    /// These bytes pass.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let begins = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        if begins > 0 {
            self.0.clear();
        }
        let more = &bytes[begins..];
        let room = BEGINNING_BYTES_MAX - self.0.len();
        self.0.extend_from_slice(&more[..more.len().min(room)]);
    }

    /// What brings `frame` to the client as an event of its own. Where the line began as the frame does, it goes on with it;
    /// else the event before it ends here, whole or not.
    pub(super) fn followed_by(&self, frame: &[u8]) -> Vec<u8> {
        match frame.strip_prefix(&*self.0) {
            Some(_) if self.0.is_empty() => [b"\n", frame].concat(),
            Some(rest) => rest.to_vec(),
            None => [b"\n\n", frame].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"data: {\"error\":{\"code\":\"x\"}}\n\n";

    /// All that a client has whose stream was cut here and ends with the frame.
    fn heard(passed: &[&str]) -> String {
        let mut line = Line::default();
        passed.iter().for_each(|piece| line.pass(piece.as_bytes()));
        passed.concat() + &String::from_utf8(line.followed_by(FRAME)).unwrap()
    }

    /// The data of the last event.
    fn last_event(text: &str) -> &str {
        text.trim_end().rsplit("\n\n").next().unwrap().trim_start_matches('\n')
    }

    #[test]
    fn a_frame_is_an_event_of_its_own_wherever_the_stream_was_cut() {
        let begun = "data: {\"id\":1}\n\ndata: {\"error\":{";
        for cut in 0..=begun.len() {
            let text = heard(&[&begun[..cut / 2], &begun[cut / 2..cut]]);
            assert_eq!(last_event(&text).as_bytes(), FRAME.trim_ascii_end(), "{cut} {text:?}");
        }
        for passed in ["data: [", "{\n  \"error\": ", "event: error\n", &"data: ".repeat(99)] {
            assert!(heard(&[passed]).ends_with(std::str::from_utf8(FRAME).unwrap()), "{passed}");
        }
    }

    #[test]
    fn what_was_begun_as_a_frame_is_not_begun_twice() {
        assert_eq!(
            heard(&["data: {}\n\nda", "ta: {\"er"]),
            format!("data: {{}}\n\n{}", str::from_utf8(FRAME).unwrap())
        );
    }
}
