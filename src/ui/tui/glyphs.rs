// SPDX-License-Identifier: MIT OR Apache-2.0
//! How things look: three sets of glyphs, and styles of eight colours, or none.
//!
//! * [`Set::Rich`]: a terminal emulator in a UTF-8 locale.
//! * [`Set::Console`]: the Linux console in a UTF-8 locale. Its fonts have lines and blocks, but no more than 256 or
//!   512 glyphs (kbd's default8x16, console-setup's Lat15).
//! * [`Set::Ascii`]: everything else, and `--ascii`. The last thing done to a screen is [`Look::flatten`], which
//!   replaces whatever the set does not have, also in file names and labels.
//!
//! Colour never tells anything alone: every state has a word or a mark too. With `NO_COLOR` (no-color.org) only bold,
//! reverse and underline are left.

use std::env;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// A set of glyphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// All of Unicode.
    Rich,
    /// Lines, blocks and Latin letters.
    Console,
    /// ASCII.
    Ascii,
}

/// How things look on one terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The glyphs.
    pub set: Set,
    /// Whether colours are used.
    pub colour: bool,
}

impl Look {
    /// What the environment tells of the terminal.
    pub fn of_environment(ascii: bool) -> Look {
        let var = |name: &str| env::var(name).unwrap_or_default();
        Look::of(ascii, &var)
    }

    fn of(ascii: bool, var: &dyn Fn(&str) -> String) -> Look {
        // The first that is set counts (locale(7)).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .map(var)
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        let term = var("TERM");
        let old = ["", "dumb", "vt100", "vt102", "vt220", "ansi"].contains(&term.as_str());
        Look {
            set: match (ascii || !unicode || old, term.as_str()) {
                (true, _) => Set::Ascii,
                (false, "linux") => Set::Console,
                (false, _) => Set::Rich,
            },
            // A serial terminal shows no colours, and some print the sequences.
            colour: var("NO_COLOR").is_empty() && !old,
        }
    }

    /// The lines around a panel.
    pub fn border(self) -> border::Set<'static> {
        match self.set {
            Set::Rich => border::ROUNDED,
            Set::Console => border::PLAIN,
            Set::Ascii => border::Set {
                top_left: "+",
                top_right: "+",
                bottom_left: "+",
                bottom_right: "+",
                vertical_left: "|",
                vertical_right: "|",
                horizontal_top: "-",
                horizontal_bottom: "-",
            },
        }
    }

    fn pick<T>(self, rich: T, console: T, ascii: T) -> T {
        match self.set {
            Set::Rich => rich,
            Set::Console => console,
            Set::Ascii => ascii,
        }
    }

    /// What stands before the chosen row.
    pub fn cursor(self) -> &'static str {
        self.pick("▸ ", "> ", "> ")
    }

    /// Something done.
    pub fn done(self) -> &'static str {
        self.pick("✔", "*", "*")
    }

    /// Something at work.
    pub fn at_work(self) -> &'static str {
        self.pick("▶", ">", ">")
    }

    /// Something that went wrong.
    pub fn failed(self) -> &'static str {
        self.pick("✘", "!", "!")
    }

    /// Something to come.
    pub fn to_come(self) -> &'static str {
        self.pick("·", "-", "-")
    }

    /// Between the steps of the way.
    pub fn then(self) -> &'static str {
        self.pick(" › ", " > ", " > ")
    }

    /// A horizontal line.
    pub fn rule(self) -> &'static str {
        self.pick("─", "─", "-")
    }

    /// A vertical line.
    pub fn bar(self) -> &'static str {
        self.pick("│", "│", "|")
    }

    /// The done part of a gauge.
    pub fn full(self) -> &'static str {
        self.pick("█", "█", "#")
    }

    /// The rest of a gauge.
    pub fn empty(self) -> &'static str {
        self.pick("░", "░", ".")
    }

    /// The parts of the picture of a stick: the image, the overlay, /home, what is free.
    pub fn parts(self) -> [&'static str; 4] {
        self.pick(
            ["█", "▓", "▒", "░"],
            ["█", "▓", "▒", "░"],
            ["#", "O", "H", "."],
        )
    }

    /// Heights of a column of the rate graph, from nothing to a whole cell.
    pub fn heights(self) -> &'static [&'static str] {
        self.pick(
            &[" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
            &[" ", "▄", "█"],
            &[" ", ".", ":", "#"],
        )
    }

    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.colour { style.fg(colour) } else { style }
    }

    /// A title, a name.
    pub fn title(self) -> Style {
        self.coloured(Style::new().add_modifier(Modifier::BOLD), Color::Cyan)
    }

    /// What matters.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less, or cannot be chosen.
    pub fn faint(self) -> Style {
        // Bright black is invisible on some consoles; dim is plain there.
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Lines and frames.
    pub fn line(self) -> Style {
        self.coloured(Style::new(), Color::Blue)
    }

    /// The row or field that keys go to.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Proven, done, possible.
    pub fn good(self) -> Style {
        self.coloured(Style::new(), Color::Green)
    }

    /// To be noticed.
    pub fn warning(self) -> Style {
        self.coloured(Style::new().add_modifier(Modifier::BOLD), Color::Yellow)
    }

    /// Loss and failure.
    pub fn danger(self) -> Style {
        self.coloured(Style::new().add_modifier(Modifier::BOLD), Color::Red)
    }

    /// A key in the footer.
    pub fn key(self) -> Style {
        self.coloured(Style::new().add_modifier(Modifier::BOLD), Color::Yellow)
    }

    /// The parts of the picture of a stick, as [`Look::parts`].
    pub fn part_styles(self) -> [Style; 4] {
        [Color::Blue, Color::Green, Color::Magenta, Color::White]
            .map(|colour| self.coloured(Style::new(), colour))
    }

    /// Replaces what the set does not have.
    pub fn flatten(self, buffer: &mut Buffer) {
        if self.set == Set::Rich {
            return;
        }
        for cell in &mut buffer.content {
            let symbol = cell.symbol();
            if symbol.is_ascii() {
                continue;
            }
            let mut chars = symbol.chars();
            let only = chars.next().filter(|_| chars.next().is_none());
            let replaced = match only {
                Some(c) if self.set == Set::Console && is_on_consoles(c) => continue,
                Some(c) => plain(c),
                None => '?',
            };
            cell.set_char(replaced);
        }
    }
}

