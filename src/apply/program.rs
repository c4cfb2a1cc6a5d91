// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running the distribution's programs: quietly, stoppable, and with their last words in the error.
//!
//! A program gets a process group of its own. So Ctrl-C on a terminal reaches livestick alone, which then ends the
//! program and whatever that has started; otherwise a filesystem would fail to be made where the user wanted to stop.
//! When livestick itself is killed, the kernel ends the program too (`setpriv --pdeathsig`, util-linux 2.33): nothing
//! goes on writing to a stick that somebody is about to pull out or write again.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::apply::flow::Stop;
use crate::programs;

/// How often a running program is looked at.
const PATIENCE: Duration = Duration::from_millis(10);
/// How much of a program's output an error repeats.
const LAST_WORDS: usize = 600;

/// Runs `command` to its end and gives its output; a status other than 0 is an error. Stopping kills it.
pub fn run(command: &Command, cancel: &AtomicBool) -> Result<String, Stop> {
    run_on(command, None, cancel)
}

/// The same with a file as standard input, which the program can open as [`INPUT`].
pub fn run_on(
    command: &Command,
    input: Option<&File>,
    cancel: &AtomicBool,
) -> Result<String, Stop> {
    run_watched(command, input, cancel, &mut || {})
}

/// Runs a program whose failure is an answer, too: whether it succeeded, and everything it said.
pub fn run_to_its_end(command: &Command, cancel: &AtomicBool) -> Result<(bool, String), Stop> {
    let (status, text) = attend(command, None, cancel, &mut || {})?;
    Ok((status.success(), text))
}

/// Like [`run_on`]; while the program runs, `watch` is called now and then.
pub fn run_watched(
    command: &Command,
    input: Option<&File>,
    cancel: &AtomicBool,
    watch: &mut dyn FnMut(),
) -> Result<String, Stop> {
    let (status, text) = attend(command, input, cancel, watch)?;
    if !status.success() {
        return Err(fail(&name(command), &status.to_string(), &text).into());
    }
    Ok(text)
}

