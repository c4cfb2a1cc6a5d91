// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real terminal: the program at one end of a pty, keys and a terminal emulator at the other.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use crate::support::program::run;

/// How long anything may take that a person would wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came out of the program so far.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A program in a terminal.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<Seen>>,
    pub tty: PathBuf,
    /// The terminal's settings before the program began, in stty's form.
    before: String,
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

/// livestick, ready to be started in `dir`, in a terminal that can do everything.
pub fn livestick(dir: &Path, args: &[&str]) -> CommandBuilder {
    let mut command = in_dir(env!("CARGO_BIN_EXE_livestick"), dir);
    command.args(args);
    command
}

/// A program, ready to be started in `dir`, with an environment of its own.
pub fn in_dir(program: &str, dir: &Path) -> CommandBuilder {
    let mut command = CommandBuilder::new(program);
    command.cwd(dir);
    command.env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", dir);
    command.env("TERM", "xterm-256color");
    command.env("LC_ALL", "C.UTF-8");
    command
}

impl Terminal {
    pub fn start(command: CommandBuilder, columns: u16, rows: u16) -> Terminal {
        let size = PtySize {
            rows,
            cols: columns,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let tty = pair.master.tty_name().unwrap();
        let before = stty(&tty);
        let child = pair.slave.spawn_command(command).unwrap();
        // Not held here: the emulator has to see the end of the last program.
        drop(pair.slave);
        let seen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(cells(rows), cells(columns), 1000),
            bytes: Vec::new(),
        }));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let to = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                let mut seen = to.lock().unwrap_or_else(PoisonError::into_inner);
                seen.parser.process(&buffer[..len]);
                seen.bytes.extend_from_slice(&buffer[..len]);
            }
        });
        Terminal {
            keys: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            seen,
            tty,
            before,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.seen().parser.screen().contents().clone()
    }

    /// How many bytes the program has drawn.
    pub fn drawn(&self) -> usize {
        self.seen().bytes.len()
    }

    /// The bytes that it has drawn.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    pub fn is_alternate(&self) -> bool {
        self.seen().parser.screen().alternate_screen()
    }

    pub fn hides_cursor(&self) -> bool {
        self.seen().parser.screen().hide_cursor()
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let to = &mut self.keys;
        to.write_all(keys.as_bytes()).unwrap();
        to.flush().unwrap();
    }

    /// Waits until the screen shows `text`.
    pub fn see(&self, text: &str) {
        self.until(&format!("{text:?}"), || self.text().contains(text));
    }

    /// Waits until the screen does not show `text` any more.
    pub fn see_no(&self, text: &str) {
        self.until(&format!("no {text:?}"), || !self.text().contains(text));
    }

    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            let patient = start.elapsed() < PATIENCE;
            assert!(
                patient,
                "waited for {what}, and this is what there is:\n{}",
                self.text()
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// Presses keys, and waits for what they lead to.
    pub fn press_and_see(&mut self, keys: &str, text: &str) {
        self.press(keys);
        self.see(text);
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = PtySize {
            rows,
            cols: columns,
            ..PtySize::default()
        };
        let mut seen = self.seen();
        let screen = seen.parser.screen_mut();
        screen.set_size(cells(rows), cells(columns));
        drop(seen);
        self.master.resize(size).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    pub fn signal(&self, name: &str) {
        run("kill", &["-s", name, &self.pid().to_string()]);
    }

    /// Waits for the end of the program.
    pub fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let patient = start.elapsed() < PATIENCE;
            assert!(patient, "does not end:\n{}", self.text());
            sleep(Duration::from_millis(10));
        }
    }

    /// Whether the terminal is as a shell wants it.
    pub fn is_given_back(&self) -> bool {
        !self.is_alternate() && !self.hides_cursor() && stty(&self.tty) == self.before
    }

    /// Waits until the terminal is as it was.
    pub fn was_given_back(&self) {
        self.until("the terminal as it was", || self.is_given_back());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal's settings, all of them in one word.
pub fn stty(tty: &Path) -> String {
    run("stty", &["-g", "-F", tty.to_str().unwrap()])
}
