// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who writes: this process where it may, or else the same program started as root for this one plan.
//!
//! * A regular file, and a disk that this user may write to, are written in this process. So is everything by root.
//! * Otherwise `run0`, `sudo`, `doas` or `pkexec` (the first that is there, or what [`CHOICE`] names) starts
//!   [`crate::writer`]. It asks for a password on the controlling terminal, which must be in its usual state then;
//!   the plan goes down a pipe, never into an argument list, and events come back up another. A passphrase follows
//!   the plan down the same pipe, as a message of its own.
//! * Until the first event nothing was written: if none comes, the right was not given ([`Exit::Denied`]), and a
//!   front end goes back to its review. From the first event on the terminal is the front end's again.
//! * The writer stops and leaves a blank stick when it is told to cancel, or when this process is gone.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::Access;
use rustix::process::{Pid, Signal, kill_process};

use crate::apply;
use crate::disk::direct::Kind;
use crate::disk::shown;
use crate::event::{Event, Work};
use crate::host::Host;
use crate::plan::{Plan, PlannedTarget};
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, Report, StickState};
use crate::secret::Passphrase;
use crate::ui::json;
use crate::writer;

/// The environment variable that names another tool, by name or path. It is run as `TOOL PROGRAM apply-plan`.
pub const CHOICE: &str = "LIVESTICK_SU";

/// Tools that run a program as root, best first.
const TOOLS: [&str; 4] = ["run0", "sudo", "doas", "pkexec"];

/// How often the wish to stop is looked at.
const PATIENCE: Duration = Duration::from_millis(50);
/// The longest line from the writer: its first event repeats the plan.
const LONGEST: u64 = 128 << 20;
/// How much of what the tool said is kept.
const WORDS: usize = 500;

/// Why the right to write was not given. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// There is nothing to ask with.
    #[error(
        "this takes root, and none of {} is installed; run livestick as root",
        TOOLS.join(", ")
    )]
    NoTool,
    /// What [`CHOICE`] names is not there.
    #[error("{CHOICE} names {}, which is no program; unset it, or name another", shown(.tool))]
    NotThere {
        /// As named.
        tool: PathBuf,
    },
    /// There is nobody to ask.
    #[error(
        "this takes root, and there is no terminal on which {tool} could ask for a password; run livestick as root (scripts: `sudo livestick write …`)"
    )]
    NoTerminal {
        /// Its name.
        tool: String,
    },
    /// The tool could not be started.
    #[error("starting {tool}: {why}; run livestick as root")]
    NotStarted {
        /// Its name.
        tool: String,
        /// What the system said.
        why: String,
    },
    /// The password was wrong or did not come in time, or this user may not.
    #[error(
        "{tool} did not give the right to write ({words}); try again, or run livestick as root"
    )]
    NotGiven {
        /// Its name.
        tool: String,
        /// Its last words, or how it ended.
        words: String,
    },
}

/// Applies `plan` like [`apply::run_with`], as root if that is what it takes. A failure with [`Exit::Denied`] means that
/// nobody gave the right to, and that nothing was written; then no event but [`Event::Failed`] was sent.
pub fn write(
    plan: &Plan,
    passphrase: Option<&Passphrase>,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    if !needs_root(plan, host) {
        return apply::run_with(plan, passphrase, host, cancel, sink);
    }
    let ended = Escalation::find().and_then(|tool| tool.write(plan, passphrase, cancel, sink));
    ended.unwrap_or_else(|denial| {
        let failure = Failure {
            exit: Exit::Denied,
            message: denial.to_string(),
            state: StickState::Untouched,
        };
        sink(Event::Failed {
            failure: failure.clone(),
        });
        Err(failure)
    })
}

/// Whether applying `plan` takes rights that this process does not have, so that [`write`] will ask for a password.
pub fn needs_root(plan: &Plan, host: &Host) -> bool {
    let target = &plan.target;
    if host.root || target.kind != Kind::Disk {
        return false;
    }
    // Loop devices and unmounting are root's, even where the disk itself is not.
    let plain = plan.filesystems.is_empty() && target.unmount.is_empty();
    let may = rustix::fs::access(&target.path, Access::READ_OK | Access::WRITE_OK).is_ok();
    !(plain && may)
}

/// Refuses a disk that this process may not write to, where nobody is asked for the right to.
pub fn may_write(target: &PlannedTarget) -> Result<(), Refusal> {
    let root = rustix::process::geteuid().is_root();
    let may = rustix::fs::access(&target.path, Access::READ_OK | Access::WRITE_OK).is_ok();
    if root || (may && target.unmount.is_empty()) {
        return Ok(());
    }
    Err(Refusal::Host(format!(
        "marks on {} take root to write; run it as root (`sudo livestick probe …`)",
        shown(&target.path)
    )))
}