/// A program's name, for people.
fn name(command: &Command) -> String {
    let path = command.get_program().to_string_lossy().into_owned();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Runs a program to its end: how it ended, and its output.
fn attend(
    command: &Command,
    input: Option<&File>,
    cancel: &AtomicBool,
    watch: &mut dyn FnMut(),
) -> Result<(ExitStatus, String), Stop> {
    let name = name(command);
    let output = tempfile::tempfile().context("making a file for a program's output")?;
    let clone = |file: &File| file.try_clone().context("sharing a file with a program");
    let mut command = tied(command);
    command
        .stdin(stdin(input)?)
        .stdout(clone(&output)?)
        .stderr(clone(&output)?)
        .env("LC_ALL", "C")
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let status = wait(&mut child, &name, cancel, watch)?;
    let text = read(output)?;
    if !status.success() {
        // Somebody may have ended it with the same signal.
        if cancel.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
    }
    Ok((status, text))
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    name: String,
    status: String,
    /// Whether it ended with status 0.
    pub success: bool,
    /// What it said, up to 1 MiB.
    pub text: String,
}

impl Ended {
    /// An error with its last words.
    pub fn failure(&self) -> anyhow::Error {
        fail(&self.name, &self.status, &self.text)
    }
}

/// Like [`run_on`], for a program whose failure is an answer, too.
pub fn run_out(
    command: &Command,
    input: Option<&File>,
    cancel: &AtomicBool,
) -> Result<Ended, Stop> {
    let (status, text) = attend(command, input, cancel, &mut || {})?;
    Ok(Ended {
        name: name(command),
        status: status.to_string(),
        success: status.success(),
        text,
    })
}

/// No line is given in pieces that are longer than this.
const LINE: u64 = 1 << 16;

/// Runs `command` and gives `each` the lines of its output, however many, until that wants no more.
pub fn lines(
    command: &Command,
    input: Option<&File>,
    cancel: &AtomicBool,
    mut each: impl FnMut(&str) -> bool + Send,
) -> Result<(), Stop> {
    let name = name(command);
    let mut command = tied(command);
    command
        .stdin(stdin(input)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env("LC_ALL", "C")
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let output = child.stdout.take().context("listening to a program")?;
    let (status, enough) = thread::scope(|scope| {
        let reader = scope.spawn(move || -> std::io::Result<bool> {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            loop {
                line.clear();
                if (&mut output).take(LINE).read_until(b'\n', &mut line)? == 0 {
                    return Ok(false);
                }
                if !each(String::from_utf8_lossy(&line).trim_end_matches('\n')) {
                    return Ok(true);
                }
            }
        });
        // A reader that has enough closes the pipe, which ends the program.
        let status = wait(&mut child, &name, cancel, &mut || {});
        let enough = reader.join();
        (status, enough)
    });
    let enough = enough
        .map_err(|_| anyhow::anyhow!("reading what {name} says"))?
        .with_context(|| format!("reading what {name} says"))?;
    let status = status?;
    if status.success() || enough {
        return Ok(());
    }
    if cancel.load(Ordering::Relaxed) {
        return Err(Stop::Cancelled);
    }
    Err(anyhow::anyhow!("{name} ended with {status}").into())
}

fn stdin(input: Option<&File>) -> anyhow::Result<Stdio> {
    let Some(file) = input else {
        return Ok(Stdio::null());
    };
    let file = file.try_clone();
    Ok(file.context("sharing a file with a program")?.into())
}

/// Waits for a program; ends it where that is wanted.
fn wait(
    child: &mut Child,
    name: &str,
    cancel: &AtomicBool,
    watch: &mut dyn FnMut(),
) -> Result<ExitStatus, Stop> {
    loop {
        let waited = child.try_wait();
        if let Some(status) = waited.with_context(|| format!("waiting for {name}"))? {
            return Ok(status);
        }
        if cancel.load(Ordering::Relaxed) {
            end(child);
            return Err(Stop::Cancelled);
        }
        watch();
        thread::sleep(PATIENCE);
    }
}

/// The name under which a program finds its standard input as a file.
pub const INPUT: &str = "/proc/self/fd/0";

/// Ends a program and everything it has started. It may have ended meanwhile, which is as good.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// `command`, to be ended by the kernel when the thread that started it ends; where there is no program that does
/// this, the command as it is.
fn tied(command: &Command) -> Command {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let tie = ["--pdeathsig", "KILL"];
    let works = *WORKS.get_or_init(|| {
        let mut try_it = Command::new(programs::SETPRIV.name);
        try_it.args(tie).arg("true").stdin(Stdio::null());
        let status = try_it.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    });
    let mut tied = if works {
        let mut tied = Command::new(programs::SETPRIV.name);
        tied.args(tie).arg(command.get_program());
        tied
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

fn read(mut output: File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    output
        .seek(SeekFrom::Start(0))
        .context("reading a program's output")?;
    output
        .take(1 << 20)
        .read_to_end(&mut bytes)
        .context("reading a program's output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn fail(name: &str, status: &str, text: &str) -> anyhow::Error {
    let words: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let mut said = words.join(" / ");
    if said.len() > LAST_WORDS {
        let cut = (said.len() - LAST_WORDS..said.len()).find(|i| said.is_char_boundary(*i));
        said = format!("… {}", &said[cut.unwrap_or(said.len())..]);
    }
    anyhow::anyhow!("{name} ended with {status}: {said}")
}

/// Like [`run`], for what must not be left undone when the user stops the job.
pub fn run_always(command: &Command) -> anyhow::Result<String> {
    match run(command, &AtomicBool::new(false)) {
        Ok(text) => Ok(text),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Cancelled) => bail!("stopped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn last_words_are_in_the_error() {
        let never = AtomicBool::new(false);
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let Err(Stop::Failed(error)) = run(&command, &never) else {
            panic!("it did not fail");
        };
        assert_eq!(error.to_string(), "sh ended with exit status: 3: one / two");
    }

    #[test]
    fn stopping_a_shell_stops_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let number = directory.path().join("number");
        let cancel = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                while !number.exists() && start.elapsed() < Duration::from_secs(10) {
                    thread::sleep(PATIENCE);
                }
                cancel.store(true, Ordering::Relaxed);
            });
            let mut command = Command::new("sh");
            command
                .args(["-c", "sleep 60 & echo $! >$1.new; mv $1.new $1; wait", "sh"])
                .arg(&number);
            run(&command, &cancel)
        });
        assert!(matches!(ended, Err(Stop::Cancelled)));
        let number = std::fs::read_to_string(number).unwrap();
        let gone = || {
            // Killed, but perhaps not yet waited for by whoever inherited it.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", number.trim()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let start = Instant::now();
        while !gone() && start.elapsed() < Duration::from_secs(5) {
            thread::sleep(PATIENCE);
        }
        assert!(gone());
    }
}
