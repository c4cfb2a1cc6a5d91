// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be done with a stick besides writing it: verify, repair, extract, probe; and the question that comes
//! before anything is written to it.
//!
//! An errand that writes asks from its thread, once it knows what it would write ([`Question`]). Only the typed word
//! answers that with yes, and [`super::work::Task::Consent`] comes from nowhere else.

use std::path::{Path, PathBuf};

use super::keys::{Cmd, Field};
use crate::disk::shown;
use crate::event;
use crate::plan::PlannedTarget;
use crate::ui::confirm;

/// The most lines that a question is scrolled by.
const LINES: usize = 1000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Compare it with its record, or with an image.
    Verify(Option<PathBuf>),
    /// Write again what is damaged, from this image.
    Repair(PathBuf),
    /// Read its image back into this file.
    Extract(PathBuf),
    /// Does it have the size it claims?
    Probe {
        /// Write and read everything; all data is lost.
        full: bool,
    },
}

/// Something to be done with a stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// What.
    pub what: What,
    /// The disk or file.
    pub path: PathBuf,
    /// It in words.
    pub description: String,
    /// Whether it is a disk, and not a file.
    pub disk: bool,
    /// Unmount what is mounted from it, where it is written to.
    pub unmount: bool,
    /// The name of a disk that does not look like a stick, typed by the user.
    pub allow: Option<String>,
}

impl Errand {
    /// What the job is for.
    pub fn task(&self) -> event::Task {
        match self.what {
            What::Verify(_) => event::Task::Verify,
            What::Repair(_) => event::Task::Repair,
            What::Extract(_) => event::Task::Extract,
            What::Probe { .. } => event::Task::Probe,
        }
    }

    /// Whether it may write to the stick.
    pub fn writes(&self) -> bool {
        matches!(self.what, What::Repair(_) | What::Probe { .. })
    }

    /// Path and description, for people.
    pub fn words(&self) -> String {
        format!("{}   {}", shown(&self.path), self.description)
    }

    /// The same as a command, for a shell.
    pub fn command(&self) -> String {
        let target = quoted(&self.path);
        let (name, more) = match &self.what {
            What::Verify(image) => ("verify", image.as_ref()),
            What::Repair(image) => ("repair", Some(image)),
            What::Extract(out) => ("extract", Some(out)),
            What::Probe { .. } => ("probe", None),
        };
        let full = if self.what == (What::Probe { full: true }) {
            " --full"
        } else {
            ""
        };
        let more = more.map_or(String::new(), |path| format!(" {}", quoted(path)));
        let unmount = if self.unmount && self.writes() {
            " --unmount"
        } else {
            ""
        };
        let allow = self.allow.as_ref().map_or(String::new(), |id| {
            format!(" --allow-disk {}", quoted(Path::new(id)))
        });
        format!("sudo livestick {name} {target}{more}{full}{unmount}{allow}")
    }
}

/// A path as a word of a shell's command line (POSIX, Shell Command Language, 2.2).
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.into_owned();
    }
    let text = text.replace('\'', "'\\''");
    let dot = if text.starts_with('-') { "./" } else { "" };
    format!("'{dot}{text}'")
}

/// A word for headings.
pub fn heading(task: event::Task) -> &'static str {
    match task {
        event::Task::Write => "Write",
        event::Task::Verify => "Verify",
        event::Task::Repair => "Repair",
        event::Task::Extract => "Extract",
        event::Task::Probe => "Probe",
        event::Task::Reset => "Reset",
        event::Task::Detach => "Detach",
    }
}

/// The file that an errand needs, while it is typed.
#[derive(Clone, Debug)]
pub struct Form {
    /// The errand; what is typed takes its file's place.
    pub errand: Errand,
    /// What is typed.
    pub field: Field,
}

/// What a command in a form leads to.
#[derive(Debug)]
pub enum FormChoice {
    /// Nothing but a changed form.
    Stay,
    /// Not a command for the form.
    NotMine,
    /// Close it.
    Close,
    /// Something the user should read.
    Say(String),
    /// Do it.
    Begin(Errand),
}

impl Form {
    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd) -> FormChoice {
        if self.field.take(cmd) {
            return FormChoice::Stay;
        }
        match cmd {
            Cmd::Back => FormChoice::Close,
            Cmd::Enter if self.field.text.trim().is_empty() => {
                FormChoice::Say("a file is needed; Esc goes back".into())
            }
            Cmd::Enter => {
                let path = self.field.path();
                let mut errand = self.errand.clone();
                errand.what = match errand.what {
                    What::Extract(_) => What::Extract(path),
                    _ => What::Repair(path),
                };
                FormChoice::Begin(errand)
            }
            _ => FormChoice::NotMine,
        }
    }
}

/// What a job asks before it writes.
#[derive(Clone, Debug)]
pub struct Question {
    /// What it would write to.
    pub target: Box<PlannedTarget>,
    /// What that means, in lines.
    pub what: String,
    /// What is typed.
    pub field: Field,
    /// The first line that is shown.
    pub scroll: usize,
}

/// What a command at a question leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// None yet.
    Stay,
    /// Not a command for a question.
    NotMine,
    /// The word was typed.
    Yes,
    /// It shall not be done.
    No,
    /// Something the user should read.
    Say(String),
}

impl Question {
    /// A question.
    pub fn new(target: Box<PlannedTarget>, what: String) -> Question {
        Question {
            target,
            what,
            field: Field::default(),
            scroll: 0,
        }
    }

    /// The word that says yes.
    pub fn word(&self) -> String {
        confirm::word(&self.target)
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd) -> Answer {
        if self.field.take(cmd) {
            return Answer::Stay;
        }
        let last = self.what.lines().count().saturating_sub(1).min(LINES);
        match cmd {
            Cmd::Back | Cmd::Interrupt => return Answer::No,
            Cmd::Enter if confirm::is_word(&self.field.text, &self.target) => return Answer::Yes,
            Cmd::Enter => {
                return Answer::Say(format!(
                    "'{}' is not '{}'; nothing was written",
                    self.field.text.trim(),
                    self.word()
                ));
            }
            Cmd::Up => self.scroll = self.scroll.saturating_sub(1),
            Cmd::Down => self.scroll = (self.scroll + 1).min(last),
            Cmd::PageUp => self.scroll = self.scroll.saturating_sub(5),
            Cmd::PageDown => self.scroll = (self.scroll + 5).min(last),
            _ => return Answer::NotMine,
        }
        Answer::Stay
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_what_was_quoted() {
        for path in ["/dev/sdb", "a b", "it's", "-n", "$HOME `x` \"y\"", "\u{fc}"] {
            let script = format!("printf %s {}", quoted(Path::new(path)));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            assert_eq!(said.trim_start_matches("./"), path);
            assert!(!said.starts_with('-'));
        }
    }
}
