// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drawing: each screen from the state, which is not changed by it. What all screens share is here: the way at the
//! top, the keys at the bottom, the notice above them, help, and questions in a box.

mod image;
mod persistence;
mod report;
mod review;
mod stick;
mod text;
mod writing;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Widget};

use super::glyphs::Look;
use super::state::{Screen, State};
use crate::doctor::{Checkup, Finding};
use crate::event::Task;
use text::wrap;

/// The smallest window in which nothing essential is cut.
pub const SMALLEST: (u16, u16) = (60, 16);
/// From this width on two panels stand side by side.
const WIDE: u16 = 76;

/// A key: how it is written, a word for the footer, and a sentence for the help.
pub type Key = (&'static str, &'static str, &'static str);

/// Draws everything.
pub fn draw(state: &State, look: Look, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(state, area, buffer);
    } else {
        whole(state, look, area, buffer);
    }
    look.flatten(buffer);
}

fn too_small(state: &State, area: Rect, buffer: &mut Buffer) {
    let mut lines = vec![
        format!(
            "This window has {} x {} characters;",
            area.width, area.height
        ),
        format!("livestick needs {} x {}.", SMALLEST.0, SMALLEST.1),
        "Please make it larger.".to_owned(),
    ];
    if let Screen::Writing(job) = &state.screen {
        let what = match job.origin.task() {
            Task::Write => "writing",
            _ => "work",
        };
        lines.push(format!("The {what} goes on: {} %.", writing::percent(job)));
    }
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    Paragraph::new(lines).render(area, buffer);
}

fn whole(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    way(state, look, row(area, 0), buffer);
    let last = area.height - 1;
    footer(state, look, row(area, last), buffer);
    let notice = notice(state, look, area.width);
    let room = u16::try_from(notice.len()).unwrap_or(0).min(4);
    let body = Rect {
        y: area.y + 1,
        height: last - 1 - room,
        ..area
    };
    match &state.screen {
        Screen::Image => image::draw(state, look, body, buffer),
        Screen::Stick => stick::draw(state, look, body, buffer),
        Screen::Persistence => persistence::draw(state, look, body, buffer),
        Screen::Review(review) => review::draw(review, look, body, buffer),
        Screen::Writing(job) => writing::draw(job, state.now, look, body, buffer),
        Screen::Report(ended) => report::draw(ended, state, look, body, buffer),
    }
    let place = Rect {
        y: last - room,
        height: room,
        ..area
    };
    Paragraph::new(notice).render(place, buffer);
    if state.help {
        help(state, look, area, buffer);
    }
}

fn row(area: Rect, y: u16) -> Rect {
    Rect {
        y: area.y + y.min(area.height.saturating_sub(1)),
        height: 1.min(area.height),
        ..area
    }
}

/// The steps of the way, the one at hand marked.
fn way(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let at = state.screen.number();
    let mut spans = Vec::new();
    if area.width >= 90 {
        spans.push(Span::styled(" livestick ", look.title()));
        spans.push(Span::styled(look.bar(), look.line()));
    }
    let wide = area.width >= 80;
    for (i, name) in state.way().iter().enumerate() {
        if i > 0 {
            let between = if wide { look.then() } else { " " };
            spans.push(Span::styled(between, look.line()));
        } else {
            spans.push(Span::raw(" "));
        }
        let style = match i {
            i if i == at => look.chosen().patch(look.strong()),
            i if i < at => look.good(),
            _ => look.faint(),
        };
        let text = if i == at {
            format!("[{} {name}]", i + 1)
        } else {
            format!("{} {name}", i + 1)
        };
        spans.push(Span::styled(text, style));
    }
    Line::from(spans).render(area, buffer);
}

fn keys(state: &State) -> Vec<Key> {
    let mut keys = match &state.screen {
        Screen::Image => image::keys(&state.browser),
        Screen::Stick => stick::keys(&state.sticks),
        Screen::Persistence => persistence::keys(state),
        Screen::Review(review) => review::keys(review),
        Screen::Writing(job) => writing::keys(job),
        Screen::Report(ended) => report::keys(ended),
    };
    if !state.is_writing() && !state.is_typing() {
        keys.push(("q", "quit", "leave livestick"));
    }
    keys
}

/// What is possible, as much of it as fits, the help always.
fn footer(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let help = if state.is_typing() { "F1" } else { "?" };
    let mut spans = Vec::new();
    let mut left = usize::from(area.width).saturating_sub(help.len() + 7);
    for (key, word, _) in keys(state).iter().filter(|(_, word, _)| !word.is_empty()) {
        let need = Line::from(*key).width() + word.len() + 3;
        if need > left {
            break;
        }
        left -= need;
        spans.push(Span::styled(format!(" {key}"), look.key()));
        spans.push(Span::raw(format!(" {word} ")));
    }
    spans.push(Span::styled(format!(" {help}"), look.key()));
    spans.push(Span::raw(" keys "));
    Line::from(spans).render(area, buffer);
}

fn notice(state: &State, look: Look, width: u16) -> Vec<Line<'static>> {
    let text = match (&state.notice, state.planning) {
        (Some(text), _) => text.clone(),
        (None, Some(_)) => "Planning: looking at the image and the stick ...".into(),
        (None, None) => return Vec::new(),
    };
    wrap(&text, usize::from(width).saturating_sub(3), 0)
        .into_iter()
        .map(|line| Line::styled(format!(" {line}"), look.warning()))
        .collect()
}

