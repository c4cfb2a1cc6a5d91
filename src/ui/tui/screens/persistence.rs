// SPDX-License-Identifier: MIT OR Apache-2.0
//! The third screen: how large the overlay and /home shall be, with the stick drawn to scale.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::super::amounts::{Amounts, Layout, PLACES, PRESETS, Place};
use super::super::glyphs::Look;
use super::super::known::{ImageFacts, Memory, Seed};
use super::super::room::Room;
use super::super::state::State;
use super::super::sticks::Target;
use super::text::{end_of, start_of, wrap};
use super::{Key, panel};
use crate::plan::layout::{Purpose, Slot};
use crate::request::Size;
use crate::ui::pace::{READ_FASTER, duration, float, speed};
use crate::units::Bytes;

/// The keys of this screen.
pub fn keys(state: &State) -> Vec<Key> {
    if state.amounts.typed.is_some() {
        return vec![
            (
                "Enter",
                "take",
                "take this size: 4GiB, 800MiB, 8GB, rest; 0 for none",
            ),
            ("Esc", "leave it", "leave the size as it was"),
        ];
    }
    let mut keys = vec![(
        "Enter",
        "plan",
        "make the plan and review it; nothing is written yet",
    )];
    match state.amounts.place() {
        Place::Size(_) => keys.extend([
            (
                "Left/Right",
                "size",
                "a little less, a little more; also h and l",
            ),
            (
                "PgUp/PgDn",
                "more/less",
                "much more, much less; also Shift with Left and Right",
            ),
            ("0-9", "type", "type a size: 4GiB, 800MiB, 8GB, rest"),
            ("r", "rest", "take all that is left"),
            ("x", "none", "do without it"),
        ]),
        Place::Arguments => keys.push((
            "letters",
            "type",
            "type kernel arguments, for every entry that starts the live system",
        )),
        _ => keys.push((
            "Left/Right",
            "change",
            "change what is chosen; also h and l",
        )),
    }
    keys.push(("Up/Down", "field", "go to another field; also j and k, Tab"));
    keys.push(("Esc", "back", "back to the sticks"));
    keys
}

/// Draws it.
pub fn draw(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let (Some(image), Some(target), Some(room)) = (&state.image, &state.target, state.room())
    else {
        return;
    };
    let title = format!("{} on {}", image.name, target.path.display());
    let inner = panel(&title, look, area, buffer);
    let width = usize::from(inner.width);
    let roomy = inner.height >= 18;
    let layout = state.amounts.layout(&room);
    let mut lines = Vec::new();
    let gap = |lines: &mut Vec<Line<'static>>| {
        if roomy {
            lines.push(Line::default());
        }
    };
    gap(&mut lines);
    lines.extend(fields(&state.amounts, &room, &layout, width, look));
    gap(&mut lines);
    lines.extend(verdict(state, image, &room, &layout, width, look));
    gap(&mut lines);
    lines.extend(picture(image, target, &room, &layout, width, look, roomy));
    gap(&mut lines);
    lines.extend(time(state, image, &layout, width, look));
    Paragraph::new(lines).render(inner, buffer);
}

fn fields(
    amounts: &Amounts,
    room: &Room,
    layout: &Layout,
    width: usize,
    look: Look,
) -> Vec<Line<'static>> {
    let possible = !room.mountable.is_empty();
    let mut lines = Vec::new();
    for (i, place) in PLACES.iter().enumerate() {
        let here = amounts.focus == i;
        let (label, value) = match place {
            Place::Preset => (
                "persistence",
                amounts
                    .preset
                    .and_then(|preset| PRESETS.get(preset))
                    .map_or("sizes as below".into(), |name| {
                        name.replace("overlay", amounts.label(Purpose::Overlay))
                    }),
            ),
            Place::Size(what) => (amounts.label(*what), size_of(amounts, *what, room, layout)),
            Place::Fs(what) => ("  filesystem", filesystem(amounts, *what, room)),
            Place::Encrypted => (
                "  encrypted",
                match (amounts.encrypted, amounts.home.size) {
                    (true, Some(_)) => "yes, with a passphrase (LUKS2)".into(),
                    (true, None) => "yes, once /home has a size".into(),
                    (false, _) => "no".into(),
                },
            ),
            Place::Arguments => ("arguments", amounts.arguments.text.clone()),
        };
        let idle = !possible && *place != Place::Arguments
            || matches!(place, Place::Fs(what) if amounts.part(*what).size.is_none())
            || *place == Place::Encrypted
                && (amounts.home.size.is_none() || room.encryption.is_err());
        let mark = if here { look.cursor() } else { "  " };
        let mut spans = vec![
            Span::raw(mark.to_owned()),
            Span::styled(
                format!("{label:<13}"),
                if idle { look.faint() } else { look.title() },
            ),
        ];
        let typed = amounts.typed.as_ref().filter(|_| here);
        let text = typed.map_or(value, |field| field.text.clone());
        let room = width.saturating_sub(22);
        // Of what is typed the end is in sight, of what is chosen the beginning.
        let text = match place {
            Place::Arguments => end_of(&text, room),
            _ => start_of(&text, room),
        };
        let arguments = *place == Place::Arguments;
        if here && (arguments || typed.is_some()) {
            spans.push(Span::styled(text, look.strong()));
            spans.push(Span::styled(" ", look.chosen()));
        } else if here {
            spans.push(Span::styled(format!("< {text} >"), look.chosen()));
        } else {
            let text = if arguments && text.is_empty() {
                "none more".into()
            } else {
                text
            };
            let style = if idle { look.faint() } else { Style::new() };
            spans.push(Span::styled(format!("  {text}"), style));
        }
        lines.push(Line::from(spans));
    }
    lines
}

