// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report screen's state: how a job ended, and a place to save that.

use std::path::PathBuf;

use super::job::Origin;
use super::keys::{Cmd, Field};
use super::work::Task;
use crate::event;
use crate::report::{Exit, Failure, Report};

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The report, or the failure.
    pub result: Result<Box<Report>, Failure>,
    /// What the job was for.
    pub task: event::Task,
    /// The stick, in words.
    pub target: String,
    /// Whether that was a disk, and not a file.
    pub disk: bool,
    /// The messages of the job.
    pub notes: Vec<String>,
    /// The first line that is shown.
    pub scroll: usize,
    /// The path to save to, while it is typed.
    pub saving: Option<Field>,
    /// What became of saving.
    pub saved: Option<Result<PathBuf, String>>,
    /// The path that is being saved to.
    proposed: String,
}

/// What a command leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing but a changed screen.
    Stay,
    /// Not a command for this screen.
    NotMine,
    /// Another stick, with the same settings.
    Another,
}

impl Ended {
    /// A job that ended.
    pub fn new(result: Result<Box<Report>, Failure>, origin: &Origin, notes: Vec<String>) -> Ended {
        let (path, description) = origin.target();
        Ended {
            result,
            task: origin.task(),
            target: format!("{path}   {description}"),
            disk: origin.is_disk(),
            notes,
            scroll: 0,
            saving: None,
            saved: None,
            proposed: "livestick-report.txt".into(),
        }
    }

    /// How the program would end now.
    pub fn exit(&self) -> Exit {
        match &self.result {
            Ok(report) => report.exit,
            Err(failure) => failure.exit,
        }
    }

    /// The report as it is saved.
    pub fn text(&self) -> String {
        match &self.result {
            Ok(report) => match &report.read_back {
                Some(back) => format!(
                    "{report}digests    medium, a tree      {}\n           changes put back    {}\n",
                    back.tree, back.restored
                ),
                None => report.to_string(),
            },
            Err(failure) => format!(
                "stick      {}\nfailed     {failure}\n           {}\n",
                self.target, failure.state
            ),
        }
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) -> Choice {
        if let Some(field) = &mut self.saving {
            if field.take(cmd) {
                return Choice::Stay;
            }
            match cmd {
                Cmd::Back => self.saving = None,
                Cmd::Enter => {
                    let (text, path) = (field.text.trim().to_owned(), field.path());
                    if !text.is_empty() {
                        self.proposed = text;
                        tasks.push(Task::Save {
                            path,
                            text: self.text(),
                        });
                    }
                    self.saving = None;
                }
                _ => return Choice::NotMine,
            }
            return Choice::Stay;
        }
        match cmd.moving() {
            Cmd::Up => self.scroll = self.scroll.saturating_sub(1),
            Cmd::Down => self.scroll = self.scroll.saturating_add(1),
            Cmd::PageUp => self.scroll = self.scroll.saturating_sub(10),
            Cmd::PageDown => self.scroll = self.scroll.saturating_add(10),
            Cmd::Home => self.scroll = 0,
            Cmd::Char('s') => self.saving = Some(Field::new(self.proposed.clone())),
            Cmd::Char('w') | Cmd::Back => return Choice::Another,
            _ => return Choice::NotMine,
        }
        self.scroll = self.scroll.min(200);
        Choice::Stay
    }
}
