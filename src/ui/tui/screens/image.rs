// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first screen: a folder, and what the image under the cursor is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::browser::Browser;
use super::super::glyphs::Look;
use super::super::known::{Compared, Digest, ImageFacts, Memory};
use super::super::state::State;
use super::text::{columns, fit, wrap};
use super::{Key, first_shown, panel, row, split, typed};
use crate::disk::shown;

/// The keys of this screen.
pub fn keys(browser: &Browser) -> Vec<Key> {
    if browser.reading_facts.is_some() {
        return vec![
            ("Up/Down", "scroll", "move; also j and k, PgUp and PgDn"),
            ("Esc", "back", "back to the list; also Space and Enter"),
        ];
    }
    if browser.typing {
        return vec![
            ("Enter", "choose", "choose this image, or open this folder"),
            ("Esc", "all files", "show everything again"),
            ("Up/Down", "move", "move in the list"),
        ];
    }
    vec![
        ("Enter", "choose", "choose this image, or open this folder"),
        (
            "Up/Down",
            "move",
            "move in the list; also j and k, PgUp and PgDn",
        ),
        (
            "Space",
            "facts",
            "read all that is known of this image; compares it with its published digest",
        ),
        (
            "/",
            "filter",
            "show only names that contain what is typed; any other letter begins a filter too",
        ),
        (
            "Left",
            "folder up",
            "go to the folder above; also h and Backspace",
        ),
        (
            "Tab",
            "places",
            "go on to the next place where images may be: the working folder, downloads, mounted media",
        ),
        (
            ".",
            "other files",
            "show files that do not look like images too",
        ),
    ]
}

/// Draws it.
pub fn draw(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    if let Some(from) = state.browser.reading_facts {
        draw_facts(&state.browser, from, look, area, buffer);
        return;
    }
    let (list, facts) = split(area, 45, 8);
    draw_list(&state.browser, look, list, buffer);
    draw_facts(&state.browser, 0, look, facts, buffer);
}

fn draw_list(browser: &Browser, look: Look, area: Rect, buffer: &mut Buffer) {
    let title = shown(&browser.folder).to_string();
    let title = if title.is_empty() {
        "Images"
    } else {
        title.as_str()
    };
    let mut inner = panel(title, look, area, buffer);
    let width = usize::from(inner.width);
    if browser.typing || !browser.filter.text.is_empty() {
        let line = typed(
            "filter: ",
            &browser.filter.text,
            browser.typing,
            width,
            look,
        );
        line.render(row(inner, 0), buffer);
        inner.y += 1;
        inner.height = inner.height.saturating_sub(1);
    }
    let rows = browser.shown();
    let hidden = browser.hidden();
    let height = usize::from(inner.height);
    let say = |text: &str| -> Vec<Line<'static>> {
        let lines = wrap(text, width, 0).into_iter();
        lines.map(|line| Line::styled(line, look.faint())).collect()
    };
    let mut lines: Vec<Line<'_>> = Vec::new();
    match &browser.entries {
        Err(why) => lines = say(why),
        Ok(_) if browser.reading => lines = say("Looking for images ..."),
        Ok(_) if rows.is_empty() && !browser.filter.text.is_empty() => {
            lines = say("No name contains that.");
        }
        Ok(_) if rows.is_empty() => {
            lines = say(
                "There is no image in this folder. Tab goes on to the next place, Left to the folder above.",
            );
        }
        Ok(_) => {}
    }
    let note = hidden > 0 && height > 2 && rows.len() + 1 < height;
    let first = first_shown(browser.cursor, rows.len(), height);
    for (i, entry) in rows.iter().enumerate().skip(first).take(height) {
        let size = if entry.folder {
            String::new()
        } else {
            entry.size.decimal()
        };
        let name = if entry.folder {
            format!("{}/", entry.name)
        } else {
            entry.name.clone()
        };
        let here = i == browser.cursor;
        let mark = if here { look.cursor() } else { "  " };
        let room = width.saturating_sub(2 + 10);
        let text = format!("{mark}{} {size:>9}", fit(&name, room));
        let style = match (here, entry.folder, entry.is_image()) {
            (true, ..) => look.chosen(),
            (_, true, _) => look.line(),
            (_, _, true) => look.strong(),
            _ => look.faint(),
        };
        lines.push(Line::styled(text, style));
    }
    if note {
        let text = format!("  {hidden} other files; . shows them");
        lines.push(Line::styled(text, look.faint()));
    }
    Paragraph::new(lines).render(inner, buffer);
}

