// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last screen: what was proven and how, or what went wrong and what the stick is now.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::ended::Ended;
use super::super::glyphs::Look;
use super::super::state::State;
use super::text::wrap;
use super::{Key, boxed, panel, typed};
use crate::chain::{Holds, Link};
use crate::diagnosis::Cure;
use crate::disk::shown;
use crate::event::Task;
use crate::report::{Exit, Failure, ReadBack, Report, StickState, Verdict};
use crate::ui::pace::duration;

/// The keys of this screen.
pub fn keys(ended: &Ended) -> Vec<Key> {
    if ended.saving.is_some() {
        return vec![
            (
                "Enter",
                "save",
                "save the report to this file, which must not exist",
            ),
            ("Esc", "back", "do not save it"),
        ];
    }
    vec![
        ("s", "save", "save this report to a file"),
        match ended.task {
            Task::Write => (
                "w",
                "write another",
                "write another stick with the same image and sizes; also Esc",
            ),
            _ => ("w", "sticks", "back to the table of sticks; also Esc"),
        },
        ("Up/Down", "scroll", "move; also j and k, PgUp and PgDn"),
    ]
}

/// Draws it.
pub fn draw(ended: &Ended, state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let title = title(ended);
    let inner = panel(title, look, area, buffer);
    let width = usize::from(inner.width);
    let mut page = Page {
        lines: Vec::new(),
        width,
        look,
    };
    match &ended.result {
        Ok(report) => page.report(report, ended),
        Err(failure) => page.failure(failure, ended),
    }
    for note in &ended.notes {
        page.row("note", note, Style::new());
    }
    if let Some(log) = &state.log {
        page.row("log", &shown(log).to_string(), look.faint());
    }
    let height = usize::from(inner.height);
    let first = ended.scroll.min(page.lines.len().saturating_sub(height));
    let more = page.lines.len().saturating_sub(first + height);
    let mut lines: Vec<Line<'_>> = page.lines.into_iter().skip(first).take(height).collect();
    if let (Some(last), 1..) = (lines.last_mut(), more) {
        *last = Line::styled(format!("{} more lines below", more + 1), look.faint());
    }
    Paragraph::new(lines).render(inner, buffer);
    if let Some(field) = &ended.saving {
        let width = usize::from(area.width).saturating_sub(8).min(60);
        let line = typed("file  ", &field.text, true, width, look);
        boxed(
            "Save the report",
            vec![line],
            look.line(),
            look,
            area,
            buffer,
        );
    }
}

fn title(ended: &Ended) -> &'static str {
    let report = match &ended.result {
        Ok(report) => report,
        Err(failure) if failure.exit == Exit::Cancelled => return "Stopped",
        Err(_) => {
            return match ended.task {
                Task::Write => "Not written",
                Task::Verify => "Not verified",
                Task::Repair => "Not repaired",
                Task::Extract => "No image",
                Task::Probe => "Not probed",
                Task::Reset => "Not reset",
                Task::Detach => "Not detached",
            };
        }
    };
    let well = report.exit == Exit::Verified;
    match (ended.task, well) {
        (Task::Write, true) => "Written and verified",
        (Task::Write, false) => "Written, not verified",
        (Task::Verify, true) => "Verified",
        (Task::Verify, false) => "Not as it should be, or not proven",
        (Task::Repair, true) => "Repaired and verified",
        (Task::Repair, false) => "Not cured, or not proven",
        (Task::Extract, _) => "The image is back",
        (Task::Probe, true) => "It has the size it claims",
        (Task::Probe, false) => "Not the size it claims, or not proven",
        (Task::Reset, true) => "Reset",
        (Task::Detach, true) => "Detached from its seed",
        (Task::Reset | Task::Detach, false) => "Done, and not as it should be, or not proven",
    }
}

/// So many damaged ranges are shown.
const TOLD: usize = 20;

struct Page {
    lines: Vec<Line<'static>>,
    width: usize,
    look: Look,
}

