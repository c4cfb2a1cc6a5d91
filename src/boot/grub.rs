// SPDX-License-Identifier: MIT OR Apache-2.0
//! `grub.cfg`: the arguments reach every live entry, whether its kernel is loaded by `linux`, `linuxefi`, `linux16`, a
//! variable or a function; a plain start is the default; one entry starts without persistence.
//!
//! Where room is short the arguments are put into one variable, which the entries use unquoted. That it falls into
//! words again, and that a submenu sees it once it is exported, is read in GNU GRUB's source
//! (grub-core/script/execute.c, `grub_script_env_get`; grub-core/normal/context.c, `grub_env_new_context`) and was seen
//! in a boot of GRUB 2.06.

use std::collections::BTreeSet;
use std::ops::Range;

use super::menu::{Item, Line, Menu};
use super::script::{self, Kind};
pub use super::stub::{Stub, stub_target};
use super::words::{self, Part, appended, is_safe, quote};
use super::{Arguments, EditError, Edited, Entry, Reclaimed, default, kernel_line, reclaim};
use crate::units::Bytes;

/// What an entry without persistence is called, in any case, so that it is known again.
pub(super) const WITHOUT: &str = "without persistence";

const RUNGS: [Reclaimed; 6] = [
    Reclaimed::Comments,
    Reclaimed::BlankLines,
    Reclaimed::Indentation,
    Reclaimed::Variable,
    Reclaimed::Classes,
    Reclaimed::Title,
];

/// A range of the text, and what takes its place.
type Change = (Range<usize>, String);

/// Gives `text` the arguments, in at most `room` bytes.
pub fn edit(text: &str, arguments: &Arguments, room: Bytes) -> Result<Edited, EditError> {
    kernel_line::check_arguments(arguments.all())?;
    let parsed = script::parse(text)?;
    let editor = Editor::new(text, Menu::new(text, &parsed), arguments)?;
    let (text, steps) = reclaim::fit(room, &RUNGS, |steps| {
        reclaim::script(&editor.build(steps)?, steps)
    })?;
    describe(text, steps, arguments)
}

/// Reads an edited text again, so that the report says what is there and not what was meant.
fn describe(
    text: String,
    steps: Vec<Reclaimed>,
    arguments: &Arguments,
) -> Result<Edited, EditError> {
    let parsed = script::parse(&text)?;
    let menu = Menu::new(&text, &parsed);
    let without = existing(&menu, arguments);
    let mut entries = Vec::new();
    for (index, item) in menu.items.iter().enumerate().filter(|(_, i)| i.live()) {
        entries.push(Entry {
            title: item.title.clone(),
            persistent: arguments.persist()
                && !without.contains(&index)
                && item.lines.iter().all(|line| {
                    let mut wanted = arguments.persistence.iter().chain(&arguments.replace_root);
                    wanted.all(|want| line.expanded.contains(want))
                }),
            media_check: item.media_check(),
        });
    }
    let title = |index: usize| menu.items[index].title.clone();
    let first = default::first(&menu).map(title);
    let first = first.or_else(|| entries.first().map(|entry| entry.title.clone()));
    let without = without.first().filter(|_| arguments.persist());
    let without = without.map(|index| title(*index));
    Ok(Edited {
        first: first.unwrap_or_default(),
        entries,
        without,
        steps,
        text,
    })
}

/// The entries without persistence that are there already: one, or one for each platform.
fn existing(menu: &Menu, arguments: &Arguments) -> Vec<usize> {
    let without = |item: &Item| {
        item.live()
            && item.title.to_lowercase().contains(WITHOUT)
            && item.lines.iter().all(|line| {
                let wanted = arguments.persistence.iter().chain(&arguments.replace_root);
                !wanted.into_iter().any(|want| line.expanded.contains(want))
            })
    };
    let all = menu.items.iter().enumerate();
    all.filter(|(_, item)| without(item))
        .map(|(index, _)| index)
        .collect()
}

