// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of sticks' state: the disks there are, a stick image file as the last row, and which one is meant.
//!
//! Nothing is chosen by itself: the cursor is nowhere until a key moves it, and nowhere again when what it was on is
//! pulled out.

use std::path::{Path, PathBuf};

use super::errand::{Errand, Form, FormChoice, What};
use super::keys::{Cmd, Field, moved};
use super::known::Seen;
use super::work::Task;
use crate::disk::shown;
use crate::disk::standing::Standing;
use crate::plan::target::{describe, sizes};
use crate::request::Size;
use crate::units::Bytes;

/// What will be written to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The disk or file.
    pub path: PathBuf,
    /// Its size, or the one it will have.
    pub size: Bytes,
    /// In words.
    pub description: String,
    /// The size to make it with, where it does not exist.
    pub create: Option<Bytes>,
    /// Unmount what is mounted from it.
    pub unmount: bool,
    /// The name of a disk that does not look like a stick, typed by the user.
    pub allow: Option<String>,
    /// Whether its size is probed before it is written; none for what is usual.
    pub probe: Option<bool>,
}

/// Where a stick image file shall be, and how large.
#[derive(Debug)]
pub struct FileForm {
    /// Whether it is being filled in.
    pub open: bool,
    /// The path.
    pub path: Field,
    /// The size, if it does not exist.
    pub size: Field,
    /// Which of the two is typed in: 0 or 1.
    pub focus: usize,
    /// The path that is being looked at.
    waiting: Option<PathBuf>,
}

/// The table of sticks.
#[derive(Debug)]
pub struct Sticks {
    /// The disks; none before they were listed.
    pub seen: Option<Result<Vec<Seen>, String>>,
    /// The row that is looked at; the file's is the one after the last disk.
    pub cursor: Option<usize>,
    /// The stick image file.
    pub file: FileForm,
    /// Asks for the name of a disk that does not look like a stick.
    pub allow: Option<Field>,
    /// Whether what is mounted from the disk under the cursor will be unmounted.
    pub unmount: bool,
    /// Whether the disk under the cursor is probed before it is written; none for what is usual.
    pub probe: Option<bool>,
    /// What begins once that name was typed; none for a write.
    pub pending: Option<Box<Errand>>,
    /// Asks for the file that an errand needs.
    pub form: Option<Form>,
    /// A path of the command line, to be looked at when it turns up.
    pub given: Option<PathBuf>,
}

/// What a command in the table leads to.
#[derive(Debug)]
pub enum Choice {
    /// Nothing but a changed table.
    Stay,
    /// Not a command for the table.
    NotMine,
    /// This target.
    Target(Box<Target>),
    /// This is to be done with it.
    Errand(Box<Errand>),
    /// Something the user should read.
    Say(String),
}

impl Sticks {
    /// A table that is not filled yet. `file` is proposed for a stick image file.
    pub fn new(file: &str) -> Sticks {
        Sticks {
            seen: None,
            cursor: None,
            file: FileForm {
                open: false,
                path: Field::new(file),
                size: Field::new("8GiB"),
                focus: 0,
                waiting: None,
            },
            allow: None,
            unmount: false,
            probe: None,
            pending: None,
            form: None,
            given: None,
        }
    }

    /// The disks.
    pub fn disks(&self) -> &[Seen] {
        match &self.seen {
            Some(Ok(seen)) => seen,
            _ => &[],
        }
    }

    /// The disk under the cursor.
    pub fn current(&self) -> Option<&Seen> {
        self.disks().get(self.cursor?)
    }

    /// Whether the cursor is on the row of the stick image file.
    pub fn on_file(&self) -> bool {
        self.cursor == Some(self.disks().len())
    }

    /// Whether letters are text.
    pub fn typing(&self) -> bool {
        self.file.open || self.allow.is_some() || self.form.is_some()
    }

    /// The target of the command line.
    pub fn give(&mut self, path: PathBuf) {
        if path.starts_with("/dev") {
            // Disks are listed by the kernel's names, whatever links lead to them.
            self.given = Some(path.canonicalize().unwrap_or(path));
        } else {
            self.file.path = Field::new(path.to_string_lossy());
            self.file.open = true;
            self.given = Some(path);
        }
    }

