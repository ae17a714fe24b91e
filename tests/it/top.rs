//! `geminate top`: one view where nobody watches, and a terminal that is given back where somebody does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tempfile::TempDir;

use crate::house::{PATIENCE, eventually, free_port};
use crate::stage::{K1, K2};
use crate::status::geminate;
use crate::world::{Gate, TOKEN, with_keys};

/// What gives the old screen back, the last thing that is written.
const GIVEN_BACK: &str = "\u{1b}[?25h\u{1b}[?1049l";

#[tokio::test]
async fn where_nobody_watches_one_view_is_printed() {
    let (_google, gate) = with_keys(&[K1, K2]).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    let url = format!("http://{}", gate.admin);
    for (words, note) in [(&["--once"][..], false), (&[], true)] {
        let ran = geminate(&[&["top", "--url", &url, "--interval", "0.2"], words].concat(), &[]).await;
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("all is well") && ran.out.contains("FAILURES/S"), "{}", ran.out);
        let key = ran.out.lines().find(|line| line.starts_with("1 ")).unwrap();
        assert!(key.contains("usable") && key.contains("10.0 of 10") || key.contains("1.0 of 1"), "{key}");
        assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
        assert_eq!(ran.out.contains("The output is no terminal"), note);
    }
    let nobody = format!("http://127.0.0.1:{}", free_port());
    assert_eq!(geminate(&["top", "--once", "--url", &nobody], &[]).await.code, Some(69));
    assert_eq!(geminate(&["top", "--interval", "0"], &[]).await.code, Some(2));
}

/// A terminal with `geminate top` in it.
struct Terminal {
    master: File,
    slave: File,
    child: Child,
    shown: Arc<Mutex<String>>,
    _dir: TempDir,
}

impl Terminal {
    fn open(url: &str, columns: u16, lines: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let dir = TempDir::new().unwrap();
        let end = || OwnedFd::from(slave.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_geminate"))
            .args(["top", "--interval", "0.2", "--url", url])
            .env_clear()
            .envs([("AUTH_TOKEN", TOKEN), ("NO_COLOR", "1")])
            .current_dir(dir.path())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, all) = (master.try_clone().unwrap(), Arc::clone(&shown));
        // It ends when the other end is closed, or with the process.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                all.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Self { master, slave, child, shown, _dir: dir }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// What was drawn last, and whole.
    fn view(&self) -> String {
        let shown = self.shown();
        let whole = shown.rsplit_once("\u{1b}[J").map_or("", |(whole, _)| whole);
        whole.rsplit_once("\u{1b}[H").map_or("", |(_, view)| view).to_owned()
    }

    async fn until(&self, what: &str) {
        eventually(|| self.view().contains(what)).await;
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Waits for its end: the exit code.
    async fn ended(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let wait = async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it did not end")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_terminal_is_taken_over_and_given_back_by_q_and_by_a_signal() {
    let (_google, gate) = with_keys(&[K1]).await;
    let url = format!("http://{}", gate.admin);
    for by_key in [true, false] {
        let mut terminal = Terminal::open(&url, 70, 20);
        terminal.until("all is well").await;
        assert!(terminal.shown().starts_with("\u{1b}[?1049h\u{1b}[?25l"), "another screen, without a cursor");
        assert!(!terminal.echoes(), "keys are not shown");
        let view = terminal.view();
        let widths = view.lines().map(|line| line.trim_end().replace("\u{1b}[K", "").chars().count());
        assert!(widths.max().unwrap() <= 70 && view.lines().count() <= 20, "{view}");
        if by_key {
            terminal.master.write_all(b"xq").unwrap();
        } else {
            let id = terminal.child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        }
        assert_eq!(terminal.ended().await, Some(0));
        eventually(|| terminal.shown().ends_with(GIVEN_BACK)).await;
        assert!(terminal.echoes(), "as it was");
    }
}

#[tokio::test]
async fn a_gateway_that_goes_away_is_told_and_awaited_and_a_resize_is_followed() {
    let (google, gate) = with_keys(&[K1]).await;
    let (url, port) = (format!("http://{}", gate.admin), gate.admin.port().to_string());
    let mut terminal = Terminal::open(&url, 100, 30);
    terminal.until("all is well").await;
    drop::<Gate>(gate);
    terminal.until("NOT HEARD: no answer at 127.0.0.1:").await;
    assert!(terminal.view().contains("last minute"), "what was known last is still shown");
    let small = Winsize { ws_row: 5, ws_col: 30, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.slave, small).unwrap();
    eventually(|| (1..=5).contains(&terminal.view().lines().count())).await;
    drop(google);
    let again = Gate::open(&[("GEMINI_API_KEY", K1), ("ADMIN_PORT", &port)]).await;
    eventually(|| !terminal.view().contains("NOT HEARD")).await;
    assert!(terminal.view().contains("Up for"), "{}", terminal.view());
    assert!(!terminal.shown().contains(K1) && !terminal.shown().contains(TOKEN));
    drop::<Gate>(again);
    terminal.master.write_all(b"q").unwrap();
    assert_eq!(terminal.ended().await, Some(0));
}
