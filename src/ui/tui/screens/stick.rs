// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second screen: the disks, which of them can be written and why not, and a stick image file.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::glyphs::Look;
use super::super::known::Seen;
use super::super::state::State;
use super::super::sticks::Sticks;
use super::text::{fit, fit_right, wrap};
use super::{Key, boxed, first_shown, panel, row, stacked, typed};
use crate::disk::standing::Standing;

/// The keys of this screen.
pub fn keys(sticks: &Sticks) -> Vec<Key> {
    if sticks.file.open {
        return vec![
            ("Enter", "go on", "take this file"),
            ("Tab", "other field", "go on to the other field"),
            ("Ctrl-U", "clear", "clear the field"),
            ("Esc", "back", "back to the table"),
        ];
    }
    if sticks.allow.is_some() {
        return vec![
            (
                "Enter",
                "go on",
                "take this disk, if what was typed names it",
            ),
            ("Esc", "back", "back to the table"),
        ];
    }
    let mut keys = vec![
        ("Enter", "choose", "choose this stick"),
        ("Up/Down", "move", "move in the table; also j and k"),
        (
            "f",
            "image file",
            "write to a stick image file instead of a stick",
        ),
    ];
    if sticks.current().is_some_and(Seen::unmount_lifts) {
        keys.push((
            "u",
            "unmount",
            "have what is mounted from it unmounted when the writing begins",
        ));
    }
    keys.push(("Esc", "back", "back to the image"));
    keys
}

/// Draws it.
pub fn draw(state: &State, look: &Look, area: Rect, buffer: &mut Buffer) {
    let sticks = &state.sticks;
    let below = if area.height >= 20 { 8 } else { 6 };
    let (above, below) = stacked(area, below);
    table(sticks, look, above, buffer);
    details(sticks, look, below, buffer);
    if sticks.file.open {
        form(sticks, look, area, buffer);
    }
    if let (Some(field), Some(seen)) = (&sticks.allow, sticks.current()) {
        let id = seen.disk.id();
        let why = seen.against().unwrap_or_default();
        let width = usize::from(area.width).saturating_sub(8).min(64);
        let text = format!(
            "{} ({}) {why}. If it is meant all the same, type its serial or name:",
            seen.disk.name,
            seen.disk.title()
        );
        let mut lines: Vec<Line<'_>> = wrap(&text, width, 0).into_iter().map(Line::from).collect();
        lines.push(Line::styled(format!("  {id}"), look.strong()));
        lines.push(typed("> ", &field.text, true, width, look));
        boxed(
            "Not a stick by its looks",
            lines,
            look.danger(),
            look,
            area,
            buffer,
        );
    }
}

/// Widths: name, GB, GiB, bus.
const FIXED: (usize, usize, usize, usize) = (9, 9, 9, 5);

fn table(sticks: &Sticks, look: &Look, area: Rect, buffer: &mut Buffer) {
    let inner = panel("Sticks and disks", look, area, buffer);
    let width = usize::from(inner.width);
    let rest = width.saturating_sub(2 + FIXED.0 + 1 + FIXED.1 + 1 + FIXED.2 + 1 + FIXED.3 + 2);
    let serial = if width >= 110 { 16 } else { 0 };
    let model = if rest >= 40 {
        (rest - serial) / 2
    } else {
        rest / 2
    };
    let last = rest.saturating_sub(model + serial);
    let cells = |mark: &str,
                 name: &str,
                 what: &str,
                 sizes: (&str, &str),
                 bus: &str,
                 id: &str,
                 state: &str| {
        let mut text = format!("{mark}{} ", fit(name, FIXED.0));
        text += &format!("{} ", fit(what, model.saturating_sub(1)));
        if serial > 0 {
            text += &format!("{} ", fit(id, serial - 1));
        }
        text += &format!(
            "{} {}",
            fit_right(sizes.0, FIXED.1),
            fit_right(sizes.1, FIXED.2)
        );
        text += &format!("  {} {}", fit(bus, FIXED.3), fit(state, last));
        text
    };
    let head = cells(
        "  ",
        "disk",
        "what",
        ("as sold", "binary"),
        "bus",
        "serial",
        "can be written",
    );
    Line::styled(head, look.title()).render(row(inner, 0), buffer);
    let place = Rect {
        y: inner.y + 1,
        height: inner.height.saturating_sub(1),
        ..inner
    };
    let mut lines: Vec<Line<'_>> = Vec::new();
    match &sticks.seen {
        None => lines.push(Line::styled("  Looking for disks ...", look.faint())),
        Some(Err(why)) => {
            let said = wrap(why, width.saturating_sub(2), 0).into_iter();
            lines.extend(said.map(|line| Line::styled(line, look.warning())));
        }
        Some(Ok(seen)) if seen.is_empty() => {
            lines.push(Line::styled(
                "  No disk is there; plug in a stick.",
                look.faint(),
            ));
        }
        Some(Ok(_)) => {}
    }
    for (i, seen) in sticks.disks().iter().enumerate() {
        let disk = &seen.disk;
        let here = sticks.cursor == Some(i);
        let mark = if here { look.cursor() } else { "  " };
        let (word, style) = standing(seen, here && sticks.unmount, look);
        let bus = disk.bus.to_string();
        let text = cells(
            mark,
            &disk.name,
            &disk.title(),
            (&disk.size.decimal(), &disk.size.binary()),
            &bus,
            disk.serial.as_deref().unwrap_or("-"),
            &word,
        );
        lines.push(Line::styled(text, if here { look.chosen() } else { style }));
    }
    let on_file = sticks.on_file();
    let mark = if on_file { look.cursor() } else { "  " };
    let text = fit(
        &format!("{mark}a stick image file: {}", sticks.file.path.text),
        width,
    );
    let style = if on_file { look.chosen() } else { Style::new() };
    lines.push(Line::styled(text, style));
    let height = usize::from(place.height);
    let first = first_shown(sticks.cursor.unwrap_or(0), lines.len(), height);
    let lines: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    Paragraph::new(lines).render(place, buffer);
}