    /// Takes a new list of disks; gives what to say about it.
    pub fn listed(&mut self, seen: Result<Vec<Seen>, String>) -> Option<String> {
        let was_on = self.current().cloned();
        let on_file = self.on_file();
        self.seen = Some(seen);
        let given = self.given.take();
        let disks = self.disks();
        if let Some(given) = given {
            let place = disks.iter().position(|seen| seen.disk.path == given);
            if place.is_none() && given.starts_with("/dev") {
                return Some(format!(
                    "{} is not there, or is no whole disk; choose a stick",
                    shown(&given)
                ));
            }
            self.cursor = place.or(Some(disks.len()));
            return None;
        }
        if on_file {
            self.cursor = Some(disks.len());
        } else if let Some(was_on) = was_on {
            self.cursor = disks.iter().position(|seen| seen.is(&was_on));
            if self.cursor.is_none() {
                self.allow = None;
                self.form = None;
                self.unmount = false;
                self.probe = None;
                return Some(format!(
                    "{} ({}) was pulled out",
                    was_on.disk.name,
                    was_on.disk.title()
                ));
            }
        }
        None
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) -> Choice {
        if self.file.open {
            return self.file.command(cmd, tasks);
        }
        if self.allow.is_some() {
            return self.allow_command(cmd);
        }
        if self.form.is_some() {
            return self.form_command(cmd);
        }
        let cmd = cmd.moving();
        let count = self.disks().len() + 1;
        let before = self.cursor;
        let at = match (self.cursor, cmd) {
            // The first key leads onto the table, not past its first row.
            (None, Cmd::Down | Cmd::PageDown | Cmd::Home) => Some(0),
            (None, Cmd::Up | Cmd::PageUp | Cmd::End) => Some(count - 1),
            (at, cmd) => moved(cmd, at.unwrap_or(0), count, 5),
        };
        if let Some(at) = at {
            self.cursor = Some(at);
            if before != self.cursor {
                self.unmount = false;
                self.probe = None;
            }
            return Choice::Stay;
        }
        match cmd {
            Cmd::Enter => self.enter(),
            Cmd::Char('f') => {
                self.cursor = Some(self.disks().len());
                self.file.open = true;
                Choice::Stay
            }
            Cmd::Char('u') => self.toggle_unmount(),
            Cmd::Char('c') => self.toggle_probe(),
            _ => Choice::NotMine,
        }
    }

    fn toggle_unmount(&mut self) -> Choice {
        let lifts = self.current().is_some_and(Seen::unmount_lifts);
        if !lifts {
            return Choice::Say("there is nothing here that unmounting would help".into());
        }
        self.unmount = !self.unmount;
        Choice::Stay
    }

    /// Whether the disk under the cursor will be probed before it is written: sticks are, unless that is not wanted,
    /// and other disks if it is.
    pub fn probes(&self) -> Option<bool> {
        let usual = matches!(self.current()?.standing, Standing::Stick)
            || self.current().is_some_and(Seen::unmount_lifts);
        Some(self.probe.unwrap_or(usual))
    }

    fn toggle_probe(&mut self) -> Choice {
        let Some(probes) = self.probes() else {
            return Choice::Say("only a disk has a capacity to probe; choose one first".into());
        };
        self.probe = Some(!probes);
        Choice::Stay
    }

    /// Whether there is something to verify: a disk, or a file.
    pub fn on_something(&self) -> bool {
        self.current().is_some() || self.on_file()
    }

    /// Takes a command for something else than writing. `image` is the chosen one.
    pub fn errand(&mut self, cmd: Cmd, image: Option<&Path>) -> Choice {
        let image = || image.map(Path::to_owned).unwrap_or_default();
        let what = match cmd {
            Cmd::Char('v') => What::Verify(None),
            Cmd::Char('V') => What::Verify(Some(image())),
            Cmd::Char('r') => What::Repair(image()),
            Cmd::Char('x') => What::Extract("extracted.iso".into()),
            Cmd::Char('p') => What::Probe { full: false },
            Cmd::Char('P') => What::Probe { full: true },
            _ => return Choice::NotMine,
        };
        let errand = if let Some(seen) = self.current() {
            Errand {
                what,
                path: seen.disk.path.clone(),
                description: describe(&seen.disk),
                disk: true,
                unmount: self.unmount,
                allow: None,
            }
        } else if !self.on_file() {
            return Choice::Say("choose a stick with the arrow keys first".into());
        } else if matches!(what, What::Probe { .. }) {
            return Choice::Say("a file has no capacity to probe; choose a stick".into());
        } else {
            let path = self.file.path.path();
            Errand {
                what,
                path,
                description: "stick image file".into(),
                disk: false,
                unmount: false,
                allow: None,
            }
        };
        match &errand.what {
            What::Repair(file) | What::Extract(file) => {
                let field = Field::new(file.to_string_lossy());
                self.form = Some(Form { errand, field });
                Choice::Stay
            }
            What::Verify(_) | What::Probe { .. } => self.begin(errand),
        }
    }

    fn form_command(&mut self, cmd: Cmd) -> Choice {
        let Some(form) = &mut self.form else {
            return Choice::NotMine;
        };
        match form.command(cmd) {
            FormChoice::Stay => Choice::Stay,
            FormChoice::NotMine => Choice::NotMine,
            FormChoice::Say(text) => Choice::Say(text),
            FormChoice::Close => {
                self.form = None;
                Choice::Stay
            }
            FormChoice::Begin(errand) => {
                self.form = None;
                self.begin(errand)
            }
        }
    }