fn size_of(amounts: &Amounts, what: Purpose, room: &Room, layout: &Layout) -> String {
    match amounts.part(what).size {
        None => "none".into(),
        Some(Size::Fixed(size)) => size.binary(),
        Some(Size::Rest) if layout.is_ok() => {
            format!("the rest: {}", amounts.size_of(what, room).binary())
        }
        Some(Size::Rest) => "the rest".into(),
    }
}

fn filesystem(amounts: &Amounts, what: Purpose, room: &Room) -> String {
    if what == Purpose::Overlay && amounts.sprout {
        return match &room.sprout {
            Ok((Seed::Made(size), _)) => {
                format!("a btrfs sprout, with a seed of {}", size.binary())
            }
            _ => "a btrfs sprout from the image's own btrfs".into(),
        };
    }
    let part = amounts.part(what);
    match (part.fs, room.mountable.first()) {
        (Some(fs), _) => fs.to_string(),
        (None, Some(best)) => format!("{best}, the best that the image can mount"),
        (None, None) => "none".into(),
    }
}

/// Whether it fits, or what would; and the limits of the field at hand.
fn verdict(
    state: &State,
    image: &ImageFacts,
    room: &Room,
    layout: &Layout,
    width: usize,
    look: Look,
) -> Vec<Line<'static>> {
    let say = |text: &str, style: Style| -> Vec<Line<'static>> {
        let lines = wrap(text, width.saturating_sub(2), 0).into_iter().take(4);
        lines
            .map(|line| Line::styled(format!("  {line}"), style))
            .collect()
    };
    match &image.memory {
        Memory::Looking => {
            return say(
                "Looking into the image: what can it mount? ...",
                look.faint(),
            );
        }
        Memory::Impossible(why) => return say(why, look.warning()),
        Memory::Possible(_) => {}
    }
    if let Err(why) = layout {
        return say(why, look.danger());
    }
    if let (Place::Encrypted, Err(why)) = (state.amounts.place(), &room.encryption) {
        return say(why, look.faint());
    }
    let (Place::Size(what) | Place::Fs(what)) = state.amounts.place() else {
        return say(
            &format!("{} are free behind the image", room.free().binary()),
            look.faint(),
        );
    };
    if let (Place::Fs(Purpose::Overlay), Err(why)) = (state.amounts.place(), &room.sprout) {
        return say(&format!("no sprout can be had: {why}"), look.faint());
    }
    match state.amounts.limits(what, room) {
        Some((smallest, largest)) => say(
            &format!(
                "{} can have {} to {} here",
                state.amounts.label(what),
                smallest.binary(),
                largest.binary()
            ),
            look.faint(),
        ),
        None => say(
            &format!("there is no room for {}", state.amounts.label(what)),
            look.warning(),
        ),
    }
}

