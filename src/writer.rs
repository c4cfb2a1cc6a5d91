// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other end of [`crate::privilege`]: `livestick apply-plan`, which root runs for somebody who is not.
//!
//! It is no command for people, so it is in no help and no manual. Its standard input is one plan, as JSON on one
//! line, and behind a plan that encrypts something one line that is the passphrase; its standard output are events, as
//! `livestick write --json` gives them. Another line on standard input, or its end, cancels: whoever wanted the stick
//! is gone. Exit statuses are those of `write`.
//!
//! The plan is what an untrusted process asks of root. It is taken only in the exact form that this very version
//! would give it, and only after an audit ([`Plan::audit`]).

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use zeroize::{Zeroize, Zeroizing};

use crate::apply;
use crate::disk::System;
use crate::event::Event;
use crate::host::Host;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, StickState};
use crate::secret::{self, Passphrase};
use crate::ui::json;
use crate::ui::say;

/// The one argument that makes `livestick` this.
pub const NAME: &str = "apply-plan";

/// The longest plan. One with every boot configuration edited has some hundred KiB.
const LONGEST: usize = 64 << 20;
/// The longest passphrase, and one byte more.
const LONGEST_SECRET: usize = secret::LONGEST + 1;
/// Progress is told this often.
const PACE: Duration = Duration::from_millis(100);

/// Reads a plan, applies it, tells what happens.
pub fn run() -> Result<(), Exit> {
    let host = Host::look();
    let mut input = match Input::standard() {
        Ok(input) => input,
        Err(error) => {
            let why = format!("standard input: {error}");
            json::failure(Failure {
                exit: Exit::Refused,
                message: Refusal::Plan(why).to_string(),
                state: StickState::Untouched,
            });
            return Err(Exit::Refused);
        }
    };
    let asked = read(&mut input).and_then(|asked| {
        let audited = asked.plan.audit(&System::real(), &host);
        audited.map(|()| asked)
    });
    let Asked { plan, passphrase } = match asked {
        Ok(asked) => asked,
        Err(refusal) => {
            let exit = refusal.exit();
            json::failure(Failure {
                exit,
                message: refusal.to_string(),
                state: StickState::Untouched,
            });
            return Err(exit);
        }
    };
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        // Without the handler the signal ends the program, and the stick is blank all the same.
        let _ = signal_hook::flag::register(signal, Arc::clone(&cancel));
    }
    let stop = Arc::clone(&cancel);
    thread::spawn(move || {
        // Whatever comes, and also if nothing can come any more.
        let _ = input.more();
        stop.store(true, Ordering::Relaxed);
    });
    let mut teller = Teller::default();
    match apply::run_with(&plan, passphrase.as_ref(), &host, &cancel, &mut |event| {
        teller.event(event);
    }) {
        Ok(report) if report.exit == Exit::Verified => Ok(()),
        Ok(report) => Err(report.exit),
        Err(failure) => Err(failure.exit),
    }
}

/// What somebody who is not root asks for.
#[derive(Debug)]
struct Asked {
    plan: Plan,
    passphrase: Option<Passphrase>,
}

/// Lines, through a buffer of our own: what was taken of it is wiped at once, for the one who reads on stays until the
/// end.
struct Input<R> {
    from: R,
    buffer: Zeroizing<Vec<u8>>,
    /// What of the buffer was read and not yet taken.
    rest: Range<usize>,
}

impl Input<File> {
    /// Standard input, past the buffer that others of this program would use.
    fn standard() -> io::Result<Input<File>> {
        let from = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        Ok(Input::new(from.into()))
    }
}

impl<R: Read> Input<R> {
    fn new(from: R) -> Input<R> {
        Input {
            from,
            buffer: Zeroizing::new(vec![0; 64 << 10]),
            rest: 0..0,
        }
    }