fn standing(seen: &Seen, unmount: bool, look: &Look) -> (String, Style) {
    let against = seen.against().unwrap_or_default();
    match &seen.standing {
        Standing::Stick => ("yes".into(), look.good()),
        Standing::NeedsAllow(_) => (format!("if named: {against}"), look.faint()),
        Standing::Never(_) if unmount => ("yes, after unmounting".into(), look.good()),
        Standing::Never(_) if seen.unmount_lifts() => {
            (format!("u unmounts: {against}"), look.warning())
        }
        Standing::Never(_) => (format!("no: {against}"), look.faint()),
    }
}

fn details(sticks: &Sticks, look: &Look, area: Rect, buffer: &mut Buffer) {
    let title = match sticks.current() {
        Some(seen) => format!("On {} now", seen.disk.name),
        None => "Nothing is chosen by itself".into(),
    };
    let inner = panel(&title, look, area, buffer);
    let width = usize::from(inner.width);
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut say = |text: &str, style: Style| {
        let wrapped = wrap(text, width, 2).into_iter();
        lines.extend(wrapped.map(|line| Line::styled(line, style)));
    };
    if let Some(seen) = sticks.current() {
        let disk = &seen.disk;
        say(&crate::plan::target::describe(disk), look.strong());
        if let Some(against) = seen.against() {
            let (word, _) = standing(seen, sticks.unmount, look);
            let word = word.split(':').next().unwrap_or_default().to_owned();
            say(
                &format!("can be written: {word}: {against}"),
                look.warning(),
            );
        }
        match &seen.now {
            Ok(now) if now.is_empty() => say("nothing that is known", Style::new()),
            Ok(now) => now.iter().for_each(|line| say(line, Style::new())),
            Err(why) => {
                disk.partitions.iter().for_each(|part| {
                    say(
                        &format!("{}: {}", part.name, part.extent.len.binary()),
                        Style::new(),
                    )
                });
                say(
                    &format!("what is on it cannot be told: {why}"),
                    look.faint(),
                );
            }
        }
    } else if sticks.on_file() {
        say(
            "A file that holds what a stick would hold: to try things out, to start in a virtual machine, or to copy to many sticks. Enter asks for its path and size.",
            Style::new(),
        );
    } else {
        say(
            "The table follows plugging and unplugging. Move to a stick with the arrow keys; f is for a stick image file.",
            Style::new(),
        );
    }
    Paragraph::new(lines).render(inner, buffer);
}

fn form(sticks: &Sticks, look: &Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(8).min(60);
    let file = &sticks.file;
    let label = |text: &str| Span::styled(text.to_owned(), look.faint());
    let mut path = typed("path  ", &file.path.text, file.focus == 0, width, look);
    let mut size = typed("size  ", &file.size.text, file.focus == 1, width, look);
    for line in [&mut path, &mut size] {
        let pad = width.saturating_sub(line.width());
        line.push_span(format!("{:pad$}", ""));
    }
    let lines = vec![
        path,
        size,
        Line::default(),
        Line::from(label("The size is for a new file, as in 8GiB or 16GB.")),
        Line::from(label("One that exists is written over, after a question.")),
    ];
    boxed("A stick image file", lines, look.line(), look, area, buffer);
}