/// The stick to scale, and what each part of it is.
fn picture(
    image: &ImageFacts,
    target: &Target,
    room: &Room,
    layout: &Layout,
    width: usize,
    look: Look,
    roomy: bool,
) -> Vec<Line<'static>> {
    let none = Vec::new();
    let slots = layout.as_ref().unwrap_or(&none);
    let len = |what| {
        let slot = slots.iter().find(|slot| slot.what == what);
        slot.map_or(Bytes::ZERO, |slot| slot.extent.len)
    };
    let grown = len(Purpose::Sprout);
    let overlay = len(Purpose::Overlay) + len(Purpose::Seed) + grown;
    let home = len(Purpose::Home);
    let before = room.start().unwrap_or(image.size);
    let parts = [
        ("image", before.min(target.size)),
        (
            if grown > Bytes::ZERO {
                "seed and sprout"
            } else {
                "overlay"
            },
            overlay,
        ),
        ("/home", home),
        ("free", target.size - before - overlay - home),
    ];
    let sizes = parts.map(|(_, size)| size);
    let cells = share(&sizes, width.saturating_sub(4));
    let (glyphs, styles) = (look.parts(), look.part_styles());
    let mut bar = vec![Span::styled(format!("  {}", look.bar()), look.line())];
    for i in 0..4 {
        bar.push(Span::styled(glyphs[i].repeat(cells[i]), styles[i]));
    }
    bar.push(Span::styled(look.bar(), look.line()));
    let bar = Line::from(bar);
    let mut lines = vec![bar.clone()];
    if roomy {
        lines.push(bar);
    }
    let mut legend = Line::raw("  ");
    for (i, (name, size)) in parts.iter().enumerate() {
        if *size == Bytes::ZERO {
            continue;
        }
        let what = format!("{name} {}  ", size.binary());
        if legend.width() + what.len() + 2 > width {
            lines.push(std::mem::replace(&mut legend, Line::raw("  ")));
        }
        legend.push_span(Span::styled(format!("{} ", glyphs[i]), styles[i]));
        legend.push_span(Span::raw(what));
    }
    lines.push(legend);
    lines
}

/// Cells for each part, to scale: all of `width`, and at least one for each part that is there.
fn share(sizes: &[Bytes; 4], width: usize) -> [usize; 4] {
    let total: u64 = sizes.iter().map(|size| size.0).fold(0, u64::saturating_add);
    let mut cells = [0; 4];
    if total == 0 || width < 4 {
        return cells;
    }
    for (cell, size) in cells.iter_mut().zip(sizes) {
        let exact = u128::from(size.0) * width as u128 / u128::from(total);
        *cell = usize::try_from(exact)
            .unwrap_or(0)
            .max(usize::from(size.0 > 0));
    }
    let used: usize = cells.iter().sum();
    if let Some(largest) = cells.iter_mut().max_by_key(|cell| **cell) {
        *largest = (*largest + width).saturating_sub(used);
    }
    cells
}

/// How long it will take, at the speed of the last stick or at usual ones.
fn time(
    state: &State,
    image: &ImageFacts,
    layout: &Layout,
    width: usize,
    look: Look,
) -> Vec<Line<'static>> {
    if layout.is_err() {
        return Vec::new();
    }
    // All of an encrypted /home is written, of another only what mkfs writes.
    let home = layout.as_ref().ok().and_then(|slots| {
        let mut slots = slots.iter();
        slots.find(|slot| slot.what == Purpose::Home && state.amounts.encrypted)
    });
    // A seed is unpacked, packed again and compared, which takes a processor as long as a slow stick.
    let seed = layout.as_ref().ok().and_then(|slots| {
        let mut slots = slots.iter();
        slots.find(|slot| slot.what == Purpose::Seed)
    });
    let of = |slot: Option<&Slot>| slot.map_or(Bytes::ZERO, |slot| slot.extent.len);
    let size = image.size + of(home) + of(seed);
    let takes = |rate: f64| {
        let seconds = float(size) / rate * (1.0 + 1.0 / READ_FASTER);
        duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    };
    let text = match state.measured {
        Some(rate) => format!(
            "takes about {} at {}, as the last one",
            takes(rate),
            speed(rate)
        ),
        None => format!(
            "takes about {} on a slow stick (8 MB/s), {} on a fast one (80 MB/s)",
            takes(8e6),
            takes(80e6)
        ),
    };
    wrap(&text, width.saturating_sub(2), 0)
        .into_iter()
        .map(|line| Line::styled(format!("  {line}"), look.faint()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_as_wide_as_it_shall_be() {
        let gib = |n: u64| Bytes(n << 30);
        assert_eq!(
            share(&[gib(2), gib(1), gib(1), gib(0)], 40),
            [20, 10, 10, 0]
        );
        assert_eq!(
            share(&[gib(1), Bytes(5), gib(1), gib(998)], 50)
                .iter()
                .sum::<usize>(),
            50
        );
        assert_eq!(
            share(&[Bytes(u64::MAX), Bytes(1), gib(0), gib(0)], 10),
            [9, 1, 0, 0]
        );
        assert_eq!(share(&[gib(0); 4], 10), [0; 4]);
    }
}