    /// A line without its end, of fewer than `most` bytes; `None` where there is no such line.
    fn line(&mut self, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        // Room for a passphrase from the start, so that it is never moved.
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_SECRET));
        loop {
            let some = self.buffer.get(self.rest.clone()).unwrap_or_default();
            let end = some.iter().position(|byte| *byte == b'\n');
            let part = some.get(..end.unwrap_or(some.len())).unwrap_or_default();
            if line.len() + part.len() >= most {
                return Ok(None);
            }
            line.extend_from_slice(part);
            let next = self.rest.start + part.len() + usize::from(end.is_some());
            if let Some(taken) = self.buffer.get_mut(self.rest.start..next) {
                taken.zeroize();
            }
            self.rest.start = next;
            if end.is_some() {
                return Ok(Some(line));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Reads some more, unless there is some already; whether something came.
    fn more(&mut self) -> io::Result<bool> {
        while self.rest.is_empty() {
            match self.from.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => self.rest = 0..len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// One line, and nothing but a plan in it, in the form that this version gives a plan; and the passphrase, if it needs
/// one.
fn read(from: &mut Input<impl Read>) -> Result<Asked, Refusal> {
    let refuse = |why: String| Refusal::Plan(why);
    let unread = |error: io::Error| refuse(format!("reading it: {error}"));
    let no_line = || refuse("it is not one line of JSON".into());
    let line = from.line(LONGEST).map_err(unread)?.ok_or_else(no_line)?;
    let plan: Plan = json::parse(&line).map_err(refuse)?;
    let again = json::line(&plan);
    if again.as_bytes().strip_suffix(b"\n") != Some(line.as_slice()) {
        return Err(refuse(
            "it is not in the form of this version of livestick; start livestick again".into(),
        ));
    }
    let mut passphrase = None;
    if plan.filesystems.iter().any(|one| one.encryption.is_some()) {
        let none = || refuse("no passphrase came behind it".into());
        let line = from
            .line(LONGEST_SECRET)
            .map_err(unread)?
            .ok_or_else(none)?;
        let secret = Passphrase::new(line).map_err(|why| refuse(why.to_string()))?;
        passphrase = Some(secret);
    }
    Ok(Asked { plan, passphrase })
}

/// Prints events as they come, but of progress only what somebody can see.
#[derive(Default)]
struct Teller {
    told: Option<Instant>,
    untold: Option<Event>,
}

impl Teller {
    fn event(&mut self, event: Event) {
        let progress = matches!(event, Event::Progress { .. });
        if progress && self.told.is_some_and(|told| told.elapsed() < PACE) {
            self.untold = Some(event);
            return;
        }
        if progress {
            self.told = Some(Instant::now());
            self.untold = None;
        } else if let Some(untold) = self.untold.take() {
            say(&json::line(&untold));
        }
        say(&json::line(&event));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_is_read_is_a_panic(bytes: Vec<u8>, text: String) {
            prop_assert!(read(&mut Input::new(bytes.as_slice())).is_err());
            let line = format!("{{\"version\":1,\"image\":{text:?}}}\n");
            prop_assert!(read(&mut Input::new(line.as_bytes())).is_err());
        }
    }

    #[test]
    fn a_plan_of_another_version_is_named_as_such() {
        let error = read(&mut Input::new(b"{\"version\":2}\n".as_slice())).unwrap_err();
        assert!(error.to_string().contains("version"), "{error}");
        assert!(read(&mut Input::new(b"".as_slice())).is_err());
    }

    #[test]
    fn lines_are_taken_one_by_one_and_what_is_behind_them_is_seen() {
        let mut input = Input::new(b"one\n\nthree\nmore".as_slice());
        for line in ["one", "", "three"] {
            assert_eq!(input.line(10).unwrap().unwrap().as_slice(), line.as_bytes());
        }
        // Nothing of them is left in the buffer, and all of what follows.
        let left = input.buffer.iter().filter(|byte| **byte != 0);
        assert_eq!(left.copied().collect::<Vec<u8>>(), b"more");
        assert!(input.more().unwrap());
        assert_eq!(input.line(10).unwrap(), None);
        assert!(!input.more().unwrap());
        assert_eq!(
            Input::new(b"0123456789\n".as_slice()).line(10).unwrap(),
            None
        );
        let long = [vec![b'x'; 200_000], vec![b'\n']].concat();
        let line = Input::new(long.as_slice()).line(LONGEST).unwrap();
        assert_eq!(line.unwrap().len(), 200_000);
    }
}
