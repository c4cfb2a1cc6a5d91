// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file browser's state: a folder, what of it is shown, and the image that is looked at.

use std::path::{Path, PathBuf};

use super::keys::{Cmd, Field, moved};
use super::known::{Compared, Digest, Entry, ImageFacts};
use super::work::{Message, Task};

/// How many rows a page key moves.
const PAGE: usize = 10;
/// More lines than the facts of any image have.
const FACTS: usize = 1000;

/// The file browser.
#[derive(Debug)]
pub struct Browser {
    /// The folder.
    pub folder: PathBuf,
    /// What is in it; an error where it could not be read.
    pub entries: Result<Vec<Entry>, String>,
    /// Whether the folder is being read.
    pub reading: bool,
    /// Folders where images may be.
    pub places: Vec<PathBuf>,
    /// Narrows what is shown.
    pub filter: Field,
    /// Whether letters go to the filter.
    pub typing: bool,
    /// Whether files that do not look like images are shown too.
    pub all: bool,
    /// The row that is looked at, among [`Browser::shown`].
    pub cursor: usize,
    /// The image that is looked at, and what is known of it.
    pub facts: Option<(PathBuf, Result<Box<ImageFacts>, String>)>,
    /// What was published of the image that was looked at last.
    pub digest: Option<(PathBuf, Box<Digest>)>,
    /// The image that the user wants, while it is still being looked at.
    pub wanted: Option<PathBuf>,
    /// The first line of the facts that is shown, while they have the whole screen.
    pub reading_facts: Option<usize>,
    /// A file that the cursor shall be on once the folder was read.
    land: Option<PathBuf>,
}

impl Default for Browser {
    fn default() -> Browser {
        Browser {
            folder: PathBuf::new(),
            entries: Ok(Vec::new()),
            reading: true,
            places: Vec::new(),
            filter: Field::default(),
            typing: false,
            all: false,
            cursor: 0,
            facts: None,
            digest: None,
            wanted: None,
            reading_facts: None,
            land: None,
        }
    }
}

/// What a command in the browser leads to.
#[derive(Debug)]
pub enum Choice {
    /// Nothing but a changed browser.
    Stay,
    /// Not a command for the browser.
    NotMine,
    /// This image.
    Image(Box<ImageFacts>),
    /// Something the user should read.
    Say(String),
}

impl Browser {
    /// Opens a folder.
    pub fn open(&mut self, folder: &Path, tasks: &mut Vec<Task>) {
        folder.clone_into(&mut self.folder);
        self.entries = Ok(Vec::new());
        self.reading = true;
        self.cursor = 0;
        self.filter = Field::default();
        self.typing = false;
        self.reading_facts = None;
        tasks.push(Task::List(folder.to_owned()));
    }

    /// Opens the folder of a file and puts the cursor on it.
    pub fn land_on(&mut self, file: &Path, tasks: &mut Vec<Task>) {
        self.land = Some(file.to_owned());
        let parent = file.parent().unwrap_or(Path::new("/"));
        self.open(parent, tasks);
    }

    /// What is shown: what leads up, images, folders, and other files if asked for; all of it as the filter says.
    pub fn shown(&self) -> Vec<&Entry> {
        let Ok(entries) = &self.entries else {
            return Vec::new();
        };
        let filter = self.filter.text.to_lowercase();
        // All images end alike: as long as no dot is typed the endings are left out.
        let fits = |name: &str| {
            let name = name.to_lowercase();
            let stem = name
                .rsplit_once('.')
                .map_or(name.as_str(), |(stem, _)| stem);
            stem.contains(&filter) || (filter.contains('.') && name.contains(&filter))
        };
        entries
            .iter()
            .filter(|entry| self.all || entry.folder || entry.is_image())
            .filter(|entry| filter.is_empty() || fits(&entry.name))
            .collect()
    }

    /// How many files are there but not shown because they do not look like images.
    pub fn hidden(&self) -> usize {
        let Ok(entries) = &self.entries else { return 0 };
        let other = entries.iter().filter(|e| !e.folder && !e.is_image());
        if self.all { 0 } else { other.count() }
    }

    /// The entry under the cursor.
    pub fn current(&self) -> Option<&Entry> {
        self.shown().get(self.cursor).copied()
    }

    /// The facts of the image under the cursor.
    pub fn looked_at(&self) -> Option<&Result<Box<ImageFacts>, String>> {
        let path = &self.current()?.path;
        self.facts
            .as_ref()
            .filter(|(known, _)| known == path)
            .map(|(_, facts)| facts)
    }

    /// What was published of the image under the cursor.
    pub fn published(&self) -> Option<&Digest> {
        let path = &self.current()?.path;
        self.digest
            .as_ref()
            .filter(|(known, _)| known == path)
            .map(|(_, digest)| &**digest)
    }

