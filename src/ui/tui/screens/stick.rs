// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second screen: the disks, which of them can be written and why not, and a stick image file.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::errand::{Form, What};
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
    if let Some(form) = &sticks.form {
        let (word, sentence) = match form.errand.what {
            What::Extract(_) => ("extract", "read the image back into this file"),
            _ => ("look", "look what is damaged; asks before it writes"),
        };
        return vec![
            ("Enter", word, sentence),
            ("Ctrl-U", "clear", "clear the field"),
            ("Esc", "back", "back to the table"),
        ];
    }
    let mut keys = vec![
        ("Enter", "choose", "choose this stick"),
        ("Up/Down", "move", "move in the table; also j and k"),
        ("f", "file", "write to a stick image file instead"),
    ];
    if sticks.on_something() {
        keys.extend([
            (
                "v",
                "verify",
                "compare it with its record; V with the image",
            ),
            ("r", "repair", "write again what is damaged on it"),
            ("x", "extract", "get the original image back from it"),
        ]);
    }
    if sticks.current().is_some() {
        let probe = match sticks.probes() {
            Some(true) => "no probe",
            _ => "probe first",
        };
        keys.extend([
            (
                "p",
                "probe",
                "does it have the size it claims? P writes all of it",
            ),
            ("c", probe, "probe before writing, or do not"),
        ]);
    }
    if sticks.current().is_some_and(Seen::unmount_lifts) {
        keys.push(("u", "unmount", "unmount what is mounted before writing"));
    }
    keys.push(("Esc", "back", "back to the image"));
    keys
}

/// Draws it.
pub fn draw(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let sticks = &state.sticks;
    let below = if area.height >= 20 { 8 } else { 6 };
    let (above, below) = stacked(area, below);
    table(sticks, look, above, buffer);
    details(sticks, look, below, buffer);
    if sticks.file.open {
        form(sticks, look, area, buffer);
    }
    if let Some(form) = &sticks.form {
        errand_form(form, look, area, buffer);
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

/// A column: its title, its width, and whether its texts stand at its right end.
type Column = (&'static str, usize, bool);

/// The columns for a table of this width. What a narrow one leaves out is below it, for the disk under the cursor.
fn columns(width: usize) -> Vec<Column> {
    let mut columns = vec![("disk", 8, false), ("what", 0, false), ("as sold", 9, true)];
    if width >= 74 {
        columns.extend([("binary", 9, true), ("bus", 7, false)]);
    }
    if width >= 110 {
        columns.extend([("serial", 14, false), ("on it now", 0, false)]);
    }
    columns.push(("can be written", 0, false));
    let fixed: usize = columns.iter().map(|(_, width, _)| width + 1).sum();
    let flexible = columns.iter().filter(|(_, width, _)| *width == 0).count();
    let rest = (width + 1).saturating_sub(2 + fixed);
    let mut left = rest;
    for (i, column) in columns
        .iter_mut()
        .filter(|column| column.1 == 0)
        .enumerate()
    {
        // What is cut first are the words at the end.
        column.1 = if i + 1 == flexible {
            left
        } else {
            rest / flexible
        };
        left -= column.1;
    }
    columns
}

fn cells(mark: &str, columns: &[Column], text: &dyn Fn(&'static str) -> String) -> String {
    let cells: Vec<String> = columns
        .iter()
        .map(|(title, width, right)| match right {
            true => fit_right(&text(title), *width),
            false => fit(&text(title), *width),
        })
        .collect();
    format!("{mark}{}", cells.join(" "))
}

fn table(sticks: &Sticks, look: Look, area: Rect, buffer: &mut Buffer) {
    let inner = panel("Sticks and disks", look, area, buffer);
    let width = usize::from(inner.width);
    let columns = columns(width);
    let head = cells("  ", &columns, &|title| title.to_owned());
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
        let text = cells(mark, &columns, &|title| match title {
            "disk" => disk.name.clone(),
            "what" => disk.title(),
            "as sold" => disk.size.decimal(),
            "binary" => disk.size.binary(),
            "bus" => disk.bus.to_string(),
            "serial" => disk.serial.clone().unwrap_or("-".into()),
            "on it now" => match &seen.now {
                Ok(now) if now.is_empty() => "nothing known".into(),
                Ok(now) => now.join(", "),
                Err(_) => "-".into(),
            },
            _ => word.clone(),
        });
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

fn standing(seen: &Seen, unmount: bool, look: Look) -> (String, Style) {
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

fn details(sticks: &Sticks, look: Look, area: Rect, buffer: &mut Buffer) {
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
        let bus = format!("{}, {}", crate::plan::target::describe(disk), disk.bus);
        say(&bus, look.strong());
        if let Some(against) = seen.against() {
            let (word, _) = standing(seen, sticks.unmount, look);
            let word = word.split(':').next().unwrap_or_default().to_owned();
            say(
                &format!("can be written: {word}: {against}"),
                look.warning(),
            );
        }
        let never = matches!(seen.standing, Standing::Never(_)) && !seen.unmount_lifts();
        match sticks.probes() {
            _ if never => {}
            Some(true) => say(
                "its size is probed before it is written; c leaves that out",
                Style::new(),
            ),
            _ => say(
                "its size is not probed before it is written; c has it probed",
                look.faint(),
            ),
        }
        match &seen.now {
            Ok(now) if now.is_empty() => say("nothing that is known", Style::new()),
            Ok(now) => {
                for line in now {
                    say(line, Style::new());
                }
            }
            Err(why) => {
                for part in &disk.partitions {
                    let line = format!("{}: {}", part.name, part.extent.len.binary());
                    say(&line, Style::new());
                }
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

/// The file that an errand needs.
fn errand_form(form: &Form, look: Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(8).min(64);
    let (title, label, text) = match form.errand.what {
        What::Extract(_) => (
            "Get the image back",
            "new file  ",
            "The image as it was before it was written, byte for byte, if the stick's record proves it. The file must not exist.",
        ),
        _ => (
            "Repair",
            "image  ",
            "The image that was written to the stick. First everything is read; before anything is written you are asked.",
        ),
    };
    let stick = super::text::start_of(&form.errand.words(), width);
    let mut lines = vec![Line::styled(stick, look.strong())];
    lines.extend(wrap(text, width, 0).into_iter().map(Line::from));
    let mut file = typed(label, &form.field.text, true, width, look);
    let pad = width.saturating_sub(file.width());
    file.push_span(format!("{:pad$}", ""));
    lines.push(file);
    boxed(title, lines, look.line(), look, area, buffer);
}

fn form(sticks: &Sticks, look: Look, area: Rect, buffer: &mut Buffer) {
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
