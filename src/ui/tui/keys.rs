// SPDX-License-Identifier: MIT OR Apache-2.0
//! From keys to commands: what a terminal sends, freed of modifiers and key codes, and not yet bound to a screen.
//!
//! A letter is a letter here. Whether `j` means down is known only where it arrives: in a text it is a letter, in a
//! list [`Cmd::moving`] makes it a movement.

use std::path::PathBuf;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a user asks for by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmd {
    /// One up.
    Up,
    /// One down.
    Down,
    /// One to the left, or a little less.
    Left,
    /// One to the right, or a little more.
    Right,
    /// Far to the left, or much less.
    FarLeft,
    /// Far to the right, or much more.
    FarRight,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// To the next field or place.
    Next,
    /// To the one before.
    Previous,
    /// Go on.
    Enter,
    /// One step back.
    Back,
    /// A character.
    Char(char),
    /// Take the last character away.
    Erase,
    /// Take everything away.
    Delete,
    /// Show the keys.
    Help,
    /// Draw everything again.
    Redraw,
    /// Stop the program for a while (Ctrl-Z).
    Suspend,
    /// Leave (Ctrl-C).
    Interrupt,
}

impl Cmd {
    /// The command of a key; none for one that means nothing, and for the release of a key.
    pub fn of(key: KeyEvent) -> Option<Cmd> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let shift = key.modifiers.contains(KeyModifiers::SHIFT);
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Cmd::Interrupt),
                KeyCode::Char('h') => Some(Cmd::Erase),
                KeyCode::Char('l') => Some(Cmd::Redraw),
                KeyCode::Char('u') => Some(Cmd::Delete),
                KeyCode::Char('z') => Some(Cmd::Suspend),
                KeyCode::Left => Some(Cmd::FarLeft),
                KeyCode::Right => Some(Cmd::FarRight),
                _ => None,
            };
        }
        if key.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        Some(match key.code {
            KeyCode::Up => Cmd::Up,
            KeyCode::Down => Cmd::Down,
            KeyCode::Left if shift => Cmd::FarLeft,
            KeyCode::Right if shift => Cmd::FarRight,
            KeyCode::Left => Cmd::Left,
            KeyCode::Right => Cmd::Right,
            KeyCode::PageUp => Cmd::PageUp,
            KeyCode::PageDown => Cmd::PageDown,
            KeyCode::Home => Cmd::Home,
            KeyCode::End => Cmd::End,
            KeyCode::Tab => Cmd::Next,
            KeyCode::BackTab => Cmd::Previous,
            KeyCode::Enter => Cmd::Enter,
            KeyCode::Esc => Cmd::Back,
            KeyCode::Backspace => Cmd::Erase,
            KeyCode::Delete => Cmd::Delete,
            KeyCode::F(1) => Cmd::Help,
            KeyCode::Char(c) if !c.is_control() => Cmd::Char(c),
            _ => return None,
        })
    }

    /// The movement that a letter stands for where nothing is typed: hjkl, HL, g and G.
    #[must_use]
    pub fn moving(self) -> Cmd {
        match self {
            Cmd::Char('h') => Cmd::Left,
            Cmd::Char('j') => Cmd::Down,
            Cmd::Char('k') => Cmd::Up,
            Cmd::Char('l') => Cmd::Right,
            Cmd::Char('H') => Cmd::FarLeft,
            Cmd::Char('L') => Cmd::FarRight,
            Cmd::Char('g') => Cmd::Home,
            Cmd::Char('G') => Cmd::End,
            other => other,
        }
    }
}

/// A list's cursor after a movement in it: `None` if the command is none.
pub fn moved(cmd: Cmd, at: usize, len: usize, page: usize) -> Option<usize> {
    let last = len.saturating_sub(1);
    Some(match cmd {
        Cmd::Up => at.saturating_sub(1),
        Cmd::Down => (at + 1).min(last),
        Cmd::PageUp => at.saturating_sub(page),
        Cmd::PageDown => at.saturating_add(page).min(last),
        Cmd::Home => 0,
        Cmd::End => last,
        _ => return None,
    })
}

/// A line of text that is being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// What it holds.
    pub text: String,
}

/// No text that is typed here needs more: a path is shorter (PATH_MAX).
const LONGEST: usize = 4096;

impl Field {
    /// A field that holds `text`.
    pub fn new(text: impl Into<String>) -> Field {
        Field { text: text.into() }
    }

    /// The path that it holds; `~/` is the home folder, as people type it in a shell.
    pub fn path(&self) -> PathBuf {
        let text = self.text.trim();
        match (text.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => text.into(),
        }
    }

    /// Takes a command; whether it was one for a text.
    pub fn take(&mut self, cmd: Cmd) -> bool {
        match cmd {
            Cmd::Char(c) if self.text.len() < LONGEST => self.text.push(c),
            Cmd::Char(_) => {}
            Cmd::Erase => {
                self.text.pop();
            }
            Cmd::Delete => self.text.clear(),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_commands() {
        let key = |code, modifiers| Cmd::of(KeyEvent::new(code, modifiers));
        assert_eq!(
            key(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Cmd::Interrupt)
        );
        assert_eq!(
            key(KeyCode::Char('J'), KeyModifiers::SHIFT),
            Some(Cmd::Char('J'))
        );
        assert_eq!(key(KeyCode::Left, KeyModifiers::SHIFT), Some(Cmd::FarLeft));
        assert_eq!(key(KeyCode::F(9), KeyModifiers::NONE), None);
        let mut release = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(Cmd::of(release), None);
    }

    #[test]
    fn a_path_may_begin_at_home() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(Field::new(" ~/stick.img ").path(), home.join("stick.img"));
        assert_eq!(
            Field::new("~x/stick.img").path(),
            PathBuf::from("~x/stick.img")
        );
        assert_eq!(Field::new("/a b/c").path(), PathBuf::from("/a b/c"));
    }

    #[test]
    fn a_cursor_stays_in_its_list() {
        assert_eq!(moved(Cmd::Up, 0, 3, 5), Some(0));
        assert_eq!(moved(Cmd::PageDown, 1, 3, 5), Some(2));
        assert_eq!(moved(Cmd::Down, 0, 0, 5), Some(0));
        assert_eq!(moved(Cmd::Enter, 0, 3, 5), None);
    }
}
