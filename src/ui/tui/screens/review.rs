// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fourth screen: the plan as `--dry-run` prints it, changes unfolded, and the confirmation.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::glyphs::Look;
use super::super::hidden::Hidden;
use super::super::review::{Kind, Review, Row};
use super::text::wrap;
use super::{Key, boxed, first_shown, panel, typed};
use crate::disk::direct;
use crate::disk::shown;

/// The keys of this screen.
pub fn keys(review: &Review) -> Vec<Key> {
    if review.hidden.is_some() {
        return vec![
            ("Enter", "take", "take the passphrase; it is typed twice"),
            ("Esc", "back", "back to the plan; nothing is written"),
        ];
    }
    if review.confirm.is_some() {
        return vec![
            ("Enter", "write", "write, if the word is right"),
            ("Esc", "back", "back to the plan; nothing is written"),
        ];
    }
    vec![
        (
            "Enter",
            "confirm",
            "go on to the confirmation; nothing is written before a word was typed",
        ),
        (
            "Up/Down",
            "move",
            "move; also j and k, PgUp and PgDn, g and G",
        ),
        (
            "Space",
            "unfold",
            "show all of a change, before and after; also Right and Left",
        ),
        ("a", "all", "unfold all changes, or fold them"),
        ("Tab", "next change", "go to the next change"),
        ("Esc", "back", "back to the sizes"),
    ]
}

/// Draws it.
pub fn draw(review: &Review, look: Look, area: Rect, buffer: &mut Buffer) {
    let rows = review.rows();
    let title = format!("The plan, line {} of {}", review.cursor + 1, rows.len());
    let inner = panel(&title, look, area, buffer);
    let width = usize::from(inner.width);
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut at = 0;
    for (i, row) in rows.iter().enumerate() {
        if i == review.cursor {
            at = lines.len();
        }
        lines.extend(lines_of(row, review, i == review.cursor, width, look));
    }
    let height = usize::from(inner.height);
    let first = first_shown(at, lines.len(), height);
    let lines: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    Paragraph::new(lines).render(inner, buffer);
    if let Some(hidden) = &review.hidden {
        passphrase(hidden, look, area, buffer);
    }
    if let Some(field) = &review.confirm {
        confirmation(review, &field.text, look, area, buffer);
    }
}

/// Width of the names in the plan's lines.
const NAME: usize = 11;

fn lines_of(
    row: &Row,
    review: &Review,
    here: bool,
    width: usize,
    look: Look,
) -> Vec<Line<'static>> {
    let mark = match (here, row.kind) {
        (true, _) => look.cursor(),
        (false, Kind::Change) if row.patch.is_some_and(|patch| review.is_open(patch)) => "- ",
        (false, Kind::Change) => "+ ",
        _ => "  ",
    };
    let (prefix, style) = match row.kind {
        Kind::Before => ("             before  ", look.warning()),
        Kind::After => ("             after   ", look.good()),
        Kind::Plan | Kind::Change => ("", Style::new()),
    };
    let text = format!("{prefix}{}", row.text);
    let indent = text.len() - text.trim_start().len();
    let hang = if prefix.is_empty() {
        NAME.max(indent + 2)
    } else {
        prefix.len()
    };
    let mut lines = Vec::new();
    for (i, part) in wrap(&text, width.saturating_sub(2), hang)
        .into_iter()
        .enumerate()
    {
        let mark = if i == 0 { mark } else { "  " };
        let named = i == 0 && prefix.is_empty() && indent == 0;
        let cut = if named {
            part.char_indices()
                .nth(NAME)
                .map_or(part.len(), |(at, _)| at)
        } else {
            0
        };
        let (name, rest) = part.split_at(cut);
        let mut spans = vec![
            Span::styled(mark.to_owned(), look.key()),
            Span::styled(name.to_owned(), look.title()),
            Span::styled(rest.to_owned(), style),
        ];
        if here {
            spans = spans
                .into_iter()
                .map(|span| span.patch_style(look.chosen()))
                .collect();
        }
        lines.push(Line::from(spans));
    }
    lines
}

fn passphrase(hidden: &Hidden, look: Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(8).min(70);
    let said = if hidden.is_again() {
        "The same passphrase again."
    } else {
        "It is asked for at each boot, where the keyboard has the layout that the image starts with. Whoever forgets it has lost what is in /home."
    };
    let mut lines: Vec<Line<'static>> = wrap(said, width, 0).into_iter().map(Line::raw).collect();
    lines.push(typed("> ", &"*".repeat(hidden.len()), true, width, look));
    boxed(
        "The passphrase of /home",
        lines,
        look.title(),
        look,
        area,
        buffer,
    );
}

fn confirmation(review: &Review, text: &str, look: Look, area: Rect, buffer: &mut Buffer) {
    let target = &review.plan.target;
    let width = usize::from(area.width).saturating_sub(8).min(70);
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut say = |text: &str, style: Style| {
        let wrapped = wrap(text, width, 2).into_iter();
        lines.extend(wrapped.map(|line| Line::styled(line, style)));
    };
    say(
        &format!("{}: {}", shown(&target.path), target.description),
        look.strong(),
    );
    let title = if target.kind == direct::Kind::NewFile {
        say("A new file is made; nothing is lost.", Style::new());
        "Write it?"
    } else {
        say("ALL DATA ON IT WILL BE LOST:", look.danger());
        // What does not fit is counted: the question itself must be in sight.
        let room = usize::from(area.height).saturating_sub(9).max(1);
        let shown = if target.now.len() > room {
            room - 1
        } else {
            target.now.len()
        };
        for line in target.now.iter().take(shown) {
            say(
                &format!("  {}", super::text::start_of(line, width - 2)),
                Style::new(),
            );
        }
        match target.now.len() - shown {
            0 if target.now.is_empty() => say("  (nothing that is known is on it)", Style::new()),
            0 => {}
            more => say(
                &format!("  and {more} more, which the plan lists"),
                Style::new(),
            ),
        }
        "Write over it?"
    };
    for point in &target.unmount {
        say(
            &format!("{} will be unmounted", shown(point)),
            look.warning(),
        );
    }
    lines.push(Line::from(vec![
        Span::raw("Type "),
        Span::styled(review.word(), look.strong()),
        Span::raw(" and press Enter; Esc goes back."),
    ]));
    lines.push(typed("> ", text, true, width, look));
    boxed(title, lines, look.danger(), look, area, buffer);
}
