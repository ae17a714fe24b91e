//! The terminal: taken over for a while, and given back however that ends.

use std::io::{self, IsTerminal as _, Read as _, Stdout, Write as _, stdin, stdout};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc::Sender;

/// Another screen, without the cursor.
const TAKE: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[2J";
/// The old screen, with colours and cursor as they were.
const GIVE_BACK: &str = "\u{1b}[0m\u{1b}[?25h\u{1b}[?1049l";
/// What a terminal has that does not say.
const USUAL: Size = Size { columns: 80, lines: 24 };
/// A control character's place that no key has: Ctrl-Z would leave the terminal as it is.
const NO_KEY: u8 = 0;

/// Columns and lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size {
    pub(super) columns: u16,
    pub(super) lines: u16,
}

/// The terminal while it is ours. Given back on drop, so that errors, signals and panics do it as well.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    /// How the keyboard was, where there is one.
    keyboard: Option<Termios>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        let keyboard = if stdin().is_terminal() { Some(quiet()?) } else { None };
        // From here on it is given back, even if this fails.
        let screen = Self { out: stdout(), keyboard };
        // What a panic says would be said to the screen that goes.
        let said_before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            put(GIVE_BACK);
            said_before(panic);
        }));
        let mut out = screen.out.lock();
        out.write_all(TAKE.as_bytes())?;
        out.flush()?;
        drop(out);
        Ok(screen)
    }

    /// Tells `pressed` when somebody wants to leave by a key. Its thread waits for the keyboard until the process ends.
    pub(super) fn listen(&self, pressed: Sender<()>) {
        if self.keyboard.is_none() {
            return;
        }
        std::thread::spawn(move || {
            for key in stdin().lock().bytes().map_while(Result::ok) {
                if leaves(key) && pressed.blocking_send(()).is_err() {
                    return;
                }
            }
        });
    }

    /// How large it is now.
    pub(super) fn size(&self) -> Size {
        match tcgetwinsize(&self.out) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size { columns: size.ws_col, lines: size.ws_row },
            _ => USUAL,
        }
    }

    /// Draws the text over what was there; what does not fit is cut.
    pub(super) fn draw(&self, text: &str, size: Size) -> io::Result<()> {
        let mut out = self.out.lock();
        out.write_all(frame(text, size).as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        put(GIVE_BACK);
        if let Some(keyboard) = &self.keyboard {
            // Nothing can be done about a terminal that is gone.
            let _ = tcsetattr(stdin(), OptionalActions::Flush, keyboard);
        }
    }
}

/// Keys come one by one and are not shown, Ctrl-C is still a signal; how it was before.
fn quiet() -> io::Result<Termios> {
    let before = tcgetattr(stdin())?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    quiet.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
    tcsetattr(stdin(), OptionalActions::Flush, &quiet)?;
    Ok(before)
}

/// Writes what it can.
fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

const fn leaves(key: u8) -> bool {
    matches!(key, b'q' | b'Q')
}

/// All lines from the top, each to its end, and nothing below them. No break ends the last line: it would scroll.
fn frame(text: &str, size: Size) -> String {
    let fitting = text.lines().take(usize::from(size.lines)).map(|line| clip(line, usize::from(size.columns)));
    format!("\u{1b}[H{}\u{1b}[J", fitting.map(|line| line + "\u{1b}[K").collect::<Vec<_>>().join("\r\n"))
}

/// The first `columns` characters; colours take none, and end with the line.
fn clip(line: &str, columns: usize) -> String {
    let (mut text, mut left, mut coloured) = (String::with_capacity(line.len()), columns, false);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            text.push(char);
            text.extend(chars.by_ref().take_while(|c| *c != 'm'));
            text.push('m');
            coloured = !text.ends_with("[0m");
        } else if left == 0 {
            break;
        } else {
            text.push(char);
            left -= 1;
        }
    }
    if coloured { text + "\u{1b}[0m" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_and_colours_end_with_their_line() {
        assert_eq!(clip("abcdef", 3), "abc");
        assert_eq!(clip("a\u{1b}[31mbcdef\u{1b}[0mg", 3), "a\u{1b}[31mbc\u{1b}[0m");
        assert_eq!(clip("a\u{1b}[31mb\u{1b}[0mg", 9), "a\u{1b}[31mb\u{1b}[0mg");
        assert_eq!(clip("\u{e9}\u{e9}\u{e9}", 2), "\u{e9}\u{e9}");
        let drawn = frame("one\ntwo\nthree\n", Size { columns: 2, lines: 2 });
        assert_eq!(drawn, "\u{1b}[Hon\u{1b}[K\r\ntw\u{1b}[K\u{1b}[J");
    }
}