fn draw_facts(browser: &Browser, from: usize, look: Look, area: Rect, buffer: &mut Buffer) {
    let inner = panel("What it is", look, area, buffer);
    let width = usize::from(inner.width);
    let lines = match (browser.current(), browser.looked_at()) {
        (Some(entry), _) if entry.folder => {
            vec![Line::styled("A folder; Enter opens it.", look.faint())]
        }
        (Some(_), None) => vec![Line::styled("Looking at it ...", look.faint())],
        (Some(_), Some(Err(why))) => wrap(why, width, 0)
            .into_iter()
            .map(|line| Line::styled(line, look.warning()))
            .collect(),
        (Some(_), Some(Ok(facts))) => lines_of(facts, browser.published(), width, look),
        (None, _) => Vec::new(),
    };
    let height = usize::from(inner.height);
    let first = from.min(lines.len().saturating_sub(height));
    let more = lines.len().saturating_sub(first + height);
    let mut lines: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    if let (Some(last), 1..) = (lines.last_mut(), more) {
        let how = match browser.reading_facts {
            Some(_) => " below",
            None => "; Space shows them",
        };
        let text = format!("{} more lines{how}", more + 1);
        *last = Line::styled(text, look.faint());
    }
    Paragraph::new(lines).render(inner, buffer);
}

/// What matters first.
const ORDER: [&str; 12] = [
    "system", "volume", "image", "live", "digest", "can", "root", "check", "table", "boot",
    "initrd", "odd",
];

/// What was published of the image, and whether the image has it.
fn published(digest: Option<&Digest>, look: Look) -> Vec<(String, Style)> {
    let Some(digest) = digest else {
        return vec![("looking for it ...".into(), look.faint())];
    };
    let published = match &digest.published {
        Ok(published) => published,
        Err(why) => return vec![(why.clone(), look.danger())],
    };
    let (text, style) = match &digest.compared {
        Compared::Nothing => return vec![(published.to_string(), look.faint())],
        Compared::NotYet => ("not compared yet; Space compares".to_owned(), look.faint()),
        Compared::Going(percent) => (format!("comparing: {percent} %"), look.faint()),
        Compared::Equal => (format!("{} the image has it", look.done()), look.good()),
        Compared::Differs(_) => (
            format!("{} the image has another one", look.failed()),
            look.danger(),
        ),
        Compared::Failed(why) => (format!("not compared: {why}"), look.warning()),
    };
    let mut lines = vec![(text, style), (published.to_string(), Style::new())];
    if let Compared::Differs(why) = &digest.compared {
        lines.push((why.clone(), style));
    }
    lines
}

fn lines_of(
    facts: &ImageFacts,
    digest: Option<&Digest>,
    width: usize,
    look: Look,
) -> Vec<Line<'static>> {
    let mut groups: Vec<(&str, Vec<(String, Style)>)> = Vec::new();
    for (name, text) in &facts.lines {
        let text = (text.clone(), Style::new());
        match groups.last_mut() {
            Some((_, texts)) if name.is_empty() => texts.push(text),
            _ => groups.push((name, vec![text])),
        }
    }
    groups.push(("digest", published(digest, look)));
    // What stops a write is told before everything else.
    let stops = digest.is_some_and(|digest| {
        digest.published.is_err() || matches!(digest.compared, Compared::Differs(_))
    });
    let rank = |name: &str| match name {
        "digest" if stops => Some(0),
        name => ORDER
            .iter()
            .position(|known| *known == name)
            .map(|at| at + 1),
    };
    groups.sort_by_key(|(name, _)| rank(name).unwrap_or(ORDER.len() + 1));
    let mut lines = Vec::new();
    for (name, texts) in groups {
        let mut name = name;
        for (text, style) in texts {
            for (i, part) in wrap(&text, width.saturating_sub(8), 0)
                .into_iter()
                .enumerate()
            {
                let first = if i == 0 { name } else { "" };
                let pad = 8_usize.saturating_sub(columns(first));
                lines.push(Line::from(vec![
                    Span::styled(format!("{first}{:pad$}", ""), look.title()),
                    Span::styled(part, style),
                ]));
            }
            name = "";
        }
    }
    if facts.memory == Memory::Looking {
        lines.insert(0, Line::styled("Looking into its initrd ...", look.faint()));
    }
    lines
}