struct Editor<'a> {
    text: &'a str,
    menu: Menu<'a>,
    arguments: &'a Arguments,
    /// The plain start, or what comes nearest.
    base: usize,
    /// The entries without persistence that are there.
    without: Vec<usize>,
    default: Vec<Change>,
    /// What the variable is called.
    variable: &'static str,
    /// Whether the arguments survive being split at blanks.
    splits: bool,
}

impl<'a> Editor<'a> {
    fn new(
        text: &'a str,
        menu: Menu<'a>,
        arguments: &'a Arguments,
    ) -> Result<Editor<'a>, EditError> {
        let without = existing(&menu, arguments);
        let pick = |wanted: &dyn Fn(&Item) -> bool| {
            let mut all = menu.items.iter().enumerate();
            all.find(|(i, item)| !without.contains(i) && wanted(item))
                .map(|(i, _)| i)
        };
        let plain = pick(&|item| item.plain() && item.parent.is_none())
            .or_else(|| pick(&|item| item.plain()));
        let base = plain
            .or_else(|| pick(&Item::live))
            .ok_or(EditError::NoLiveEntry)?;
        let default = match plain {
            Some(plain) => {
                let good = |i: usize| menu.items[i].plain() && !without.contains(&i);
                default::edits(&menu, plain, good).0
            }
            None => Vec::new(),
        };
        let all = arguments.persistence.iter().chain(&arguments.extra);
        let mut all = all.chain(&arguments.live);
        let splits = all.all(|a| is_safe(a));
        let variable = free_name(text)?;
        Ok(Editor {
            text,
            menu,
            arguments,
            base,
            without,
            default,
            variable,
            splits,
        })
    }

    /// The whole text, edited.
    fn build(&self, steps: &[Reclaimed]) -> Result<String, EditError> {
        let mut changes = self.default.clone();
        let mut seen = BTreeSet::new();
        let mut variable = false;
        for (index, item) in self.menu.items.iter().enumerate() {
            for line in &item.lines {
                let first_time = seen.insert(line.words.first().map(|w| w.start));
                if first_time {
                    let plain = self.without.contains(&index) && !line.shared
                        || self.arguments.leaves(&line.expanded);
                    variable |= self.change(item, line, plain, steps, &mut changes)?;
                }
            }
            if item.plain() && !self.without.contains(&index) {
                self.add_initrd(item, &mut changes)?;
            }
            if steps.contains(&Reclaimed::Classes) {
                self.drop_classes(item, &mut changes);
            }
        }
        if self.without.is_empty() && self.arguments.persist() {
            self.add_without(steps, &mut changes)?;
        }
        if variable {
            let name = self.variable;
            let value = self.all().join(" ");
            changes.push((0..0, format!("set {name}=\"{value}\"\nexport {name}\n")));
        }
        Ok(apply(self.text, changes))
    }

    /// Every argument, in order.
    fn all(&self) -> Vec<&str> {
        let arguments = self.arguments;
        let all = arguments.persistence.iter().chain(&arguments.extra);
        all.map(String::as_str).collect()
    }

    /// What one kernel line gains; whether it is by way of the variable.
    fn change(
        &self,
        item: &Item,
        line: &Line,
        plain: bool,
        steps: &[Reclaimed],
        changes: &mut Vec<Change>,
    ) -> Result<bool, EditError> {
        let Some(end) = line.words.last().map(|word| word.end) else {
            return Ok(false);
        };
        let mut wanted = Vec::new();
        if !plain {
            wanted = kernel_line::missing(&line.expanded, &self.arguments.persistence);
            if let Some(root) = &self.arguments.replace_root {
                let root_word = line
                    .words
                    .iter()
                    .find(|word| self.text[(*word).clone()].starts_with("root=live:"));
                match root_word {
                    Some(word) if !line.shared => changes.push((word.clone(), quote(root))),
                    _ if !line.expanded.contains(root) => wanted.push(root),
                    _ => {}
                }
            }
        }
        let kept = self.arguments.kept();
        let extra = if plain { &kept } else { &self.arguments.extra };
        wanted.extend(kernel_line::missing(&line.expanded, extra));
        if wanted.is_empty() {
            return Ok(false);
        }
        let sum = |len: usize| len + 1;
        let len: usize = line.expanded.iter().map(|w| sum(w.len())).sum::<usize>()
            + wanted.iter().map(|w| sum(w.len())).sum::<usize>();
        kernel_line::check_length(&item.title, len)?;
        let whole = self.splits && !plain && wanted == self.all();
        if line.shared && !whole {
            return Err(EditError::Argument {
                argument: wanted.join(" "),
                why: "cannot reach an entry that loads its kernel by a function; \
                      use letters, digits and ordinary punctuation only",
            });
        }
        if whole && (line.shared || steps.contains(&Reclaimed::Variable)) {
            changes.push((end..end, format!(" ${}", self.variable)));
            return Ok(true);
        }
        let words = appended(&wanted);
        changes.push((end..end, words));
        Ok(false)
    }

    /// Loads one more file behind an entry's initrd, from where that comes from.
    fn add_initrd(&self, item: &Item, changes: &mut Vec<Change>) -> Result<(), EditError> {
        let Some(path) = &self.arguments.initrd else {
            return Ok(());
        };
        let refused = || EditError::Argument {
            argument: path.clone(),
            why: "cannot be loaded by an entry that does not load its own initrd itself",
        };
        if item.initrds.is_empty() {
            return Err(refused());
        }
        for word in &item.initrds {
            let word = word.as_ref().ok_or_else(refused)?;
            let raw = &self.text[word.clone()];
            if raw.ends_with(path.as_str()) {
                continue;
            }
            // `($root)/boot/initrd`, `(hd0,2)/boot/initrd`: the file is on the same device.
            let device = raw.find(")/").map_or("", |end| &raw[..=end]);
            let device = if device.starts_with('(') { device } else { "" };
            changes.push((word.end..word.end, format!(" {device}{path}")));
        }
        Ok(())
    }

    /// Takes the `--class` options from an entry's head.
    fn drop_classes(&self, item: &Item, changes: &mut Vec<Change>) {
        let mut words = item.words.iter().peekable();
        let mut behind = 0;
        while let Some(word) = words.next() {
            if &self.text[word.clone()] == "--class"
                && let Some(value) = words.next()
            {
                changes.push((behind..value.end, String::new()));
                behind = value.end;
            } else {
                behind = word.end;
            }
        }
    }

    /// The entry without persistence, where a user looks for it.
    fn add_without(&self, steps: &[Reclaimed], changes: &mut Vec<Change>) -> Result<(), EditError> {
        let base = &self.menu.items[self.base];
        if base.conditional {
            // It is there only under a condition, and so is its twin: next to each of the same title.
            for item in &self.menu.items {
                if item.plain() && item.conditional && item.title == base.title {
                    let copy = self.copy(item, steps)?;
                    changes.push((item.span.end..item.span.end, format!("\n{copy}")));
                }
            }
            return Ok(());
        }
        let seen = |name: &String| self.menu.exported.contains(name);
        let trouble = self.menu.items.iter().find(|item| {
            let named = item.title.to_lowercase().contains("troubleshoot");
            item.submenu && !item.conditional && item.parent.is_none() && named
        });
        // A submenu sees exported variables only: what the copy needs must be among them.
        let trouble = trouble.filter(|_| base.parent.is_some() || base.free.iter().all(seen));
        let copy = self.copy(base, steps)?;
        let Some(trouble) = trouble else {
            let at = self.text.len();
            let newline = if self.text.ends_with('\n') { "" } else { "\n" };
            changes.push((at..at, format!("{newline}{copy}\n")));
            return Ok(());
        };
        let copy = indent(&copy, base.parent.is_none())?;
        let line = self.text[..trouble.close]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let alone = self.text[line..trouble.close].trim().is_empty();
        let (at, text) = if alone && line > trouble.open {
            (line, format!("\t{copy}\n"))
        } else {
            (trouble.close, format!("\n\t{copy}\n"))
        };
        changes.push((at..at, text));
        Ok(())
    }

    /// A copy of an entry, with the arguments it had and the extra ones.
    fn copy(&self, item: &Item, steps: &[Reclaimed]) -> Result<String, EditError> {
        let mut head = String::from("menuentry ");
        head.push_str(&self.copy_title(item, steps));
        let mut words = item.words.iter().skip(1);
        while let Some(word) = words.next() {
            let raw = &self.text[word.clone()];
            match raw {
                // Identifiers and keys are for one entry each.
                "--id" | "--hotkey" | "$menuentry_id_option" => {
                    words.next();
                }
                "--class" if steps.contains(&Reclaimed::Classes) => {
                    words.next();
                }
                _ if raw.starts_with("--id=") || Some(word) == item.title_word.as_ref() => {}
                _ => {
                    head.push(' ');
                    head.push_str(raw);
                }
            }
        }
        let mut changes = Vec::new();
        let mut shared = false;
        for line in &item.lines {
            if line.shared {
                shared = true;
                continue;
            }
            let mut behind = 0;
            for word in &line.words {
                let raw = &self.text[word.clone()];
                let value = words::known(raw, &self.menu.values);
                if self.arguments.persistence.contains(&value) || kernel_line::is_check(&value) {
                    changes.push((behind..word.end, String::new()));
                }
                behind = word.end;
            }
            let kept = self.arguments.kept();
            let wanted = kernel_line::missing(&line.expanded, &kept);
            let words = appended(&wanted);
            changes.push((behind..behind, words));
        }
        for (span, _) in &mut changes {
            *span = span.start - (item.open + 1)..span.end - (item.open + 1);
        }
        let body = apply(&self.text[item.open + 1..item.close], changes);
        if !shared {
            return Ok(format!("{head} {{{body}}}"));
        }
        let value = self.arguments.kept().join(" ");
        if value.contains('"') {
            return Err(EditError::Argument {
                argument: value,
                why: "holds a quote, which this boot configuration cannot carry",
            });
        }
        let name = self.variable;
        let starts = body.lines().next().unwrap_or_default();
        let newline = if starts.trim().is_empty() { "" } else { "\n\t" };
        Ok(format!(
            "{head} {{\n\tset {name}=\"{value}\"{newline}{body}}}"
        ))
    }

    /// The title of the copy, as a word.
    fn copy_title(&self, item: &Item, steps: &[Reclaimed]) -> String {
        let Some(word) = &item.title_word else {
            return "'Without persistence'".to_owned();
        };
        if steps.contains(&Reclaimed::Title) {
            return "'Without persistence'".to_owned();
        }
        let raw = &self.text[word.clone()];
        for quote in ['\'', '"'] {
            if let Some(open) = raw.strip_suffix(quote).filter(|open| !open.is_empty()) {
                return format!("{open} {WITHOUT}{quote}");
            }
        }
        format!("{raw}' {WITHOUT}'")
    }
}