    /// Begins; or asks first for the name of a disk that does not look like a stick, if that may be written to.
    fn begin(&mut self, errand: Errand) -> Choice {
        let named = |seen: &Seen| matches!(seen.standing, Standing::NeedsAllow(_));
        if errand.writes() && self.current().is_some_and(named) {
            self.allow = Some(Field::default());
            self.pending = Some(Box::new(errand));
            return Choice::Stay;
        }
        Choice::Errand(Box::new(errand))
    }

    fn enter(&mut self) -> Choice {
        if self.on_file() {
            self.file.open = true;
            return Choice::Stay;
        }
        let Some(seen) = self.current() else {
            return Choice::Say("choose a stick with the arrow keys first".into());
        };
        let name = shown(&seen.disk.path).to_string();
        match &seen.standing {
            Standing::Stick => Choice::Target(Box::new(self.of_disk(seen, false, None))),
            Standing::NeedsAllow(_) => {
                self.pending = None;
                self.allow = Some(Field::default());
                Choice::Stay
            }
            Standing::Never(_) if seen.unmount_lifts() && self.unmount => {
                Choice::Target(Box::new(self.of_disk(seen, true, None)))
            }
            Standing::Never(_) => {
                let why = seen.against().unwrap_or_default();
                let next = if seen.unmount_lifts() {
                    "press u to have it unmounted when the writing begins"
                } else {
                    "choose another disk"
                };
                Choice::Say(format!("{name} is not written to: {why}; {next}"))
            }
        }
    }

    fn allow_command(&mut self, cmd: Cmd) -> Choice {
        let Some(field) = &mut self.allow else {
            return Choice::NotMine;
        };
        if field.take(cmd) {
            return Choice::Stay;
        }
        match cmd {
            Cmd::Back => self.allow = None,
            Cmd::Enter => {
                let typed = field.text.trim().to_owned();
                let Some(seen) = self.current() else {
                    self.allow = None;
                    return Choice::Stay;
                };
                if typed != seen.disk.id() {
                    return Choice::Say(format!("'{typed}' is not {}", seen.disk.id()));
                }
                let target = self.of_disk(seen, false, Some(typed.clone()));
                self.allow = None;
                if let Some(mut errand) = self.pending.take() {
                    errand.allow = Some(typed);
                    return Choice::Errand(errand);
                }
                return Choice::Target(Box::new(target));
            }
            _ => return Choice::NotMine,
        }
        Choice::Stay
    }

    fn of_disk(&self, seen: &Seen, unmount: bool, allow: Option<String>) -> Target {
        Target {
            path: seen.disk.path.clone(),
            size: seen.disk.size,
            description: describe(&seen.disk),
            create: None,
            unmount,
            allow,
            probe: self.probe,
        }
    }
}

impl FileForm {
    fn command(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) -> Choice {
        let field = if self.focus == 0 {
            &mut self.path
        } else {
            &mut self.size
        };
        if field.take(cmd) {
            self.waiting = None;
            return Choice::Stay;
        }
        match cmd {
            Cmd::Back => self.open = false,
            Cmd::Next | Cmd::Previous | Cmd::Up | Cmd::Down => self.focus = 1 - self.focus,
            Cmd::Enter => {
                let path = self.path.path();
                if path.as_os_str().is_empty() {
                    return Choice::Say("a stick image file needs a path".into());
                }
                self.waiting = Some(path.clone());
                tasks.push(Task::Measure(path));
            }
            _ => return Choice::NotMine,
        }
        Choice::Stay
    }

    /// Takes the size of the file that was looked at; none if it does not exist.
    pub fn measured(&mut self, path: PathBuf, size: Result<Option<Bytes>, String>) -> Choice {
        if self.waiting.take_if(|waiting| *waiting == path).is_none() {
            return Choice::Stay;
        }
        let existing = match size {
            Ok(existing) => existing,
            Err(why) => return Choice::Say(why),
        };
        let (size, create) = match existing {
            Some(size) => (size, None),
            None => match self.size.text.parse() {
                Ok(Size::Fixed(size)) => (size, Some(size)),
                Ok(Size::Rest) => {
                    return Choice::Say("a stick image file needs a size, as in 8GiB".into());
                }
                Err(error) => {
                    self.focus = 1;
                    return Choice::Say(error.to_string());
                }
            },
        };
        self.open = false;
        Choice::Target(Box::new(Target {
            description: format!("stick image file, {}", sizes(size)),
            path,
            size,
            create,
            unmount: false,
            allow: None,
            probe: None,
        }))
    }
}
