// SPDX-License-Identifier: MIT OR Apache-2.0
//! The review's state: the plan word for word, which changes are unfolded, and the confirmation.

use std::collections::BTreeSet;

use super::hidden::{Hidden, Typed};
use super::keys::{Cmd, Field, moved};
use crate::digest::hex;
use crate::patch::{After, Patch};
use crate::plan::Plan;
use crate::secret::Passphrase;
use crate::ui::confirm;

/// How many rows a page key moves.
const PAGE: usize = 10;
/// The most that is unfolded of one side of one change.
const UNFOLDED: usize = 4096;

/// What a line of the review is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line of the plan.
    Plan,
    /// The line of the plan that names a change, which can be unfolded.
    Change,
    /// What the image holds.
    Before,
    /// What the stick will hold.
    After,
}

/// A line of the review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// The change that it belongs to.
    pub patch: Option<usize>,
}

/// A plan that is being read.
#[derive(Clone, Debug)]
pub struct Review {
    /// The plan.
    pub plan: Box<Plan>,
    /// Its lines.
    lines: Vec<Row>,
    /// Which changes are unfolded.
    open: BTreeSet<usize>,
    /// The row that is looked at, of [`Review::rows`].
    pub cursor: usize,
    /// What is typed to confirm; none before that is asked.
    pub confirm: Option<Field>,
    /// The passphrase that is being typed.
    pub hidden: Option<Hidden>,
    /// The passphrase, once it was typed twice.
    secret: Option<Passphrase>,
}

/// What a command in the review leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing but a changed review.
    Stay,
    /// Not a command for the review.
    NotMine,
    /// The word was typed: write.
    Write,
    /// Something the user should read.
    Say(String),
}

impl Review {
    /// A plan to be read.
    pub fn new(plan: Box<Plan>) -> Review {
        let text = plan.to_string();
        let plain = |line: &str| Row {
            kind: Kind::Plan,
            text: line.to_owned(),
            patch: None,
        };
        let mut lines: Vec<Row> = text.lines().map(plain).collect();
        // Behind the heading, each change has two lines: what it is, and its beginning.
        if let Some(heading) = lines
            .iter()
            .position(|line| line.text.starts_with("changes"))
        {
            for (i, line) in lines[heading + 1..].iter_mut().enumerate() {
                if i / 2 >= plan.patches.len() {
                    break;
                }
                line.patch = Some(i / 2);
                if i % 2 == 0 {
                    line.kind = Kind::Change;
                }
            }
        }
        Review {
            plan,
            lines,
            open: BTreeSet::new(),
            cursor: 0,
            confirm: None,
            hidden: None,
            secret: None,
        }
    }

