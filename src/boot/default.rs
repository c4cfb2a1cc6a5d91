// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which entry of a GRUB menu starts by itself, and how to say that it is another one.
//!
//! Source: GNU GRUB, grub-core/normal/menu.c (`get_entry_number`: a number counts entries and submenus from zero,
//! anything else is compared with titles and identifiers; `>` leads into a submenu, `>>` is a literal `>`; without a
//! match the first entry starts).

use std::ops::Range;

use super::menu::{Item, Menu};
use super::words::quote;

/// The entries that `value` may mean, depending on which conditional ones there are. Empty: unknown.
fn meant(menu: &Menu, value: &str) -> Vec<usize> {
    let mut parents = vec![None];
    let mut rest = Some(value);
    let mut found = Vec::new();
    while let Some(path) = rest {
        let (key, behind) = split(path);
        found = parents
            .iter()
            .flat_map(|parent| among(menu, *parent, &key))
            .collect();
        rest = behind;
        parents = found.iter().copied().map(Some).collect();
    }
    found
}

/// The part of a path in front of its first `>`, and what is behind that.
fn split(path: &str) -> (String, Option<&str>) {
    let mut key = String::new();
    let mut chars = path.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '>' {
            match chars.peek() {
                Some((_, '>')) => {
                    chars.next();
                }
                _ => return (key, path.get(at + 1..)),
            }
        }
        key.push(c);
    }
    (key, None)
}

/// The children of one menu that `key` may mean.
fn among(menu: &Menu, parent: Option<usize>, key: &str) -> Vec<usize> {
    let children = children(menu, parent);
    let Ok(number) = key.trim().parse::<usize>() else {
        let mut found = Vec::new();
        for index in children {
            let item = &menu.items[index];
            if item.title == key || item.id.as_deref() == Some(key) {
                found.push(index);
                if !item.conditional {
                    break;
                }
            }
        }
        return found;
    };
    let (mut least, mut most) = (0, 0);
    let mut found = Vec::new();
    for index in children {
        if least <= number && number <= most {
            found.push(index);
        }
        most += 1;
        least += usize::from(!menu.items[index].conditional);
    }
    found
}

fn children(menu: &Menu, parent: Option<usize>) -> impl Iterator<Item = usize> {
    let items = menu.items.iter().enumerate();
    items
        .filter(move |(_, item)| item.parent == parent)
        .map(|(index, _)| index)
}

/// How `default` has to read for entry `index` to start by itself.
fn place(menu: &Menu, index: usize) -> String {
    let item = &menu.items[index];
    let before = || children(menu, item.parent).take_while(|other| *other < index);
    let steady = |item: &Item| !item.conditional;
    let certain = steady(item) && before().all(|other| steady(&menu.items[other]));
    let key = if certain || item.title_varies {
        let count = before().filter(|other| steady(&menu.items[*other])).count();
        count.to_string()
    } else {
        let name = item.id.as_ref().unwrap_or(&item.title);
        name.replace('>', ">>")
    };
    match item.parent {
        // A parent comes before its children in the list, so this ends.
        Some(parent) => format!("{}>{key}", place(menu, parent)),
        None => key,
    }
}

/// Which entry starts by itself, if that can be told.
pub fn first(menu: &Menu) -> Option<usize> {
    let last = menu.defaults.iter().rev().find(|d| !d.conditional);
    let value = match last {
        Some(default) => default.value.as_deref()?,
        None => "0",
    };
    meant(menu, value).first().copied()
}

/// The edits after which entry `chosen` starts by itself. An entry for which `good` holds and that starts by itself
/// already stays the one: then there are no edits. The second answer is the entry that starts.
pub fn edits(
    menu: &Menu,
    chosen: usize,
    good: impl Fn(usize) -> bool,
) -> (Vec<(Range<usize>, String)>, usize) {
    let fine = |value: Option<&str>| {
        let all = value.map(|value| meant(menu, value)).unwrap_or_default();
        let title = |index: usize| &menu.items[index].title;
        let one = all.first().copied()?;
        let same = all
            .iter()
            .all(|other| good(*other) && title(*other) == title(one));
        same.then_some(one)
    };
    let wanted = quote(&place(menu, chosen));
    let mut edits = Vec::new();
    let mut first = None;
    for default in &menu.defaults {
        first = fine(default.value.as_deref());
        if first.is_none() {
            let quoted = menu.raw(&default.value_span).starts_with('"');
            let value = if quoted && !wanted.contains(['\'', '"', '\\', '$']) {
                format!("\"{wanted}\"")
            } else {
                wanted.clone()
            };
            edits.push((default.value_span.clone(), value));
            first = Some(chosen);
        }
    }
    let steady = menu.defaults.iter().any(|default| !default.conditional);
    if !steady {
        let zero = fine(Some("0"));
        first = first.or(zero);
        if zero.is_none() {
            let at = menu.first_item.unwrap_or(0);
            edits.push((at..at, format!("set default={wanted}\n")));
            first = Some(chosen);
        }
    }
    (edits, first.unwrap_or(chosen))
}
