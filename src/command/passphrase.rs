// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the passphrase of an encrypted `/home` comes from: a file, or the terminal, where it is typed twice.
//!
//! What can be known to fail is known before anything else is asked: a file is read at once, and the terminal is looked
//! for. It is asked on once the plan was confirmed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::front::Front;
use super::{refused, usage};
use crate::refusal::Refusal;
use crate::report::Exit;
use crate::secret::{LONGEST, Passphrase};

/// How often it is looked whether the user wants to stop.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// How often two different passphrases may be typed.
const TRIES: usize = 3;

/// Where it comes from.
#[derive(Debug)]
pub(super) enum Secret {
    /// Nothing is encrypted.
    Nowhere,
    /// It is here already.
    File(Passphrase),
    /// It is to be typed.
    Terminal,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum No {
    /// It is none, or not what was asked for.
    Usage(String),
    /// Nobody can be asked, or nobody answers.
    Refused(Refusal),
}

impl No {
    /// Says so.
    pub(super) fn told(self, json: bool) -> Exit {
        match self {
            No::Usage(why) => usage(why, json),
            No::Refused(refusal) => refused(&refusal, json),
        }
    }
}

fn no_terminal() -> No {
    No::Refused(Refusal::Host(
        "an encrypted /home needs a passphrase, and there is no terminal to ask on; give --home-passphrase-file".into(),
    ))
}

impl Secret {
    /// Where it will come from, `wanted` if at all.
    pub(super) fn of(wanted: bool, file: Option<&Path>) -> Result<Secret, No> {
        match file {
            _ if !wanted => Ok(Secret::Nowhere),
            Some(file) => Passphrase::from_file(file)
                .map(Secret::File)
                .map_err(No::Usage),
            None => match Terminal::open() {
                Ok(_) => Ok(Secret::Terminal),
                Err(_) => Err(no_terminal()),
            },
        }
    }

    /// The passphrase; asks for it where that is how it comes.
    /// Signals are taken from then on, by `front`: none may end the program while the terminal shows nothing.
    pub(super) fn ask(self, front: &Front) -> Result<Option<Passphrase>, No> {
        match self {
            Secret::Nowhere => Ok(None),
            Secret::File(passphrase) => Ok(Some(passphrase)),
            Secret::Terminal => {
                let mut terminal = Terminal::open().map_err(|_| no_terminal())?;
                let _ = front.listen();
                let told = ask(&mut terminal, &front.cancel);
                terminal.say("").map_err(|_| no_terminal())?;
                told.map(Some)
            }
        }
    }
}

fn ask(terminal: &mut Terminal, cancel: &AtomicBool) -> Result<Passphrase, No> {
    let gone = |_| no_terminal();
    let stopped = || No::Refused(Refusal::Stopped);
    for _ in 0..TRIES {
        let first = terminal
            .ask(
                "Passphrase for /home (it is asked for at each boot): ",
                cancel,
            )
            .map_err(gone)?
            .ok_or_else(stopped)?;
        let first = match Passphrase::new(first) {
            Ok(first) => first,
            Err(why) => {
                terminal.say(&format!("\r\n{why}")).map_err(gone)?;
                continue;
            }
        };
        let again = terminal
            .ask("\r\nThe same again: ", cancel)
            .map_err(gone)?
            .ok_or_else(stopped)?;
        if first.bytes() == again.as_slice() {
            return Ok(first);
        }
        terminal
            .say("\r\nThese are two different ones.")
            .map_err(gone)?;
    }
    Err(No::Refused(Refusal::Host(
        "the passphrase was not typed twice alike; nothing was written".into(),
    )))
}

/// The controlling terminal, as it was found again when this goes away.
struct Terminal {
    device: File,
    before: Termios,
}

impl Terminal {
    /// Opens it; whatever standard input and output are.
    fn open() -> io::Result<Terminal> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&device)?;
        Ok(Terminal { device, before })
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.device.write_all(format!("{line}\r\n").as_bytes())
    }

    /// What is typed on one line, unseen; nothing if that is broken off.
    fn ask(
        &mut self,
        question: &str,
        cancel: &AtomicBool,
    ) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut unseen = self.before.clone();
        // Keys that end programs come as characters: the terminal has to be put back first.
        unseen
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        // What was typed before the question is no answer.
        tcsetattr(&self.device, OptionalActions::Flush, &unseen)?;
        self.device.write_all(question.as_bytes())?;
        let device = &self.device;
        let line = line(&mut Keys { device, cancel });
        tcsetattr(&self.device, OptionalActions::Flush, &self.before)?;
        line
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If it cannot be put back there is nobody to tell.
        let _ = tcsetattr(&self.device, OptionalActions::Now, &self.before);
    }
}

/// What is typed, until the user wants to stop.
struct Keys<'a> {
    device: &'a File,
    cancel: &'a AtomicBool,
}

impl Read for Keys<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // A read would go on after a signal that is taken, so nothing is read before there is a key.
        while !self.cancel.load(Ordering::Relaxed) {
            let mut fds = [PollFd::new(self.device, PollFlags::IN)];
            match poll(&mut fds, Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => {}
                // Whatever it is, the read tells.
                Ok(_) | Err(_) => return self.device.read(into),
            }
        }
        Ok(0)
    }
}

/// A line, key by key; nothing if it ends or is broken off before its end.
fn line(from: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // One byte more than is taken, so that too much is seen, and never so much that memory moves.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let mut key = Zeroizing::new([0]);
    loop {
        match from.read(&mut *key) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match key[0] {
            b'\r' | b'\n' => return Ok(Some(line)),
            // Ctrl-C, Ctrl-D, Ctrl-\ and Ctrl-Z.
            3 | 4 | 28 | 26 => return Ok(None),
            // Ctrl-U.
            21 => line.clear(),
            // Backspace: the last character, all its bytes.
            8 | 127 => while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {},
            byte if line.len() <= LONGEST => line.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Vec<u8>> {
        let mut keys = keys;
        line(&mut keys).unwrap().map(|line| line.to_vec())
    }

    #[test]
    fn keys_do_what_they_do_on_a_line() {
        assert_eq!(typed(b"sesame\r"), Some(b"sesame".to_vec()));
        assert_eq!(typed(b"sesan\x7Fme\n"), Some(b"sesame".to_vec()));
        assert_eq!(
            typed("Kä\u{8}ö\r".as_bytes()),
            Some("Kö".as_bytes().to_vec())
        );
        assert_eq!(typed(b"\x7F\x7Fx\r"), Some(b"x".to_vec()));
        assert_eq!(typed(b"wrong\x15right\r"), Some(b"right".to_vec()));
        assert_eq!(typed(b"\r"), Some(Vec::new()));
        for broken in [&b"sesa\x03me\r"[..], b"sesa\x04", b"sesame", b""] {
            assert_eq!(typed(broken), None);
        }
        let long = [vec![b'x'; 2000], b"\r".to_vec()].concat();
        assert_eq!(typed(&long).unwrap().len(), LONGEST + 1);
    }

    #[test]
    fn a_file_is_read_before_anything_else() {
        assert!(matches!(Secret::of(false, None), Ok(Secret::Nowhere)));
        let missing = Secret::of(true, Some(Path::new("/nonexistent/secret")));
        assert!(matches!(missing, Err(No::Usage(why)) if why.contains("/nonexistent/secret")));
    }
}