/// The keys of the screen, in a box.
fn help(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let mut rows: Vec<Key> = keys(state);
    rows.push((
        "Ctrl-Z",
        "",
        "stop livestick; the shell's fg brings it back",
    ));
    rows.push(("Ctrl-C", "", "leave livestick"));
    let wide = rows.iter().map(|(key, ..)| Line::from(*key).width()).max();
    let wide = wide.unwrap_or(0);
    let room = usize::from(area.width).saturating_sub(wide + 8).min(64);
    let mut lines = Vec::new();
    for (key, _, sentence) in rows {
        for (i, line) in wrap(sentence, room, 0).into_iter().enumerate() {
            let key = if i == 0 { key } else { "" };
            let pad = wide - Line::from(key).width();
            lines.push(Line::from(vec![
                Span::styled(format!("{key}{:pad$}  ", ""), look.key()),
                Span::raw(line),
            ]));
        }
    }
    if let Some(checkup) = &state.checkup {
        lines.push(Line::default());
        let told = machine(
            checkup,
            usize::from(area.height).saturating_sub(lines.len() + 2),
        );
        for text in told {
            lines.extend(wrap(&text, room + wide + 2, 2).into_iter().map(Line::raw));
        }
    }
    let title = format!("Keys: {}", state.way()[state.screen.number()]);
    boxed(&title, lines, look.line(), look, area, buffer);
}

/// What `livestick doctor` finds missing, in not many more than `rows` lines: what is needed with its cost, the rest by name.
fn machine(checkup: &Checkup, rows: usize) -> Vec<String> {
    let missing = checkup.missing();
    let (needed, spare): (Vec<_>, Vec<_>) = missing.into_iter().partition(|one| one.needed);
    let mut told = Vec::new();
    if needed.len() > rows / 2 {
        told.push(format!(
            "Missing here for overlay and /home: {}",
            names(&needed)
        ));
    } else {
        for one in needed {
            told.push(format!(
                "Missing here: {}. Without it: {}",
                one.what, one.cost
            ));
        }
    }
    if told.is_empty() {
        told.push("This machine has all that overlay and /home need.".into());
    }
    if !spare.is_empty() {
        told.push(format!("Missing here, and not needed: {}", names(&spare)));
    }
    if told.len() > 1 || !checkup.ready {
        told.push("`livestick doctor` tells what that costs.".into());
    }
    told
}

fn names(findings: &[&Finding]) -> String {
    let names: Vec<&str> = findings.iter().map(|one| one.what.as_str()).collect();
    names.join(", ")
}

/// A box in the middle.
fn boxed(
    title: &str,
    lines: Vec<Line<'_>>,
    frame: Style,
    look: Look,
    area: Rect,
    buffer: &mut Buffer,
) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let widest = widest.max(Line::from(title).width() + 2);
    let width = u16::try_from(widest + 4)
        .unwrap_or(area.width)
        .min(area.width);
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(area.height)
        .min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(place, buffer);
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(look.border())
        .border_style(frame)
        .title(Span::styled(format!(" {title} "), look.title()));
    let inner = block.inner(place);
    block.render(place, buffer);
    let inner = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    Paragraph::new(lines).render(inner, buffer);
}

/// A panel: a line with a title, and what is below it.
fn panel(title: &str, look: Look, area: Rect, buffer: &mut Buffer) -> Rect {
    let width = usize::from(area.width);
    let title = text::end_of(title, width.saturating_sub(6));
    let rest = width.saturating_sub(Line::from(title.as_str()).width() + 4);
    let line = Line::from(vec![
        Span::styled(look.rule().repeat(2), look.line()),
        Span::styled(format!(" {title} "), look.title()),
        Span::styled(look.rule().repeat(rest), look.line()),
    ]);
    line.render(row(area, 0), buffer);
    Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(1),
    }
}

/// Two panels: side by side where there is room, else one above the other, `share` percent for the first and at
/// least `below` rows for the second.
fn split(area: Rect, share: u16, below: u16) -> (Rect, Rect) {
    if area.width >= WIDE {
        let left = area.width * share / 100;
        let first = Rect {
            width: left,
            ..area
        };
        let second = Rect {
            x: area.x + left + 1,
            width: area.width - left - 1,
            ..area
        };
        return (first, second);
    }
    stacked(area, below)
}

/// Two panels, one above the other: `below` rows for the second.
fn stacked(area: Rect, below: u16) -> (Rect, Rect) {
    let below = below.min(area.height);
    let first = Rect {
        height: area.height - below,
        ..area
    };
    let second = Rect {
        y: area.y + area.height - below,
        height: below,
        ..area
    };
    (first, second)
}

/// The first row of a list that is shown, so that the cursor is always in sight, in the middle where it can be.
fn first_shown(cursor: usize, rows: usize, height: usize) -> usize {
    cursor
        .saturating_sub(height / 2)
        .min(rows.saturating_sub(height))
}

/// A line of text that is typed, with its cursor; the end of it where it is too long.
fn typed(label: &str, text: &str, active: bool, width: usize, look: Look) -> Line<'static> {
    let room = width.saturating_sub(Line::from(label).width() + 2);
    let text = text::end_of(text, room);
    let mut spans = vec![Span::raw(label.to_owned())];
    if active {
        spans.push(Span::styled(text, look.strong()));
        spans.push(Span::styled(" ", look.chosen()));
    } else {
        spans.push(Span::raw(text));
    }
    Line::from(spans)
}
