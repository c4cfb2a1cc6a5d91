// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fifth screen: how far the whole job is, step by step, and how fast it went.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::errand::{Question, heading};
use super::super::glyphs::Look;
use super::super::job::{Job, Progress};
use super::text::{fit_right, start_of, wrap};
use super::{Key, boxed, panel, row, typed};
use crate::disk::shown;
use crate::event::{Task, Work};
use crate::report::StickState;
use crate::ui::pace::{duration, speed};

/// The keys of this screen.
pub fn keys(job: &Job) -> Vec<Key> {
    let write = job.origin.task() == Task::Write;
    if job.asking {
        let stop = if write {
            "stop writing; the stick is left blank"
        } else {
            "stop"
        };
        return vec![
            ("y", "stop", stop),
            ("n", "go on", if write { "go on writing" } else { "go on" }),
        ];
    }
    if job.question.is_some() {
        return vec![
            ("Enter", "write", "write, if the word is right"),
            ("Up/Down", "scroll", "read all of what would be written"),
            ("Esc", "no", "stop; nothing is written"),
        ];
    }
    let stop = if write {
        "stop writing; asks first. Also q and Ctrl-C"
    } else {
        "stop; asks first. Also q and Ctrl-C"
    };
    vec![("Esc", "stop", stop)]
}

/// Hundredths of the whole job that are done.
pub fn percent(job: &Job) -> u64 {
    job.done.0.saturating_mul(100) / job.total.0.max(1)
}

/// Draws it.
pub fn draw(job: &Job, now: Instant, look: Look, area: Rect, buffer: &mut Buffer) {
    let (path, description) = job.origin.target();
    let title = match job.origin.task() {
        Task::Write => format!("{path}, {description}"),
        task => format!("{}: {path}, {description}", heading(task)),
    };
    let inner = panel(&title, look, area, buffer);
    gauge(job, look, row(inner, 0), buffer);
    let numbers = numbers(job, now, usize::from(inner.width));
    Line::from(numbers).render(row(inner, 1), buffer);
    let steps = u16::try_from(job.steps().len()).unwrap_or(6).min(10);
    let place = Rect {
        y: inner.y + 2,
        height: steps.min(inner.height.saturating_sub(2)),
        ..inner
    };
    draw_steps(job, look, place, buffer);
    let messages = messages(job, now, usize::from(inner.width), look);
    let below = u16::try_from(messages.len()).unwrap_or(0);
    let from = place.y + place.height;
    let rest = (inner.y + inner.height).saturating_sub(from);
    let below = below.min(rest);
    let place = Rect {
        x: area.x,
        y: from,
        width: area.width,
        height: rest - below,
    };
    graph(job, look, place, buffer);
    let place = Rect {
        y: from + rest - below,
        height: below,
        ..inner
    };
    Paragraph::new(messages).render(place, buffer);
    if job.asking {
        ask(job, look, area, buffer);
    } else if let Some(question) = &job.question {
        draw_question(question, job.origin.task(), look, area, buffer);
    }
}

fn gauge(job: &Job, look: Look, area: Rect, buffer: &mut Buffer) {
    let percent = percent(job);
    let width = usize::from(area.width).saturating_sub(6);
    let full = usize::try_from(percent).unwrap_or(0).min(100) * width / 100;
    Line::from(vec![
        Span::styled(look.full().repeat(full), look.good()),
        Span::styled(look.empty().repeat(width - full), look.faint()),
        Span::styled(format!(" {percent:>3} %"), look.strong()),
    ])
    .render(area, buffer);
}

/// What is known in numbers, as much of it as fits.
fn numbers(job: &Job, now: Instant, width: usize) -> String {
    if !job.begun {
        return match job.origin.task() {
            Task::Write => "The writer is being started ...",
            _ => "Looking at the stick ...",
        }
        .into();
    }
    let mut text = format!("{} of {}", job.done.binary(), job.total.binary());
    let rate = job.pace.rate(job.done, now).filter(|_| !is_format(job));
    let left = job.pace.left(job.step, job.done, now);
    let since = now.saturating_duration_since(job.since);
    let more = [
        rate.map(speed),
        left.map(|left| format!("about {} left", duration(left))),
        Some(format!("{} so far", duration(since))),
    ];
    for part in more.into_iter().flatten() {
        if text.len() + part.len() + 2 <= width {
            text = format!("{text}, {part}");
        }
    }
    text
}