/// A name that the script does not use.
fn free_name(text: &str) -> Result<&'static str, EditError> {
    let mut used = BTreeSet::new();
    for token in script::tokens(text)? {
        if token.kind != Kind::Word {
            continue;
        }
        let raw = &text[token.span];
        for part in words::parts(raw) {
            if let Part::Variable { name, .. } = part {
                used.insert(name);
            }
        }
        // Assignments, and the names behind `for`, `read` and `export`.
        used.insert(raw.split('=').next().unwrap_or(raw).to_owned());
    }
    let names = ["p", "lsp", "livestick", "livestick_arguments"];
    let free = names.into_iter().find(|name| !used.contains(*name));
    free.ok_or(EditError::Unreadable {
        line: 1,
        why: "every name for a new variable is in use",
    })
}

/// A copy of `text` with the changes, which must not overlap. Those at one place keep their order.
fn apply(text: &str, mut changes: Vec<Change>) -> String {
    changes.sort_by_key(|(span, _)| (span.start, span.end));
    let mut out = String::with_capacity(text.len() + 1024);
    let mut at = 0;
    for (span, new) in changes {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(&new);
        at = at.max(span.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// One more tab in front of every line but the first, or of the last one only.
fn indent(copy: &str, all: bool) -> Result<String, EditError> {
    let mut out = String::with_capacity(copy.len() + 32);
    for token in script::tokens(copy)? {
        out.push_str(&copy[token.span]);
        if token.kind == Kind::Newline && all {
            out.push('\t');
        }
    }
    Ok(out)
}