    /// What is shown, from top to bottom.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for line in &self.lines {
            rows.push(line.clone());
            // Unfolded below the second line of a change.
            if let (Kind::Plan, Some(index)) = (line.kind, line.patch)
                && self.open.contains(&index)
                && let Some(patch) = self.plan.patches.get(index)
            {
                let side = |(kind, text)| Row {
                    kind,
                    text,
                    patch: Some(index),
                };
                rows.extend(sides(patch).into_iter().map(side));
            }
        }
        rows
    }

    /// Whether a change is unfolded.
    pub fn is_open(&self, patch: usize) -> bool {
        self.open.contains(&patch)
    }

    /// The word that confirms.
    pub fn word(&self) -> String {
        confirm::word(&self.plan.target)
    }

    /// The passphrase of an encrypted /home.
    pub fn secret(&self) -> Option<Passphrase> {
        self.secret.clone()
    }

    /// Whether letters are text.
    pub fn typing(&self) -> bool {
        self.confirm.is_some() || self.hidden.is_some()
    }

    /// Takes a command while a passphrase is typed.
    fn hide(&mut self, cmd: Cmd) -> Choice {
        let Some(hidden) = &mut self.hidden else {
            return Choice::Stay;
        };
        match (hidden.command(cmd), cmd) {
            (Typed::Twice(passphrase), _) => {
                self.secret = Some(passphrase);
                self.hidden = None;
                self.confirm = Some(Field::default());
            }
            (Typed::Say(why), _) => return Choice::Say(why),
            (Typed::NotMine, Cmd::Back) => self.hidden = None,
            (Typed::NotMine, Cmd::Interrupt | Cmd::Suspend | Cmd::Redraw) => {
                return Choice::NotMine;
            }
            (Typed::More | Typed::NotMine, _) => {}
        }
        Choice::Stay
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd) -> Choice {
        if self.hidden.is_some() {
            return self.hide(cmd);
        }
        if let Some(field) = &mut self.confirm {
            if field.take(cmd) {
                return Choice::Stay;
            }
            return match cmd {
                Cmd::Back => {
                    self.confirm = None;
                    Choice::Stay
                }
                Cmd::Enter if confirm::is_word(&field.text, &self.plan.target) => {
                    self.confirm = None;
                    Choice::Write
                }
                Cmd::Enter => Choice::Say(format!(
                    "'{}' is not '{}'; nothing was written",
                    field.text.trim(),
                    confirm::word(&self.plan.target)
                )),
                Cmd::Interrupt | Cmd::Suspend | Cmd::Redraw => Choice::NotMine,
                _ => Choice::Stay,
            };
        }
        let cmd = cmd.moving();
        let rows = self.rows();
        if let Some(cursor) = moved(cmd, self.cursor, rows.len(), PAGE) {
            self.cursor = cursor;
            return Choice::Stay;
        }
        match cmd {
            Cmd::Enter | Cmd::Char('c') if self.secret.is_none() && self.encrypts() => {
                self.hidden = Some(Hidden::default());
            }
            Cmd::Enter | Cmd::Char('c') => self.confirm = Some(Field::default()),
            Cmd::Char(' ') | Cmd::Right | Cmd::Left => {
                let Some(patch) = rows.get(self.cursor).and_then(|row| row.patch) else {
                    return Choice::Say(
                        "unfold a line of the changes: those that begin with 'at'".into(),
                    );
                };
                let folded = match cmd {
                    Cmd::Left => self.open.remove(&patch),
                    Cmd::Right => !self.open.insert(patch),
                    _ if self.open.remove(&patch) => true,
                    _ => !self.open.insert(patch),
                };
                if folded {
                    // The rows that the cursor was among are gone.
                    self.find(patch);
                }
            }
            Cmd::Char('a') => {
                let all: BTreeSet<usize> = (0..self.plan.patches.len()).collect();
                self.open = if self.open == all {
                    BTreeSet::new()
                } else {
                    all
                };
                let last = self.rows().len().saturating_sub(1);
                self.cursor = self.cursor.min(last);
            }
            Cmd::Next => self.next_change(&rows),
            _ => return Choice::NotMine,
        }
        Choice::Stay
    }

    fn encrypts(&self) -> bool {
        let all = &self.plan.filesystems;
        all.iter().any(|one| one.encryption.is_some())
    }

    fn find(&mut self, wanted: usize) {
        let rows = self.rows();
        let place = rows
            .iter()
            .position(|row| row.kind == Kind::Change && row.patch == Some(wanted));
        self.cursor = place.unwrap_or(0);
    }

    fn next_change(&mut self, rows: &[Row]) {
        let after = rows.iter().enumerate().skip(self.cursor + 1);
        let mut all = after.chain(rows.iter().enumerate());
        if let Some((place, _)) = all.find(|(_, row)| row.kind == Kind::Change) {
            self.cursor = place;
        }
    }
}

/// Both sides of a change, as text where both are text, else as hex.
fn sides(patch: &Patch) -> Vec<(Kind, String)> {
    let text = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
    };
    let before = |as_text| lines(&patch.before, as_text).into_iter();
    match &patch.after {
        After::Bytes(after) => {
            let as_text = text(&patch.before) && text(after);
            let after = lines(after, as_text).into_iter();
            before(as_text)
                .map(|line| (Kind::Before, line))
                .chain(after.map(|line| (Kind::After, line)))
                .collect()
        }
        After::MediaCheck => {
            let after = (Kind::After, "computed while writing".to_owned());
            before(text(&patch.before))
                .map(|line| (Kind::Before, line))
                .chain([after])
                .collect()
        }
    }
}

fn lines(bytes: &[u8], as_text: bool) -> Vec<String> {
    let cut = &bytes[..bytes.len().min(UNFOLDED)];
    let mut lines: Vec<String> = if as_text {
        String::from_utf8_lossy(cut)
            .lines()
            .map(|line| line.replace('\t', "    "))
            .collect()
    } else {
        cut.chunks(16)
            .enumerate()
            .map(|(i, chunk)| {
                let hex = hex(chunk);
                let pairs: Vec<&str> = (0..hex.len() / 2).map(|i| &hex[2 * i..2 * i + 2]).collect();
                format!("+{:04x}  {}", i * 16, pairs.join(" "))
            })
            .collect()
    };
    if cut.len() < bytes.len() {
        lines.push(format!("and {} bytes more", bytes.len() - cut.len()));
    }
    lines
}
