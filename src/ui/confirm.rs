// SPDX-License-Identifier: MIT OR Apache-2.0
//! The question before anything is lost: the plan, and the target's own name to type. All of it goes to standard
//! error, for standard output may be JSON.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::capacity::job::Job;
use crate::disk::direct::Kind;
use crate::plan::target;
use crate::plan::{Plan, PlannedTarget};
use crate::refusal::Refusal;
use crate::ui::escaped;

/// Asks on the terminal; without one there is nobody to ask, which is a refusal.
pub fn ask(plan: &Plan) -> Result<(), Refusal> {
    let planned = &plan.target;
    if planned.kind == Kind::NewFile {
        // A new file: nothing is lost.
        return Ok(());
    }
    let what = format!(
        "{plan}\nAll data on {} ({}) will be lost.",
        planned.path.display(),
        planned.description
    );
    // Signals are not taken yet: Ctrl-C ends the program.
    type_name(planned, &what, &AtomicBool::new(false))
}

/// Asks on the terminal before a disk is probed; setting `cancel` is a no.
pub fn ask_to_probe(job: &Job, cancel: &AtomicBool) -> Result<(), Refusal> {
    let planned = &job.target;
    let (path, description) = (planned.path.display(), &planned.description);
    let what = format!("On {path} ({description})\n{}", probe_means(job));
    type_name(planned, &what, cancel)
}

/// What a probe does to its target, in lines.
pub fn probe_means(job: &Job) -> String {
    if !job.full {
        return format!(
            "{}.\nIts contents are as before afterwards. Do not pull it out meanwhile.",
            job.probe
        );
    }
    let mut now = job.target.now.join("\n  ");
    if !now.is_empty() {
        now = format!("  {now}\n");
    }
    format!(
        "everything is written over and read back, which takes hours; it is blank afterwards.\n{now}All data on it will be lost."
    )
}

/// How often it is looked whether the user wants to stop.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Says what will happen, and takes the target's name for a yes; setting `cancel` is a no.
pub fn type_name(planned: &PlannedTarget, what: &str, cancel: &AtomicBool) -> Result<(), Refusal> {
    if !io::stdin().is_terminal() {
        return Err(Refusal::Target(format!(
            "writing over {} needs a yes, and there is no terminal to ask on; add --yes",
            planned.path.display()
        )));
    }
    let name = target::name(&planned.path);
    let question = format!("{what}\nType {name} to go on: ");
    let mut out = io::stderr().lock();
    let _ = out
        .write_all(escaped(&question, &['\n']).as_bytes())
        .and_then(|()| out.flush());
    // A read would go on after a signal that is taken, so nothing is read before there is a line.
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Refusal::Stopped);
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&PAUSE)) {
            Ok(0) | Err(Errno::INTR) => {}
            // Whatever it is, the read tells.
            Ok(_) | Err(_) => break,
        }
    }
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == name {
        return Ok(());
    }
    Err(Refusal::Target(format!(
        "'{name}' was not typed; nothing was written"
    )))
}

/// The word that has to be typed before `target` is written: the name of a file, the longest word of a disk's model,
/// or its size as sold where it has no model.
pub fn word(target: &PlannedTarget) -> String {
    if target.kind != Kind::Disk {
        return target::name(&target.path);
    }
    let model = target
        .identity
        .as_ref()
        .and_then(|identity| identity.model.as_deref());
    let words = model
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_alphanumeric());
    let mut best = "";
    for word in words {
        if word.len() > best.len() {
            best = word;
        }
    }
    if best.len() >= 3 {
        best.to_owned()
    } else {
        target.size.decimal().replace(' ', "")
    }
}

/// Whether `typed` is that word; capitals and blanks do not matter.
pub fn is_word(typed: &str, target: &PlannedTarget) -> bool {
    let bare = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let typed = bare(typed);
    !typed.is_empty() && typed == bare(&word(target))
}