fn is_format(job: &Job) -> bool {
    matches!(job.work(), Some(Work::Format { .. }))
}

/// The steps. Where there is no room for all, those at the end: from the one on that shows the one at work and the next.
fn draw_steps(job: &Job, look: Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let begun = |progress: &Progress| !matches!(progress, Progress::ToCome);
    let begun = job.progress.iter().rposition(begun).map_or(0, |at| at + 1);
    let shown = (begun + 1).min(job.steps().len());
    let lines: Vec<Line<'_>> = job
        .steps()
        .iter()
        .zip(&job.progress)
        .enumerate()
        .skip(shown.saturating_sub(usize::from(area.height)))
        .map(|(i, (step, progress))| {
            let (mark, word, style) = match progress {
                Progress::Done => (look.done(), "done", look.good()),
                Progress::AtWork => (look.at_work(), "at work", look.strong()),
                Progress::ToCome => (look.to_come(), "", look.faint()),
            };
            let title = start_of(
                &format!("{}. {}", i + 1, step.title),
                width.saturating_sub(11),
            );
            let pad = width.saturating_sub(super::text::columns(&title) + 2);
            let text = format!("{mark} {title}{}", fit_right(word, pad));
            Line::styled(text, style)
        })
        .collect();
    Paragraph::new(lines).render(area, buffer);
}

/// Notes of the job, and that nothing moves where something should.
fn messages(job: &Job, now: Instant, width: usize, look: Look) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut say = |text: &str, style: Style| {
        let wrapped = wrap(text, width, 2).into_iter();
        lines.extend(wrapped.map(|line| Line::styled(line, style)));
    };
    if job.stopping {
        let text = match job.origin.task() {
            Task::Probe if job.work() == Some(Work::Probe) => "Stopping: taking the marks back ...",
            Task::Write | Task::Probe => {
                "Stopping: waiting for the last piece, and blanking what was begun ..."
            }
            _ => "Stopping: waiting for the last piece ...",
        };
        say(text, look.warning());
    } else if let Some(quiet) = job.stalled(now) {
        let text = format!(
            "Nothing moved for {}: the stick is busy with itself. That is usual; leave it plugged in.",
            duration(quiet)
        );
        say(&text, look.warning());
    } else if is_format(job) {
        say(
            "Making a filesystem moves few bytes and takes its time.",
            look.faint(),
        );
    }
    for note in job.notes.iter().rev().take(3).rev() {
        say(&format!("note: {note}"), Style::new());
    }
    lines
}

/// The rate over time, from the beginning to now.
fn graph(job: &Job, look: Look, area: Rect, buffer: &mut Buffer) {
    if area.height < 3 {
        return;
    }
    let rates = &job.samples.rates;
    let top = rates.iter().copied().fold(0.0, f64::max);
    let title = if top > 0.0 {
        format!(
            "Rate over {}, up to {}",
            duration(job.samples.span()),
            speed(top)
        )
    } else {
        "Rate".into()
    };
    let inner = panel(&title, look, area, buffer);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let heights = look.heights();
    let levels = heights.len() - 1;
    let columns = columns_of(rates, width);
    for (x, rate) in columns.iter().enumerate() {
        let mut level = eighths(*rate, top, height * levels);
        // A stretch in which something moved is never drawn as one in which nothing did.
        if *rate > 0.0 {
            level = level.max(1);
        }
        for y in 0..height {
            let here = level.saturating_sub(y * levels).min(levels);
            let (Ok(x), Ok(up)) = (u16::try_from(x), u16::try_from(y + 1)) else {
                continue;
            };
            if let Some(cell) = buffer.cell_mut((inner.x + x, inner.y + inner.height - up)) {
                cell.set_symbol(heights[here]).set_style(look.good());
            }
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a height in a picture of a few rows"
)]
fn eighths(rate: f64, top: f64, levels: usize) -> usize {
    if top <= 0.0 {
        return 0;
    }
    (rate / top * levels as f64).round() as usize
}

/// As many rates as there are columns at most, several put together where there are more.
fn columns_of(rates: &[f64], width: usize) -> Vec<f64> {
    if width == 0 {
        return Vec::new();
    }
    let each = rates.len().div_ceil(width).max(1);
    rates
        .chunks(each)
        .map(|chunk| chunk.iter().sum::<f64>() / count(chunk.len()))
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "a count of some samples")]
fn count(len: usize) -> f64 {
    len.max(1) as f64
}