impl Page {
    fn row(&mut self, name: &str, text: &str, style: Style) {
        let parts = wrap(text, self.width.saturating_sub(11), 0);
        for (i, part) in parts.into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            self.lines.push(Line::from(vec![
                Span::styled(format!("{name:<11}"), self.look.title()),
                Span::styled(part, style),
            ]));
        }
    }

    fn report(&mut self, report: &Report, ended: &Ended) {
        let look = self.look;
        let plain = Style::new();
        self.row("stick", &report.stick, plain);
        if let Some(image) = &report.image {
            self.row("image", image, plain);
        }
        // What it all means comes first, for the chain is long.
        if let Some(verdict) = &report.diagnosis {
            self.row("verdict", &verdict.says, look.strong());
            self.row("next", &verdict.next, plain);
            let curable = report.damage.iter().any(|damage| damage.cure != Cure::None);
            if ended.task == Task::Verify && curable {
                self.row("", "here: w for the table of sticks, then r", plain);
            }
        }
        for damage in report.damage.iter().take(TOLD) {
            let text = format!("{} {damage}", look.failed());
            self.row("damage", &text, look.danger());
        }
        if report.damage.len() > TOLD {
            let more = format!("and {} more", report.damage.len() - TOLD);
            self.row("", &more, look.danger());
        }
        if let Some(published) = &report.published {
            self.row("digest", &published.to_string(), plain);
        }
        if let Some(capacity) = &report.capacity {
            self.row("capacity", &capacity.sentence(), Style::new());
        }
        if let Some(back) = &report.read_back {
            self.read_back(back);
        }
        for (i, link) in report.further_links().enumerate() {
            self.link(if i == 0 { "chain" } else { "" }, link);
        }
        for made in &report.made {
            let text = format!(
                "{} {} {}, checked by {}",
                look.done(),
                made.size.binary(),
                made.filesystem,
                made.checked_by
            );
            self.row(&made.purpose, &text, look.good());
        }
        for (i, line) in report.boot.iter().enumerate() {
            self.row(if i == 0 { "boot" } else { "" }, line, plain);
        }
        if report.diagnosis.is_none() {
            self.row("next", next_step(report, ended), plain);
        }
        for note in &report.notes {
            self.row("note", note, plain);
        }
        let seconds = std::time::Duration::try_from_secs_f64(report.seconds);
        self.row("time", &duration(seconds.unwrap_or_default()), plain);
    }

    fn link(&mut self, name: &str, link: &Link) {
        let look = self.look;
        let (mark, style) = match link.holds {
            Holds::Proven => (look.done(), look.good()),
            Holds::Unproven => (look.failed(), look.warning()),
            Holds::Broken => (look.failed(), look.danger()),
            Holds::NotClaimed => (look.to_come(), look.faint()),
        };
        let text = format!("{mark} {}: {}, {}", link.name, link.holds, link.result);
        self.row(name, &text, style);
        if !link.how.is_empty() {
            self.row("", &format!("  {}", link.how), Style::new());
        }
    }

    fn read_back(&mut self, back: &ReadBack) {
        let look = self.look;
        let (mark, style, equal) = match &back.verdict {
            Verdict::Verified { .. } => (look.done(), look.good(), "identical to the image"),
            Verdict::NotVerified { .. } => (
                look.failed(),
                look.warning(),
                "what was read equals the image",
            ),
        };
        match &back.verdict {
            Verdict::Verified { proof } => {
                let text = format!(
                    "{mark} verified: {} bytes read back from the medium, past the caches",
                    back.bytes.grouped()
                );
                self.row("medium", &text, style);
                self.row("  how", proof, Style::new());
            }
            Verdict::NotVerified { reason } => {
                self.row("medium", &format!("{mark} not verified: {reason}"), style);
            }
        }
        let equal = match back.ranges {
            0 => format!("{mark} {equal}, byte for byte"),
            ranges => format!(
                "{mark} {equal} except {ranges} {}, {} bytes: {}",
                if ranges == 1 { "range" } else { "ranges" },
                back.changed.grouped(),
                back.reasons.join(", ")
            ),
        };
        self.row("contents", &equal, style);
        self.row("  sha256", &back.restored, Style::new());
    }

    fn failure(&mut self, failure: &Failure, ended: &Ended) {
        let look = self.look;
        self.row("stick", &ended.target, Style::new());
        let what = format!("{} {}", look.failed(), failure.message);
        self.row("what", &what, look.danger());
        self.row(
            "the stick",
            &format!("{}.", capital(&failure.state.to_string())),
            look.warning(),
        );
        let next = match (failure.exit, failure.state) {
            (Exit::NotVerified, StickState::Untouched) => {
                "press w for the table of sticks; v verifies this one, and r repairs it"
            }
            (_, StickState::Partly) => "press w, and repair it again with r, or write it again",
            (Exit::Counterfeit, _) => "return it, and press w to choose another one",
            (_, StickState::Untouched | StickState::Restored) => {
                "nothing has to be repaired; press w to choose again"
            }
            (Exit::Cancelled, _) => "press w to write it after all; until then it holds nothing",
            (Exit::NotVerified, _) => {
                "press w to write it again; if it fails again, take another stick: this one does not keep what it is given"
            }
            _ => {
                "see that the stick is plugged in firmly and not full or worn out, then press w to write it again, or another one"
            }
        };
        self.row("next", next, Style::new());
    }
}

fn next_step(report: &Report, ended: &Ended) -> &'static str {
    match (ended.task, report.exit) {
        (Task::Extract, _) => "the file can be written to other sticks",
        (Task::Probe, Exit::Verified) => "it can be written; press w for the table of sticks",
        (Task::Probe, Exit::Counterfeit) => "return it, and press w to choose another one",
        (Task::Probe, _) => "press w for the table of sticks",
        _ if ended.disk => {
            "pull the stick out, plug it into the machine to start, and choose it in its boot menu (often F12, F10 or Esc)"
        }
        _ => "start it as the disk of a virtual machine, or write it to sticks as it is",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