/// Whether the usual fonts of the Linux console have it: Latin-1, light lines, blocks and shades.
fn is_on_consoles(c: char) -> bool {
    matches!(
        c,
        '\u{a0}'
            ..='\u{ff}' | '─' | '│' | '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼'
    ) || matches!(c, '█' | '▄' | '▀' | '░' | '▒' | '▓')
}

/// The nearest ASCII character.
fn plain(c: char) -> char {
    match c {
        '─' | '–' | '—' | '−' | '·' | '•' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '╭' | '╮' | '╰' | '╯' => {
            '+'
        }
        '…' => '~',
        '×' => 'x',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '›' | '▸' | '→' => '>',
        '≤' | '←' => '<',
        'ä' | 'á' | 'à' | 'â' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'ö' | 'ó' | 'ô' | 'ø' => 'o',
        'ü' | 'ú' | 'û' => 'u',
        'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ç' => 'c',
        '\u{a0}' => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pairs: &[(&str, &str)], ascii: bool) -> Look {
        let var = |name: &str| {
            let found = pairs.iter().find(|(n, _)| *n == name);
            found.map_or(String::new(), |(_, value)| (*value).to_owned())
        };
        Look::of(ascii, &var)
    }

    #[test]
    fn the_environment_chooses_the_glyphs() {
        let utf8 = ("LANG", "de_DE.UTF-8");
        let set = |pairs: &[(&str, &str)]| look(pairs, false).set;
        assert_eq!(set(&[utf8, ("TERM", "xterm-256color")]), Set::Rich);
        assert_eq!(set(&[utf8, ("TERM", "tmux")]), Set::Rich);
        assert_eq!(set(&[utf8, ("TERM", "linux")]), Set::Console);
        assert_eq!(set(&[utf8, ("TERM", "vt220")]), Set::Ascii);
        assert_eq!(set(&[("LANG", "C"), ("TERM", "xterm")]), Set::Ascii);
        assert_eq!(set(&[utf8, ("LC_ALL", "C"), ("TERM", "xterm")]), Set::Ascii);
        assert_eq!(look(&[utf8, ("TERM", "xterm")], true).set, Set::Ascii);
        assert!(look(&[("TERM", "linux")], false).colour);
        assert!(!look(&[("TERM", "linux"), ("NO_COLOR", "1")], false).colour);
        assert!(!look(&[("TERM", "vt100")], false).colour);
    }
}