fn ask(job: &Job, look: Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(8).min(60);
    let task = job.origin.task();
    let state = match job.work() {
        Some(Work::CheckImage) => StickState::Untouched,
        _ if matches!(task, Task::Verify | Task::Extract) => StickState::Untouched,
        Some(Work::Rewrite) => StickState::Partly,
        Some(Work::ReadBack) if task == Task::Repair => StickState::Partly,
        _ if task == Task::Repair => StickState::Untouched,
        None | Some(Work::Blank) if !job.begun => StickState::Untouched,
        Some(Work::Probe) => StickState::Restored,
        Some(Work::FirstMib) => StickState::Unknown,
        _ => StickState::Blank,
    };
    let text = match state {
        StickState::Untouched if task == Task::Extract => {
            "No file is left behind then; the stick is only read."
        }
        StickState::Untouched if task == Task::Verify => {
            "The stick is only read; it can be verified again at any time."
        }
        StickState::Untouched => "Nothing was written yet.",
        StickState::Restored => {
            "If you stop now, all marks are taken back: the stick will be as it was."
        }
        StickState::Partly => {
            "If you stop now, the stick will be repaired in part; it can be repaired again."
        }
        StickState::Unknown => {
            "The last step is at work: if it is stopped now, write the stick again."
        }
        _ => {
            "If you stop now, the stick will be blank: it has no partition table then and does not boot."
        }
    };
    let mut lines: Vec<Line<'_>> = wrap(text, width, 0).into_iter().map(Line::from).collect();
    lines.push(Line::default());
    lines.push(Line::from(vec![
        Span::styled("y", look.key()),
        Span::raw(" stop    "),
        Span::styled("n", look.key()),
        Span::raw(if task == Task::Write {
            " go on writing"
        } else {
            " go on"
        }),
    ]));
    let title = if task == Task::Write {
        "Stop writing?"
    } else {
        "Stop?"
    };
    boxed(title, lines, look.danger(), look, area, buffer);
}

/// Width of the names in a plan's lines.
const NAME: usize = 11;

/// What a job asks before it writes.
fn draw_question(question: &Question, task: Task, look: Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(8).min(76);
    let target = &question.target;
    let mut lines: Vec<Line<'static>> = Vec::new();
    let head = format!("{}: {}", shown(&target.path), target.description);
    let head = wrap(&head, width, 2).into_iter();
    lines.extend(head.map(|line| Line::styled(line, look.strong())));
    for point in &target.unmount {
        let text = format!("{} will be unmounted", shown(point));
        let wrapped = wrap(&text, width, 2).into_iter();
        lines.extend(wrapped.map(|line| Line::styled(line, look.warning())));
    }
    let what: Vec<String> = question
        .what
        .lines()
        .flat_map(|line| {
            // Lines with a name, as a plan has them.
            let named = line.get(9..NAME) == Some("  ");
            wrap(line, width, if named { NAME } else { 0 })
        })
        .collect();
    // The question itself must be in sight.
    let room = usize::from(area.height)
        .saturating_sub(lines.len() + 4)
        .max(1);
    let first = question.scroll.min(what.len().saturating_sub(room));
    let more = what.len().saturating_sub(first + room);
    for (i, line) in what.into_iter().skip(first).take(room).enumerate() {
        if i + 1 == room && more > 0 {
            let text = format!("{} more lines; Down shows them", more + 1);
            lines.push(Line::styled(text, look.faint()));
        } else {
            lines.push(Line::from(line));
        }
    }
    lines.push(Line::from(vec![
        Span::raw("Type "),
        Span::styled(question.word(), look.strong()),
        Span::raw(" and press Enter; Esc goes back."),
    ]));
    lines.push(typed("> ", &question.field.text, true, width, look));
    let title = match task {
        Task::Repair => "Write this again?",
        _ => "Write marks to it, and take them back?",
    };
    boxed(title, lines, look.danger(), look, area, buffer);
}