/// A tool that runs a program as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The tool.
    pub tool: PathBuf,
    /// The program: livestick itself.
    pub program: PathBuf,
}

impl Escalation {
    /// The tool of this machine, if it has somebody to ask.
    pub fn find() -> Result<Escalation, Denial> {
        let tool = match env::var_os(CHOICE).filter(|choice| !choice.is_empty()) {
            Some(choice) => {
                let tool = PathBuf::from(choice);
                found(&tool).ok_or(Denial::NotThere { tool })?
            }
            None => TOOLS
                .iter()
                .filter(|tool| **tool != "run0" || Path::new("/run/systemd/system").exists())
                .find_map(|tool| found(Path::new(tool)))
                .ok_or(Denial::NoTool)?,
        };
        let program = env::current_exe().map_err(|error| Denial::NotStarted {
            tool: name(&tool),
            why: format!("the program's own file is not known: {error}"),
        })?;
        let escalation = Escalation { tool, program };
        // What the tools open themselves, whatever this program's own input is.
        if File::open("/dev/tty").is_err() {
            return Err(Denial::NoTerminal {
                tool: escalation.name(),
            });
        }
        Ok(escalation)
    }

    /// The tool's name, for people: "sudo".
    pub fn name(&self) -> String {
        name(&self.tool)
    }

    /// Has the plan applied by root. The outer result tells whether the right to was given.
    pub fn write(
        &self,
        plan: &Plan,
        passphrase: Option<&Passphrase>,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Result<Report, Failure>, Denial> {
        let not_started = |error: io::Error| Denial::NotStarted {
            tool: self.name(),
            why: error.to_string(),
        };
        let mut child = Command::new(&self.tool)
            .arg(&self.program)
            .arg(writer::NAME)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_started(io::ErrorKind::BrokenPipe.into()));
        };
        let mut link = Link {
            stop: Some(hand_over(stdin, json::line(plan), passphrase.cloned())),
            told: listen(stdout),
            words: Words::overhear(stderr),
            state: None,
            works: Vec::new(),
            end: None,
        };
        link.follow(&child, cancel, sink);
        let status = child.wait().map_err(not_started)?;
        link.ended(&self.name(), status, cancel, sink)
    }
}

fn name(tool: &Path) -> String {
    tool.file_name()
        .unwrap_or(tool.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// Where the program is that a shell would run by this name.
fn found(tool: &Path) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if tool.components().count() > 1 {
        return Some(tool.to_path_buf()).filter(runs);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(tool)).find(runs)
}

/// Gives the plan to the writer, who may take it as late as the password comes, and the passphrase behind it. What is returned keeps the pipe open;
/// a message through it cancels, and so does dropping it.
fn hand_over(mut stdin: ChildStdin, plan: String, passphrase: Option<Passphrase>) -> Sender<()> {
    let (stop, wait) = channel();
    thread::spawn(move || {
        // A tool that gave up closes the pipe; its end is what tells.
        let _ = stdin
            .write_all(plan.as_bytes())
            .and_then(|()| match &passphrase {
                // One write: the line that is wiped is the only one there is.
                Some(passphrase) => stdin.write_all(&passphrase.line()),
                None => Ok(()),
            })
            .and_then(|()| stdin.flush());
        drop(plan);
        drop(passphrase);
        if wait.recv().is_ok() {
            let _ = stdin.write_all(b"cancel\n");
        }
    });
    stop
}

/// The writer's events, until it closes its output or says what is none.
fn listen(stdout: ChildStdout) -> Receiver<Result<Event, String>> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            let read = (&mut stdout).take(LONGEST).read_until(b'\n', &mut line);
            if !matches!(read, Ok(len) if len > 0) {
                return;
            }
            let event = json::parse::<Event>(&line);
            let garbled = event.is_err();
            if tell.send(event).is_err() || garbled {
                return;
            }
        }
    });
    told
}

/// What the tool says on its standard error: shown as long as it asks, and remembered.
struct Words {
    last: Arc<Mutex<Vec<u8>>>,
    hush: Arc<AtomicBool>,
    /// Closed when the tool has closed its standard error.
    over: Receiver<()>,
}