    /// The facts are read: whoever does so wants to know whether the image is the published one, too.
    fn read_facts(&mut self, tasks: &mut Vec<Task>) {
        self.reading_facts = Some(0);
        let settled = self.published().is_some_and(|digest| {
            !matches!(digest.compared, Compared::NotYet | Compared::Failed(_))
        });
        if let (Some(entry), Some(Ok(_))) = (self.current(), self.looked_at())
            && !settled
        {
            tasks.push(Task::Compare(entry.path.clone()));
        }
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) -> Choice {
        if let Some(at) = self.reading_facts {
            return self.facts_command(cmd, at);
        }
        if self.typing && self.filter_command(cmd) {
            self.cursor = 0;
            self.look(tasks);
            return Choice::Stay;
        }
        let cmd = if self.typing { cmd } else { cmd.moving() };
        let count = self.shown().len();
        if let Some(cursor) = moved(cmd, self.cursor, count, PAGE) {
            self.cursor = cursor;
            self.look(tasks);
            return Choice::Stay;
        }
        match cmd {
            Cmd::Enter | Cmd::Right => return self.enter(cmd == Cmd::Enter, tasks),
            Cmd::Left | Cmd::Erase => self.up(tasks),
            Cmd::Next | Cmd::Previous => self.next_place(cmd == Cmd::Next, tasks),
            Cmd::Char('/') => self.typing = true,
            Cmd::Char(' ') => self.read_facts(tasks),
            Cmd::Char('.') => {
                self.all = !self.all;
                self.cursor = 0;
                self.look(tasks);
            }
            Cmd::Char('?' | 'q') | Cmd::Help => return Choice::NotMine,
            Cmd::Char(c) => {
                self.typing = true;
                self.filter.take(Cmd::Char(c));
                self.cursor = 0;
                self.look(tasks);
            }
            Cmd::Back if !self.filter.text.is_empty() => {
                self.filter = Field::default();
                self.look(tasks);
            }
            _ => return Choice::NotMine,
        }
        Choice::Stay
    }

    /// A command while the facts have the whole screen.
    fn facts_command(&mut self, cmd: Cmd, at: usize) -> Choice {
        match cmd.moving() {
            Cmd::Back | Cmd::Enter | Cmd::Left | Cmd::Char(' ') => self.reading_facts = None,
            cmd => match moved(cmd, at, FACTS, PAGE) {
                Some(at) => self.reading_facts = Some(at),
                None => return Choice::NotMine,
            },
        }
        Choice::Stay
    }

    /// A command while letters go to the filter; whether it was one for it.
    fn filter_command(&mut self, cmd: Cmd) -> bool {
        match cmd {
            Cmd::Back => {
                self.typing = false;
                self.filter = Field::default();
                true
            }
            Cmd::Erase if self.filter.text.is_empty() => {
                self.typing = false;
                true
            }
            cmd => self.filter.take(cmd),
        }
    }

    fn up(&mut self, tasks: &mut Vec<Task>) {
        if let Some(parent) = self.folder.parent().map(Path::to_owned) {
            self.land = Some(self.folder.clone());
            self.open(&parent, tasks);
        }
    }

    fn next_place(&mut self, forward: bool, tasks: &mut Vec<Task>) {
        let count = self.places.len();
        if count == 0 {
            return;
        }
        let at = self.places.iter().position(|place| *place == self.folder);
        let next = match (at, forward) {
            (Some(at), true) => (at + 1) % count,
            (Some(at), false) => (at + count - 1) % count,
            (None, _) => 0,
        };
        let place = self.places[next].clone();
        self.open(&place, tasks);
    }

    fn enter(&mut self, choose: bool, tasks: &mut Vec<Task>) -> Choice {
        let Some(entry) = self.current().cloned() else {
            return Choice::Say("there is nothing here to choose; Backspace goes up".into());
        };
        if entry.folder {
            self.open(&entry.path, tasks);
            return Choice::Stay;
        }
        if !choose {
            return Choice::Stay;
        }
        match self.looked_at() {
            Some(Ok(facts)) => Choice::Image(facts.clone()),
            Some(Err(why)) => Choice::Say(why.clone()),
            None => {
                self.wanted = Some(entry.path);
                Choice::Stay
            }
        }
    }

    /// Asks for the facts of the image under the cursor.
    fn look(&mut self, tasks: &mut Vec<Task>) {
        self.wanted = None;
        let Some(entry) = self.current() else { return };
        if entry.folder || self.looked_at().is_some() {
            return;
        }
        tasks.push(Task::Inspect(entry.path.clone()));
    }

    /// Takes what was found out; gives the image that the user was waiting for.
    pub fn message(&mut self, message: Message, tasks: &mut Vec<Task>) -> Choice {
        match message {
            Message::Places(places) => self.places = places,
            Message::Listed { folder, entries } if folder == self.folder => {
                self.entries = entries;
                self.reading = false;
                if let Some(land) = self.land.take() {
                    if !self.shown().iter().any(|entry| entry.path == land)
                        && let Ok(entries) = &self.entries
                    {
                        self.all = entries.iter().any(|entry| entry.path == land);
                    }
                    let place = self.shown().iter().position(|entry| entry.path == land);
                    self.cursor = place.unwrap_or(0);
                    if self.current().is_some_and(|entry| !entry.folder) && self.wanted.is_some() {
                        // The image of the command line: it is on its way already.
                        return Choice::Stay;
                    }
                } else {
                    let image = self.shown().iter().position(|entry| entry.is_image());
                    self.cursor = image.unwrap_or(0);
                }
                self.look(tasks);
            }
            Message::Inspected { path, facts } => {
                let wanted = self.wanted.take_if(|wanted| *wanted == path).is_some();
                self.facts = Some((path, facts));
                if wanted {
                    return match &self.facts {
                        Some((_, Ok(facts))) => Choice::Image(facts.clone()),
                        Some((_, Err(why))) => Choice::Say(why.clone()),
                        None => Choice::Stay,
                    };
                }
            }
            Message::Digest { path, digest } => self.digest = Some((path, digest)),
            _ => {}
        }
        Choice::Stay
    }
}