impl Words {
    fn overhear(mut stderr: ChildStderr) -> Words {
        let (saying, over) = channel();
        let words = Words {
            last: Arc::default(),
            hush: Arc::default(),
            over,
        };
        let (last, hush) = (Arc::clone(&words.last), Arc::clone(&words.hush));
        thread::spawn(move || {
            let _saying: Sender<()> = saying;
            let mut some = [0; 512];
            while let Ok(len @ 1..) = stderr.read(&mut some) {
                if !hush.load(Ordering::Relaxed) {
                    let _ = io::stderr().write_all(&some[..len]);
                }
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                last.extend_from_slice(&some[..len]);
                let old = last.len().saturating_sub(WORDS);
                last.drain(..old);
            }
        });
        words
    }

    /// The last line, of a tool that has ended. Something that it left behind may hold its standard error open.
    fn last(&self) -> Option<String> {
        let _ = self.over.recv_timeout(Duration::from_secs(1));
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&last);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).collect())
    }
}

/// The two pipes, and what came of them.
struct Link {
    stop: Option<Sender<()>>,
    told: Receiver<Result<Event, String>>,
    words: Words,
    /// What the stick is if nothing more is heard; none as long as nothing was heard.
    state: Option<StickState>,
    works: Vec<Work>,
    end: Option<Result<Report, Failure>>,
}

impl Link {
    /// Passes events on until there are no more.
    fn follow(&mut self, child: &Child, cancel: &AtomicBool, sink: &mut dyn FnMut(Event)) {
        loop {
            if cancel.load(Ordering::Relaxed)
                && let Some(stop) = self.stop.take()
            {
                let _ = stop.send(());
                if self.state.is_none() {
                    // It may still be asking. Where it is root's already it ends with the terminal's own signals.
                    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
                }
            }
            match self.told.recv_timeout(PATIENCE) {
                Ok(Ok(event)) => {
                    self.words.hush.store(true, Ordering::Relaxed);
                    self.note(&event);
                    sink(event);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // What is no event ends the listening too; dropping the pipe stops the writer.
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.stop = None;
    }

    fn note(&mut self, event: &Event) {
        let state = self.state.get_or_insert(StickState::Untouched);
        match event {
            Event::Planned { steps, .. } | Event::Begun { steps, .. } => {
                self.works = steps.iter().map(|step| step.work).collect();
            }
            Event::Started { step } => match self.works.get(*step) {
                Some(Work::CheckImage) => {}
                Some(Work::FirstMib | Work::Probe) => *state = StickState::Unknown,
                _ => *state = StickState::Blank,
            },
            Event::Done { report } => self.end = Some(Ok((**report).clone())),
            Event::Failed { failure } => self.end = Some(Err(failure.clone())),
            Event::Progress { .. } | Event::Note { .. } | Event::Finished { .. } => {}
        }
    }

    fn ended(
        self,
        tool: &str,
        status: ExitStatus,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Result<Report, Failure>, Denial> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let words = self.words.last();
        let failure = match self.state {
            None if cancel.load(Ordering::Relaxed) => Failure {
                exit: Exit::Cancelled,
                message: "stopped as asked".into(),
                state: StickState::Untouched,
            },
            None => {
                let words = words.map_or_else(
                    || format!("it ended with {status}"),
                    |words| match words.strip_prefix(&format!("{tool}: ")) {
                        Some(words) => words.into(),
                        None => words,
                    },
                );
                let tool = tool.into();
                return Err(Denial::NotGiven { tool, words });
            }
            Some(state) => Failure {
                exit: match state {
                    StickState::Untouched => Exit::Refused,
                    _ => Exit::WriteFailed,
                },
                message: format!(
                    "the writer that {tool} started ended without a word ({status}){}",
                    words.map_or(String::new(), |words| format!(": {words}"))
                ),
                state,
            },
        };
        sink(Event::Failed {
            failure: failure.clone(),
        });
        Ok(Err(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_found_as_a_shell_finds_it() {
        assert!(found(Path::new("sh")).is_some_and(|path| path.ends_with("sh")));
        assert_eq!(found(Path::new("/bin/sh")), Some("/bin/sh".into()));
        assert_eq!(found(Path::new("no-such-tool")), None);
        assert_eq!(found(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn denials_say_what_to_do() {
        for denial in [
            Denial::NoTool,
            Denial::NotThere { tool: "x".into() },
            Denial::NoTerminal {
                tool: "sudo".into(),
            },
            Denial::NotGiven {
                tool: "sudo".into(),
                words: "3 incorrect password attempts".into(),
            },
        ] {
            let said = denial.to_string();
            assert!(said.contains("root") || said.contains("unset"), "{said}");
        }
    }
}
